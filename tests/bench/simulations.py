"""What it costs to follow a simulation whose tasks report every two seconds, all of them, while somebody looks."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from pathlib import Path

from engine.simulations import following, task_reports
from engine.simulations.known_reports import LOOKED_AT_S
from slurm_shim.simulators import pages
from store.jsons import dump_json
from store.views import yaptide
from tests.engine.servers.opened import open_server
from tests.store.rules.simulations.samples import ID, RUN_ID, array, make_run, make_simulation


def main(arguments: list[str]) -> None:
    """Print how much of a processor that takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        used_s = asyncio.run(measure(Path(folder), given.tasks, given.rounds))
    share = used_s / given.rounds / LOOKED_AT_S
    print(f"{given.tasks} tasks that report every {LOOKED_AT_S:.0f} s: {share:.1%} of a processor")


async def measure(folder: Path, tasks: int, rounds: int) -> float:
    """Follow so many rounds; return the CPU that they took in all."""
    used_s, now = 0.0, 0.0
    async with open_server(folder / "store", cluster=True) as server:
        work = server.store.join_path("work", RUN_ID)
        (work / "tasks").mkdir(parents=True)
        run = make_run(array("RUNNING"), cluster="embedded", work_dir=str(work))
        await server.store.runs.create(RUN_ID, run)
        await server.store.simulations.create(ID, make_simulation(tasks, requested_primaries=1000 * tasks))
        server.task_reports.clock = lambda: now
        for count in range(1, rounds + 1):
            write_reports(work / "tasks", tasks, count)
            now += LOOKED_AT_S
            began = time.process_time()
            task_reports.note_viewer(server, ID)
            await following.advance_simulation(server, ID)
            answer = json.loads(dump_json(yaptide.to_status_json(server.store.simulations.get(ID))))
            used_s += time.process_time() - began
            assert {task["simulated_primaries"] for task in answer["job_tasks_status"]} == {count}
    return used_s


def write_reports(folder: Path, tasks: int, simulated: int) -> None:
    """Write what all tasks say, as they do on nodes."""
    for task_id in range(1, tasks + 1):
        report = {
            "task_id": task_id, "task_state": "RUNNING", "requested_primaries": 1000,
            "simulated_primaries": simulated, "estimated_s": 100 - simulated, "start_time": "2026-11-21T16:39:17Z",
            "end_time": None, "exit_code": None, "reason": None,
        }  # fmt: skip
        pages.write_json(folder / f"{task_id:04d}.json", report)
