"""Decide what happens to a simulation: pure rules.

`advance_simulation` is level-triggered: it looks only at the document, at its run and at what the tasks report, so a
server that was killed at any point goes on where it was. A simulation has one run with two jobs: an array of tasks, and
a job that merges their results after all of them have ended, however they did. It ends when its results are here, or
known to be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from store.documents import EstimatorFacts, PageFacts, Run, Simulation, SimulationState, SimulationTask
from store.errors import Conflict, Invalid, make_problem
from store.rules import runs
from store.rules import states as slurm_states
from store.rules.simulations import states
from store.rules.simulations.states import COLLECT, ENDED, TaskReport
from store.times import to_rfc3339

# How often a simulation that nobody looks at is looked at.
FOLLOW_S = 15.0
TOLD_TASKS = 5
MOST_ESTIMATORS, MOST_PAGES = 1000, 100_000
GONE = "its run is not there any more"
NO_RESULTS = "no task left a result"
ID = re.compile(r"\d{8}-\d{6}-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:DIRECT|BATCH)")


@dataclass(frozen=True)
class StartRun:
    """Create the run, unless it is there."""

    run_id: str


@dataclass(frozen=True)
class CancelRun:
    """Cancel the run; its jobs are cancelled when it is moved on."""

    run_id: str


@dataclass(frozen=True)
class FetchResults:
    """Bring results and logs here, and record that or why not."""

    run_id: str


Step = StartRun | CancelRun | FetchResults


class Summary(NamedTuple):
    """What the merge made: estimators, and by task why it was left out."""

    estimators: list[EstimatorFacts]
    left_out: Mapping[int, str]


def make_id(unique: str, platform: Literal["DIRECT", "BATCH"], now_text: str) -> str:
    """Make the id of a simulation from a UUID and a time `20261121-163917`.

    >>> make_id("0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6f", "DIRECT", "20261121-163917")
    '20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT'
    """
    return f"{now_text}-{unique}{platform}"


def make_run_id(simulation_id: str) -> str:
    """Return the id of the simulation's run: its UUID.

    >>> make_run_id("20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT")
    '0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6f'
    """
    match = ID.fullmatch(simulation_id)
    if match is None:
        raise ValueError(f"'{simulation_id[:100]}' is no id of a simulation")
    return match[1]


def advance_simulation(
    simulation: Simulation, run: Run | None, reports: Mapping[int, TaskReport], now: float
) -> tuple[Simulation, list[Step]]:
    """Bring the simulation up to date; return it with the steps to take next.

    `reports` are those that are known, by task. `now` is epoch seconds. The simulation given is not changed; when there
    is nothing to do, the result is the same one and no steps.
    """
    if simulation.settled_at is not None:
        return simulation, []
    if run is None:
        return _advance_without_run(simulation, now)
    changes: dict[str, Any] = {"is_begun": True}
    if simulation.state not in ENDED:
        tasks = _keep_same(simulation.tasks, states.settle_tasks(simulation, run, reports, now))
        changes["tasks"] = tasks
        changes["state"] = states.find_state(tasks, run, simulation.state)
        changes["started_at"] = simulation.started_at or _find_first_start(tasks)
        if changes["state"] == "MERGING_RUNNING" and simulation.merging_at is None:
            changes["merging_at"] = to_rfc3339(now)
    simulation = _apply_changes(simulation, changes)
    if simulation.cancel_requested_at and run.status not in runs.ENDED:
        return simulation, [CancelRun(simulation.run_id)]
    if runs.is_open(run):
        return simulation, []
    if simulation.results is None and any(attempt.job_id for job in run.jobs for attempt in job.attempts):
        return simulation, [FetchResults(simulation.run_id)]
    return _end_simulation(simulation, run, now), []


def _advance_without_run(simulation: Simulation, now: float) -> tuple[Simulation, list[Step]]:
    if simulation.cancel_requested_at is None and not simulation.is_begun:
        return simulation, [StartRun(simulation.run_id)]
    if simulation.state not in ENDED:
        simulation = _fail_simulation(simulation, GONE, now)
    return _apply_changes(simulation, {"settled_at": to_rfc3339(now), "results": simulation.results or "missing"}), []


def _keep_same(before: list[SimulationTask], after: list[SimulationTask]) -> list[SimulationTask]:
    return before if all(old is new for old, new in zip(before, after, strict=True)) else after


def _apply_changes(simulation: Simulation, changes: Mapping[str, Any]) -> Simulation:
    """Return the simulation with the changes; the same one without any."""
    wanted = {name: value for name, value in changes.items() if value != getattr(simulation, name)}
    return simulation.model_copy(update=wanted) if wanted else simulation


def _find_first_start(tasks: Sequence[SimulationTask]) -> str | None:
    return min((task.started_at for task in tasks if task.started_at), default=None)


def _end_simulation(simulation: Simulation, run: Run, now: float) -> Simulation:
    """End a simulation whose run is over and whose results are known."""
    changes: dict[str, Any] = {"settled_at": to_rfc3339(now), "results": simulation.results or "missing"}
    if simulation.state not in ENDED:
        state, error = find_end(simulation, run)
        changes |= {"state": state, "error": error, "ended_at": to_rfc3339(now)}
        # Of tasks of which nothing is known the run is over all the same.
        changes["tasks"] = [_end_task(task, state, now) for task in simulation.tasks]
    tasks = changes.get("tasks", simulation.tasks)
    has_gaps = bool(simulation.left_out) or any(task.state != "COMPLETED" for task in tasks)
    changes["is_partial"] = has_gaps and bool(simulation.estimators)
    return _apply_changes(simulation, changes)


def _end_task(task: SimulationTask, state: SimulationState, now: float) -> SimulationTask:
    end: Literal["FAILED", "CANCELED"] = "CANCELED" if state == "CANCELED" else "FAILED"
    return states.apply_report(task, TaskReport(end, reason="left no report"), now)


def find_end(simulation: Simulation, run: Run) -> tuple[SimulationState, str | None]:
    """Find how a simulation ends whose run is over, and why.

    It has failed when any task has, or when there is no result; what the others left is readable all the same.
    """
    failed = [task for task in simulation.tasks if task.state not in ("COMPLETED", "CANCELED")]
    if run.error_kind is not None:
        return "FAILED", run.error
    if failed:
        return "FAILED", describe_failures(failed, len(simulation.tasks))
    cancelled = [str(task.task_id) for task in simulation.tasks if task.state == "CANCELED"]
    if run.cancel_requested_at is not None:
        return "CANCELED", "its run was cancelled"
    if cancelled:
        return "CANCELED", f"cancelled outside of Sluice: task {', '.join(cancelled[:TOLD_TASKS])}"
    merge = states.find_attempt(run, COLLECT)
    if simulation.results == "there" and simulation.estimators and merge and merge.state == "COMPLETED":
        if simulation.left_out:
            return "FAILED", f"left out of the results: {describe_tasks(simulation.left_out)}"
        return "COMPLETED", None
    if merge is not None and merge.state in slurm_states.CANCELLED:
        return "CANCELED", "the merge of the results was cancelled outside of Sluice"
    if merge is not None and merge.state not in (None, "COMPLETED"):
        end = states.TaskEnd(merge.state or "", None, merge.exit_code)
        left_out = None if simulation.error == NO_RESULTS else simulation.error
        reason = states.describe_end(end, TaskReport(reason=merge.error or left_out))
        return "FAILED", f"the results could not be merged: {reason}"
    return "FAILED", simulation.error or run.error or NO_RESULTS


def describe_failures(failed: Sequence[SimulationTask], count: int) -> str:
    """Describe which tasks failed, and why the first ones did."""
    reasons = {task.task_id: task.reason or "gave no reason" for task in failed}
    return f"{len(failed)} of {count} tasks failed: {describe_tasks(reasons)}"


def describe_tasks(reasons: Mapping[int, str]) -> str:
    """Describe what is with some tasks; of many, the first ones."""
    first = "; ".join(f"task {task}: {reason}" for task, reason in list(reasons.items())[:TOLD_TASKS])
    return first + (f"; and {len(reasons) - TOLD_TASKS} more" if len(reasons) > TOLD_TASKS else "")


def _fail_simulation(simulation: Simulation, error: str, now: float) -> Simulation:
    tasks = [states.apply_report(task, TaskReport("FAILED", reason=error), now) for task in simulation.tasks]
    changes = {"state": "FAILED", "error": error, "ended_at": to_rfc3339(now), "tasks": tasks}
    return _apply_changes(simulation, changes)


def find_due_time(simulation: Simulation, now: float) -> float | None:
    """Find when to look at the simulation again if nothing of it changes."""
    if simulation.settled_at is not None:
        return None
    return now + FOLLOW_S if simulation.is_begun else now


# --- what callers, workers and steps record


def cancel_simulation(simulation: Simulation, now: float) -> Simulation:
    """Cancel the simulation and the tasks that have not ended.

    Raises Conflict for one that has ended. Its run is cancelled by the next step.
    """
    if simulation.state in ENDED:
        raise Conflict(f"Cannot cancel job which is in {simulation.state} state")
    tasks = [states.apply_report(task, TaskReport("CANCELED"), now) for task in simulation.tasks]
    at = to_rfc3339(now)
    return _apply_changes(simulation, {"state": "CANCELED", "cancel_requested_at": at, "ended_at": at, "tasks": tasks})


def fail_unstarted(simulation: Simulation, error: str, now: float) -> Simulation:
    """Record that the simulation's run could not be planned."""
    if simulation.state not in ENDED:
        simulation = _fail_simulation(simulation, error, now)
    return _apply_changes(simulation, {"settled_at": to_rfc3339(now), "results": "missing"})


