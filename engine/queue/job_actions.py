"""What is done to single jobs in the queue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from engine.queue import holds
from engine.queue.targets import JobChange, Target, carry_out, find_target
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.commands import normalize_signal
from slurm_shim.errors import JobFinished, SlurmError
from store import access
from store.documents import JobRecord
from store.errors import Conflict, Invalid, make_problem
from store.indexes.jobs import get_whole_id
from store.kinds import Key
from store.rules import states
from store.rules.jobs import actions, records

KILL = ("KILL", "9")


async def cancel_job(
    server: Server, job_id: str, signal: str | None, force: bool, caller: access.Caller, cluster: str | None = None
) -> dict[str, Any]:
    """Cancel a job, or send it a signal; raise JobFinished.

    TERM cancels as scancel does without a signal, which ends the steps first and kills what is left after a while:
    alone it would reach only the steps.
    """
    change = build_cancelling(signal, force, ["query", "signal"])
    asked = server.clusters.resolve(cluster)
    target = await find_target(server, asked, change, job_id, caller)
    await do_or_raise(asked, change, target)
    if change.action == "cancel":
        await holds.forget_reasons(server, asked, [target.job_id])
        return {"job_id": job_id, "state": "CANCELLED", "message": actions.ACTIONS["cancel"][0]}
    row = (await asked.ask_again([target.job_id])).get(target.job_id)
    state = row["state"] if row else target.state
    return {"job_id": job_id, "state": state, "message": f"Signal {name_signal(change.signal)} sent"}


def build_cancelling(signal: str | None, force: bool, place: list[str | int]) -> JobChange:
    """Build what a signal and force ask for; raise Invalid.

    `place` is that of the signal in the request.
    """
    try:
        wanted = None if signal is None else normalize_signal(signal)
    except ValueError as problem:
        raise Invalid([make_problem(str(problem), place, input=signal)]) from None
    if force and wanted not in (None, "TERM", "15", *KILL):
        message = "force sends KILL: leave out the signal, or force"
        raise Invalid([make_problem(message, place, input=signal)])
    if force or wanted in KILL:
        return JobChange("cancel", "KILL")
    return JobChange("cancel") if wanted in (None, "TERM", "15") else JobChange("signal", wanted)


def name_signal(signal: str | None) -> str:
    """Name a signal as people do: USR1 is SIGUSR1, a number stays."""
    return signal if signal is None or signal.isdigit() else f"SIG{signal}"  # type: ignore[return-value]


async def hold_job(
    server: Server, job_id: str, body: dict[str, Any], caller: access.Caller, cluster: str | None = None
) -> dict[str, Any]:
    """Hold a waiting job; keep why, and show it behind the job's comment."""
    if body["admin"]:
        access.require_admin(caller, "the owner could not release the job")
    asked, reason = server.clusters.resolve(cluster), body.get("reason")
    target, state = await change_job(server, asked, JobChange("hold", by_admin=body["admin"]), job_id, caller)
    if reason is not None:
        await holds.keep_reason(server, asked, [target.job_id], reason, caller.name)
        await write_comment(asked, target, actions.add_hold_reason(target.comment, reason))
    answer = {"job_id": job_id, "state": state, "message": actions.ACTIONS["hold"][0]}
    return answer | {"hold_reason": holds.find_reason(server, asked, target.job_id)}


async def release_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> dict[str, Any]:
    """Release a job; one that is not held stays as it is."""
    asked = server.clusters.resolve(cluster)
    target, state = await change_job(server, asked, JobChange("release"), job_id, caller)
    await holds.forget_reasons(server, asked, [target.job_id])
    await write_comment(asked, target, actions.remove_hold_reason(target.comment))
    return {"job_id": job_id, "state": state, "message": actions.ACTIONS["release"][0]}


