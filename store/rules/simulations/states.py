"""States of a simulation and of its tasks. Pure.

    PENDING ─▶ RUNNING ─▶ MERGING_QUEUED ─▶ MERGING_RUNNING ─▶ COMPLETED | FAILED | CANCELED

A task is known by what SLURM says of its part of the array and by what it reports of itself: the first knows why it was
ended, the second how far it is. Nothing goes back, and what has ended stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from store.documents import Attempt, Run, Simulation, SimulationState, SimulationTask, TaskState
from store.errors import Invalid, make_problem, suggest_word
from store.rules import states
from store.rules.simulations.inputs import LARGEST_PRIMARIES
from store.times import to_epoch, to_rfc3339

ORDER: tuple[SimulationState, ...] = ("UNKNOWN", "PENDING", "RUNNING", "MERGING_QUEUED", "MERGING_RUNNING")
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELED"})
TASK_STATES = get_args(TaskState)
JOB_STATES = get_args(SimulationState)
# The jobs of a simulation's run.
TASKS, COLLECT = "tasks", "collect"
LONGEST_REASON = 1000
LONGEST_ESTIMATE_S = 10 * 365 * 86_400
MEANINGS = {
    "TIMEOUT": "it reached its time limit",
    "DEADLINE": "it reached its deadline",
    "OUT_OF_MEMORY": "it used more memory than it had asked for",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "another job took its place",
    states.LOST: "SLURM no longer knows how it ended",
}


@dataclass(frozen=True)
class TaskReport:
    """What a task says of itself; None and 0 say nothing.

    Times are RFC 3339.
    """

    state: TaskState | None = None
    requested_primaries: int = 0
    simulated_primaries: int = 0
    estimated_s: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class TaskEnd:
    """How SLURM ended a task."""

    state: str
    reason: str | None = None
    exit_code: int | None = None
    started_at: str | None = None
    ended_at: str | None = None


# --- reports


def parse_report(data: Any) -> TaskReport | None:
    """Parse the report that a task has written into its file.

    None for what is no report. Fields that make no sense are left out: the file is written on a node.
    """
    if not isinstance(data, Mapping):
        return None
    state, reason, code = data.get("task_state"), data.get("reason"), data.get("exit_code")
    return TaskReport(
        state if state in TASK_STATES else None,
        _read_count(data.get("requested_primaries")) or 0,
        _read_count(data.get("simulated_primaries")) or 0,
        _read_seconds(data.get("estimated_s")),
        _read_time(data.get("start_time")),
        _read_time(data.get("end_time")),
        code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None,
        reason[:LONGEST_REASON] if isinstance(reason, str) and reason else None,
    )


def parse_update(data: Mapping[str, Any], place: Sequence[str] = ("body", "update_dict")) -> TaskReport:
    """Parse the update that a worker has sent. Raises Invalid.

    Its keys are those of the real YAPTIDE: `estimated_time` in seconds, times as `2026-11-21 16:39:17.000000` in UTC.
    """
    known = ("task_state", "requested_primaries", "simulated_primaries", "estimated_time", "start_time", "end_time")
    for key in data:
        if key not in (*known, "celery_id", "path_to_sim", "exit_code", "reason"):
            message = f"unknown key '{key[:80]}'{suggest_word(key, known)}"
            raise Invalid([make_problem(message, (*place, key[:80]), type="extra_forbidden")])
    renamed = {**data, "estimated_s": data.get("estimated_time")}
    report = parse_report(renamed) or TaskReport()
    said = (report.state, None, None, report.estimated_s, report.started_at, report.ended_at)
    for key, value in zip(known, said, strict=True):
        given = data.get(key)
        if given in (None, 0, ""):
            continue
        if value is None and (not key.endswith("primaries") or _read_count(given) is None):
            near = f"; it is one of {', '.join(TASK_STATES)}" if key == "task_state" else ""
            raise Invalid([make_problem(f"has no value that makes sense{near}", (*place, key), input=str(given)[:80])])
    return report


def _read_count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_PRIMARIES:
        return None
    return int(value)


def _read_seconds(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_ESTIMATE_S:
        return None
    return int(value)


def _read_time(value: Any) -> str | None:
    """Read a time in one of both forms; None for anything else."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.strptime(value, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        return to_rfc3339(round(moment.timestamp(), 3))
    except ValueError:
        pass  # the other form
    try:
        return to_rfc3339(to_epoch(value))
    except (ValueError, OverflowError, OSError):
        return None


def apply_report(task: SimulationTask, report: TaskReport, now: float) -> SimulationTask:
    """Return the task with what it reports; the same task for nothing new.

    A task that has ended stays as it is, and none waits again after it ran.
    """
    if task.state in ENDED:
        return task
    changes: dict[str, Any] = {
        "requested_primaries": report.requested_primaries or task.requested_primaries,
        "simulated_primaries": report.simulated_primaries or task.simulated_primaries,
        "estimated_s": task.estimated_s if report.estimated_s is None else report.estimated_s,
        "started_at": task.started_at or report.started_at,
        "ended_at": task.ended_at or report.ended_at,
        "exit_code": task.exit_code if report.exit_code is None else report.exit_code,
        "reason": report.reason or task.reason,
    }
    if report.state is not None and not (report.state == "PENDING" and task.state == "RUNNING"):
        changes["state"] = report.state
    state = changes.get("state", task.state)
    if state == "COMPLETED":
        changes["simulated_primaries"] = changes["requested_primaries"] or changes["simulated_primaries"]
        changes["reason"] = None
    if state in ENDED:
        changes["ended_at"] = changes["ended_at"] or to_rfc3339(now)
    if changes["ended_at"]:
        changes["estimated_s"] = None
    changes = {name: value for name, value in changes.items() if value != getattr(task, name)}
    return task.model_copy(update={**changes, "updated_at": to_rfc3339(now)}) if changes else task


