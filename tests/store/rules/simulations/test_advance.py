"""What becomes of a simulation: by its document, its run and what tasks report."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.documents import EstimatorFacts, Run, Simulation, from_json, to_json
from store.errors import Conflict, Invalid
from store.rules import runs
from store.rules.simulations import advance, states
from store.rules.simulations.advance import CancelRun, FetchResults, StartRun, Summary
from store.rules.simulations.states import TaskReport
from store.times import to_rfc3339
from tests.store.rules.simulations.samples import (
    AT,
    ID,
    NOW,
    RUN_ID,
    array,
    make_attempt,
    make_run,
    make_simulation,
    merge,
    step_on,
)

START, CANCEL, FETCH = StartRun(RUN_ID), CancelRun(RUN_ID), FetchResults(RUN_ID)
RESULTS = Summary([EstimatorFacts(name="dose", file="dose.json")], {})
NOTHING = Summary([], {})
DONE = {1: TaskReport("COMPLETED", 5, 5), 2: TaskReport("COMPLETED", 5, 5)}
ENDED_WELL = make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"), merge("COMPLETED"), status="completed")


def list_states(simulation: Simulation) -> list[str]:
    """The states of its tasks."""
    return [task.state for task in simulation.tasks]


# --- a life


def test_a_life() -> None:
    simulation, steps = step_on(make_simulation(), None)
    assert (simulation.state, steps) == ("PENDING", [START])
    simulation, steps = step_on(simulation, make_run(status="submitting"))
    assert (simulation.state, simulation.is_begun, steps) == ("PENDING", True, [])
    simulation, steps = step_on(simulation, make_run(array("PENDING"), merge("PENDING")))
    assert (simulation.state, list_states(simulation), steps) == ("PENDING", ["PENDING", "PENDING"], [])
    began = to_rfc3339(NOW - 30)
    reports = {1: TaskReport("RUNNING", 5, 2, 60, began)}
    simulation, steps = step_on(simulation, make_run(array("RUNNING"), merge("PENDING")), reports)
    assert (simulation.state, simulation.started_at, steps) == ("RUNNING", began, [])
    assert simulation.tasks[0].estimated_s == 60
    simulation, steps = step_on(simulation, make_run(array("RUNNING"), merge("PENDING")), DONE)
    assert (simulation.state, steps) == ("MERGING_QUEUED", [])
    assert [task.simulated_primaries for task in simulation.tasks] == [5, 5]
    simulation, steps = step_on(simulation, make_run(array("COMPLETED"), merge("RUNNING")))
    assert (simulation.state, simulation.merging_at, steps) == ("MERGING_RUNNING", AT, [])
    simulation, steps = step_on(simulation, ENDED_WELL)
    assert (simulation.state, simulation.settled_at, steps) == ("MERGING_RUNNING", None, [FETCH])
    simulation, steps = step_on(advance.record_results(simulation, RESULTS), ENDED_WELL, now=NOW + 60)
    assert (simulation.state, simulation.ended_at, steps) == ("COMPLETED", to_rfc3339(NOW + 60), [])
    assert (simulation.error, simulation.is_partial, simulation.settled_at) == (None, False, simulation.ended_at)
    assert from_json(Simulation, to_json(simulation), ID) == simulation


@pytest.mark.parametrize(
    ("why", "run", "reports", "state", "tasks", "steps"),
    [
        ("not started", None, {}, "PENDING", "PP", [START]),
        ("its run waits", make_run(status="submitting"), {}, "PENDING", "PP", []),
        ("SLURM says that a task timed out", make_run(array("RUNNING", t1="TIMEOUT"), merge("PENDING")), {}, "RUNNING",
         "FP", []),
        ("all tasks failed", make_run(array("FAILED", t1="FAILED", t2="FAILED"), merge("PENDING")), {},
         "MERGING_QUEUED", "FF", []),
        ("all is over at once", ENDED_WELL, {}, "MERGING_RUNNING", "CC", [FETCH]),
        ("the merge could not even begin", make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"),
         merge("CANCELLED"), status="cancelled"), {}, "MERGING_QUEUED", "CC", [FETCH]),
    ],
)  # fmt: skip
def test_passes(
    why: str, run: Run | None, reports: dict[int, TaskReport], state: str, tasks: str, steps: list[advance.Step]
) -> None:
    simulation, found = step_on(make_simulation(), run, reports)
    assert (simulation.state, "".join(word[0] for word in list_states(simulation)), found) == (state, tasks, steps), why


# --- ends


@pytest.mark.parametrize(
    ("why", "run", "results", "state", "is_partial", "error"),
    [
        ("all is well", ENDED_WELL, RESULTS, "COMPLETED", False, None),
        ("nothing was left", ENDED_WELL, NOTHING, "FAILED", False, "no task left a result"),
        ("a torn result", ENDED_WELL, RESULTS._replace(left_out={2: "it is torn"}), "FAILED", True,
         "left out of the results: task 2: it is torn"),
        ("a task timed out", make_run(array("TIMEOUT", t1="COMPLETED", t2="TIMEOUT"), merge("COMPLETED"),
         status="failed"), RESULTS, "FAILED", True, "1 of 2 tasks failed: task 2: TIMEOUT: it reached its time limit"),
        ("a node failed", make_run(array("NODE_FAIL", t1="NODE_FAIL", t2="COMPLETED"), merge("COMPLETED"),
         status="failed"), RESULTS, "FAILED", True, "1 of 2 tasks failed: task 1: NODE_FAIL: its node failed"),
        ("out of memory", make_run(array("OUT_OF_MEMORY", t1="OUT_OF_MEMORY", t2="COMPLETED"), merge("COMPLETED"),
         status="failed"), RESULTS, "FAILED", True,
         "1 of 2 tasks failed: task 1: OUT_OF_MEMORY: it used more memory than it had asked for"),
        ("all failed", make_run(array("FAILED", t1="FAILED", t2="FAILED"), merge("FAILED"), status="failed"), NOTHING,
         "FAILED", False,
         "2 of 2 tasks failed: task 1: FAILED: exit code 1; task 2: FAILED: exit code 1"),
        ("one was scancelled", make_run(array("CANCELLED", t1="COMPLETED", t2="CANCELLED"), merge("COMPLETED"),
         status="cancelled"), RESULTS, "CANCELED", True, "cancelled outside of Sluice: task 2"),
        ("a failure counts more than that", make_run(array("FAILED", t1="FAILED", t2="CANCELLED"), merge("COMPLETED"),
         status="failed"), RESULTS, "FAILED", True, "1 of 2 tasks failed: task 1: FAILED: exit code 1"),
        ("the merge failed", make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"), merge("OUT_OF_MEMORY"),
         status="failed"), NOTHING, "FAILED", False,
         "the results could not be merged: OUT_OF_MEMORY: it used more memory than it had asked for"),
        ("the merge left something and failed", make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"),
         merge("TIMEOUT"), status="failed"), RESULTS, "FAILED", False,
         "the results could not be merged: TIMEOUT: it reached its time limit"),
        ("nothing could be merged", make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"), merge("FAILED"),
         status="failed"), Summary([], {1: "no reader", 2: "no reader"}), "FAILED", False,
         "the results could not be merged: task 1: no reader; task 2: no reader"),
        ("the merge was cancelled", make_run(array("COMPLETED", t1="COMPLETED", t2="COMPLETED"), merge("CANCELLED"),
         status="cancelled"), NOTHING, "CANCELED", False, "the merge of the results was cancelled outside of Sluice"),
        ("the array is lost", make_run(array("LOST"), merge("COMPLETED"), status="failed"), NOTHING, "FAILED", False,
         "2 of 2 tasks failed: task 1: LOST: SLURM no longer knows how it ended; task 2: LOST: SLURM no longer knows "
         "how it ended"),
    ],
)  # fmt: skip
def test_ends(why: str, run: Run, results: Summary, state: str, is_partial: bool, error: str | None) -> None:
    simulation, steps = step_on(make_simulation(), run)
    assert (steps, simulation.state in states.ENDED) == ([FETCH], False), "the results come first"
    simulation, steps = step_on(advance.record_results(simulation, results), run)
    assert (simulation.state, simulation.error, simulation.is_partial, steps) == (state, error, is_partial, []), why
    assert simulation.settled_at == simulation.ended_at == AT
    assert from_json(Simulation, to_json(simulation), ID) == simulation
    assert all(task.state in states.ENDED for task in simulation.tasks)


def test_many_failures_are_not_all_told() -> None:
    parts = {f"t{number}": "FAILED" for number in range(1, 8)}
    run = make_run(array("FAILED", **parts), merge("COMPLETED"), status="failed")
    simulation, _ = step_on(advance.record_results(make_simulation(7), None), run)
    assert simulation.error is not None and simulation.error.endswith("task 5: FAILED: exit code 1; and 2 more")


@pytest.mark.parametrize(
    ("why", "run", "error"),
    [
        ("SLURM refused the array", make_run(make_attempt(None, "FAILED", error="no such partition"), status="failed",
         error="Submission failed: no such partition", error_kind="refused"), "Submission failed: no such partition"),
        ("it could not be planned", make_run(status="failed", error="no program"),
         "2 of 2 tasks failed: task 1: FAILED: no program; task 2: FAILED: no program"),
    ],
)  # fmt: skip
def test_what_was_never_submitted_has_no_results_to_wait_for(why: str, run: Run, error: str) -> None:
    simulation, steps = step_on(make_simulation(), run)
    assert (simulation.state, simulation.error, simulation.results, steps) == ("FAILED", error, "missing", []), why
    assert list_states(simulation) == ["FAILED", "FAILED"]


def test_a_refused_merge_ends_the_tasks() -> None:
    refused = make_attempt(None, "FAILED", error="no")
    run = make_run(array("RUNNING"), refused, status="failed", error="Submission failed: no", error_kind="refused")
    simulation, steps = step_on(make_simulation(), run)
    assert (simulation.settled_at, steps) == (None, []), "the run cancels the array first"
    run = make_run(array("CANCELLED"), refused, status="failed", error="Submission failed: no", error_kind="refused")
    simulation, steps = step_on(simulation, run)
    assert steps == [FETCH]
    simulation, _ = step_on(advance.record_results(simulation, None), run)
    assert (simulation.state, simulation.error) == ("FAILED", "Submission failed: no")


def test_a_run_that_is_gone() -> None:
    simulation, steps = step_on(make_simulation(is_begun=True, state="RUNNING"), None)
    assert (simulation.state, simulation.error, steps) == ("FAILED", "its run is not there any more", [])
    assert list_states(simulation) == ["FAILED", "FAILED"] and simulation.settled_at == AT


def test_a_run_that_could_not_be_made() -> None:
    simulation = advance.fail_unstarted(make_simulation(), "no input", NOW)
    assert (simulation.state, simulation.error, simulation.settled_at) == ("FAILED", "no input", AT)
    assert step_on(simulation, None) == (simulation, [])


# --- cancelling


def test_cancelling_while_it_runs() -> None:
    running = make_run(array("RUNNING"), merge("PENDING"))
    simulation, _ = step_on(make_simulation(), running, {1: TaskReport("COMPLETED")})
    simulation = advance.cancel_simulation(simulation, NOW)
    assert (simulation.state, simulation.ended_at, list_states(simulation)) == (
        "CANCELED",
        AT,
        ["COMPLETED", "CANCELED"],
    )
    simulation, steps = step_on(simulation, running, DONE)
    assert (steps, list_states(simulation)) == ([CANCEL], ["COMPLETED", "CANCELED"]), "what has ended stays"
    stopping = runs.cancel_run(running, NOW)
    simulation, steps = step_on(simulation, stopping)
    assert (simulation.settled_at, steps) == (None, []), "its jobs have not ended"
    over = make_run(array("CANCELLED", t1="COMPLETED", t2="CANCELLED"), merge("CANCELLED"), status="cancelled")
    simulation, steps = step_on(simulation, over)
    assert steps == [FETCH], "logs, and what the tasks left"
    simulation, steps = step_on(advance.record_results(simulation, None, "away"), over, now=NOW + 60)
    assert (simulation.state, simulation.error, simulation.ended_at, steps) == ("CANCELED", None, AT, [])
    assert (simulation.settled_at, simulation.results) == (to_rfc3339(NOW + 60), "missing")


def test_cancelling_before_it_began() -> None:
    simulation = advance.cancel_simulation(make_simulation(), NOW)
    simulation, steps = step_on(simulation, None)
    assert (simulation.state, simulation.settled_at, steps) == ("CANCELED", AT, []), "no run is made any more"
    simulation = advance.cancel_simulation(make_simulation(), NOW)
    simulation, steps = step_on(simulation, make_run(status="submitting"))
    assert steps == [CANCEL], "it was made just then"
    simulation, steps = step_on(simulation, make_run(status="cancelled"))
    assert (simulation.state, simulation.settled_at, steps) == ("CANCELED", AT, [])


@pytest.mark.parametrize("state", sorted(states.ENDED))
def test_what_has_ended_is_not_cancelled(state: str) -> None:
    with pytest.raises(Conflict, match=f"^Cannot cancel job which is in {state} state$"):
        advance.cancel_simulation(make_simulation(state=state), NOW)


# --- what workers say


def test_reports_of_workers() -> None:
    simulation = advance.report_task(make_simulation(), 2, TaskReport("RUNNING", 5, 3), NOW)
    assert (simulation.state, list_states(simulation)) == ("RUNNING", ["PENDING", "RUNNING"])
    assert advance.report_task(simulation, 2, TaskReport("RUNNING", 5, 3), NOW + 1) is simulation
    simulation = advance.report_task(simulation, 1, TaskReport("COMPLETED"), NOW)
    simulation = advance.report_task(simulation, 2, TaskReport("FAILED"), NOW)
    assert (simulation.state, list_states(simulation)) == ("MERGING_QUEUED", ["COMPLETED", "FAILED"])
    with pytest.raises(Invalid, match="Task 3 does not exist"):
        advance.report_task(simulation, 3, TaskReport("RUNNING"), NOW)


@pytest.mark.parametrize(
    ("why", "before", "said", "after"),
    [
        ("the document's example", "PENDING", "RUNNING", "RUNNING"),
        ("the merge begins", "MERGING_QUEUED", "MERGING_RUNNING", "MERGING_RUNNING"),
        ("not back", "MERGING_RUNNING", "RUNNING", "MERGING_RUNNING"),
        ("an end is known from SLURM and the results", "RUNNING", "COMPLETED", "RUNNING"),
        ("a failure too", "RUNNING", "FAILED", "RUNNING"),
        ("what has ended stays", "CANCELED", "RUNNING", "CANCELED"),
    ],
)
def test_states_from_workers(why: str, before: str, said: str, after: str) -> None:
    simulation = advance.report_state(make_simulation(state=before), said, NOW)
    assert simulation.state == after, why
    assert simulation.merging_at == (AT if after == "MERGING_RUNNING" else None)


def test_a_state_that_is_none() -> None:
    with pytest.raises(Invalid, match="'DONE' is no state of a job"):
        advance.report_state(make_simulation(), "DONE", NOW)


# --- results


@pytest.mark.parametrize(
    ("why", "data", "names"),
    [
        (
            "as the merge writes it",
            {
                "estimators": [
                    {"name": "dose_", "pages": [{"page_number": 0, "page_name": "Dose", "page_dimension": 1}]},
                    {"name": "let"},
                ],
                "problems": {"2": "it has no result", "x": ""},
            },
            ["dose_", "let"],
        ),
        ("nothing", {"estimators": []}, []),
    ],
)
def test_summaries(why: str, data: Any, names: list[str]) -> None:
    found = advance.parse_summary(data)
    assert [estimator.name for estimator in found.estimators] == names, why
    assert found.left_out == ({2: "it has no result"} if names else {})
    assert [estimator.file for estimator in found.estimators] == [f"{name}.json" for name in names]


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("no object", []),
        ("no list", {"estimators": {}}),
        ("no name", {"estimators": [{"pages": []}]}),
        ("a path", {"estimators": [{"name": "../x"}]}),
        ("a hidden file", {"estimators": [{"name": ".x"}]}),
        ("too many", {"estimators": [{"name": "x"}] * 1001}),
        ("too many pages", {"estimators": [{"name": "x", "pages": [{}] * 100_001}]}),
    ],
)
def test_wrong_summaries(why: str, data: Any) -> None:
    with pytest.raises(Invalid, match="the summary of the merge"):
        advance.parse_summary(data)


def test_the_reason_why_results_are_missing_is_kept() -> None:
    simulation = advance.record_results(make_simulation(), None, "the disk of lab is full")
    simulation, _ = step_on(simulation, ENDED_WELL)
    assert (simulation.state, simulation.error) == ("FAILED", "the disk of lab is full")


# --- ids, times


def test_ids() -> None:
    assert (ID.endswith("DIRECT"), advance.make_run_id(ID)) == (True, "0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6f")
    for wrong in ("", "x", ID + "x", ID.lower(), "../" + ID):
        with pytest.raises(ValueError, match="no id of a simulation"):
            advance.make_run_id(wrong)


@pytest.mark.parametrize(
    ("why", "fields", "due"),
    [
        ("its run is to be made", {}, NOW),
        ("it is followed", {"is_begun": True}, NOW + advance.FOLLOW_S),
        ("nothing is to be done", {"is_begun": True, "settled_at": AT}, None),
    ],
)
def test_when_it_is_looked_at_again(why: str, fields: dict[str, Any], due: float | None) -> None:
    assert advance.find_due_time(make_simulation(**fields), NOW) == due, why


REPORTS = st.builds(TaskReport, st.sampled_from([None, *states.TASK_STATES]), st.just(5), st.integers(0, 5))
PARTS = st.sampled_from(["", "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"])
WORLDS = st.tuples(
    st.sampled_from(["PENDING", "RUNNING", "FAILED", "COMPLETED", "LOST"]),
    st.tuples(PARTS, PARTS),
    st.sampled_from(["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]),
    st.dictionaries(st.integers(1, 2), REPORTS),
    st.booleans(),
)


@given(st.lists(WORLDS, max_size=8), st.booleans())
def test_nothing_goes_back_and_all_ends(worlds: list[Any], has_results: bool) -> None:
    simulation = make_simulation()
    for state, parts, merging, reports, cancels in worlds:
        named = {f"t{number}": part for number, part in enumerate(parts, 1) if part}
        before = simulation
        simulation, _ = step_on(simulation, make_run(array(state, **named), merge(merging)), reports)
        if cancels and simulation.state not in states.ENDED:
            simulation = advance.cancel_simulation(simulation, NOW)
        assert states.choose_later(before.state, simulation.state) == simulation.state
        for old, new in zip(before.tasks, simulation.tasks, strict=True):
            assert new == old if old.state in states.ENDED else new.state != "PENDING" or old.state == "PENDING"
    simulation, _ = step_on(simulation, ENDED_WELL)
    simulation, steps = step_on(advance.record_results(simulation, RESULTS if has_results else None), ENDED_WELL)
    assert simulation.state in states.ENDED and simulation.settled_at and steps == []
    assert all(task.state in states.ENDED for task in simulation.tasks)