async def write_comment(cluster: Cluster, target: Target, comment: str) -> None:
    """Write a job's comment, unless it is so already.

    The action itself is done: nobody is told of a failure.
    """
    if comment != (target.comment or ""):
        with contextlib.suppress(SlurmError):
            await cluster.change_jobs("update", [target.job_id], {"comment": comment})
            await cluster.ask_again([target.job_id])


async def requeue_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> dict[str, Any]:
    """Put a job that has begun or ended back into the queue."""
    asked = server.clusters.resolve(cluster)
    target, state = await change_job(server, asked, JobChange("requeue"), job_id, caller)
    remarks = await reopen_records(server, asked, [target.job_id])
    message = "; ".join([actions.ACTIONS["requeue"][0], *remarks.values()])
    return {"job_id": job_id, "state": state, "message": message}


async def suspend_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> dict[str, Any]:
    """Stop the processes of a running job; SLURM lets only operators do that."""
    _target, state = await change_job(server, server.clusters.resolve(cluster), JobChange("suspend"), job_id, caller)
    return {"job_id": job_id, "state": state, "message": actions.ACTIONS["suspend"][0]}


async def resume_job(server: Server, job_id: str, caller: access.Caller, cluster: str | None = None) -> dict[str, Any]:
    """Let the processes of a suspended job go on."""
    _target, state = await change_job(server, server.clusters.resolve(cluster), JobChange("resume"), job_id, caller)
    return {"job_id": job_id, "state": state, "message": actions.ACTIONS["resume"][0]}


async def set_priority(
    server: Server, job_id: str, body: dict[str, Any], caller: access.Caller, cluster: str | None = None
) -> dict[str, Any]:
    """Set the priority of a waiting job; 0 holds it."""
    asked = server.clusters.resolve(cluster)
    await change_job(server, asked, JobChange("priority", priority=body["priority"]), job_id, caller)
    return {"job_id": job_id, "priority": body["priority"], "message": actions.ACTIONS["priority"][0]}


async def change_job(
    server: Server, cluster: Cluster, change: JobChange, job_id: str, caller: access.Caller
) -> tuple[Target, str]:
    """Change a job; return it as it was, and its state afterwards.

    Raises Conflict also where it began meanwhile: SLURM is silent about that.
    """
    target = await find_target(server, cluster, change, job_id, caller)
    await do_or_raise(cluster, change, target)
    row = (await cluster.ask_again([target.job_id])).get(target.job_id)
    if row is None:
        return target, target.state
    if (why := actions.find_silent_refusal(change.action, row)) is not None:
        raise JobFinished(job_id) if row["state"] in states.TERMINAL else Conflict(f"Job {job_id}: {why}")
    return target, row["state"]


async def do_or_raise(cluster: Cluster, change: JobChange, target: Target) -> None:
    """Do it to one job; raise what SLURM refuses."""
    refused = await carry_out(cluster, change, [target.job_id])
    for error in refused.values():
        raise error


async def reopen_records(server: Server, cluster: Cluster, job_ids: Sequence[str]) -> dict[str, str]:
    """Follow the jobs of records again that had ended and are queued anew.

    Returns what is to be told of jobs of runs: what has ended in a run stays so, since others have begun by its end.
    """
    ended, remarks = [], {}
    for job_id in job_ids:
        whole_id = get_whole_id(job_id)
        source, entry = (
            server.job_index.find_source(cluster.name, whole_id),
            server.job_index.get(cluster.name, whole_id),
        )
        if source is None or entry is None or entry.state not in states.TERMINAL:
            continue
        if isinstance(source.document, JobRecord):
            ended.append(source.document.id)
        else:
            remarks[job_id] = f"run {source.document.id} has counted its end and does not follow it any more"
    if ended:
        await cluster.snapshot.refresh()  # else the end that it shows would close the records again
    for record_id in dict.fromkeys(ended):
        async with server.locks.hold(Key("job", record_id)):
            record = server.store.jobs.get(record_id)
            await server.store.jobs.put(record_id, records.reopen_record(record, time.time()))
    return remarks
