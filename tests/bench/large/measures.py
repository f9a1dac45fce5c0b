"""What one process does beside a cluster that is larger than any machine of ours.

A stand-in prints 100,000 jobs and 10,000 nodes; 2,000 jobs a minute change, 10,000 run and so read otherwise at each
poll; 1,000 readers follow the events, and 200 requests a second come. One quantity after the other is added, so that
the differences are the constants of docs/performance.md.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.large.crowd import Crowd, call, read_events
from tests.bench.large.stand_in import StandIn
from tests.bench.processes import memory_bytes, read_cpu_s
from tests.waiting import eventually

FEW, ROWS, NODES = 1_000, 100_000, 10_000
CHANGES_A_MINUTE, READERS, REQUESTS_A_SECOND = 2_000, 1_000, 200
POLLS, WINDOW_S, MOST_S = 4, 20.0, 100.0
MARKED, MARKS = 99_999, 8  # the job whose changes are looked for, and how many of them
PATHS = [
    *("/api/v1/jobs?limit=100", "/api/jobs/17", "/api/v1/jobs?limit=100&offset=5000", "/health"),
    *("/api/v1/jobs/99990", "/api/v1/nodes/node0007"),
]


class Writer(threading.Thread):
    """Changes rows of the stand-in: so many a second, and the time of those that run."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(daemon=True)
        self.stand_in, self.chance = stand_in, random.Random(1)
        self.changes_a_second, self.has_ticks, self.over = 0.0, False, threading.Event()
        self.changed = 0
        self.lock = threading.Lock()

    def run(self) -> None:
        """Write once a second until it is over."""
        owed = 0.0
        while not self.over.wait(1.0):
            owed += self.changes_a_second
            with self.lock:
                numbers = self.chance.sample(range(1, MARKED), int(owed))
                self.stand_in.change_rows(numbers)
                self.changed += len(numbers)
                owed -= len(numbers)
                if self.has_ticks:
                    self.stand_in.write_rows(self.stand_in.running)

    def change_marked(self) -> float:
        """Change the job that is looked for; return when."""
        with self.lock:
            self.stand_in.change_rows([MARKED])
            return time.monotonic()


@dataclass(frozen=True)
class Window:
    """What a server took for so long, and its memory at the end."""

    seconds: float
    cpu_s: float
    polls: int
    changed: int
    memory_bytes: int

    def build_figure(self, title: str) -> Figure:
        """Build the row of it: milliseconds of a processor in each second."""
        note = f"a poll each {self.seconds / self.polls:.1f} s, {1000 * self.cpu_s / self.polls:.0f} ms each"
        return Figure(title, "ms/s", 1000 * self.cpu_s / self.seconds, note=note)


class Large:
    """A server beside the stand-in, with one who changes its rows."""

    def __init__(self, folder: Path) -> None:
        self.stand_in = StandIn(folder, NODES)
        self.server = Server(folder / "store", "slurm", PATH=self.stand_in.path, SLURM_CONF="/dev/null")
        (self.server.store / "config.yaml").write_text("poll: {min_s: 2, max_s: 2}\n")
        self.writer = Writer(self.stand_in)

    def start(self) -> None:
        """Start it with few rows."""
        self.server.start(ready=False)
        self.stand_in.set_rows(FEW)
        eventually(self.server.healthy, 60, "the server answers")
        self.writer.start()
        assert self.server.process is not None
        self.pid = self.server.process.pid

    def close(self) -> None:
        """End all of it; nothing runs that needs to be ended first."""
        self.writer.over.set()
        if self.server.process is not None:
            self.server.end()
        self.server.http.close()

    def watch(self) -> Window:
        """Measure some polls, from one to another."""
        self.wait_for_poll()
        began, cpu_s, polls, changed = time.monotonic(), read_cpu_s(self.pid), self.stand_in.polls, self.writer.changed
        while True:
            self.wait_for_poll()
            seconds, made = time.monotonic() - began, self.stand_in.polls - polls
            if (seconds > WINDOW_S and made >= POLLS) or seconds > MOST_S:
                taken_s, changed = read_cpu_s(self.pid) - cpu_s, self.writer.changed - changed
                return Window(seconds, taken_s, made, changed, memory_bytes(self.pid))

    def wait_for_poll(self) -> None:
        """Wait until the queue is asked for once more."""
        polls = self.stand_in.polls
        while self.stand_in.polls == polls:
            time.sleep(0.05)

    def time_marks(self, readers: Crowd) -> tuple[list[float], list[float]]:
        """Return the delays of changes until the last reader knew, and how long after the first it did."""
        delays, spreads = [], []
        for _ in range(MARKS):
            time.sleep(self.writer.chance.uniform(0.2, 3.0))
            at = self.writer.change_marked()
            first, last = readers.ask()
            delays.append(last - at)
            spreads.append(last - first)
        return delays, spreads


