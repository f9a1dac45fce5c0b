"""Documents and SLURM's rows as the srunx API shows them: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from store.documents import Attempt, Run, RunJob, Sweep
from store.indexes.jobs import JobEntry
from store.rules import runs, states
from store.rules.sweeps import ENDED, make_cell_id
from store.times import format_duration, to_epoch, to_rfc3339


def build_ids(job_id: str, raw_id: int | None, array_job_id: int | None = None) -> dict[str, Any]:
    """Build the ids of a job: SLURM's own number first.

    A part that has no number of its own has that of the whole, as in SLURM.

    `display_id` is left out where it is the same number.

    >>> build_ids("35_2", 41)
    {'job_id': 41, 'display_id': '35_2', 'array_job_id': 35, 'array_task_id': 2}
    >>> build_ids("35", 35)
    {'job_id': 35, 'array_job_id': None, 'array_task_id': None}
    >>> build_ids("35_[2-3%2]", 35)
    {'job_id': 35, 'display_id': '35_[2-3%2]', 'array_job_id': 35, 'array_task_id': '2-3%2'}
    >>> build_ids("9+1", 10)
    {'job_id': 10, 'display_id': '9+1', 'array_job_id': None, 'array_task_id': None}
    """
    whole, mark, tasks = job_id.partition("_")
    tasks = tasks.strip("[]")
    number = int(whole.partition("+")[0]) if raw_id is None else raw_id
    return {
        "job_id": number,
        **({} if job_id == str(number) else {"display_id": job_id}),
        "array_job_id": int(whole) if mark else array_job_id,
        "array_task_id": int(tasks) if tasks.isdigit() else tasks or None,
    }


def strip_afterok(depends_on: Iterable[str]) -> list[str]:
    """Write dependencies as workflows do.

    `afterok`, which is what a bare name means, is left out.
    """
    return [entry.removeprefix("afterok:") for entry in depends_on]


# What jobs have only where it is not null; their other fields always stand there.
LEFT_OUT = frozenset({
    "stage", "array_job_id", "array_task_id", "exit_code", "submitted_at", "started_at", "ended_at", "run_id",
    "workflow_name", "nodelist",
})  # fmt: skip


def to_job_json(
    row: dict[str, Any], entry: JobEntry | None, stage: str | None = None, cluster: str = ""
) -> dict[str, Any]:
    """Build a job from SLURM's row, with our record's run and reported stage."""
    nodes = row["node_count"]
    job = {
        "name": row["name"],
        **build_ids(row["job_id"], row["raw_id"], row["array_job_id"]),
        "status": states.to_status(row["state"]),
        "slurm_state": row["state"],
        "stage": stage,
        "reason": row["reason"],
        "depends_on": strip_afterok(entry.depends_on) if entry else [],
        "command": [entry.command] if entry and entry.command else [],
        "resources": {
            "nodes": nodes,
            "gpus_per_node": _count_gpus_per_node(row["gpus"], nodes),
            "partition": row["partition"],
            "time_limit": row["time_limit"],
            "memory_per_node": _format_memory((entry and entry.memory_mb) or row["memory_mb"], nodes),
        },
        "partition": row["partition"],
        "user": row["user"],
        "nodes": nodes,
        "cpus": row["cpu_count"],
        "gpus": row["gpus"],
        "nodelist": row["nodes"] or None,
        "elapsed_time": format_duration(row["elapsed_s"]),
        "exit_code": row["exit_code"],
        "submitted_at": to_rfc3339(row["submit_time"]),
        "started_at": to_rfc3339(row["start_time"]),
        "ended_at": to_rfc3339(row["end_time"]),
        "run_id": entry.run_id if entry else None,
        "workflow_name": entry.workflow_name if entry else None,
        "cluster": cluster,
    }
    return _leave_out_nulls(job)


def to_past_job_json(entry: JobEntry, now: float, stage: str | None = None) -> dict[str, Any]:
    """Build one of our jobs that SLURM does not list, in the same shape.

    `now` is epoch seconds.
    """
    started = to_epoch(entry.started_at)
    elapsed = entry.runtime_s if entry.ended_at or started is None else now - started
    job = {
        "name": entry.name,
        **build_ids(entry.job_id, entry.raw_id),
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
            "memory_per_node": _format_memory(entry.memory_mb, entry.nodes),
        },
        "partition": entry.partition,
        "user": entry.user,
        "nodes": entry.nodes,
        "cpus": None,
        "gpus": entry.gpus,
        "elapsed_time": format_duration(elapsed),
        "exit_code": entry.exit_code,
        "submitted_at": entry.submitted_at,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "run_id": entry.run_id,
        "workflow_name": entry.workflow_name,
        "cluster": entry.cluster,
    }
    return _leave_out_nulls(job)


def _leave_out_nulls(job: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a job does not have: in most rows of a queue a quarter."""
    return {key: value for key, value in job.items() if value is not None or key not in LEFT_OUT}


