"""What a server takes of memory: empty, and for each job of the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes
from tests.bench.queue import PrintedQueue
from tests.waiting import eventually

JOBS, PERIOD_S = 6_660, 3.0
EMPTY_MB, FULL_MB, ROW_KB, BODY_BYTES = 80.0, 120.0, 4.0, 400.0
# What asks for each form in which the rows are kept.
LISTS = ("/api/jobs", "/api/v1/jobs?limit=100", "/api/v1/search?q=sim_77&type=jobs", "/metrics")


def read_mb(server: Server) -> float:
    """Read the memory of a server once it has nothing to do."""
    assert server.process is not None
    time.sleep(PERIOD_S)
    return memory_bytes(server.process.pid) / 1e6


def measure_memory(folder: Path) -> Iterator[Figure]:
    """Measure a server before and after there is a queue, which then changes as a whole."""
    queue = PrintedQueue(folder, JOBS)
    queue.path.write_text("")
    server = Server(folder / "store", "slurm", PYTHONPATH=str(ROOT), **queue.environment)
    # As the installed command does: Python keeps 4 MB of what it has parsed of a file that it runs by its path.
    server.program = ["-m", "app"]
    (server.store / "config.yaml").write_text("poll: {min_s: 1, max_s: 1}\n")
    try:
        server.start()
        empty_mb = read_mb(server)
        yield Figure("memory of an empty server", "MB", empty_mb, None, EMPTY_MB, True)
        # What is loaded by those who ask first is no matter of rows.
        for path in LISTS:
            server.http.get(path)
        loaded_mb = read_mb(server)
        yield Figure("the same, once it was asked for lists", "MB", loaded_mb)
        queue.write()
        eventually(lambda: server.http.get("/api/v1/jobs?limit=1").json()["total"] == JOBS, 60)
        yield Figure(f"{JOBS} jobs, nobody asks for all", "KB/row", 1000 * (read_mb(server) - loaded_mb) / JOBS)
        for path in LISTS:
            size_bytes = len(server.http.get(path).content)
            if path == LISTS[0]:
                yield Figure("a row of the list of jobs", "B", size_bytes / JOBS, None, BODY_BYTES, True)
        full_mb = read_mb(server)
        yield Figure("the same, listed and searched", "MB", full_mb, None, FULL_MB, True)
        yield Figure("each row in all its forms", "KB/row", 1000 * (full_mb - loaded_mb) / JOBS, None, ROW_KB, True)
        yield Figure("the same, with what was loaded for lists", "KB/row", 1000 * (full_mb - empty_mb) / JOBS)
        for _ in range(3):
            queue.change(range(JOBS))
            time.sleep(PERIOD_S)
            for path in LISTS:
                server.http.get(path)
        yield Figure("after all jobs changed three times", "MB", read_mb(server))
    finally:
        server.end_alone()


BENCHES = (Bench("memory", "memory of a server, empty and for each job of the queue", measure_memory),)
