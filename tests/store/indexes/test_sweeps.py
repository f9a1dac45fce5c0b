"""The sweeps as answers show them, from documents alone: what is counted, what is listed, and the table of results."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import pytest

from store.documents import Run, RunJob, Sweep
from store.errors import NotFound
from store.indexes import sweeps as sweep_index
from store.indexes.sweeps import SweepIndex
from store.rules import sweeps
from store.rules.results import DEPTH, read_result
from tests.store.rules.sweep_samples import make_sweep


class Shelf:
    """A SweepIndex, and the documents that it is about."""

    def __init__(self) -> None:
        self.sweeps: dict[str, Sweep] = {}
        self.runs: dict[str, Run] = {}
        self.index = SweepIndex(self.sweeps.__getitem__, self.get)

    def get(self, name: str) -> Run:
        if name not in self.runs:
            raise NotFound("Run", name)
        return self.runs[name]

    def put(self, sweep: Sweep, number: int, **change: Any) -> Sweep:
        new = sweep.model_copy(update={"id": str(number), **change})
        old = self.sweeps.get(new.id)
        self.sweeps[new.id] = new
        self.index.follow_sweep(old, new)
        return new

    def delete(self, sweep: Sweep) -> None:
        self.index.follow_sweep(self.sweeps.pop(sweep.id), None)

    def run(self, sweep: Sweep, index: int, state: str, **more: Any) -> None:
        status: Any = state
        name = sweeps.make_cell_id(sweep.uid, index)
        self.runs[name] = Run(id=name, workflow_name="w", status=status, sweep_run_id=int(sweep.id), **more)
        self.index.follow_run(name, state, int(sweep.id))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


STARTED, ENDED = "2026-03-30T00:00:00Z", "2026-03-30T00:00:02.500Z"


def counters(row: dict[str, Any]) -> str:
    return " ".join(str(row[f"cells_{state}"]) for state in sweeps.STATES)


def test_counters_follow_sweeps_and_runs(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": [1, 2, 3, 4]}), 1)
    assert counters(shelf.index.build_row(sweep)) == "4 0 0 0 0"
    version = shelf.index.version
    shelf.run(sweep, 2, "running")
    assert counters(shelf.index.build_row(sweep)) == "3 1 0 0 0" and shelf.index.version > version
    shelf.run(sweep, 2, "completed")
    assert counters(shelf.index.build_row(sweep)) == "3 0 1 0 0"
    changed = sweeps.cancel_sweep(sweep, 1_700_000_000.0)
    assert counters(shelf.index.build_row(changed)) == "0 0 1 0 3", "one that is not written yet is counted for itself"
    assert counters(shelf.index.build_row(sweep)) == "3 0 1 0 0"
    sweep = shelf.put(changed, 1)
    assert counters(shelf.index.build_row(sweep)) == "0 0 1 0 3"
    shelf.index.follow_run(sweeps.make_cell_id(sweep.uid, 2), None)
    assert counters(shelf.index.build_row(sweep)) == "0 0 0 0 4", "a file that somebody deleted"


def test_a_sweep_runs_as_soon_as_a_cell_does(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": [1, 2]}), 1)
    assert shelf.index.build_row(sweep)["status"] == "pending"
    shelf.run(sweep, 0, "running")
    assert shelf.index.build_row(sweep)["status"] == "running", "though its document was not written since"


def test_newest_first_and_no_more_than_are_shown(shelf: Shelf) -> None:
    for number in range(1, sweep_index.NEWEST_LIMIT + 3):
        shelf.put(make_sweep({"a": [1]}), number, started_at=f"2026-01-01T00:00:{number % 60:02}Z")
    rows = shelf.index.list_newest()
    keys = [(row["started_at"], row["id"]) for row in rows]
    assert len(rows) == sweep_index.NEWEST_LIMIT and keys == sorted(keys, reverse=True)
    assert keys[0] == ("2026-01-01T00:00:59Z", 179)
    assert shelf.index.get_next_id() == sweep_index.NEWEST_LIMIT + 3
    shelf.put(shelf.sweeps["179"], 179, status="running")
    assert [row["id"] for row in shelf.index.list_newest()].count(179) == 1
    shelf.delete(shelf.sweeps["179"])
    assert 179 not in [row["id"] for row in shelf.index.list_newest()]


def test_a_request_is_known_as_long_as_its_sweep(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": [1]}), 1, request_key="k")
    shelf.put(make_sweep({"a": [1]}), 2)
    assert shelf.index.find_by_request_key("k") is sweep
    assert shelf.index.find_by_request_key("") is None
    shelf.delete(sweep)
    assert shelf.index.find_by_request_key("k") is None


def test_a_number_is_not_given_again_while_there_are_cells_of_it(shelf: Shelf) -> None:
    assert shelf.index.get_next_id() == 1
    sweep = shelf.put(make_sweep({"a": [1]}), 7)
    assert shelf.index.get_next_id() == 8
    shelf.delete(sweep)
    assert shelf.index.get_next_id() == 1, "nothing is left of it"
    shelf.run(sweep, 0, "completed")
    assert shelf.index.get_next_id() == 8


def test_cells_by_status_start_and_id(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": list("abcdefg")}), 1, waiting="6", started_at="2026-01-01T00:00:00Z")
    ran = ((0, "running", 9), (1, "failed", 5), (2, "running", 3), (3, "completed", 1), (4, "failed", 5))
    for index, state, at in ran:
        error = "why" if state == "failed" else None
        shelf.run(sweep, index, state, started_at=f"2026-01-01T00:00:0{at}Z", error=error)
    cells = asyncio.run(shelf.index.list_cells(sweep))
    assert " ".join(cell["args"]["a"] for cell in cells) == "f d b e g c a"
    assert [cell["status"] for cell in cells] == sorted(cell["status"] for cell in cells)
    assert cells[2]["error"] == "why" and cells[0]["args"]["dataset"] == "cifar10"


def test_who_is_a_cell(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": [1, 2]}), 1)
    assert shelf.index.find_cell(sweeps.make_cell_id(sweep.uid, 1)) == (sweep, 1)
    assert shelf.index.build_waiting_run(sweeps.make_cell_id(sweep.uid, 1))["status"] == "pending"
    for name in (sweeps.make_cell_id(sweep.uid, 2), sweeps.make_cell_id(sweeps.make_uid(), 0), "x", ""):
        with pytest.raises(NotFound):
            shelf.index.find_cell(name)
    shelf.delete(sweep)
    with pytest.raises(NotFound):
        shelf.index.find_cell(sweeps.make_cell_id(sweep.uid, 1))


def test_looking_at_sweeps_that_are_never_made_keeps_nothing(shelf: Shelf) -> None:
    for _ in range(100):
        shelf.index.list_args(make_sweep({"a": [1, 2]}))
    assert len(shelf.index._values) <= sweep_index.MAX_KEPT_VALUES


def results(shelf: Shelf, *found: Any) -> tuple[Sweep, list[dict[str, Any]]]:
    """A sweep of as many cells, each with what its one job left behind."""
    sweep = shelf.put(make_sweep({"a": list(range(len(found)))}), 1)
    times = {"started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:02.5Z"}
    for index, result in enumerate(found):
        job = RunJob.model_validate({"name": "fit", "result": result})
        shelf.run(sweep, index, "completed", jobs=[job], **times)
    return sweep, asyncio.run(shelf.index.list_results(sweep))


def test_results_are_flat(shelf: Shelf) -> None:
    sweep, rows = results(shelf, {"loss": {"last": 1, "all": {"min": [0, 1]}}, "ok": True}, None, {}, {"x": {}})
    assert rows[0]["result"] == {"fit.loss.last": 1, "fit.loss.all.min": [0, 1], "fit.ok": True}
    assert [row["result"] for row in rows[1:]] == [{}, {}, {}]
    assert [row["duration_seconds"] for row in rows] == [2.5] * 4
    assert rows[3]["args"] == {"a": 3, "dataset": "cifar10", "lr": 1, "out": "runs/{{ lr }}"}
    cells = sorted(asyncio.run(shelf.index.list_cells(sweep)), key=lambda cell: cell["id"])
    assert [(cell["result"], cell["duration_seconds"]) for cell in cells] == [(row["result"], 2.5) for row in rows]


def test_results_name_all_args_the_axes_first(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"b": [1, 2], "status": ["x"]}).model_copy(update={"args": {"a": {"deep": [1]}}}), 1)
    shelf.run(sweep, 1, "completed", args={"a": "as it was rendered", "b": 2, "status": "x"})
    rows = asyncio.run(shelf.index.list_results(sweep))
    assert [list(row["args"].items()) for row in rows] == [
        [("b", 1), ("status", "x"), ("a", {"deep": [1]})],
        [("b", 2), ("status", "x"), ("a", "as it was rendered")],
    ]
    lines = list(csv.reader(io.StringIO(sweep_index.to_csv(rows).decode(), newline="")))
    assert lines[0] == ["cell_id", "status", "duration_seconds", "b", "args.status", "a"]
    assert [line[3:] for line in lines[1:]] == [["1", "x", '{"deep":[1]}'], ["2", "x", "as it was rendered"]]


def test_a_cell_that_waits_to_run_again_has_no_error_and_no_end(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": [1]}), 1, again="0", waiting="0", status="running")
    shelf.run(sweep, 0, "failed", started_at=STARTED, completed_at=ENDED, error="Jobs failed: fit")
    (cell,) = asyncio.run(shelf.index.list_cells(sweep))
    assert (cell["status"], cell["error"], cell["completed_at"]) == ("pending", None, None)
    assert asyncio.run(shelf.index.list_results(sweep))[0]["duration_seconds"] is None


def test_others_have_their_turn_while_many_cells_are_listed(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"a": list(range(500))}), 1)
    for index in range(500):
        shelf.run(sweep, index, "completed")

    async def both() -> tuple[int, list[dict[str, Any]]]:
        listing = asyncio.create_task(shelf.index.list_cells(sweep))
        turns = 0
        while not listing.done():
            await asyncio.sleep(0)
            turns += 1
            shelf.runs.pop(sweeps.make_cell_id(sweep.uid, 499), None)
        return turns, listing.result()

    turns, cells = asyncio.run(both())
    assert turns >= 500 / sweep_index.ROWS_PER_STEP - 1 and len(cells) == 500


@pytest.mark.parametrize(
    ("why", "value", "cell"),
    [
        ("a number", 0.1, "0.1"),
        ("a negative number is no formula", -1, "-1"),
        ("truth as in JSON", True, "true"),
        ("nothing", None, ""),
        ("a list as in JSON", ["a", 1], '["a",1]'),
        ("text", "plain", "plain"),
        ("text with all that CSV quotes", 'a,"b"\r\nc', 'a,"b"\r\nc'),
        ("a formula", "=1+1", "'=1+1"),
        ("another", "+1", "'+1"),
        ("another", "-1", "'-1"),
        ("another", "@SUM(A1)", "'@SUM(A1)"),
        ("one behind a tab", "\t=1", "'\t=1"),
        ("one behind a line", "\r=1", "'\r=1"),
    ],
)
def test_the_table(shelf: Shelf, why: str, value: Any, cell: str) -> None:
    _, rows = results(shelf, {"v": value}, {"other": 1})
    lines = list(csv.reader(io.StringIO(sweep_index.to_csv(rows).decode(), newline="")))
    assert lines[0][:4] == ["cell_id", "status", "duration_seconds", "a"], why
    assert lines[0][-2:] == ["fit.other", "fit.v"], why
    assert [line[-2:] for line in lines[1:]] == [["", cell], ["1", ""]], why
    assert sweep_index.to_csv(rows).endswith(b"\r\n")


def test_a_name_that_is_a_formula(shelf: Shelf) -> None:
    rows = [{"cell_id": "x", "status": "completed", "duration_seconds": None, "args": {}, "result": {"=a()": 1}}]
    assert sweep_index.to_csv(rows).splitlines()[0] == b"cell_id,status,duration_seconds,'=a()"


def test_a_deep_result_is_flat_too(shelf: Shelf) -> None:
    deep: Any = 1
    for _ in range(DEPTH):
        deep = {"a": deep}
    _, rows = results(shelf, deep)
    assert list(rows[0]["result"].values()) == [1]


@pytest.mark.parametrize(
    ("depth", "taken"), [(2, True), (DEPTH, True), (DEPTH + 2, False), (900, False), (5000, False)]
)
@pytest.mark.parametrize(("begin", "end"), [('{"a":{"b":', "}}"), ('{"a":[', "]}")])
def test_how_deep_a_result_may_be(tmp_path: Path, depth: int, taken: bool, begin: str, end: str) -> None:
    path = tmp_path / "result"
    path.write_text(begin * (depth // 2) + "1" + end * (depth // 2))
    value, problem = asyncio.run(read_result(str(path), 1_000_000))
    assert (value is not None, problem is None) == (taken, taken)


def test_nothing_is_left_of_a_sweep_whose_cells_are_deleted(shelf: Shelf) -> None:
    sweep = shelf.put(make_sweep({"n": [1, 2]}), 1)
    shelf.run(sweep, 0, "completed")
    shelf.index.follow_run(sweeps.make_cell_id(sweep.uid, 0), None, 1)
    assert shelf.index.get_states(sweep) == {} and not shelf.index._states
