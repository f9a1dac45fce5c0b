"""What it costs to follow a simulation whose tasks report every two seconds, all of them, while somebody looks."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from engine.simulations import following, task_reports
from engine.simulations.known_reports import LOOKED_AT_S
from slurm_shim.simulators import pages
from store.jsons import dump_json
from store.views import yaptide
from tests.bench.figures import Bench, Figure
from tests.engine.servers.opened import open_server
from tests.store.rules.simulations.samples import ID, RUN_ID, array, make_run, make_simulation

TASKS, ROUNDS = 100, 30


def measure_simulations(folder: Path) -> Iterator[Figure]:
    """Measure which share of a processor that takes."""
    logging.disable(logging.WARNING)
    try:
        used_s = asyncio.run(follow_reports(folder, TASKS, ROUNDS))
    finally:
        logging.disable(logging.NOTSET)
    yield Figure(f"{TASKS} tasks report every {LOOKED_AT_S:.0f} s", "% CPU", 100 * used_s / ROUNDS / LOOKED_AT_S)


async def follow_reports(folder: Path, tasks: int, rounds: int) -> float:
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


BENCHES = (Bench("simulations", "CPU of following a simulation that somebody looks at", measure_simulations),)