def measure_large(folder: Path) -> Iterator[Figure]:
    """Add one quantity after the other; yield what the server takes with it."""
    large = Large(folder)
    try:
        large.start()
        yield from measure_rows(large)
        yield from measure_crowds(large)
    finally:
        large.close()


def measure_rows(large: Large) -> Iterator[Figure]:
    """Measure polls of few rows, of many, of many that run, and of many that change."""
    few = large.watch()
    yield few.build_figure(f"{NODES:,} nodes, {FEW:,} rows at rest")
    large.stand_in.set_rows(ROWS)
    large.wait_for_poll()
    rest = large.watch()
    yield rest.build_figure(f"{ROWS:,} rows at rest")
    each_kb = (rest.memory_bytes - few.memory_bytes) / (ROWS - FEW) / 1000
    yield Figure("memory of a row", "kB", each_kb, target=4, is_most=True)
    large.writer.has_ticks = True
    yield large.watch().build_figure(f"{len(large.stand_in.running):,} of them run")
    large.writer.changes_a_second = CHANGES_A_MINUTE / 60
    yield large.watch().build_figure(f"{CHANGES_A_MINUTE:,} of them change a minute")


def measure_crowds(large: Large) -> Iterator[Figure]:
    """Measure with readers, and with callers beside them."""
    before = memory_bytes(large.pid)
    readers = Crowd(read_events, large.server.port, READERS, f'"id":"{MARKED}"'.encode())
    readers.ask()
    yield Figure("memory of a reader", "kB", (memory_bytes(large.pid) - before) / READERS / 1000)
    yield large.watch().build_figure(f"{READERS:,} read events")
    callers = Crowd(call, large.server.port, PATHS, REQUESTS_A_SECOND)
    yield large.watch().build_figure(f"{REQUESTS_A_SECOND} requests a second")
    delays, spreads = large.time_marks(readers)
    answers, lag_s = callers.end()
    events, size, lost = readers.end()
    times_ms = sorted(1000 * seconds for _status, seconds in answers)
    unmodified = sum(status == 304 for status, _seconds in answers) / len(answers)
    yield Figure("an answer, p50", "ms", statistics.median(times_ms), note=f"{unmodified:.0%} were 304")
    yield Figure("an answer, p99", "ms", times_ms[int(0.99 * len(times_ms))])
    yield Figure("the longest answer", "ms", times_ms[-1], note=f"the caller itself was late by {1000 * lag_s:.0f} ms")
    yield Figure("change to the last reader, p50", "s", statistics.median(delays), note=f"at most {max(delays):.1f} s")
    yield Figure("the last reader after the first", "ms", 1000 * statistics.median(spreads))
    note = f"{events:,} events of {size / max(1, events):.0f} bytes, {lost} readers lost"
    yield Figure("memory of the server", "MB", memory_bytes(large.pid) / 1e6, note=note)


BENCHES = (Bench("large", "one process beside 100,000 jobs, 10,000 nodes and 1,000 readers", measure_large),)
