"""States of tasks: what they report, and what SLURM says of their end."""

from __future__ import annotations

from typing import Any

import pytest

from store.documents import Run, SimulationTask
from store.errors import Invalid
from store.rules.simulations import states
from store.rules.simulations.states import TaskEnd, TaskReport
from store.times import to_rfc3339
from tests.store.rules.simulations.samples import AT, NOW, array, make_attempt, make_run, merge

RAN = TaskReport("RUNNING", 5, 2, 30, to_rfc3339(NOW - 20))


def make_task(**more: Any) -> SimulationTask:
    """A task of five primaries."""
    return SimulationTask(**{"task_id": 1, "seed": 1, "requested_primaries": 5} | more)


# --- reports


@pytest.mark.parametrize(
    ("why", "data", "report"),
    [
        (
            "all of it",
            {
                "task_id": 1, "task_state": "RUNNING", "requested_primaries": 5, "simulated_primaries": 2,
                "estimated_s": 30.7, "start_time": "2026-11-21T16:39:17Z", "end_time": None, "exit_code": None,
                "reason": None,
            },
            TaskReport("RUNNING", 5, 2, 30, "2026-11-21T16:39:17Z"),
        ),
        ("nothing", {}, TaskReport()),
        (
            "nonsense is left out",
            {
                "task_state": "DONE", "requested_primaries": "5", "simulated_primaries": -1, "estimated_s": True,
                "start_time": "yesterday", "end_time": 5, "exit_code": 2**40, "reason": 7,
            },
            TaskReport(),
        ),
        ("numbers without end", {"simulated_primaries": float("inf"), "estimated_s": float("nan")}, TaskReport()),
        ("how it failed", {"task_state": "FAILED", "exit_code": 2, "reason": "x" * 2000},
         TaskReport("FAILED", exit_code=2, reason="x" * 1000)),
        ("no report", [1], None),
        ("none at all", None, None),
    ],
)  # fmt: skip
def test_files_of_tasks(why: str, data: Any, report: TaskReport | None) -> None:
    assert states.parse_report(data) == report, why


@pytest.mark.parametrize(
    ("why", "update", "report"),
    [
        (
            "as the real YAPTIDE's workers send it",
            {
                "task_state": "RUNNING", "simulated_primaries": 1250, "estimated_time": 3,
                "start_time": "2026-11-21 16:39:17.250000",
            },
            TaskReport("RUNNING", 0, 1250, 3, "2026-11-21T16:39:17.250Z"),
        ),
        ("what is 0 says nothing", {"simulated_primaries": 0, "estimated_time": 0}, TaskReport(estimated_s=0)),
        ("its name in another queue", {"celery_id": "x"}, TaskReport()),
        ("a time as we write it", {"end_time": "2026-11-21T16:39:17Z"}, TaskReport(ended_at="2026-11-21T16:39:17Z")),
    ],
)  # fmt: skip
def test_updates_of_workers(why: str, update: dict[str, Any], report: TaskReport) -> None:
    assert states.parse_update(update) == report, why


