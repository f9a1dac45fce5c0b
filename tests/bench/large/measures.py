"""What one process does beside a cluster that is larger than any machine of ours.

A stand-in prints 100,000 jobs and 10,000 nodes; 2,000 jobs a minute change, 10,000 run and so read otherwise at each
poll; 1,000 readers follow the events, and 200 requests a second come. One quantity after the other is added, and what
is known of those before is taken off: the differences are the constants of docs/performance.md.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.large.crowd import Crowd, call, read_events
from tests.bench.large.stand_in import StandIn
from tests.bench.processes import memory_bytes, read_cpu_s
from tests.waiting import eventually

FEW, FEW_NODES, ROWS, NODES = 1_000, 10, 100_000, 10_000
MANY_CHANGES_A_MINUTE, CHANGES_A_MINUTE, READERS, REQUESTS_A_SECOND = 20_000, 2_000, 1_000, 200
POLLS, WINDOW_S, MOST_S, IDLE_S = 4, 30.0, 100.0, 15.0
MOST_MS = 1000.0  # p99 of answers
MARKED, MARKS = 99_999, 5  # the job whose changes are looked for, and how many of them
PATHS = [
    *("/api/v1/jobs?limit=100", "/api/jobs/17", "/api/v1/jobs?limit=100&offset=5000", "/health"),
    *("/api/v1/jobs/99990", "/api/v1/nodes/node0007"),
]


class Writer(threading.Thread):
    """Changes rows of the stand-in: so many a second, the time of those that run, and what all nodes have free."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(daemon=True)
        self.stand_in, self.chance = stand_in, random.Random(1)
        self.changes_a_second, self.has_ticks, self.are_nodes_busy = 0.0, False, False
        self.changed, self.over = 0, threading.Event()
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
                if self.are_nodes_busy:
                    self.stand_in.set_nodes(NODES)

    def change_marked(self) -> float:
        """Change the job that is looked for; return when."""
        with self.lock:
            self.stand_in.change_rows([MARKED])
            return time.monotonic()


@dataclass(frozen=True)
class Window:
    """What a server took for so long, what happened meanwhile, and its memory at the end."""

    seconds: float
    cpu_s: float
    polls: int
    node_polls: int
    changed: int
    memory_bytes: int

    def build_figure(self, title: str) -> Figure:
        """Build the row of it: milliseconds of a processor in each second."""
        each_ms = 1000 * self.cpu_s / max(1, self.polls)
        note = f"a poll each {self.seconds / max(1, self.polls):.1f} s, {each_ms:.0f} ms each"
        return Figure(title, "ms/s", 1000 * self.cpu_s / self.seconds, note=note)


@dataclass
class Costs:
    """What is known of what things take, in seconds of a processor; found one after the other."""

    second_s: float = 0.0
    poll_s: float = 0.0
    node_poll_s: float = 0.0
    change_s: float = 0.0

    def find_rest(self, window: Window) -> float:
        """Find what a window took beside what is known; at least nothing."""
        known_s = window.seconds * self.second_s + window.polls * self.poll_s
        known_s += window.node_polls * self.node_poll_s + window.changed * self.change_s
        return max(0.0, window.cpu_s - known_s)


def build_cost(title: str, seconds: float, count: float) -> Figure:
    """Build the row of what one of so many costs."""
    return Figure(f"  {title}", "µs", 1e6 * seconds / max(1, count))


