"""How much memory and time the merge of a simulation's results takes."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Bench, Figure
from tests.slurm_shim.simulators.work_folders import build_page, make_work, measure_merge, put_task, read_simulator

# What a number with its error and its place takes in a file.
BYTES = 58
TASKS, MEGABYTES = 50, 10.0


def measure_results(folder: Path) -> Iterator[Figure]:
    """Merge tasks with one page each, of values and errors; all files are links to one."""
    primaries = [1000 + number % 3 for number in range(TASKS)]
    work = make_work(folder / "work", read_simulator(), primaries=primaries)
    file = work / "tasks/0001/pages/dose.json"
    write_first(work, int(MEGABYTES * 1e6 / BYTES))
    for number, count in list(enumerate(primaries, 1))[1:]:
        put_task(work, number, {}, count)
        os.link(file, work / f"tasks/{number:04d}/pages/dose.json")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    most_mb = measure_merge(work) / 1024
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    what = f"merge of {TASKS} tasks of {file.stat().st_size / 1e6:.0f} MB"
    yield Figure(what, "MB", most_mb)
    yield Figure("the same, for each task", "s CPU", seconds / TASKS)


def write_first(work: Path, count: int) -> None:
    """Write the results of the first task: so many random values."""
    numbers = random.Random(1)
    values = [numbers.random() for _ in range(count)]
    page = build_page(values, values)
    page["axis_dim1"]["values"] = values
    put_task(work, 1, {"dose": {"pages": [page]}}, 1000)


BENCHES = (Bench("merge", "memory and CPU of merging a simulation's results", measure_results),)