@pytest.mark.parametrize(
    ("why", "update", "problem"),
    [
        ("a typo", {"task_stat": "RUNNING"}, "unknown key 'task_stat'; did you mean 'task_state'?"),
        ("no state", {"task_state": "DONE"}, "it is one of PENDING, RUNNING"),
        ("no number", {"simulated_primaries": "many"}, "simulated_primaries: has no value that makes sense"),
        ("less than none", {"requested_primaries": -3}, "requested_primaries: has no value"),
        ("no duration", {"estimated_time": "soon"}, "estimated_time: has no value"),
        ("no time", {"start_time": "today"}, "start_time: has no value"),
        ("a time far away", {"end_time": "9999999-01-01T00:00:00Z"}, "end_time: has no value"),
    ],
)
def test_wrong_updates(why: str, update: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as found:
        states.parse_update(update)
    assert problem in str(found.value), why


@pytest.mark.parametrize(
    ("why", "task", "report", "after"),
    [
        ("it begins", {}, RAN, {"state": "RUNNING", "simulated_primaries": 2, "estimated_s": 30,
         "started_at": to_rfc3339(NOW - 20), "updated_at": AT}),
        ("nothing new", {}, TaskReport(), {}),
        ("the same once more", {"state": "RUNNING", "simulated_primaries": 2}, TaskReport("RUNNING", 5, 2), {}),
        ("none waits again", {"state": "RUNNING"}, TaskReport("PENDING"), {}),
        ("a start is set once", {"state": "RUNNING", "started_at": AT}, TaskReport("RUNNING", started_at="x"), {}),
        ("what is 0 changes nothing", {"simulated_primaries": 3}, TaskReport(simulated_primaries=0), {}),
        ("the number may be told late", {"requested_primaries": 0}, TaskReport(requested_primaries=9),
         {"requested_primaries": 9, "updated_at": AT}),
        ("all is simulated at the end", {"state": "RUNNING", "simulated_primaries": 2, "estimated_s": 9},
         TaskReport("COMPLETED", 0, 4),
         {"state": "COMPLETED", "simulated_primaries": 5, "estimated_s": None, "ended_at": AT, "updated_at": AT}),
        ("where the number is not known, what was counted", {"requested_primaries": 0}, TaskReport("COMPLETED", 0, 4),
         {"state": "COMPLETED", "simulated_primaries": 4, "ended_at": AT, "updated_at": AT}),
        ("a failure keeps what was counted", {"simulated_primaries": 2}, TaskReport("FAILED", reason="why"),
         {"state": "FAILED", "reason": "why", "ended_at": AT, "updated_at": AT}),
        ("what has ended stays: completed", {"state": "COMPLETED"}, TaskReport("FAILED"), {}),
        ("what has ended stays: failed", {"state": "FAILED"}, TaskReport("COMPLETED", 0, 5), {}),
        ("what has ended stays: cancelled", {"state": "CANCELED"}, TaskReport("RUNNING", 0, 5), {}),
    ],
)  # fmt: skip
def test_reports(why: str, task: dict[str, Any], report: TaskReport, after: dict[str, Any]) -> None:
    before = make_task(**task)
    changed = states.apply_report(before, report, NOW)
    assert changed == before.model_copy(update=after), why
    assert (changed is before) is (not after)


# --- ends


@pytest.mark.parametrize(
    ("why", "report", "end", "cancelled", "state", "reason"),
    [
        ("nobody knows of it", None, None, False, "PENDING", None),
        ("it runs", RAN, None, False, "RUNNING", None),
        ("it says that it is done", TaskReport("COMPLETED"), None, False, "COMPLETED", None),
        ("it says that it failed", TaskReport("FAILED", reason="no result"), None, False, "FAILED", "no result"),
        ("a signal: why is not known yet", TaskReport("CANCELED"), None, False, "RUNNING", None),
        ("a signal after somebody cancelled", TaskReport("CANCELED"), None, True, "CANCELED", None),
        ("a signal at its time limit", TaskReport("CANCELED"), TaskEnd("TIMEOUT"), False, "FAILED",
         "TIMEOUT: it reached its time limit"),
        ("a signal from outside", TaskReport("CANCELED"), TaskEnd("CANCELLED"), False, "CANCELED", None),
        ("cancelled before it began", None, TaskEnd("CANCELLED"), False, "CANCELED", None),
        ("its failure came first", TaskReport("FAILED", reason="x"), TaskEnd("CANCELLED"), False, "FAILED", "x"),
        ("no word of it, but SLURM's", None, TaskEnd("COMPLETED", exit_code=0), False, "COMPLETED", None),
        ("its last word came too late", RAN, TaskEnd("COMPLETED"), False, "COMPLETED", None),
        ("without a result", TaskReport("FAILED", reason="x"), TaskEnd("COMPLETED"), False, "FAILED", "x"),
        ("memory", RAN, TaskEnd("OUT_OF_MEMORY"), False, "FAILED",
         "OUT_OF_MEMORY: it used more memory than it had asked for"),
        ("a node", RAN, TaskEnd("NODE_FAIL", "None"), False, "FAILED", "NODE_FAIL: its node failed"),
        ("lost", RAN, TaskEnd("LOST", "long text"), False, "FAILED", "LOST: SLURM no longer knows how it ended"),
        ("killed without a word", RAN, TaskEnd("FAILED", "NonZeroExitCode", 9), False, "FAILED", "FAILED: exit code 9"),
        ("refused", None, TaskEnd("FAILED", "sbatch: error: no"), False, "FAILED", "FAILED: sbatch: error: no"),
        ("it knows better", TaskReport("FAILED", reason="geo.dat: no zone"), TaskEnd("FAILED", exit_code=1), False,
         "FAILED", "geo.dat: no zone"),
        ("done, and then its node failed", TaskReport("COMPLETED"), TaskEnd("NODE_FAIL"), False, "COMPLETED", None),
        ("an unknown end", None, TaskEnd("SOMETHING_NEW"), False, "FAILED", "SOMETHING_NEW"),
    ],
)  # fmt: skip
def test_ends(
    why: str, report: TaskReport | None, end: TaskEnd | None, cancelled: bool, state: str, reason: str | None
) -> None:
    task = states.settle_task(make_task(), report, end, NOW, cancelled)
    assert (task.state, task.reason) == (state, reason), why
    assert (task.ended_at is not None) is (state in states.ENDED)
    assert states.settle_task(task, report, end, NOW + 5, cancelled) is task


@pytest.mark.parametrize(
    ("why", "run", "ends"),
    [
        ("not there yet", None, [None, None]),
        ("not submitted", make_run(), [None, None]),
        ("submitted", make_run(array("PENDING")), [None, None]),
        ("one has ended", make_run(array("RUNNING", t2="TIMEOUT")), [None, "TIMEOUT"]),
        ("a part that runs on", make_run(array("RUNNING", t2="COMPLETING")), [None, None]),
        ("all have", make_run(array("FAILED", t1="FAILED", t2="COMPLETED")), ["FAILED", "COMPLETED"]),
        ("SLURM has forgotten a part", make_run(array("FAILED", t1="FAILED")), ["FAILED", "FAILED"]),
        ("another array's part", make_run(make_attempt("7", "RUNNING") .model_copy(update={"parts":
         make_attempt("6", "RUNNING", {1: "FAILED"}).parts})), [None, None]),
        ("cancelled as a whole while it waited", make_run(array("CANCELLED")), ["CANCELLED", "CANCELLED"]),
        ("lost", make_run(array("LOST")), ["LOST", "LOST"]),
        ("refused", make_run(make_attempt(None, "FAILED", error="no"), status="failed"), ["FAILED", "FAILED"]),
        ("the run failed before", make_run(status="failed", error="Mount"), ["FAILED", "FAILED"]),
        ("the run was cancelled before", make_run(status="cancelled"), ["CANCELLED", "CANCELLED"]),
    ],
)  # fmt: skip
def test_what_slurm_says_of_tasks(why: str, run: Run | None, ends: list[str | None]) -> None:
    found = [states.find_task_end(run, task) for task in (1, 2)]
    assert [end and end.state for end in found] == ends, why


# --- the whole


@pytest.mark.parametrize(
    ("why", "tasks", "merging", "before", "state"),
    [
        ("all wait", ["PENDING", "PENDING"], None, "PENDING", "PENDING"),
        ("it was made just now", ["PENDING"], None, "UNKNOWN", "PENDING"),
        ("one runs", ["PENDING", "RUNNING"], None, "PENDING", "RUNNING"),
        ("one is done, the other waits", ["COMPLETED", "PENDING"], None, "PENDING", "RUNNING"),
        ("one failed, the other waits", ["FAILED", "PENDING"], None, "RUNNING", "RUNNING"),
        ("all are done", ["COMPLETED", "COMPLETED"], None, "RUNNING", "MERGING_QUEUED"),
        ("all have ended, somehow", ["FAILED", "CANCELED"], "PENDING", "RUNNING", "MERGING_QUEUED"),
        ("the merge runs", ["COMPLETED", "FAILED"], "RUNNING", "MERGING_QUEUED", "MERGING_RUNNING"),
        ("the merge runs before it is known how a task ended", ["COMPLETED", "RUNNING"], "RUNNING", "RUNNING",
         "MERGING_RUNNING"),
        ("the merge is over", ["COMPLETED"], "COMPLETED", "MERGING_QUEUED", "MERGING_RUNNING"),
        ("the merge failed", ["COMPLETED"], "TIMEOUT", "MERGING_QUEUED", "MERGING_RUNNING"),
        ("nothing goes back", ["RUNNING"], "PENDING", "MERGING_RUNNING", "MERGING_RUNNING"),
        ("an end stays", ["RUNNING"], "RUNNING", "CANCELED", "CANCELED"),
        ("a failure stays", ["COMPLETED"], "RUNNING", "FAILED", "FAILED"),
    ],
)  # fmt: skip
def test_states(why: str, tasks: list[Any], merging: str | None, before: Any, state: str) -> None:
    run = make_run(array("RUNNING"), merge(merging) if merging else None)
    assert states.find_state([make_task(state=known) for known in tasks], run, before) == state, why


@pytest.mark.parametrize(
    ("why", "text", "found"),
    [
        ("no filter", None, []),
        ("an empty one is none", "", []),
        ("all that the client sends", ",".join(states.JOB_STATES[1:]), list(states.JOB_STATES[1:])),
        ("blanks and small letters", " running , failed,", ["RUNNING", "FAILED"]),
    ],
)
def test_filters_of_states(why: str, text: str | None, found: list[str]) -> None:
    assert states.parse_states(text) == found, why


def test_a_wrong_state_is_refused_with_the_near_one() -> None:
    with pytest.raises(Invalid, match="'CANCELLED' is no state of a job; did you mean 'CANCELED'"):
        states.parse_states("RUNNING,CANCELLED")
