"""The documents and SLURM's rows as the srunx family shows them: pure functions from plain data to plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from store.documents import Attempt, Run, RunJob, Sweep
from store.indexes.jobs import JobEntry
from store.rules import states
from store.rules.sweeps import make_cell_id
from store.times import format_duration, to_epoch, to_rfc3339


def to_json_id(job_id: str) -> int | str:
    """A plain job id as a number; an array task or a heterogeneous component as the text it is.

    >>> shown_id("42"), shown_id("42_7"), shown_id("9+1")
    (42, '42_7', '9+1')
    """
    return int(job_id) if job_id.isdigit() else job_id


def strip_afterok(depends_on: Iterable[str]) -> list[str]:
    """Dependencies as workflows write them: `afterok`, which is what a bare name means, is left out."""
    return [entry.removeprefix("afterok:") for entry in depends_on]


def to_job_json(
    row: dict[str, Any], entry: JobEntry | None, stage: str | None = None, cluster: str = ""
) -> dict[str, Any]:
    """A job as SLURM tells it, with the run it belongs to by our own record, and the stage that it reported."""
    nodes = row["node_count"]
    reason = row["reason"]
    return {
        "name": row["name"],
        "job_id": to_json_id(row["job_id"]),
        "status": states.to_status(row["state"]),
        "slurm_state": row["state"],
        "stage": stage,
        "reason": reason,
        "depends_on": strip_afterok(entry.depends_on) if entry else [],
        "command": [entry.command] if entry and entry.command else [],
        "resources": {
            "nodes": nodes,
            "gpus_per_node": _count_gpus_per_node(row["gpus"], nodes),
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
        "elapsed_time": format_duration(row["elapsed_s"]),
        "time_limit": row["time_limit"],
        "exit_code": row["exit_code"],
        "submitted_at": to_rfc3339(row["submit_time"]),
        "started_at": to_rfc3339(row["start_time"]),
        "ended_at": to_rfc3339(row["end_time"]),
        "run_id": entry.run_id if entry else None,
        "workflow_name": entry.workflow_name if entry else None,
        "cluster": cluster,
    }


def to_past_job_json(entry: JobEntry, now: float, stage: str | None = None) -> dict[str, Any]:
    """A job of ours that SLURM does not list (any more), in the same shape. `now` is epoch seconds."""
    started = to_epoch(entry.started_at)
    elapsed = entry.runtime_s if entry.ended_at or started is None else now - started
    return {
        "name": entry.name,
        "job_id": to_json_id(entry.job_id),
        "status": states.to_status(entry.state),
        "slurm_state": entry.state or "UNKNOWN",
        "stage": stage,
        "reason": entry.reason,
        "depends_on": strip_afterok(entry.depends_on),
        "command": [entry.command] if entry.command else [],
        "resources": {
            "nodes": entry.nodes,
            "gpus_per_node": _count_gpus_per_node(entry.gpus, entry.nodes),
            "partition": entry.partition,
            "time_limit": entry.time_limit,
        },
        "partition": entry.partition,
        "user": entry.user,
        "nodes": entry.nodes,
        "cpus": None,
        "gpus": entry.gpus,
        "nodelist": "",
        "elapsed_time": format_duration(elapsed),
        "time_limit": entry.time_limit,
        "exit_code": entry.exit_code,
        "submitted_at": entry.submitted_at,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "run_id": entry.run_id,
        "workflow_name": entry.workflow_name,
        "cluster": entry.cluster,
    }


def _count_gpus_per_node(gpus: int, nodes: int | None) -> int:
    """GPUs on each node; a job whose GPUs do not divide evenly shows the most that one node has."""
    return -(-gpus // max(1, nodes or 1))


def to_submission_json(name: str, job_id: str) -> dict[str, Any]:
    """The answer to a submission, as documented."""
    shown = to_json_id(job_id)
    return {"name": name, "job_id": shown, "status": "PENDING", "depends_on": [], "command": [], "resources": {}}


def to_run_json(document: Run) -> dict[str, Any]:
    """A run as documented, with what each attempt of each job came to."""
    jobs = [to_run_job_json(one) for one in document.jobs]
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
        "cluster": document.cluster,
        "work_dir": document.work_dir,
        "triggered_by": document.triggered_by or "web",
        "cancel_requested_at": document.cancel_requested_at,
        "jobs": jobs,
    }


def to_run_job_json(one: RunJob) -> dict[str, Any]:
    """A job of a run: its last attempt's facts, then all attempts. One that never had its turn is CANCELLED."""
    attempts = [_to_attempt_json(attempt) for attempt in one.attempts]
    tried = len(attempts) > one.attempts_before
    last = attempts[-1] if tried else dict.fromkeys(_to_attempt_json(Attempt(number=1, tag="")))
    if one.skipped:
        last = {**last, "slurm_state": "CANCELLED", "reason": one.skipped}
    return {
        "name": one.name,
        "depends_on": strip_afterok(one.depends_on),
        "status": states.to_status(last["slurm_state"]),
        **{key: value for key, value in last.items() if key != "number"},
        "result": one.result,
        "result_error": one.result_error,
        "attempts": attempts,
    }


