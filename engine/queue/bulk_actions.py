"""The same done to many jobs with one call of SLURM."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from engine.queue import holds
from engine.queue.job_actions import build_cancelling, name_signal, reopen_records, write_comment
from engine.queue.targets import JobChange, Target, carry_out, find_targets
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import JobFinished, JobUnknown
from store import access
from store.errors import Invalid, NotFound, make_problem
from store.rules.jobs import actions
from store.rules.queue.job_states import find_states

MOST_JOBS = 1000
Results = dict[str, tuple[str, str]]  # by the id that was asked for: status, message


async def change_jobs(
    server: Server, body: dict[str, Any], caller: access.Caller, cluster: str | None = None
) -> dict[str, Any]:
    """Change many jobs alike; tell of each what became of it.

    The jobs are judged by the snapshot, then all that it can be done to go into one call. Each id is answered once, in
    the order of the request. With dry_run nothing is done.
    """
    asked, options = server.clusters.resolve(cluster), body.get("options") or {}
    change = build_change(body["action"], options, caller)
    job_ids = list(dict.fromkeys(list_wanted(asked, body, options)))
    found = await find_targets(server, asked, change, job_ids, caller)
    targets = {job_id: target for job_id, target in found.items() if isinstance(target, Target)}
    results: Results = {
        job_id: ("error", explain_refusal(problem))
        for job_id, problem in found.items()
        if isinstance(problem, Exception)
    }
    if options.get("dry_run"):
        results |= dict.fromkeys(targets, ("success", actions.ACTIONS[change.action][2]))
    else:
        results |= await do_to_all(asked, change, targets)
        done = [target for job_id, target in targets.items() if results[job_id][0] == "success"]
        remarks = await keep_reasons(server, asked, change, options.get("reason"), done, caller)
        for job_id, target in targets.items():
            if target.job_id in remarks:
                results[job_id] = "success", f"{describe_success(change)}; {remarks[target.job_id]}"
    return build_answer([(job_id, *results[job_id]) for job_id in job_ids])


def build_change(action: str, options: Mapping[str, Any], caller: access.Caller) -> JobChange:
    """Build what is to be done to all; raise Invalid."""
    place: list[str | int] = ["body", "options"]
    for name, needed_by in (("priority", "priority"), ("signal", "signal")):
        if action == needed_by and options.get(name) is None:
            raise Invalid([make_problem(f"the action {action} needs it", [*place, name])])
    if action in ("cancel", "signal"):
        force = bool(options.get("force")) and action == "cancel"
        return build_cancelling(options.get("signal"), force, [*place, "signal"])
    if options.get("admin"):
        access.require_admin(caller, "the owners could not release the jobs")
    return JobChange(action, priority=options.get("priority"), by_admin=bool(options.get("admin")))


def list_wanted(cluster: Cluster, body: Mapping[str, Any], options: Mapping[str, Any]) -> Sequence[str]:
    """List the ids that were given, or own jobs in the given states."""
    given, wanted = body.get("job_ids"), options.get("select")
    if (given is None) == (wanted is None):
        raise Invalid([make_problem("Exactly one of job_ids and options.select is needed", ["body", "job_ids"])])
    if wanted is None:
        return list(given or ())
    cluster.check_answering()
    states, wrong = find_states(wanted["states"])
    if wrong is not None:
        raise Invalid([make_problem(wrong, ["body", "options", "select", "states"])])
    user, rows = cluster.slurm.get_user(), cluster.snapshot.jobs.values()
    job_ids = [row["job_id"] for row in rows if row["state"] in states and row["user"] == user]
    if len(job_ids) > MOST_JOBS:
        message = f"{len(job_ids)} jobs are selected, more than {MOST_JOBS}"
        raise Invalid([make_problem(message, ["body", "options", "select"])])
    return job_ids


async def do_to_all(cluster: Cluster, change: JobChange, targets: Mapping[str, Target]) -> Results:
    """Do it to all targets with one call; look at them once more after that."""
    ids = [target.job_id for target in targets.values()]
    refused = await carry_out(cluster, change, ids)
    taken = [job_id for job_id in ids if job_id not in refused]
    # What is cancelled is shown so already, and what it becomes is known from the next poll.
    rows = await cluster.ask_again(taken) if taken and change.action != "cancel" else {}
    results: Results = {}
    for job_id, target in targets.items():
        row, problem = rows.get(target.job_id), refused.get(target.job_id)
        if problem is not None:
            results[job_id] = "error", explain_refusal(problem)
        elif row is not None and (why := actions.find_silent_refusal(change.action, row)) is not None:
            results[job_id] = "error", why
        else:
            results[job_id] = "success", describe_success(change)
    return results


async def keep_reasons(
    server: Server,
    cluster: Cluster,
    change: JobChange,
    reason: str | None,
    done: Sequence[Target],
    caller: access.Caller,
) -> dict[str, str]:
    """Keep why the jobs are held, or forget it; follow those that run again.

    Returns what is to be told of single jobs.

    Comments are left as they are, each would need a call of its own; but those that name a reason lose it.
    """
    ids = [target.job_id for target in done]
    if change.action == "hold" and reason is not None:
        await holds.keep_reason(server, cluster, ids, reason, caller.name)
    elif change.action in ("release", "cancel"):
        await holds.forget_reasons(server, cluster, ids)
    elif change.action == "requeue":
        return await reopen_records(server, cluster, ids)
    if change.action == "release":
        for target in done:
            await write_comment(cluster, target, actions.remove_hold_reason(target.comment))
    return {}


def explain_refusal(problem: Exception) -> str:
    """Explain in a few words why nothing was done to a job.

    >>> explain_refusal(NotFound("Job", "7")), explain_refusal(JobFinished("7"))
    ('Job not found', 'Job already completed')
    """
    if isinstance(problem, NotFound | JobUnknown):
        return "Job not found"
    return "Job already completed" if isinstance(problem, JobFinished) else str(problem)


def describe_success(change: JobChange) -> str:
    """Describe what was done to a job.

    >>> describe_success(JobChange("cancel")), describe_success(JobChange("signal", "USR1"))
    ('Job cancelled', 'Signal SIGUSR1 sent')
    """
    return (
        f"Signal {name_signal(change.signal)} sent" if change.action == "signal" else actions.ACTIONS[change.action][1]
    )


def build_answer(rows: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Build the answer from id, status and message of each job."""
    good = sum(status == "success" for _job_id, status, _message in rows)
    return {
        "batch_id": f"batch_{secrets.token_hex(6)}",
        "results": [{"job_id": job_id, "status": status, "message": message} for job_id, status, message in rows],
        "summary": {"total": len(rows), "successful": good, "failed": len(rows) - good},
    }
