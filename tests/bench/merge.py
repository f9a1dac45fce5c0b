"""How much memory and time the merge of a simulation's results takes."""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
from pathlib import Path

from tests.slurm_shim.simulators.work_folders import build_page, make_work, measure_merge, put_task, read_simulator

# What a number with its error and its place takes in a file.
BYTES = 58


def main(arguments: list[str]) -> None:
    """Merge tasks with one page each, of values and errors; all files are links to one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=50)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        primaries = [1000 + number % 3 for number in range(given.tasks)]
        work = make_work(Path(folder) / "work", read_simulator(), primaries=primaries)
        file = work / "tasks/0001/pages/dose.json"
        write_first(work, int(given.megabytes * 1e6 / BYTES))
        for number, count in list(enumerate(primaries, 1))[1:]:
            put_task(work, number, {}, count)
            os.link(file, work / f"tasks/{number:04d}/pages/dose.json")
        most_mb = measure_merge(work) / 1024
        size_mb = file.stat().st_size / 1e6
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    print(f"{given.tasks} tasks of {size_mb:.0f} MB: {most_mb:.0f} MB of memory, {seconds:.0f} s of a processor")


def write_first(work: Path, count: int) -> None:
    """Write the results of the first task: so many random values."""
    numbers = random.Random(1)
    values = [numbers.random() for _ in range(count)]
    page = build_page(values, values)
    page["axis_dim1"]["values"] = values
    put_task(work, 1, {"dose": {"pages": [page]}}, 1000)