def report_task(simulation: Simulation, task_id: int, report: TaskReport, now: float) -> Simulation:
    """Record what a worker said of a task. Raises Invalid for none of its.

    A task that says it was cancelled waits for what SLURM says of it.
    """
    found = next((task for task in simulation.tasks if task.task_id == task_id), None)
    if found is None:
        raise Invalid([make_problem(f"Task {task_id} does not exist", ("body", "task_id"), input=task_id)])
    if simulation.state in ENDED:
        return simulation
    after = states.settle_task(found, report, None, now)
    if after is found:
        return simulation
    tasks = [after if task is found else task for task in simulation.tasks]
    started = simulation.started_at or _find_first_start(tasks)
    state = states.find_state(tasks, None, simulation.state)
    return _apply_changes(simulation, {"tasks": tasks, "state": state, "started_at": started})


def report_state(simulation: Simulation, state: str, now: float) -> Simulation:
    """Record the state that a worker has sent. Raises Invalid for no state.

    It only brings the simulation on; how it ends is known from SLURM and from the results.
    """
    if state not in states.JOB_STATES:
        raise Invalid([make_problem(f"'{state[:40]}' is no state of a job", ("body", "job_state"), input=state[:40])])
    if state in ENDED or simulation.state in ENDED:
        return simulation
    later = states.choose_later(simulation.state, next(known for known in states.ORDER if known == state))
    merging = to_rfc3339(now) if later == "MERGING_RUNNING" else None
    return _apply_changes(simulation, {"state": later, "merging_at": simulation.merging_at or merging})


