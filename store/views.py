"""The documents and SLURM's rows as the srunx family shows them: pure functions from plain data to plain data."""

from __future__ import annotations

from typing import Any

from store import states
from store.documents import Attempt, Run, RunJob
from store.history import Entry
from store.times import clock, epoch, rfc3339


def shown_id(job_id: str) -> int | str:
    """A plain job id as a number; an array task or a heterogeneous component as the text it is.

    >>> shown_id("42"), shown_id("42_7"), shown_id("9+1")
    (42, '42_7', '9+1')
    """
    return int(job_id) if job_id.isdigit() else job_id


def job(row: dict[str, Any], entry: Entry | None) -> dict[str, Any]:
    """A job as SLURM tells it; what our own record adds is the run it belongs to."""
    nodes = row["node_count"]
    reason = row["reason"]
    return {
        "name": row["name"],
        "job_id": shown_id(row["job_id"]),
        "status": states.word(row["state"]),
        "slurm_state": row["state"],
        "reason": reason,
        "depends_on": list(entry.depends_on) if entry else [],
        "command": [entry.command] if entry and entry.command else [],
        "resources": {
            "nodes": nodes,
            "gpus_per_node": _per_node(row["gpus"], nodes),
            "partition": row["partition"],
            "time_limit": row["time_limit"],
            "memory_per_node": None if row["memory_mb"] is None else f"{row['memory_mb'] // max(1, nodes)}MB",
        },
        "partition": row["partition"],
        "user": row["user"],
        "nodes": nodes,
        "cpus": row["cpu_count"],
        "gpus": row["gpus"],
        "nodelist": row["nodes"] or (f"({reason})" if reason else ""),
        "elapsed_time": clock(row["elapsed_s"]),
        "time_limit": row["time_limit"],
        "exit_code": row["exit_code"],
        "submitted_at": rfc3339(row["submit_time"]),
        "started_at": rfc3339(row["start_time"]),
        "ended_at": rfc3339(row["end_time"]),
        "run_id": entry.run_id if entry else None,
        "workflow_name": entry.workflow_name if entry else None,
    }


def remembered(entry: Entry, now: float) -> dict[str, Any]:
    """A job of ours that SLURM does not list (any more), in the same shape. `now` is epoch seconds."""
    started = epoch(entry.started_at)
    elapsed = entry.runtime_s if entry.ended_at or started is None else now - started
    return {
        "name": entry.name,
        "job_id": shown_id(entry.job_id),
        "status": states.word(entry.state),
        "slurm_state": entry.state or "UNKNOWN",
        "reason": entry.reason,
        "depends_on": list(entry.depends_on),
        "command": [entry.command] if entry.command else [],
        "resources": {
            "nodes": entry.nodes,
            "gpus_per_node": _per_node(entry.gpus, entry.nodes),
            "partition": entry.partition,
            "time_limit": entry.time_limit,
        },
        "partition": entry.partition,
        "user": entry.user,
        "nodes": entry.nodes,
        "cpus": None,
        "gpus": entry.gpus,
        "nodelist": "",
        "elapsed_time": clock(elapsed),
        "time_limit": entry.time_limit,
        "exit_code": entry.exit_code,
        "submitted_at": entry.submitted_at,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "run_id": entry.run_id,
        "workflow_name": entry.workflow_name,
    }


def _per_node(gpus: int, nodes: int | None) -> int:
    """GPUs on each node; a job whose GPUs do not divide evenly shows the most that one node has."""
    return -(-gpus // max(1, nodes or 1))


def submitted(name: str, job_id: str) -> dict[str, Any]:
    """The answer to a submission, as documented."""
    shown = shown_id(job_id)
    return {"name": name, "job_id": shown, "status": "PENDING", "depends_on": [], "command": [], "resources": {}}


def run(document: Run) -> dict[str, Any]:
    """A run as documented, with what each attempt of each job came to."""
    jobs = [run_job(one) for one in document.jobs]
    return {
        "id": document.id,
        "workflow_name": document.workflow_name,
        "started_at": document.started_at,
        "completed_at": document.completed_at,
        "status": document.status,
        "job_ids": {one["name"]: one["job_id"] for one in jobs if one["job_id"]},
        "job_statuses": {one["name"]: one["status"] for one in jobs if one["status"] != "UNKNOWN"},
        "error": document.error,
        "sweep_run_id": document.sweep_run_id,
        "args": document.args,
        "mount": document.mount,
        "work_dir": document.work_dir,
        "triggered_by": document.triggered_by or "web",
        "cancel_requested_at": document.cancel_requested_at,
        "jobs": jobs,
    }


def run_job(one: RunJob) -> dict[str, Any]:
    """A job of a run: its last attempt's facts, then all attempts. One that never had its turn is CANCELLED."""
    attempts = [_attempt(attempt) for attempt in one.attempts]
    last = attempts[-1] if attempts else dict.fromkeys(_attempt(Attempt(number=1, tag="")))
    if one.skipped:
        last = {**last, "slurm_state": "CANCELLED", "reason": one.skipped}
    return {
        "name": one.name,
        "depends_on": one.depends_on,
        "status": states.word(last["slurm_state"]),
        **{key: value for key, value in last.items() if key != "number"},
        "result": one.result,
        "result_error": one.result_error,
        "attempts": attempts,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    same = (
        "number",
        "job_id",
        "reason",
        "exit_code",
        "submitted_at",
        "started_at",
        "ended_at",
        "stdout",
        "stderr",
        "error",
    )
    return {**{key: getattr(attempt, key) for key in same}, "slurm_state": attempt.state}


def history(entry: Entry) -> dict[str, Any]:
    """A row of the history."""
    return {
        "job_id": shown_id(entry.job_id),
        "job_name": entry.name,
        "command": entry.command,
        "status": states.word(entry.state),
        "slurm_state": entry.state,
        "submitted_at": entry.submitted_at,
        "completed_at": entry.ended_at,
        "runtime_seconds": entry.runtime_s,
        "workflow_name": entry.workflow_name,
        "run_id": entry.run_id,
        "partition": entry.partition,
        "nodes": entry.nodes,
        "gpus": entry.gpus,
    }


def dry_run(draft: Run) -> dict[str, Any]:
    """What a dry run answers: scripts, and the order of submission."""
    jobs = [
        {
            "name": one.name,
            "script": one.script,
            "depends_on": [entry.rpartition(":")[2] for entry in one.depends_on],
            "resources": one.resources,
        }
        for one in draft.jobs
    ]
    return {"dry_run": True, "jobs": jobs, "execution_order": [one.name for one in draft.jobs]}
