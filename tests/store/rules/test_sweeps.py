"""What a sweep is and what becomes of it, without a server: the cells of a matrix, and the table of states."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from store.documents import Run, RunJob, Sweep
from store.errors import Conflict, Invalid
from store.rules import runs, sweeps
from tests.store.rules.sweep_samples import NOW, make_sweep


def product(matrix: dict[str, Any], exclude: list[dict[str, Any]] | None = None, limit: int = 10_000) -> list[Any]:
    """The cells of the matrix as its user wrote it."""
    return sweeps.list_cells(sweeps.expand_matrix(matrix, limit, exclude or []), exclude or [], limit)


# ----------------------------------------------------------------------------------------------------------- the matrix


@pytest.mark.parametrize(
    ("why", "matrix", "exclude", "cells"),
    [
        ("one axis, one value", {"a": [1]}, [], "[[1]]"),
        (
            "the last axis is the fastest",
            {"a": [1, 2], "b": ["x", "y"]},
            [],
            '[[1, "x"], [1, "y"], [2, "x"], [2, "y"]]',
        ),
        ("the order of the axes is the file's, not the alphabet's", {"z": [1, 2], "a": [3]}, [], "[[1, 3], [2, 3]]"),
        (
            "types survive",
            {"v": [1, 1.0, "1", True, 0.1, "true", ""]},
            [],
            '[[1], [1.0], ["1"], [true], [0.1], ["true"], [""]]',
        ),
        ("the same value twice is two cells", {"v": [1, 1]}, [], "[[1], [1]]"),
        ("a range ends before its stop", {"v": {"range": [0, 6, 2]}}, [], "[[0], [2], [4]]"),
        (
            "integers beyond floats",
            {"v": {"range": [10**30, 3 * 10**30 + 1, 10**30]}},
            [],
            f"[[{10**30}], [{2 * 10**30}], [{3 * 10**30}]]",
        ),
        ("null and lists are values", {"v": [None, [1, [None]], 2**64]}, [], f"[[null], [[1, [null]]], [{2**64}]]"),
        ("a range without a step", {"v": {"range": [1, 3]}}, [], "[[1], [2]]"),
        ("a range downwards", {"v": {"range": [2, 0, -1]}}, [], "[[2], [1]]"),
        ("fractions without their noise", {"v": {"range": [0.1, 0.4, 0.1]}}, [], "[[0.1], [0.2], [0.3]]"),
        ("one fraction makes all fractions", {"v": {"range": [0, 2, 1.0]}}, [], "[[0.0], [1.0]]"),
        ("a step beyond stop leaves the start", {"v": {"range": [0, 0.001, 5000000]}}, [], "[[0.0]]"),
        ("a step that is all but nothing", {"v": {"range": [0, 1e-10, 1]}}, [], "[[0.0]]"),
        ("equal factors", {"v": {"logspace": [0.001, 1, 4]}}, [], "[[0.001], [0.01], [0.1], [1.0]]"),
        ("equal factors downwards", {"v": {"logspace": [100, 1, 3]}}, [], "[[100.0], [10.0], [1.0]]"),
        (
            "the ends are exactly those given",
            {"v": {"logspace": [0.123456789012345, 7.77777777777777, 2]}},
            [],
            "[[0.123456789012345], [7.77777777777777]]",
        ),
        ("excluded by one value", {"a": [1, 2], "b": [1, 2]}, [{"a": 1}], "[[2, 1], [2, 2]]"),
        (
            "excluded by two values",
            {"a": [1, 2], "b": [1, 2]},
            [{"a": 1, "b": 2}, {"b": 1, "a": 2}],
            "[[1, 1], [2, 2]]",
        ),
        ("what is excluded has its type too", {"v": [1, 1.0, True, "1"]}, [{"v": 1}], '[[1.0], [true], ["1"]]'),
        ("an exclusion of nothing excludes nothing", {"v": [1]}, [{}], "[[1]]"),
        ("a value that is no cell", {"v": [1]}, [{"v": 7}], "[[1]]"),
    ],
)
def test_cells(why: str, matrix: dict[str, Any], exclude: list[dict[str, Any]], cells: str) -> None:
    found = product(matrix, exclude)
    assert json.dumps([list(cell.values()) for cell in found]) == cells, why
    assert all(list(cell) == list(matrix) for cell in found)


NUMBERS = "logspace takes [first, last, count], both above 0"
STEPS = "range takes [start, stop, step] with a step that leads to stop"
OVER = "exceeds limit 10000"
UNCOUNTED = f"matrix cell_count={10**18} or more {OVER}"
SCALAR = "matrix axis 'a' takes texts, numbers, booleans, null and lists of these"


@pytest.mark.parametrize(
    ("why", "matrix", "exclude", "loc", "text"),
    [
        ("no axis", {}, [], [], "matrix must declare at least one axis"),
        ("an empty axis", {"a": []}, [], ["a"], "matrix axis 'a' must contain at least one value"),
        ("a mapping", {"a": [{"x": 1}]}, [], ["a", 0], SCALAR),
        ("not a number", {"a": [math.nan]}, [], ["a", 0], SCALAR),
        ("infinite", {"a": [math.inf]}, [], ["a", 0], SCALAR),
        ("one value, no list", {"a": 1}, [], ["a"], "matrix axis 'a' must be a list, a range or a logspace"),
        ("text is no list", {"a": "abc"}, [], ["a"], "matrix axis 'a' must be a list, a range or a logspace"),
        ("a reserved name", {"deps": [1]}, [], ["deps"], "the name 'deps' is reserved for the exports of other jobs"),
        ("no name of an arg", {"a-b": [1]}, [], ["a-b"], "matrix axis 'a-b' cannot be the name of an arg"),
        ("an empty name", {"": [1]}, [], [""], "matrix axis '' cannot be the name of an arg"),
        ("neither range nor logspace", {"a": {"linspace": [0, 1, 3]}}, [], ["a"], None),
        ("both", {"a": {"range": [0, 1], "logspace": [1, 2, 3]}}, [], ["a"], None),
        ("an empty mapping", {"a": {}}, [], ["a"], None),
        ("a step away from stop", {"a": {"range": [0, 3, -1]}}, [], ["a", "range"], STEPS),
        ("no step", {"a": {"range": [0, 3, 0]}}, [], ["a", "range"], STEPS),
        ("nothing between", {"a": {"range": [3, 3]}}, [], ["a", "range"], STEPS),
        ("one number", {"a": {"range": [3]}}, [], ["a", "range"], STEPS),
        ("four numbers", {"a": {"range": [3, 4, 5, 6]}}, [], ["a", "range"], STEPS),
        ("text among them", {"a": {"range": [0, "3"]}}, [], ["a", "range"], STEPS),
        ("truth among them", {"a": {"range": [0, True]}}, [], ["a", "range"], STEPS),
        ("more values than memory", {"a": {"range": [0, 1, 1e-12]}}, [], [], f"matrix cell_count={10**12} {OVER}"),
        ("steps without number", {"a": {"range": [0, 1e300, 1e-300]}}, [], [], UNCOUNTED),
        ("too large for a float", {"a": {"range": [0, 10**400, 1]}}, [], ["a", "range"], STEPS),
        ("too far apart for a float", {"a": {"range": [-(10**300), 10**300, 1]}}, [], [], UNCOUNTED),
        ("each axis of them alone would fit", {f"a{n}": {"range": [0, 10**6]} for n in range(100)}, [], [], UNCOUNTED),
        ("a series of all numbers", {"a": {"logspace": [1, 2, 10**300]}}, [], [], UNCOUNTED),
        ("logspace from 0", {"a": {"logspace": [0, 1, 3]}}, [], ["a", "logspace"], NUMBERS),
        ("logspace below 0", {"a": {"logspace": [-1, -3, 3]}}, [], ["a", "logspace"], NUMBERS),
        ("logspace of one", {"a": {"logspace": [1, 3, 1]}}, [], ["a", "logspace"], NUMBERS),
        ("logspace of a fraction", {"a": {"logspace": [1, 3, 2.5]}}, [], ["a", "logspace"], NUMBERS),
        ("logspace of two numbers", {"a": {"logspace": [1, 3]}}, [], ["a", "logspace"], NUMBERS),
        ("logspace of no numbers", {"a": {"logspace": "1,2,3"}}, [], ["a", "logspace"], NUMBERS),
        ("code", {"a": ["python: 1"]}, [], ["a", 0], None),
        ("code in disguise", {"a": ["ok", "  PyThOn:1"]}, [], ["a", 1], None),
    ],
)  # fmt: skip
def test_what_is_no_matrix(why: str, matrix: Any, exclude: list[Any], loc: list[Any], text: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        product(matrix, exclude)
    first = caught.value.problems[0]
    assert first["loc"] == ["body", "sweep", "matrix", *loc], why
    assert text in (None, first["msg"]), why


@pytest.mark.parametrize(
    ("why", "matrix", "exclude", "limit", "loc", "text"),
    [
        ("one too many", {"a": list(range(11))}, [], 10, ["matrix"], "matrix cell_count=11 exceeds limit 10"),
        (
            "many too many",
            {"a": list(range(1000)), "b": list(range(1000))},
            [],
            10,
            ["matrix"],
            "matrix cell_count=1000000 exceeds limit 10",
        ),
        (
            "too many in spite of exclude",
            {"a": list(range(12))},
            [{"a": 3}],
            10,
            ["matrix"],
            "matrix cell_count=11 exceeds limit 10",
        ),
        (
            "far too many to look at exclude",
            {"a": list(range(101))},
            [{"a": 3}],
            10,
            ["matrix"],
            "matrix cell_count=101 exceeds limit 10",
        ),
        ("nothing left", {"a": [1]}, [{"a": 1}], 10, ["exclude"], "exclude leaves no cell of the matrix"),
        (
            "exclude names no axis",
            {"a": [1]},
            [{"a": 2}, {"b": 1}],
            10,
            ["exclude", 1, "b"],
            "exclude names 'b', which is no axis of the matrix",
        ),
    ],
)
def test_how_many_cells(why: str, matrix: Any, exclude: list[Any], limit: int, loc: list[Any], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        product(matrix, exclude, limit)
    assert (caught.value.problems[0]["loc"], caught.value.problems[0]["msg"]) == (["body", "sweep", *loc], text), why


def test_the_limit_itself_is_allowed() -> None:
    assert len(product({"a": list(range(10))}, limit=10)) == 10
    assert len(product({"a": list(range(11))}, [{"a": 3}], limit=10)) == 10


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        product({"a": [], "deps": [1], "c": [{}, 1, [{}]]})
    assert [problem["loc"][3:] for problem in caught.value.problems] == [["a"], ["deps"], ["c", 0], ["c", 2]]


def test_more_axes_than_anybody_means() -> None:
    with pytest.raises(Invalid, match="more than 100 axes"):
        product({f"a{n}": [1] for n in range(101)})


AXES = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(
        st.one_of(
            st.integers(-3, 3),
            st.booleans(),
            st.floats(-2, 2),
            st.text(st.characters(exclude_categories=["C"]), max_size=2),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
)


@settings(deadline=None)
@given(AXES)
def test_every_combination_once_in_the_order_of_an_odometer(matrix: dict[str, list[Any]]) -> None:
    found = product(matrix, limit=1000)
    assert len(found) == math.prod(map(len, matrix.values()))
    for place, cell in enumerate(found):
        for axis in reversed(matrix):
            place, digit = divmod(place, len(matrix[axis]))
            assert cell[axis] is matrix[axis][digit]
        assert list(cell) == list(matrix)


@settings(deadline=None)
@given(
    st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e4, 1e4).filter(lambda step: step == 0 or abs(step) > 10)
)
def test_any_range_is_refused_or_stays_between_its_ends(start: float, stop: float, step: float) -> None:
    try:
        values = sweeps.expand_matrix({"a": {"range": [start, stop, step]}})["a"]
    except Invalid:
        assert step == 0 or (stop - start) / step <= 0
        return
    assert values and all(isinstance(value, float) for value in values)
    slack = 1e-5 + abs(step) * 1e-6
    assert all(min(start, stop) - slack <= value <= max(start, stop) + slack for value in values)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_anything_is_an_axis_or_refused(value: Any) -> None:
    for matrix in ({"a": value}, {"a": {"range": value}}, {"a": {"logspace": value}}):
        try:
            values = sweeps.expand_matrix(matrix)["a"]
        except Invalid as error:
            assert error.problems
        else:
            assert values == json.loads(json.dumps(values))


# ------------------------------------------------------------------------------------------------------- names of cells


@settings(deadline=None)
@given(st.sets(st.integers(0, 300)))
def test_ranges_come_back(numbers: set[int]) -> None:
    text = sweeps.format_ranges(numbers)
    assert sweeps.parse_ranges(text) == sorted(numbers)
    assert text.count("-") <= len(numbers) // 2 and " " not in text


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_cell_is_found_by_its_id(index: int) -> None:
    uid = sweeps.make_uid()
    name = sweeps.make_cell_id(uid, index)
    assert sweeps.parse_cell_id(name) == (uid, index)
    assert name[14] == "8" and name[19] in "89ab"  # RFC 9562, version 8


@pytest.mark.parametrize(
    "name", ["", "x", "42", "..", "0123456789ab8def8123abcd0000000a", "g" * 8 + "-0000-8000-8000-000000000000"]
)
def test_what_is_no_id_is_no_cell(name: str) -> None:
    assert sweeps.parse_cell_id(name)[0] == ""


# ---------------------------------------------------------------------------------------------------------- a new sweep


def test_a_new_sweep() -> None:
    body = {"args_override": {"dataset": "mnist", "lr": 5}, "from_job": "fit", "single_job": None}
    sweep = make_sweep({"lr": {"logspace": [0.01, 1, 3]}, "seed": [1, 2]}, body, exclude=[{"seed": 2, "lr": 1.0}])
    assert sweep.matrix == {"lr": [0.01, 0.1, 1.0], "seed": [1, 2]}, "series are stored as plain values"
    assert sweep.args == {"dataset": "mnist", "out": "runs/{{ lr }}"}, "axes are no args"
    assert (sweep.cell_count, sweep.waiting, sweep.part) == (5, "0-4", {"from_job": "fit"})
    assert (sweep.status, sweep.fail_fast, sweep.max_parallel) == ("pending", False, 4)
    assert sweeps.count_cells(sweep, {}) == {"pending": 5, "running": 0, "completed": 0, "failed": 0, "cancelled": 0}


@pytest.mark.parametrize("override", [{"x": "python: 1"}, {"x": {"y": ["PYTHON:1"]}}])
def test_no_code_in_the_override(override: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        make_sweep({"lr": [1]}, {"args_override": override})


@settings(deadline=None)
@given(AXES, st.booleans(), st.integers(1, 9))
def test_a_sweep_comes_back_from_its_file(matrix: dict[str, Any], fail_fast: bool, max_parallel: int) -> None:
    sweep = make_sweep(matrix, fail_fast=fail_fast, max_parallel=max_parallel)
    again = Sweep.model_validate_json(sweep.model_dump_json())
    assert again == sweep
    assert json.dumps(again.matrix) == json.dumps(sweep.matrix)


@pytest.mark.parametrize(
    ("why", "run", "state"),
    [
        ("nothing submitted yet", {"status": "submitting"}, "running"),
        ("on its way", {"status": "running"}, "running"),
        ("waits to run again", {"status": "pending"}, "pending"),
        ("over", {"status": "completed"}, "completed"),
        ("cancelled, but a job still runs", {"status": "cancelled", "state": "RUNNING"}, "running"),
        ("failed, but a job still runs", {"status": "failed", "state": "PENDING"}, "running"),
        ("failed, and all jobs over", {"status": "failed", "state": "FAILED"}, "failed"),
        ("a node went away", {"status": "failed", "state": "NODE_FAIL"}, "failed"),
    ],
)  # fmt: skip
def test_what_a_run_counts_as(why: str, run: dict[str, Any], state: str) -> None:
    attempts = [{"number": 1, "tag": "t", "job_id": "1", "state": run["state"]}] if "state" in run else []
    jobs = [RunJob.model_validate({"name": "a", "attempts": attempts})]
    made = Run(id="x", workflow_name="w", status=run["status"], jobs=jobs)
    assert sweeps.to_cell_state(made.status, runs.is_open(made)) == state, why


# --------------------------------------------------------------------------------------------------- what becomes of it


WORDS = {"c": "completed", "f": "failed", "x": "cancelled", "r": "running", "p": "pending"}
CANCELLED = {"cancelled": True}
TOLD_LATER = {**CANCELLED, "again": "1"}


@pytest.mark.parametrize(
    ("why", "change", "runs", "status", "steps", "counters"),
    [
        ("nothing started", {}, "", "pending", "start 0 1", "4 0 0 0 0"),
        ("one place free", {}, "r", "running", "start 1", "3 1 0 0 0"),
        ("no place free", {}, "r..r", "running", "", "2 2 0 0 0"),
        ("more than may", {"max_parallel": 1}, "r..r", "running", "", "2 2 0 0 0"),
        ("started ones need not be struck off", {"waiting": "0-3"}, "cf", "running", "start 2 3", "2 0 1 1 0"),
        ("a cell waits to run again", {}, "pcfr", "running", "start 0", "1 1 1 1 0"),
        ("and so does one that does not know yet", {"again": "2"}, "rcfc", "running", "start 2", "1 1 2 0 0"),
        ("all well", {}, "cccc", "completed", "", "0 0 4 0 0"),
        ("one failed", {}, "fcxc", "failed", "", "0 0 2 1 1"),
        ("one cancelled by itself", {}, "ccxc", "cancelled", "", "0 0 3 0 1"),
        ("a failure does not stop the others", {}, "fr", "running", "start 2", "2 1 0 1 0"),
        ("unless it is to be fast", {"fail_fast": True}, "fr", "draining", "", "0 1 0 1 2"),
        ("those that run may finish", {"fail_fast": True}, "fc", "failed", "", "0 0 1 1 2"),
        ("those that wait to run again do not", {"fail_fast": True}, "fp", "draining", "end 1", "0 0 0 1 3"),
        ("an old failure is forgiven", {"fail_fast": True, "forgiven": "0"}, "fr", "running", "start 2", "2 1 0 1 0"),
        ("a new one does", {"fail_fast": True, "forgiven": "0"}, "ffr", "draining", "", "0 1 0 2 1"),
        ("cancelled before anything", CANCELLED, "", "cancelled", "", "0 0 0 0 4"),
        ("cancelled while some run", CANCELLED, "c.r", "draining", "end 2", "0 1 1 0 2"),
        ("cancelled while some wait to run again", CANCELLED, "c.pr", "draining", "end 2 3", "0 1 1 0 2"),
        ("but who does not know yet is told first", TOLD_LATER, "cfpr", "draining", "end 2 3", "0 1 1 0 2"),
        ("cancelled, though one failed", CANCELLED, "f.x", "cancelled", "", "0 0 0 1 3"),
        ("cancelled, though all came through", CANCELLED, "cccc", "cancelled", "", "0 0 4 0 0"),
    ],
)  # fmt: skip
def test_advance(why: str, change: dict[str, Any], runs: str, status: str, steps: str, counters: str) -> None:
    """`runs` has a letter for the run of each cell, `steps` the places of the cells that are to start or to end."""
    states = {index: WORDS[letter] for index, letter in enumerate(runs) if letter != "."}
    sweep = make_sweep({"a": [1, 2, 3, 4]}, max_parallel=2)
    sweep = sweep.model_copy(update={key: value for key, value in change.items() if key != "cancelled"})
    sweep = sweeps.cancel_sweep(sweep, NOW) if change.get("cancelled") else sweep
    before = sweep.model_copy(deep=True)
    advanced, found = sweeps.advance_sweep(sweep, states, NOW)
    assert sweep == before, "what is given stays as it is"
    kinds = {sweeps.StartCells: "start", sweeps.CancelCells: "end"}
    assert advanced.status == status, why
    assert " ".join(f"{kinds[type(step)]} {' '.join(map(str, step.indices))}" for step in found) == steps, why
    for version in (sweep, advanced):
        assert " ".join(map(str, sweeps.count_cells(version, states).values())) == counters, why
    assert (advanced.completed_at is not None) == (status in sweeps.ENDED)


@pytest.mark.parametrize("seed", range(40))
def test_states_that_are_kept_up_to_date_are_those_that_are_counted_anew(seed: int) -> None:
    """Whatever happened to the cells, a sweep goes on as if all of them had been looked at."""
    chance = random.Random(seed)
    kept, plain = sweeps.CellStates(), dict[int, str]()
    sweep = make_sweep({"a": list(range(12))}, max_parallel=3, fail_fast=seed % 2 == 0)
    sweep = sweep.model_copy(update={"waiting": chance.choice(["0-11", "2,5-8,10-11", ""])})
    sweep = sweep.model_copy(update={"again": chance.choice(["", "", "1-2"]), "forgiven": chance.choice(["", "3"])})
    for _ in range(60):
        index, state = chance.randrange(12), chance.choice([*sweeps.STATES, None, "completed", "completed"])
        kept.change(index, state)
        if state is None:
            plain.pop(index, None)
        else:
            plain[index] = state
        assert kept == plain and list(kept) == list(plain)
        for version in (sweep, sweeps.cancel_sweep(sweep, NOW)):
            assert sweeps.advance_sweep(version, kept, NOW) == sweeps.advance_sweep(version, plain, NOW)
            assert sweeps.count_cells(version, kept) == sweeps.count_cells(version, plain)


def test_only_so_many_cells_start_in_one_go() -> None:
    sweep = make_sweep({"a": list(range(1000))}, max_parallel=1000)
    _, steps = sweeps.advance_sweep(sweep, {}, NOW)
    assert steps == [sweeps.StartCells(tuple(range(sweeps.AT_ONCE)))]


def test_only_so_many_cells_end_unstarted_in_one_go() -> None:
    sweep = sweeps.cancel_sweep(make_sweep({"a": list(range(1000))}, max_parallel=1000), NOW)
    states = dict.fromkeys(range(900), "pending") | dict.fromkeys(range(900, 1000), "running")
    _, steps = sweeps.advance_sweep(sweep, states, NOW)
    assert steps == [sweeps.CancelCells((*range(sweeps.AT_ONCE), *range(900, 1000)))], "what runs is told at once"


def test_only_so_many_cells_are_told_to_run_again_in_one_go() -> None:
    ended = make_sweep({"a": list(range(1000))}).model_copy(update={"status": "failed", "waiting": ""})
    states = dict.fromkeys(range(1000), "failed")
    sweep = sweeps.rerun_cells(ended, states, range(1000))
    assert sweeps.count_cells(sweep, states)["pending"] == 1000
    some = sweeps.list_unqueued_cells(sweep)
    assert some == list(range(sweeps.AT_ONCE))
    sweep = sweeps.mark_queued(sweep, some)
    assert sweeps.list_unqueued_cells(sweep) == list(range(sweeps.AT_ONCE, 2 * sweeps.AT_ONCE))
    _, steps = sweeps.advance_sweep(sweep, states | dict.fromkeys(some, "pending"), NOW)
    assert steps == [sweeps.StartCells(tuple(range(4)))], "those that know it start before all have been told"


def test_a_second_cancel_changes_nothing() -> None:
    first = sweeps.cancel_sweep(make_sweep({"a": [1]}), NOW)
    assert sweeps.cancel_sweep(first, NOW + 60) == first


@pytest.mark.parametrize("status", sorted(sweeps.ENDED))
def test_a_sweep_that_has_ended_stays(status: str) -> None:
    sweep = make_sweep({"a": [1]}).model_copy(update={"status": status})
    assert sweeps.cancel_sweep(sweep, NOW) == sweep
    assert sweeps.advance_sweep(sweep, {0: "completed"}, NOW) == (sweep, [])
    with pytest.raises(Conflict, match=f"already {status}"):
        sweeps.set_max_parallel(sweep, 3)


@pytest.mark.parametrize("bound", [True, "4", 1.5])
def test_files_of_sweeps_are_checked(bound: Any) -> None:
    whole = json.loads(make_sweep({"a": [1]}).model_dump_json())
    with pytest.raises(ValidationError):
        Sweep.model_validate_json(json.dumps({**whole, "status": bound}))


STATES = {0: "completed", 1: "failed", 2: "cancelled", 3: "running", 4: "pending"}


@pytest.mark.parametrize(
    ("why", "which", "found"),
    [
        ("the failed", "failed", [1]),
        ("the cancelled, with and without a run", "cancelled", [2, 6]),
        ("all that did not complete", "unfinished", [1, 2, 6]),
        ("by name, in the order asked for", [6, 0, 1], [6, 0, 1]),
        ("named twice", [1, 1], [1]),
    ],
)
def test_chosen(why: str, which: Any, found: list[int]) -> None:
    sweep = make_sweep({"a": list(range(7))}).model_copy(update={"waiting": "3-5"})
    wanted = which if isinstance(which, str) else [sweeps.make_cell_id(sweep.uid, index) for index in which]
    assert sweeps.choose_cells(sweep, STATES, wanted) == found, why


@pytest.mark.parametrize(("why", "index"), [("it runs", 3), ("it waits to run again", 4), ("it waits", 5)])
def test_cells_that_live_are_not_run_again(why: str, index: int) -> None:
    sweep = make_sweep({"a": list(range(7))}).model_copy(update={"waiting": "3-5"})
    with pytest.raises(Conflict, match="has not ended"):
        sweeps.choose_cells(sweep, STATES, [sweeps.make_cell_id(sweep.uid, index)])


@pytest.mark.parametrize("name", ["x", sweeps.make_cell_id(sweeps.make_uid(), 0)], ids=["no UUID", "of another sweep"])
def test_cells_of_others_are_not_run_again(name: str) -> None:
    with pytest.raises(Invalid, match="no cell of this sweep") as caught:
        sweeps.choose_cells(make_sweep({"a": [1]}), {}, [name])
    assert caught.value.problems[0]["loc"] == ["body", "cells"]


def test_a_cell_beyond_the_last_is_none() -> None:
    sweep = make_sweep({"a": [1]})
    with pytest.raises(Invalid):
        sweeps.choose_cells(sweep, {}, [sweeps.make_cell_id(sweep.uid, 1)])