def record_results(simulation: Simulation, summary: Summary | None, error: str | None = None) -> Simulation:
    """Record that the results are here.

    Without any, or with an error, they are missing.
    """
    estimators = summary.estimators if summary else []
    is_there = bool(estimators) and error is None
    changes: dict[str, Any] = {"results": "there" if is_there else "missing", "estimators": estimators}
    changes["left_out"] = dict(summary.left_out) if summary and is_there else {}
    if not is_there and simulation.state not in ENDED:
        why = describe_tasks(summary.left_out) if summary and not estimators else ""
        changes["error"] = error or why or NO_RESULTS
    return _apply_changes(simulation, changes)


def parse_summary(data: Any) -> Summary:
    """Parse what the merge says of its results. Raises Invalid.

    Names are those of files, so they have no slash.
    """
    rows = data.get("estimators") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or len(rows) > MOST_ESTIMATORS:
        raise Invalid([make_problem("the summary of the merge has no list of estimators")])
    found = [_parse_estimator(row) for row in rows]
    if sum(len(estimator.pages) for estimator in found) > MOST_PAGES:
        raise Invalid([make_problem(f"the summary of the merge has more than {MOST_PAGES} pages")])
    problems = data.get("problems")
    given = problems if isinstance(problems, Mapping) else {}
    numbers = {key: str(reason)[: states.LONGEST_REASON] for key, reason in given.items()}
    return Summary(found, {int(key): reason for key, reason in numbers.items() if re.fullmatch(r"[0-9]{1,9}", key)})


def _parse_estimator(row: Any) -> EstimatorFacts:
    name = row.get("name") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not is_file_name(name):
        raise Invalid([make_problem("the summary of the merge has an estimator without a proper name")])
    pages = row.get("pages")
    return EstimatorFacts(name=name, file=f"{name}.json", pages=list(_parse_pages(pages)))


def _parse_pages(pages: Any) -> Iterable[PageFacts]:
    for position, page in enumerate(pages if isinstance(pages, list) else []):
        row = page if isinstance(page, Mapping) else {}
        number, dimension = row.get("page_number", position), row.get("page_dimension")
        yield PageFacts(
            page_number=number if isinstance(number, int) else position,
            page_name=str(row.get("page_name") or "")[:200],
            page_dimension=dimension if isinstance(dimension, int) else 0,
        )


def is_file_name(name: str) -> bool:
    """Return whether a file `NAME.json` may be called so.

    >>> is_file_name("dose_"), is_file_name("../x"), is_file_name(".x")
    (True, False, False)
    """
    return 0 < len(name.encode(errors="replace")) <= 200 and not re.search(r"^\.|[/\x00-\x1f\x7f\ud800-\udfff]", name)