class Large:
    """A server beside the stand-in, with one who changes its rows."""

    def __init__(self, folder: Path) -> None:
        self.stand_in = StandIn(folder, FEW_NODES)
        self.server = Server(folder / "store", "slurm", PATH=self.stand_in.path, SLURM_CONF="/dev/null")
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

    def set_polls(self, seconds: int) -> None:
        """Have the queue asked for as often as this, or less often where squeue takes long."""
        made = self.server.store / "config.new"
        made.write_text(f"poll: {{min_s: {seconds}, max_s: {seconds}}}\n")
        made.rename(self.server.store / "config.yaml")

    def read(self) -> tuple[float, float, int, int, int]:
        """Read the time, the CPU, both kinds of polls, and how many rows were changed."""
        polls, node_polls = self.stand_in.polls, self.stand_in.node_polls
        return time.monotonic(), read_cpu_s(self.pid), polls, node_polls, self.writer.changed

    def measure_since(self, before: tuple[float, float, int, int, int]) -> Window:
        """Measure what was taken since then."""
        seconds, cpu_s, polls, node_polls, changed = (now - then for now, then in zip(self.read(), before, strict=True))
        return Window(seconds, cpu_s, int(polls), int(node_polls), int(changed), memory_bytes(self.pid))

    def rest(self) -> Window:
        """Measure while nothing is asked for."""
        self.wait_for_poll()
        time.sleep(IDLE_S / 2)
        before = self.read()
        time.sleep(IDLE_S)
        return self.measure_since(before)

    def watch(self) -> Window:
        """Measure some polls, from one to another."""
        self.wait_for_poll()
        before = self.read()
        while True:
            self.wait_for_poll()
            window = self.measure_since(before)
            if (window.seconds > WINDOW_S and window.polls >= POLLS) or window.seconds > MOST_S:
                return window

    def wait_for_poll(self) -> None:
        """Wait until the queue is asked for once more."""
        polls = self.stand_in.polls
        while self.stand_in.polls == polls:
            time.sleep(0.05)

    def wait_for_nodes(self) -> None:
        """Wait until the nodes as they are now were asked for, which are parsed once."""
        polls = self.stand_in.node_polls
        while self.stand_in.node_polls == polls:
            time.sleep(0.05)
        self.wait_for_poll()

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
    large, costs = Large(folder), Costs()
    try:
        large.start()
        yield from measure_nodes(large, costs)
        yield from measure_rows(large, costs)
        yield from measure_crowds(large, costs)
    finally:
        large.close()


def measure_nodes(large: Large, costs: Costs) -> Iterator[Figure]:
    """Measure nothing, polls of few rows, of many nodes, and of many that read otherwise each time."""
    large.set_polls(int(3 * IDLE_S))
    costs.second_s = (idle := large.rest()).cpu_s / idle.seconds
    yield Figure("nothing happens", "ms/s", 1000 * costs.second_s)
    large.set_polls(2)
    few = large.watch()
    costs.poll_s = costs.find_rest(few) / few.polls
    yield few.build_figure(f"{FEW:,} rows at rest, {FEW_NODES} nodes")
    large.stand_in.set_nodes(NODES)
    large.wait_for_nodes()
    many = large.watch()
    yield many.build_figure(f"{FEW:,} rows at rest, {NODES:,} nodes")
    yield build_cost("a node that reads as before", costs.find_rest(many), many.node_polls * NODES)
    costs.node_poll_s = costs.find_rest(many) / max(1, many.node_polls)
    large.writer.are_nodes_busy = True
    busy = large.watch()
    large.writer.are_nodes_busy = False
    large.wait_for_nodes()
    yield busy.build_figure("all of them read otherwise each time")
    yield build_cost("a node that reads otherwise", costs.find_rest(busy), busy.node_polls * NODES)


def measure_rows(large: Large, costs: Costs) -> Iterator[Figure]:
    """Measure polls of many rows, of many that run, and of many that change."""
    before = memory_bytes(large.pid)
    yield from measure_first_list(large)
    rest = large.watch()
    yield rest.build_figure(f"{ROWS:,} rows at rest")
    yield build_cost("a row that reads as before", costs.find_rest(rest), rest.polls * (ROWS - FEW))
    yield Figure("  memory of a row", "kB", (rest.memory_bytes - before) / (ROWS - FEW) / 1000, target=4, is_most=True)
    costs.poll_s += costs.find_rest(rest) / rest.polls
    large.writer.has_ticks = True
    ticks = large.watch()
    running = len(large.stand_in.running)
    yield ticks.build_figure(f"{running:,} of them run")
    yield build_cost("a row that runs", costs.find_rest(ticks), ticks.polls * running)
    costs.poll_s += costs.find_rest(ticks) / ticks.polls
    large.writer.changes_a_second = MANY_CHANGES_A_MINUTE / 60
    changes = large.watch()
    yield changes.build_figure(f"{MANY_CHANGES_A_MINUTE:,} of them change a minute")
    yield build_cost("a row that changed", costs.find_rest(changes), changes.changed)
    costs.change_s = costs.find_rest(changes) / max(1, changes.changed)
    large.writer.changes_a_second = CHANGES_A_MINUTE / 60
    large.wait_for_poll()


