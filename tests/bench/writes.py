"""Reported statuses beside the bare disk, files that are edited by hand, and long lists of runs that are sent."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from tests.app_server import Server
from tests.bench.exchanges import exchange, find_length
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes
from tests.bench.store import fill

CALLERS, WRITERS = 16, 8
ROUNDS, SECONDS = 7, 1.0
JOBS = 500  # that report in turn: a record then has as many events as those of real jobs
RECORD_BYTES = 1500
RUNS, WINDOW, READERS = 2500, 2000, 3
STORED, EDITS = 100_000, 25
STATUS = {"status": "benchmark", "stage": "benchmark", "updated_at": "2026-03-30T00:00:00Z"}


def write_durably(folder: Path, seconds: float, writers: int) -> list[float]:
    """Seconds that each file took, a new one beside its place, put there; whatever a loss of power leaves is whole."""
    folder.mkdir(exist_ok=True)
    took: list[float] = []
    until, data = time.monotonic() + seconds, b"x" * RECORD_BYTES

    def write(number: int) -> None:
        for at in itertools.cycle(range(JOBS)):
            begun = time.perf_counter()
            new = f"{folder}/.{secrets.token_hex(8)}.new"
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, data)
            os.fsync(fd)
            os.close(fd)
            Path(new).rename(f"{folder}/{number}-{at}.json")
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
            took.append(time.perf_counter() - begun)
            if time.monotonic() >= until:
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(took)


async def report(port: int, seconds: float, callers: int, numbers: Iterator[int]) -> list[float]:
    """Seconds that each reported status took, from the request to the whole answer."""
    took: list[float] = []
    until = time.monotonic() + seconds

    async def report_in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            number = next(numbers)
            body = orjson.dumps({**STATUS, "message": f"step {number // JOBS}"})
            head = f"PUT /srtslurm/api/jobs/{100_000 + number % JOBS} HTTP/1.1\r\nHost: localhost\r\n"
            begun = time.perf_counter()
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            answer, _ = await exchange(reader, writer, head.encode() + body)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            took.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(report_in_turn() for _ in range(callers)))
    return sorted(took)


def summarize_rounds(rounds: Sequence[list[float]]) -> tuple[float, float]:
    """Summarize what was done per second, and how many ms all but the hundredth took."""
    late = statistics.median(took[int(len(took) * 0.99)] for took in rounds)
    return statistics.median(len(took) for took in rounds) / SECONDS, late * 1e3


def start_server(store: Path) -> Server:
    """A server over the store, whose jobs are not executed."""
    server = Server(store, "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\n")
    return server.start()


def measure_reports(folder: Path) -> Iterator[Figure]:
    """Compare reported statuses with durable writes of as many bytes, in turn, on the same disk."""
    server, numbers = start_server(folder / "store"), itertools.count()
    try:
        asyncio.run(report(server.port, SECONDS, CALLERS, numbers))
        for callers, writers, target in ((CALLERS, WRITERS, 0.5), (1, 1, None)):
            rounds = [
                (
                    asyncio.run(report(server.port, SECONDS, callers, numbers)),
                    write_durably(folder / "bare", SECONDS, writers),
                )
                for _ in range(ROUNDS)
            ]
            (rate, late_ms), (bare, bare_late_ms) = (summarize_rounds(each) for each in zip(*rounds, strict=True))
            yield Figure(f"status PUT, c={callers}, raw with {writers} writers", "/s", rate, bare, target)
            late = f"raw p99 {bare_late_ms:.3g} ms"
            yield Figure(
                f"status PUT, c={callers}, p99", "ms", late_ms, target=25 if target else None, is_most=True, note=late
            )
    finally:
        server.end()
        server.http.close()


def measure_windows(folder: Path) -> Iterator[Figure]:
    """Measure the memory of a server while slow readers take long lists of runs."""
    fill(folder / "store" / "runs", RUNS)
    server = start_server(folder / "store")
    try:
        assert server.process is not None
        pid = server.process.pid
        server.http.get("/api/workflows/runs?limit=1")  # what answers a list of runs is loaded: 3 MB, once
        before = memory_bytes(pid)
        for title in ("first", "once more"):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most memory is counted anew: proc(5)
            read_slowly(server.port, f"/api/workflows/runs?limit={WINDOW}")
            status = Path(f"/proc/{pid}/status").read_text()
            most = int(status.split("VmHWM:")[1].split()[0]) * 1024
            yield Figure(
                f"{READERS} readers of {WINDOW:,} runs, {title}", "MB", most / 1e6, before / 1e6, 1.1, is_most=True
            )
    finally:
        server.end()
        server.http.close()


def read_slowly(port: int, path: str) -> None:
    """Read so many answers side by side, a little of each in turn."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(READERS)]
    left: dict[socket.socket, int] = {}
    for each in sockets:
        each.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for each in sockets:
        head = b""
        while b"\r\n\r\n" not in head:
            head += each.recv(1)
        left[each] = find_length(head)
    while left:
        time.sleep(0.002)
        for each in list(left):
            left[each] -= len(each.recv(min(left[each], 32_768)))
            if not left[each]:
                del left[each]
                each.close()


def measure_edits(folder: Path) -> Iterator[Figure]:
    """Measure how long an edit by hand takes until it is served, among very many files."""
    runs = folder / "store" / "runs"
    fill(runs, STORED)
    server = start_server(folder / "store")
    try:
        took = []
        for path in itertools.islice(runs.iterdir(), EDITS):
            time.sleep(0.1)  # what was edited before is over
            document = orjson.loads(path.read_bytes())
            url = f"/api/workflows/runs/{path.stem}"
            document["error"] = "edited by hand"
            path.write_bytes(orjson.dumps(document))
            begun = time.perf_counter()
            while server.http.get(url).json()["error"] != "edited by hand":
                time.sleep(0.001)
            took.append((time.perf_counter() - begun) * 1e3)
        yield Figure(f"edit to served, {STORED:,} files, p50", "ms", statistics.median(took), target=40, is_most=True)
    finally:
        server.end()
        server.http.close()


BENCHES = (
    Bench("writes", "reported statuses beside durable writes to the same disk", measure_reports),
    Bench("windows", "memory while long lists of runs are sent to slow readers", measure_windows),
    Bench("edits", "an edit of a file until it is served, among 100,000 files", measure_edits),
)
