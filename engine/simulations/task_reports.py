"""What tasks of open simulations say of themselves, in files.

This is how progress is known where nodes do not reach us. A task replaces its file at most every two seconds; it is
read when it changed, and only while the task has not ended. What is no report is ignored and told once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from engine.server import Server
from engine.simulations.known_reports import LOOKED_AT_S, LOOKING_S, UNSEEN_S, KnownReports
from slurm_shim.cluster import RemoteCluster
from slurm_shim.errors import SlurmError
from slurm_shim.remote import work_folders as remote
from store.documents import Run, Simulation
from store.errors import StoreError
from store.kinds import Key
from store.rules.simulations import states
from store.rules.simulations.states import ENDED, TaskReport
from store.simulation_files import work_folders

log = logging.getLogger("sluice")

# A report has some hundred bytes.
REPORT_BYTES = 16_384


def note_viewer(server: Server, simulation_id: str) -> None:
    """Note that somebody looks at the simulation, so it is followed closely.

    Every route that tells its state calls this; it reads nothing itself.
    """
    reports, entry = server.task_reports, server.store.simulations
    if simulation_id not in entry or not entry.get_entry(simulation_id).facts.open:
        return
    known = reports.known.setdefault(simulation_id, KnownReports())
    known.asked_at = now = reports.clock()
    wait_s = max(0.0, known.read_at + LOOKED_AT_S - now)
    server.open_documents.schedule(Key("simulation", simulation_id), time.monotonic() + wait_s)


async def read_task_reports(server: Server, simulation: Simulation, run: Run) -> Mapping[int, TaskReport]:
    """Read what the simulation's tasks say of themselves; by task.

    Reads only when it is time, or when SLURM has ended tasks whose last report is not known yet. In the second case it
    raises SlurmError or StoreUnavailable where that cannot be read now; else what is known stays.
    """
    known = server.task_reports.known.setdefault(simulation.id, KnownReports())
    array = states.find_attempt(run, states.TASKS)
    if array is None or array.job_id is None:
        return known.reports  # no task has ever been submitted
    waiting = [task.task_id for task in simulation.tasks if task.state not in ENDED]
    ended = {task_id for task_id in waiting if task_id not in known.final and states.find_task_end(run, task_id)}
    now = server.task_reports.clock()
    is_seen = now - known.asked_at <= LOOKING_S
    if not waiting or not (ended or now - known.read_at >= (LOOKED_AT_S if is_seen else UNSEEN_S)):
        return known.reports
    known.read_at = now
    names = {f"{task_id:04d}.json": task_id for task_id in waiting}
    try:
        changed = await _read_changed(server, run, {name: known.file_states.get(name, "") for name in names})
    except (SlurmError, StoreError, OSError) as problem:
        if ended:
            raise
        log.debug("the reports of simulation %s cannot be read now: %s", simulation.id, problem)
        return known.reports
    known.final |= ended
    for name, file in changed.items():
        known.file_states[name] = file.state
        report, why = parse_file(file.data, names[name])
        if report is not None:
            known.reports[names[name]] = report
        else:
            log.warning("simulation %s: what task %d says of itself is ignored: %s", simulation.id, names[name], why)
    return known.reports


def parse_file(data: bytes | None, task_id: int) -> tuple[TaskReport | None, str]:
    """Parse a task's file; return its report, or why it is none."""
    if data is None:
        return None, f"its file has more than {REPORT_BYTES} bytes"
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None, "its file is no JSON"
    report = states.parse_report(said)
    if report is None or said.get("task_id") != task_id:
        return None, "its file is not the report of this task"
    return report, ""


async def _read_changed(
    server: Server, run: Run, known: Mapping[str, str]
) -> Mapping[str, work_folders.ChangedFile | remote.ChangedFile]:
    """Read what changed in the folder of the run's tasks."""
    cluster = server.clusters.get(run.cluster)
    if run.work_dir is None:
        return {}
    if isinstance(cluster, RemoteCluster):
        return await cluster.read_changed(f"{run.work_dir}/tasks", known, REPORT_BYTES)
    return await asyncio.to_thread(work_folders.read_changed, Path(run.work_dir) / "tasks", known, REPORT_BYTES)