def measure_crowds(large: Large, costs: Costs) -> Iterator[Figure]:
    """Measure with readers, and with callers beside them."""
    before = memory_bytes(large.pid)
    readers = Crowd(read_events, large.server.port, READERS, f'"id":"{MARKED}"'.encode())
    readers.ask()
    yield Figure("memory of a reader", "kB", (memory_bytes(large.pid) - before) / READERS / 1000)
    reading = large.watch()
    yield reading.build_figure(f"{READERS:,} read events, {CHANGES_A_MINUTE:,} changes a minute")
    yield build_cost("an event for a reader", costs.find_rest(reading), reading.changed * READERS)
    yield Figure("  memory of a reader", "kB", (reading.memory_bytes - before) / READERS / 1000)
    costs.change_s += costs.find_rest(reading) / max(1, reading.changed)
    callers = Crowd(call, large.server.port, PATHS, REQUESTS_A_SECOND)
    together = large.watch()
    yield together.build_figure(f"{REQUESTS_A_SECOND} requests a second")
    yield build_cost("a request", costs.find_rest(together), together.seconds * REQUESTS_A_SECOND)
    delays, spreads = large.time_marks(readers)
    answers, lag_s = callers.end()
    events, size, lost = readers.end()
    yield from build_answer_figures(answers, f"the caller itself was late by {1000 * lag_s:.0f} ms")
    note = f"at most {max(delays):.1f} s; squeue alone takes {large.stand_in.time_squeue():.2f} s"
    yield Figure("change to the last reader, p50", "s", statistics.median(delays), note=note)
    yield Figure("the last reader after the first", "ms", 1000 * statistics.median(spreads))
    note = f"{events:,} events of {size / max(1, events):.0f} bytes, {lost} readers lost"
    yield Figure("memory of the server", "MB", memory_bytes(large.pid) / 1e6, note=note)


def build_answer_figures(answers: list[tuple[str, int, float]], note: str) -> Iterator[Figure]:
    """Build the rows of how long answers took: of pages, and of single things."""
    unmodified = sum(status == 304 for _path, status, _seconds in answers) / len(answers)
    for what, is_page in (("a page", True), ("one job, one node or /health", False)):
        times_ms = sorted(1000 * seconds for path, _status, seconds in answers if ("limit=" in path) == is_page)
        yield Figure(f"{what}, p50", "ms", statistics.median(times_ms), note=f"{unmodified:.0%} of all were 304")
        yield Figure(f"{what}, p99", "ms", times_ms[int(0.99 * len(times_ms))], target=MOST_MS, is_most=True)
        yield Figure(f"{what}, the longest", "ms", times_ms[-1], note=note)


def measure_first_list(large: Large) -> Iterator[Figure]:
    """Measure answers from before the rows are there until a poll later."""
    few = large.stand_in.count
    callers = Crowd(call, large.server.port, [path for path in PATHS if "9990" not in path], REQUESTS_A_SECOND)
    large.stand_in.set_rows(ROWS)
    for _ in range(2):
        large.wait_for_poll()
    answers, _lag_s = callers.end()
    for figure in build_answer_figures(answers, f"{few:,} rows became {ROWS:,}"):
        yield replace(figure, title=f"first list: {figure.title}")


BENCHES = (Bench("large", "one process beside 100,000 jobs, 10,000 nodes and 1,000 readers", measure_large),)
