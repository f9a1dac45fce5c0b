"""Jobs that something is to be done to, judged by state and owner."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine import jobs
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import JobFinished, SlurmError
from store import access
from store.documents import Run
from store.errors import Conflict, Denied, NotFound
from store.indexes.jobs import JobEntry, get_whole_id
from store.rules import states
from store.rules.jobs import actions
from store.rules.jobs.views import REPLACED


@dataclass(frozen=True)
class JobChange:
    """What is to be done to jobs.

    `action` is one of ACTIONS; `signal` is that of cancel and signal, in scancel's form. `by_admin` says that only an
    operator may release what is held.
    """

    action: str
    signal: str | None = None
    priority: int | None = None
    by_admin: bool = False


class Target(NamedTuple):
    """A job that something may be done to, by the id that SLURM takes."""

    job_id: str
    state: str
    comment: str | None = None


class Obstacle(Conflict):
    """The state of a job, as last seen, does not allow it."""

    def __init__(self, job_id: str, slurm_id: str, why: str) -> None:
        super().__init__(f"Job {job_id}: {why}")
        self.slurm_id = slurm_id


async def find_target(
    server: Server, cluster: Cluster, change: JobChange, job_id: str, caller: access.Caller
) -> Target:
    """Find a job that this may be done to.

    Raises NotFound, Denied for the job of another user, JobFinished, Conflict for a state that does not allow it.
    """
    found = (await find_targets(server, cluster, change, [job_id], caller))[job_id]
    if isinstance(found, Exception):
        raise found
    return found


async def find_targets(
    server: Server, cluster: Cluster, change: JobChange, job_ids: Sequence[str], caller: access.Caller
) -> dict[str, Target | Exception]:
    """Find the jobs that this may be done to, and why not of the others.

    SLURM is asked again about those whose state does not allow it: the snapshot may be older than that.
    """
    rows = await asyncio.gather(*(_try_find(server, cluster, job_id) for job_id in job_ids))
    found = {
        job_id: _try_judge(server, cluster, change, row, job_id, caller)
        for job_id, row in zip(job_ids, rows, strict=True)
    }
    doubtful = {job_id: item.slurm_id for job_id, item in found.items() if isinstance(item, Obstacle)}
    fresh = await cluster.ask_again([*doubtful.values()]) if doubtful else {}
    for job_id, slurm_id in doubtful.items():
        if slurm_id in fresh:
            found[job_id] = _try_judge(server, cluster, change, fresh[slurm_id], job_id, caller)
    return found


async def _try_find(server: Server, cluster: Cluster, job_id: str) -> dict[str, Any] | JobEntry | Exception:
    try:
        return await jobs.find_trace(server, job_id, cluster)
    except NotFound as problem:
        return problem


def _try_judge(
    server: Server,
    cluster: Cluster,
    change: JobChange,
    found: dict[str, Any] | JobEntry | Exception,
    job_id: str,
    caller: access.Caller,
) -> Target | Exception:
    try:
        if isinstance(found, Exception):
            return found
        if isinstance(found, JobEntry):
            jobs.check_owner(cluster, found.user, caller)
            return _check_remembered(found, job_id)
        return judge_row(server, cluster, change, found, job_id, caller)
    except (Denied, Conflict, JobFinished) as problem:
        return problem


def judge_row(
    server: Server, cluster: Cluster, change: JobChange, row: dict[str, Any], job_id: str, caller: access.Caller
) -> Target:
    """Judge a job by what SLURM says of it, see find_target."""
    jobs.check_owner(cluster, row["user"], caller)
    if actions.is_over(change.action, row["state"]):
        raise JobFinished(job_id)
    check_not_replaced(server, cluster, row, job_id)
    why = actions.find_obstacle(change.action, row["state"], row["reason"], row.get("tasks", ()))
    if why is not None:
        raise Obstacle(job_id, row["job_id"], why)
    if change.action == "requeue" and row["state"] in states.TERMINAL:
        refuse_ended_task(server, cluster, row["job_id"], job_id)
    return Target(row["job_id"], row["state"], row["comment"])


def refuse_ended_task(server: Server, cluster: Cluster, slurm_id: str, job_id: str) -> None:
    """Raise Conflict for an ended job of a simulation.

    What it left is merged by now, or will be without it.
    """
    source = server.job_index.find_source(cluster.name, get_whole_id(slurm_id))
    document = None if source is None else source.document
    if isinstance(document, Run) and document.simulation is not None:
        raise Conflict(f"Job {job_id} belongs to the simulation {document.simulation}: submit that again instead")


def _check_remembered(entry: JobEntry, job_id: str) -> Target:
    """Judge a job of ours that SLURM does not show now."""
    if entry.state in states.TERMINAL:
        raise JobFinished(job_id)
    return Target(job_id, entry.state or "UNKNOWN")


def check_not_replaced(server: Server, cluster: Cluster, row: dict[str, Any], job_id: str) -> None:
    """Raise Conflict for a job that has the id of one that we follow."""
    entry = jobs.find_whole_entry(server, cluster, row)
    is_ours = entry is not None and (entry.state == states.LOST or entry.state not in states.TERMINAL)
    if is_ours and jobs.is_replaced(server, cluster, row):
        raise Conflict(REPLACED.format(job_id=job_id))


async def carry_out(cluster: Cluster, change: JobChange, job_ids: Sequence[str]) -> dict[str, SlurmError]:
    """Do it to all these jobs with one program; return what was refused."""
    if not job_ids:
        return {}
    if change.action in ("cancel", "signal"):
        return await cluster.cancel_jobs(job_ids, change.signal)
    if change.action == "priority":
        return await cluster.change_jobs("update", job_ids, {"priority": change.priority or 0})
    verb = "uhold" if change.action == "hold" and not change.by_admin else change.action
    return await cluster.change_jobs(verb, job_ids)