def _count_gpus_per_node(gpus: int | None, nodes: int | None) -> int | None:
    """Return the GPUs on each node.

    If they do not divide evenly, the most that one node has.
    """
    return None if gpus is None else -(-gpus // max(1, nodes or 1))


def _format_memory(memory_mb: int | None, nodes: int | None) -> str | None:
    """Format the memory of a job as that of each node."""
    return None if memory_mb is None else f"{memory_mb // max(1, nodes or 1)}MB"


def to_submission_json(name: str, job_id: str) -> dict[str, Any]:
    """Build the answer to a submission."""
    return {"name": name, "job_id": int(job_id), "status": "PENDING", "depends_on": [], "command": [], "resources": {}}


def to_run_json(document: Run) -> dict[str, Any]:
    """Build a run, with every attempt of each job."""
    jobs = [to_run_job_json(job) for job in document.jobs]
    return {
        "id": document.id,
        "workflow_name": document.workflow_name,
        "started_at": document.started_at,
        "completed_at": document.completed_at,
        "status": document.status,
        "job_ids": {job["name"]: job["job_id"] for job in jobs if job["job_id"]},
        "job_statuses": {job["name"]: job["status"] for job in jobs if job["status"] != "UNKNOWN"},
        "error": document.error,
        # Its presence is what tells clients a sweep's cell from a run of its own.
        **({} if document.sweep_run_id is None else {"sweep_run_id": document.sweep_run_id}),
        "args": document.args,
        "mount": document.mount,
        "cluster": document.cluster,
        "work_dir": document.work_dir,
        "triggered_by": document.triggered_by or "web",
        "cancel_requested_at": document.cancel_requested_at,
        "jobs": jobs,
    }


def to_run_job_json(job: RunJob) -> dict[str, Any]:
    """Build a job of a run: its last attempt's facts, then all attempts.

    A job that never started is CANCELLED.
    """
    attempts = [_to_attempt_json(attempt) for attempt in job.attempts]
    tried = len(attempts) > job.attempts_before
    last = attempts[-1] if tried else dict.fromkeys(_to_attempt_json(Attempt(number=1, tag="")))
    if job.skipped:
        last = {**last, "slurm_state": "CANCELLED", "reason": job.skipped}
    return {
        "name": job.name,
        "depends_on": strip_afterok(job.depends_on),
        "status": states.to_status(last["slurm_state"]),
        **{key: value for key, value in last.items() if key != "number"},
        "result": job.result,
        "result_error": job.result_error,
        "attempts": attempts,
    }


def to_planned_job_json(job: RunJob, script: str) -> dict[str, Any]:
    """Build what a job of a run runs; `script` has no secrets."""
    keys = ("name", "command", "resources", "work_dir", "log_dir", "retry", "retry_delay_s")
    given = {"depends_on": strip_afterok(job.depends_on), "script": script or None, "secrets": sorted(job.secrets)}
    return {**{key: getattr(job, key) for key in keys}, **given}


def _to_attempt_json(attempt: Attempt) -> dict[str, Any]:
    keys = (
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
    return {**{key: getattr(attempt, key) for key in keys}, "slurm_state": attempt.state}


def to_history_json(entry: JobEntry) -> dict[str, Any]:
    """Build a row of the history."""
    return {
        "job_id": int(entry.job_id),
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
        "gpus": entry.gpus or 0,
    }


def to_dry_run_json(draft: Run) -> dict[str, Any]:
    """Build the answer to a dry run: scripts in order of submission."""
    jobs = [
        {
            "name": job.name,
            "script": job.script,
            "depends_on": [entry.rpartition(":")[2] for entry in job.depends_on],
            "resources": job.resources,
        }
        for job in draft.jobs
    ]
    return {"dry_run": True, "jobs": jobs, "execution_order": [job.name for job in draft.jobs]}


def to_sweep_json(document: Sweep, counts: dict[str, int]) -> dict[str, Any]:
    """Build a sweep; `counts` has the number of cells in each state."""
    first_keys = ("fail_fast", "max_parallel", "cell_count")
    has_begun = document.status == "pending" and counts["pending"] < document.cell_count
    last_keys = ("submission_source", "started_at", "completed_at", "cancel_requested_at", "error")
    return {
        "id": int(document.id),
        "name": document.name,
        "workflow_yaml_path": document.workflow_path,
        "status": "running" if has_begun else document.status,
        "matrix": document.matrix,
        "args": document.args or None,
        **{key: getattr(document, key) for key in first_keys},
        **{f"cells_{state}": count for state, count in counts.items()},
        **{key: getattr(document, key) for key in last_keys},
    }


def to_cell_json(parent: Sweep, index: int, document: Run | None, state: str, args: dict[str, Any]) -> dict[str, Any]:
    """Build a cell for the list of its sweep's cells."""
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
        "duration_seconds": find_cell_duration_s(document, state),
        "result": flatten_results(document),
    }


def find_cell_duration_s(document: Run | None, state: str) -> float | None:
    """Return the seconds of a cell from its last start to its end, or None."""
    return None if document is None or state not in ENDED else runs.measure_duration_s(document)


def flatten_results(document: Run | None) -> dict[str, Any]:
    """Return what the jobs of a run wrote as their results, as one mapping.

    What job `train` wrote as {"loss": {"last": 1}} stands under `train.loss.last`.
    """
    return {} if document is None else _join_keys({job.name: job.result for job in document.jobs if job.result})


def _join_keys(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _join_keys(inner, f"{before}{key}.")
        else:
            flat[before + key] = inner
    return flat


def _find_cell_end(parent: Sweep, state: str) -> str | None:
    """Return when a cell that never started ended.

    That is when its sweep was cancelled or ended.
    """
    return parent.cancel_requested_at or parent.completed_at if state == "cancelled" else None


def to_unstarted_cell_json(parent: Sweep, index: int, state: str, args: dict[str, Any]) -> dict[str, Any]:
    """Build a cell without a run, as a run.

    It waits, or was cancelled before it began.
    """
    cell = to_cell_json(parent, index, None, state, args)
    status: Any = state
    run = to_run_json(
        Run(
            id=cell["id"],
            workflow_name=parent.workflow_name,
            mount=parent.mount,
            args=args,
            status=status,
            started_at=cell["started_at"],
            completed_at=cell["completed_at"],
            sweep_run_id=int(parent.id),
            triggered_by=parent.submission_source,
        )
    )
    return {**run, "cancel_requested_at": parent.cancel_requested_at}


def to_dry_sweep_json(first: Run, args: list[dict[str, Any]], warnings: list[str]) -> dict[str, Any]:
    """Build the answer to a dry run of a sweep.

    The first cell's scripts, and the args of all cells.
    """
    more = {"warnings": warnings} if warnings else {}
    return {**to_dry_run_json(first), "cell_count": len(args), "cells": args, **more}


def to_started_sweep_json(document: Sweep, warnings: list[str]) -> dict[str, Any]:
    """Build the answer to the start of a sweep."""
    plain = {"sweep_run_id": int(document.id), "status": document.status, "cell_count": document.cell_count}
    return {**plain, "warnings": warnings} if warnings else plain


# A value that fails its pattern in a way for which the srunx document has a status and a text of its own.
ODD_VALUES = (
    (["path", "job_id"], re.compile(r"[+-]?[0-9]+"), 400, "Invalid job ID"),
    # Missing (then the input is all parameters) or empty.
    (["query", "path"], re.compile(r"(\{('mount': .{0,200})?\})?"), 400, "path is required"),
)


def find_odd_value(problem: Mapping[str, Any]) -> tuple[int, str] | None:
    """Find status and text of the document for a wrong value.

    None where it has none.
    """
    for place, pattern, status, text in ODD_VALUES:
        if list(problem["loc"]) == place and pattern.fullmatch(str(problem["input"])):
            return status, text
    return None