# --- tasks


def find_attempt(run: Run | None, name: str) -> Attempt | None:
    """Find the last attempt of a job of the run; None before the first."""
    job = next((job for job in run.jobs if job.name == name), None) if run else None
    return job.attempts[-1] if job is not None and job.attempts else None


def find_task_end(run: Run | None, task_id: int) -> TaskEnd | None:
    """Find how SLURM ended a task of the run; None while it has not."""
    if run is None:
        return None
    attempt = find_attempt(run, TASKS)
    if attempt is None:
        job = next((job for job in run.jobs if job.name == TASKS), None)
        if job is not None and job.skipped:
            return TaskEnd("CANCELLED")
        if run.status == "failed":
            return TaskEnd("FAILED", run.error)
        return TaskEnd("CANCELLED") if run.status == "cancelled" else None
    part = attempt.parts.get(f"{attempt.job_id}_{task_id}")
    if part is not None and part.state in states.TERMINAL:
        return TaskEnd(part.state, part.reason, part.exit_code, part.started_at, part.ended_at)
    if attempt.state in states.TERMINAL:
        return TaskEnd(attempt.state or "", attempt.error or attempt.reason, ended_at=attempt.ended_at)
    return None


def settle_task(
    task: SimulationTask, report: TaskReport | None, end: TaskEnd | None, now: float, is_cancelled: bool = False
) -> SimulationTask:
    """Return the task as both its report and SLURM have it.

    A task that was ended by a signal reports that it was cancelled, and only SLURM knows whether that was its time
    limit; so it is waited for, unless somebody cancelled the simulation.
    """
    if task.state in ENDED:
        return task
    said = report or TaskReport()
    if end is None:
        if said.state == "CANCELED" and not is_cancelled:
            said = TaskReport("RUNNING", said.requested_primaries, said.simulated_primaries, None, said.started_at)
        return apply_report(task, said, now)
    return apply_report(task, combine_ends(said, end), now)


def combine_ends(said: TaskReport, end: TaskEnd) -> TaskReport:
    """Combine a report with how SLURM ended the task."""
    state: TaskState
    reason: str | None = None
    if said.state == "COMPLETED":
        state = "COMPLETED"
    elif end.state == "COMPLETED":
        state = said.state if said.state in ("FAILED", "CANCELED") else "COMPLETED"
        reason = said.reason
    elif end.state in states.CANCELLED:
        # Its own failure came before what ended it.
        state = "FAILED" if said.state == "FAILED" else "CANCELED"
        reason = said.reason
    else:
        state, reason = "FAILED", describe_end(end, said)
    return TaskReport(
        state,
        said.requested_primaries,
        said.simulated_primaries,
        None,
        said.started_at or end.started_at,
        said.ended_at or end.ended_at,
        end.exit_code if said.exit_code is None else said.exit_code,
        reason,
    )


def describe_end(end: TaskEnd, said: TaskReport) -> str:
    """Describe why a task failed: SLURM's word, or what it says itself."""
    if end.state == "FAILED" and said.reason:
        return said.reason
    meaning = MEANINGS.get(end.state) or said.reason
    if meaning is None:
        meaning = f"exit code {end.exit_code}" if end.exit_code else end.reason
    return f"{end.state}: {meaning}"[:LONGEST_REASON] if meaning else end.state


def settle_tasks(
    simulation: Simulation, run: Run | None, reports: Mapping[int, TaskReport], now: float
) -> list[SimulationTask]:
    """Return the simulation's tasks as they are now."""
    is_cancelled = simulation.cancel_requested_at is not None
    return [
        settle_task(task, reports.get(task.task_id), find_task_end(run, task.task_id), now, is_cancelled)
        for task in simulation.tasks
    ]


# --- the whole


def find_state(tasks: Sequence[SimulationTask], run: Run | None, before: SimulationState) -> SimulationState:
    """Find the state of a simulation that has not ended.

    It is the one before where nothing has come any further.
    """
    collect = find_attempt(run, COLLECT)
    word = states.to_status(collect.state) if collect is not None and collect.job_id else "UNKNOWN"
    found: SimulationState
    if word in ("RUNNING", "COMPLETED", "FAILED", "TIMEOUT"):
        found = "MERGING_RUNNING"
    elif tasks and all(task.state in ENDED for task in tasks):
        found = "MERGING_QUEUED"
    elif any(task.state != "PENDING" for task in tasks):
        found = "RUNNING"
    else:
        found = "PENDING"
    return choose_later(before, found)


def choose_later(before: SimulationState, found: SimulationState) -> SimulationState:
    """Choose the state that is further on; an end is the last.

    >>> choose_later("MERGING_RUNNING", "RUNNING"), choose_later("FAILED", "RUNNING")
    ('MERGING_RUNNING', 'FAILED')
    """
    if before in ENDED:
        return before
    return found if found in ENDED or ORDER.index(found) > ORDER.index(before) else before


def parse_states(text: str | None) -> list[str]:
    """Parse a list of states with commas; all for none. Raises Invalid.

    >>> parse_states("RUNNING,FAILED"), parse_states("")
    (['RUNNING', 'FAILED'], [])
    """
    found = [word.strip().upper() for word in (text or "").split(",") if word.strip()]
    for word in found:
        if word not in JOB_STATES:
            message = f"'{word[:40]}' is no state of a job{suggest_word(word, JOB_STATES)}"
            raise Invalid([make_problem(message, ("query", "job_state"), input=word[:40])])
    return found