def _to_attempt_json(attempt: Attempt) -> dict[str, Any]:
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


def to_history_json(entry: JobEntry) -> dict[str, Any]:
    """A row of the history."""
    return {
        "job_id": to_json_id(entry.job_id),
        "job_name": entry.name,
        "command": entry.command,
        "status": states.to_status(entry.state),
        "slurm_state": entry.state,
        "submitted_at": entry.submitted_at,
        "completed_at": entry.ended_at,
        "runtime_seconds": entry.runtime_s,
        "workflow_name": entry.workflow_name,
        "run_id": entry.run_id,
        "cluster": entry.cluster,
        "partition": entry.partition,
        "nodes": entry.nodes,
        "gpus": entry.gpus,
    }


def to_dry_run_json(draft: Run) -> dict[str, Any]:
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


def to_sweep_json(document: Sweep, counted: dict[str, int]) -> dict[str, Any]:
    """A sweep as documented; `counted` says how many cells are in each state."""
    same = ("fail_fast", "max_parallel", "cell_count")
    begun = document.status == "pending" and counted["pending"] < document.cell_count
    later = ("submission_source", "started_at", "completed_at", "cancel_requested_at", "error")
    return {
        "id": int(document.id),
        "name": document.name,
        "workflow_yaml_path": document.workflow_path,
        "status": "running" if begun else document.status,
        "matrix": document.matrix,
        "args": document.args or None,
        **{key: getattr(document, key) for key in same},
        **{f"cells_{state}": count for state, count in counted.items()},
        **{key: getattr(document, key) for key in later},
    }


def to_cell_json(parent: Sweep, index: int, document: Run | None, state: str, args: dict[str, Any]) -> dict[str, Any]:
    """A cell in the list of its sweep's cells; `state` is what it counts as."""
    ended = document is not None and state not in ("pending", "running")
    return {
        "id": make_cell_id(parent.uid, index),
        "workflow_name": parent.workflow_name,
        "status": state,
        "started_at": (document.started_at if document else None) or parent.started_at,
        "completed_at": document.completed_at if document and ended else _find_cell_end(parent, state),
        "args": document.args if document and document.args else args,
        "error": document.error if document and state != "pending" else None,
        "triggered_by": parent.submission_source,
    }


def _find_cell_end(parent: Sweep, state: str) -> str | None:
    """When a cell that never started ended: with the cancellation of its sweep, or with the sweep."""
    return parent.cancel_requested_at or parent.completed_at if state == "cancelled" else None


def to_unstarted_cell_json(parent: Sweep, index: int, state: str, args: dict[str, Any]) -> dict[str, Any]:
    """A cell that has no run, as a run that waits or was cancelled before it began."""
    known = to_cell_json(parent, index, None, state, args)
    status: Any = state
    shown = to_run_json(
        Run(
            id=known["id"],
            workflow_name=parent.workflow_name,
            mount=parent.mount,
            args=args,
            status=status,
            started_at=known["started_at"],
            completed_at=known["completed_at"],
            sweep_run_id=int(parent.id),
            triggered_by=parent.submission_source,
        )
    )
    return {**shown, "cancel_requested_at": parent.cancel_requested_at}


def to_dry_sweep_json(first: Run, args: list[dict[str, Any]]) -> dict[str, Any]:
    """What a dry run of a sweep answers: the first cell's scripts, and the args of all cells."""
    return {**to_dry_run_json(first), "cell_count": len(args), "cells": args}


def to_started_sweep_json(document: Sweep) -> dict[str, Any]:
    """What the start of a sweep answers."""
    return {"sweep_run_id": int(document.id), "status": document.status, "cell_count": document.cell_count}
