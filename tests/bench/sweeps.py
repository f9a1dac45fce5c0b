"""A sweep whose cells run nothing, beside shell loops that call the embedded cluster's sbatch as often."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.app_server import Server
from tests.bench.embedded import make_cluster
from tests.bench.figures import Bench, Figure
from tests.bench.processes import read_cpu_s, read_tree_cpu_s

CELLS, PARALLEL, LOOPS, CALLS = 10_000, 64, 4, 25
WORKFLOW = """\
name: cells
args: {x: 0}
jobs:
  - {name: one, command: "echo {{ x }}"}
"""


def measure_sweep(folder: Path, cells: int = CELLS) -> Iterator[Figure]:
    """Measure the cells a second, and what each takes of the server, of the first tenth and of the last."""
    bare = measure_loops(folder / "bare")
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\n")
    (server.store / "workflows" / "cells.yaml").write_text(WORKFLOW)
    try:
        server.start()
        assert server.process is not None
        pid, began = server.process.pid, time.monotonic()
        marks = [(0, began, read_cpu_s(pid), read_tree_cpu_s(pid))]
        body = {"sweep": {"matrix": {"x": list(range(cells))}, "max_parallel": PARALLEL}}
        number = server.http.post("/api/workflows/cells/run", json=body).json()["sweep_run_id"]
        while True:
            row = server.http.get(f"/api/sweep_runs/{number}").json()
            done = row["cells_completed"]
            marks.append((done, time.monotonic(), read_cpu_s(pid), read_tree_cpu_s(pid)))
            if row["status"] == "completed":
                break
            assert row["status"] in ("pending", "running"), row
            time.sleep(0.5)
        yield from describe_marks(marks, cells, bare)
    finally:
        server.end_alone()


def describe_marks(marks: list[tuple[int, float, float, float]], cells: int, bare: float) -> Iterator[Figure]:
    """Describe the whole, and how much more the last tenth took than the first."""
    (_, began, own_s, all_s), (_, ended, own_end_s, all_end_s) = marks[0], marks[-1]
    speed = cells / (ended - began)
    yield Figure(f"cells of a sweep of {cells}", "/s", speed, target=60)
    yield Figure("  beside as many sbatch in shell loops", "/s", speed, bare)
    yield Figure("  CPU of the server for each", "ms", 1000 * (own_end_s - own_s) / cells, target=8, is_most=True)
    programs_s = all_end_s - all_s - (own_end_s - own_s)
    yield Figure("  CPU of programs for each", "ms", 1000 * programs_s / cells)
    parts = [[mark for mark in marks if low * cells <= mark[0] <= high * cells] for low, high in ((0, 0.1), (0.9, 1.0))]
    first, last = ((part[-1][2] - part[0][2]) / max(1, part[-1][0] - part[0][0]) for part in parts)
    yield Figure("  the same of the last tenth, and of the first", "ms", 1000 * last, 1000 * first, 1.3, is_most=True)


def measure_loops(folder: Path) -> float:
    """Measure how many sbatch a second so many shell loops call."""
    environment = make_cluster(folder, execute=False)
    loop = 'n=0; while [ $n -lt "$1" ]; do sbatch -Q -o /dev/null --wrap true || exit 1; n=$((n+1)); done'
    began = time.monotonic()
    words = ["/bin/sh", "-c", loop, "sh", str(CALLS)]
    loops = [subprocess.Popen(words, env=environment, cwd=folder) for _ in itertools.repeat(None, LOOPS)]
    assert not any(process.wait() for process in loops)
    return LOOPS * CALLS / (time.monotonic() - began)


BENCHES = (Bench("sweep", "a sweep of very many cells on the embedded cluster, which runs nothing", measure_sweep),)
