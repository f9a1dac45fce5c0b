"""Sweeps over HTTP, from the request to the table of results."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.errors import StoreUnavailable
from store.rules import sweeps
from tests.app_client import Client
from tests.waiting import eventually

# `place` is a folder of the test's own; a cell fails while there is a file `fail-LR-SEED` in it.
TRAIN = """\
name: train
args: {dataset: cifar10, lr: 0, seed: 0, place: /nowhere}
jobs:
  - {name: prepare, command: "echo prepare {{ lr }} {{ seed }} >> {{ place }}/ran"}
  - name: fit
    depends_on: [prepare]
    command: >-
      echo fit {{ lr }} {{ seed }} >> {{ place }}/ran;
      test ! -e {{ place }}/fail-{{ lr }}-{{ seed }} || exit 3;
      echo '{"loss": {"last": {{ lr }}, "first": 1}, "seed": {{ seed }}}' > $SLUICE_RESULT
"""
# Its task says when it begins and ends, and lasts until the file `go` is there.
GATE = """\
name: gate
args: {n: 0, place: /nowhere}
jobs:
  - name: wait
    command: >-
      echo begin {{ n }} >> {{ place }}/log;
      while [ ! -e {{ place }}/go ] && [ ! -e {{ place }}/go-{{ n }} ]; do sleep 0.05; done;
      echo end {{ n }} >> {{ place }}/log;
      test ! -e {{ place }}/fail-{{ n }}
"""
KEYS = ["id", "name", "workflow_yaml_path", "status", "matrix", "args", "fail_fast", "max_parallel", "cell_count",
        "cells_pending", "cells_running", "cells_completed", "cells_failed", "cells_cancelled", "submission_source",
        "started_at", "completed_at", "cancel_requested_at", "error"]  # fmt: skip
MATRIX = {"lr": [0.001, 0.01, 0.1], "seed": [1, 2, 3]}
COUNTERS = ("pending", "running", "completed", "failed", "cancelled")


class Sweeping:
    """A client that knows sweeps; `place` is where the tasks of this test write."""

    def __init__(self, client: Client, place: Path) -> None:
        self.client, self.place = client, place
        (place / "log").touch()
        client.workflow("train", TRAIN)
        client.workflow("gate", GATE)

    def ask(
        self, workflow: str, matrix: dict[str, Any] | None, body: dict[str, Any] | None = None, **sweep: Any
    ) -> Any:
        body = {"args_override": {"place": str(self.place)}, **(body or {})}
        if matrix is not None:
            body["sweep"] = {"matrix": matrix, **sweep}
        return self.client.post(f"/api/workflows/{workflow}/run", body)

    def start(self, workflow: str, matrix: dict[str, Any], **sweep: Any) -> int:
        answer = self.ask(workflow, matrix, **sweep)
        assert answer.status_code == 202, answer.text
        return int(answer.json()["sweep_run_id"])

    def row(self, number: int) -> dict[str, Any]:
        """The sweep, after its counters were held against each other and against its cells."""
        row: dict[str, Any] = self.client.get(f"/api/sweep_runs/{number}").json()
        assert sum(row[f"cells_{state}"] for state in COUNTERS) == row["cell_count"]
        return row

    def cells(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get(f"/api/sweep_runs/{number}/cells").json()
        return found

    def cell(self, number: int, **args: Any) -> str:
        """The id of the cell with these args."""
        return str(next(cell["id"] for cell in self.cells(number) if args.items() <= cell["args"].items()))

    def await_end(self, number: int, timeout_s: float = 60) -> dict[str, Any]:
        """Await the sweep's end; then its counters are a recount of its cells."""
        row = eventually(lambda: (found := self.row(number))["completed_at"] and found, timeout_s, f"sweep {number}")
        counted = Counter(cell["status"] for cell in self.cells(number))
        assert {state: row[f"cells_{state}"] for state in COUNTERS if row[f"cells_{state}"]} == dict(counted)
        assert all(cell["completed_at"] for cell in self.cells(number))
        return row  # type: ignore[return-value]

    def post(self, number: int, what: str, body: dict[str, Any] | None = None) -> httpx.Response:
        answer: httpx.Response = self.client.post(f"/api/sweep_runs/{number}/{what}", body)
        return answer

    def log(self, word: str) -> list[str]:
        """Which cells have begun, or ended."""
        return [line.split()[1] for line in (self.place / "log").read_text().splitlines() if line.startswith(word)]

    def most_at_once(self) -> int:
        """How many tasks ran at the same moment, as they say themselves."""
        now = most = 0
        for line in (self.place / "log").read_text().splitlines():
            now += 1 if line.startswith("begin") else -1
            most = max(most, now)
        return most


@pytest.fixture
def sweeping(client: Client, tmp_path: Path) -> Iterator[Sweeping]:
    made = Sweeping(client, tmp_path)
    yield made
    (tmp_path / "go").touch()
    for row in client.get("/api/sweep_runs").json():
        if row["completed_at"] is None:
            made.post(row["id"], "cancel")
    eventually(lambda: all(row["completed_at"] for row in client.get("/api/sweep_runs").json()), 60, "sweeps are over")


# --- the whole of it -------------------------------------------------------------------------------------------------


def test_the_documented_sweep(sweeping: Sweeping) -> None:
    (sweeping.place / "fail-0.1-2").touch()
    answer = sweeping.ask("train", MATRIX, max_parallel=4)
    assert (answer.status_code, set(answer.json())) == (202, {"sweep_run_id", "status", "cell_count"})
    assert (answer.json()["status"], answer.json()["cell_count"]) == ("pending", 9)
    number = answer.json()["sweep_run_id"]
    first = sweeping.row(number)
    assert list(first) == KEYS
    assert first["matrix"] == MATRIX and first["args"] == {"dataset": "cifar10", "place": str(sweeping.place)}
    assert (first["name"], first["workflow_yaml_path"]) == ("train", "workflows/train.yaml")
    assert (first["max_parallel"], first["submission_source"], first["fail_fast"]) == (4, "web", False)
    seen: list[tuple[int, ...]] = []

    def observe_sweep() -> dict[str, Any] | None:
        row = sweeping.row(number)
        seen.append(tuple(row[f"cells_{state}"] for state in COUNTERS))
        assert (row["completed_at"] is None) == (row["status"] in ("pending", "running"))
        return row if row["completed_at"] else None

    row = eventually(observe_sweep, 60)
    assert row is not None and (row["status"], seen[-1]) == ("failed", (0, 0, 8, 1, 0))
    assert max(counts[1] for counts in seen) <= 4 and max(counts[1] for counts in seen) > 1
    ended = [sum(counts[2:]) for counts in seen]
    assert ended == sorted(ended), "what has ended stays so"
    assert sweeping.client.get("/api/sweep_runs").json()[0] == row
    cells = sweeping.cells(number)
    assert [(cell["args"]["lr"], cell["args"]["seed"]) for cell in cells if cell["status"] == "failed"] == [(0.1, 2)]
    assert cells == sorted(cells, key=lambda cell: (cell["status"], cell["started_at"], cell["id"]))
    assert {cell["triggered_by"] for cell in cells} == {"web"}

    before = (sweeping.place / "ran").read_text().splitlines()
    (sweeping.place / "fail-0.1-2").unlink()
    again = sweeping.post(number, "rerun", {"cells": "failed"})
    assert again.status_code == 202 and again.json()["status"] == "running"
    assert again.json()["cells_pending"] + again.json()["cells_running"] == 1
    waited = sweeping.client.get(f"/api/sweep_runs/{number}", params={"wait": 60})
    row = sweeping.await_end(number)
    assert waited.json() == row and waited.headers["etag"]
    assert (row["status"], row["cells_completed"], row["error"]) == ("completed", 9, None)
    after = (sweeping.place / "ran").read_text().splitlines()
    assert after[len(before) :] == ["fit 0.1 2"], "the job that had completed is not run again"
    cell = next(cell for cell in cells if cell["status"] == "failed")
    run = sweeping.client.get(f"/api/workflows/runs/{cell['id']}").json()
    assert {job["name"]: len(job["attempts"]) for job in run["jobs"]} == {"prepare": 1, "fit": 2}
    assert [attempt["exit_code"] for attempt in run["jobs"][1]["attempts"]] == [3, 0]
    assert run["status"] == "completed" and run["sweep_run_id"] == number
    table(sweeping, number)

    sweeping.post(number, "rerun", {"cells": [cell["id"]]})
    assert sweeping.await_end(number)["cells_completed"] == 9
    last = (sweeping.place / "ran").read_text().splitlines()
    assert last[len(after) :] == ["prepare 0.1 2", "fit 0.1 2"], "one that completed is run again as a whole"


def table(sweeping: Sweeping, number: int) -> None:
    path = f"/api/sweep_runs/{number}/results"
    rows = sweeping.client.get(path).json()
    assert [list(row["args"].values()) for row in rows] == [
        [lr, s, "cifar10", str(sweeping.place)] for lr in MATRIX["lr"] for s in MATRIX["seed"]
    ]
    assert rows[0]["result"] == {"fit.loss.last": 0.001, "fit.loss.first": 1, "fit.seed": 1}
    assert {row["status"] for row in rows} == {"completed"} and all(row["duration_seconds"] > 0 for row in rows)
    answer = sweeping.client.get(path, headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    head = ["cell_id", "status", "duration_seconds", "lr", "seed", "dataset", "place"]
    assert list(lines[0]) == [*head, "fit.loss.first", "fit.loss.last", "fit.seed"]
    assert [line["cell_id"] for line in lines] == [row["cell_id"] for row in rows]
    assert [line["fit.loss.last"] for line in lines] == [str(row["args"]["lr"]) for row in rows]
    best = sweeping.client.get(path, params={"order_by": "-loss.last", "limit": 4}).json()
    assert [row["args"]["lr"] for row in best] == [0.1, 0.1, 0.1, 0.01] and best[0] == rows[6]
    assert sweeping.client.get(path, params={"order_by": "loss.lats"}).status_code == 422


@pytest.mark.parametrize(
    ("why", "accept", "kind"),
    [
        ("anything", "*/*", "application/json"),
        ("CSV", "text/csv", "text/csv"),
        ("CSV before all", "text/csv, */*;q=0.1", "text/csv"),
        ("JSON first", "application/json, text/csv", "application/json"),
        ("CSV with less weight", "text/csv;q=0.1, application/json", "application/json"),
        ("CSV with more weight", "application/json; q=0.5, text/csv;charset=utf-8", "text/csv"),
        ("no CSV on any account", "text/csv; q=0", "application/json"),
        ("a weight that is none", "text/csv;q=much", "text/csv"),
        ("something else", "text/html, text/csvs", "application/json"),
    ],
)
def test_results_by_accept_before_there_are_any(sweeping: Sweeping, why: str, accept: str, kind: str) -> None:
    number = sweeping.start("gate", {"n": [1, "=cmd()", "-1+1", "@x", "x"]}, max_parallel=1)
    answer = sweeping.client.get(f"/api/sweep_runs/{number}/results", headers={"accept": accept})
    assert answer.headers["content-type"].split(";")[0] == kind, why
    if kind == "text/csv":
        lines = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert lines[0] == ["cell_id", "status", "duration_seconds", "n", "place"]
        assert [line[2:4] for line in lines[1:]] == [["", "1"], ["", "'=cmd()"], ["", "'-1+1"], ["", "'@x"], ["", "x"]]
    else:
        assert [(row["duration_seconds"], row["result"]) for row in answer.json()] == [(None, {})] * 5


# --- what a sweep may be asked for -----------------------------------------------------------------------------------


def test_the_workflows_own_sweep(sweeping: Sweeping) -> None:
    own = GATE.replace("name: gate", "name: own") + "sweep: {matrix: {n: [1, 2]}, max_parallel: 1, fail_fast: true}\n"
    sweeping.client.workflow("own", own)
    (sweeping.place / "go").touch()
    answer = sweeping.ask("own", None)
    row = sweeping.await_end(answer.json()["sweep_run_id"])
    assert (row["matrix"], row["max_parallel"], row["fail_fast"]) == ({"n": [1, 2]}, 1, True)
    answer = sweeping.ask("own", {"n": [7]})
    assert sweeping.await_end(answer.json()["sweep_run_id"])["matrix"] == {"n": [7]}, "the request's word counts"


def test_a_dry_sweep_shows_all_cells_and_the_scripts_of_the_first(sweeping: Sweeping) -> None:
    before = sweeping.client.get("/api/sweep_runs").json()
    matrix = {"lr": {"logspace": [0.01, 1, 3]}, "seed": [1, "x"]}
    answer = sweeping.ask("train", matrix, {"dry_run": True}, exclude=[{"seed": "x", "lr": 1.0}])
    plan, lr = answer.json(), [0.01, 0.01, 0.1, 0.1, 1.0]
    assert (plan["dry_run"], plan["cell_count"], plan["execution_order"]) == (True, 5, ["prepare", "fit"])
    assert [(cell["lr"], cell["seed"]) for cell in plan["cells"]] == list(zip(lr, [1, "x", 1, "x", 1], strict=True))
    assert "echo prepare 0.01 1 " in plan["jobs"][0]["script"]
    assert sweeping.client.get("/api/sweep_runs").json() == before


def test_cells_that_share_a_folder_are_told(sweeping: Sweeping) -> None:
    command = "command: 'echo {{ n }}'"
    text = f"name: shared\nargs: {{n: 0}}\njobs:\n  - {{name: a, {command}, work_dir: '{sweeping.place}'}}\n"
    sweeping.client.workflow("shared", text)
    body = {"sweep": {"matrix": {"n": [1, 2]}}}
    dry = sweeping.client.post("/api/workflows/shared/run", {**body, "dry_run": True}).json()
    begun = sweeping.client.post("/api/workflows/shared/run", body).json()
    assert dry["warnings"] == begun["warnings"] and "'a' works in" in dry["warnings"][0]
    checked = sweeping.client.post("/api/workflows/validate", {"yaml": f"{text}sweep: {{matrix: {{n: [1, 2]}}}}\n"})
    assert checked.json() == {"valid": True, "warnings": dry["warnings"]}
    text = text.replace(str(sweeping.place), f"{sweeping.place}/{{{{ sweep.cell }}}}")
    sweeping.client.workflow("apart", text.replace("shared", "apart"))
    begun = sweeping.client.post("/api/workflows/apart/run", body).json()
    assert "warnings" not in begun
    sweeping.await_end(begun["sweep_run_id"])
    assert sorted(path.name for path in sweeping.place.glob("[01]")) == ["0", "1"]


def test_only_a_part_of_the_workflow(sweeping: Sweeping) -> None:
    answer = sweeping.ask("train", {"lr": [1, 2]}, {"single_job": "prepare"})
    assert sweeping.await_end(answer.json()["sweep_run_id"])["status"] == "completed"
    assert sorted((sweeping.place / "ran").read_text().split("\n")) == ["", "prepare 1 0", "prepare 2 0"]


BAD = ["body", "sweep", "matrix"]


@pytest.mark.parametrize(
    ("why", "sweep", "loc"),
    [
        ("no sweep", 5, ["body", "sweep"]),
        ("no matrix", {}, BAD),
        ("no axis", {"matrix": {}}, BAD),
        ("an empty axis", {"matrix": {"n": []}}, [*BAD, "n"]),
        ("an object in an axis", {"matrix": {"n": [1, {}]}}, [*BAD, "n", 1]),
        ("an object in a list", {"matrix": {"n": [[{}]]}}, [*BAD, "n", 0]),
        ("the end of a line from another system", {"matrix": {"n": ["a\r\n"]}}, [*BAD, "n", 0]),
        ("no axis at all", {"matrix": {"n": 1}}, [*BAD, "n"]),
        ("a range of words", {"matrix": {"n": {"range": ["a", "b"]}}}, [*BAD, "n", "range", 0]),
        ("a reserved name", {"matrix": {"deps": [1]}}, [*BAD, "deps"]),
        ("too many cells", {"matrix": {"n": list(range(1001)), "place": list(range(10))}}, BAD),
        ("an axis that nothing uses", {"matrix": {"n": [1], "plce": ["a"]}}, [*BAD, "plce"]),
        ("a range to nowhere", {"matrix": {"n": {"range": [1, 2, -1]}}}, [*BAD, "n", "range"]),
        ("all excluded", {"matrix": {"n": [1]}, "exclude": [{"n": 1}]}, ["body", "sweep", "exclude"]),
        ("none at once", {"matrix": {"n": [1]}, "max_parallel": 0}, ["body", "sweep", "max_parallel"]),
        ("an unknown key", {"matrix": {"n": [1]}, "parallel": 2}, ["body", "sweep", "parallel"]),
        ("code", {"matrix": {"n": ["python:1"]}}, [*BAD, "n", 0]),
    ],
)
def test_what_is_no_sweep(sweeping: Sweeping, why: str, sweep: Any, loc: list[Any]) -> None:
    before = sweeping.client.get("/api/sweep_runs").json()
    answer = sweeping.client.post("/api/workflows/gate/run", {"sweep": sweep})
    assert answer.status_code == 422, why
    assert loc in [problem["loc"] for problem in answer.json()["detail"]], answer.text
    assert sweeping.client.get("/api/sweep_runs").json() == before, "nothing was made"


def test_a_first_cell_that_cannot_be_rendered_is_told_at_once(sweeping: Sweeping) -> None:
    answer = sweeping.ask("train", {"lr": [1]}, {"from_job": "nobody"})
    assert answer.status_code in (404, 422)


def test_a_later_cell_that_cannot_be_rendered_fails_alone(sweeping: Sweeping) -> None:
    text = "name: divide\nargs: {n: 1, place: /nowhere}\njobs: [{name: a, command: 'echo {{ 6 // n }}'}]\n"
    sweeping.client.workflow("divide", text)
    answer = sweeping.ask("divide", {"n": [1, 0, 2]})
    number = answer.json()["sweep_run_id"]
    row = sweeping.await_end(number)
    assert (row["status"], row["cells_completed"], row["cells_failed"]) == ("failed", 2, 1)
    failed = next(cell for cell in sweeping.cells(number) if cell["status"] == "failed")
    assert failed["args"]["n"] == 0 and "zero" in failed["error"]
    assert sweeping.client.get(f"/api/workflows/runs/{failed['id']}").json()["jobs"] == []
    sweeping.post(number, "rerun", {"cells": [failed["id"]]})
    assert sweeping.await_end(number)["cells_failed"] == 1, "it is tried, and fails, again"


@pytest.mark.parametrize("what", ["", "/cells", "/results"])
@pytest.mark.parametrize(("number", "status"), [("999999", 404), ("x", 422), ("0", 404), ("-1", 422), ("1.5", 422)])
def test_sweeps_that_are_none(client: Client, what: str, number: str, status: int) -> None:
    assert client.get(f"/api/sweep_runs/{number}{what}").status_code == status


@pytest.mark.parametrize(
    ("why", "method", "what", "body", "status"),
    [
        ("cancel of none", "POST", "999999/cancel", None, 404),
        ("rerun of none", "POST", "999999/rerun", {"cells": "failed"}, 404),
        ("a change of none", "PATCH", "999999", {"max_parallel": 2}, 404),
        ("another word", "POST", "{id}/rerun", {"cells": "all"}, 422),
        ("no cells", "POST", "{id}/rerun", {"cells": []}, 422),
        ("what is no id", "POST", "{id}/rerun", {"cells": ["x"]}, 422),
        ("a cell of nobody", "POST", "{id}/rerun", {"cells": ["c1f2e3d4-0001-4e00-a000-000000000001"]}, 422),
        ("no body", "POST", "{id}/rerun", None, 422),
        ("none at once", "PATCH", "{id}", {"max_parallel": 0}, 422),
        ("half a cell", "PATCH", "{id}", {"max_parallel": 1.5}, 422),
        ("something else", "PATCH", "{id}", {"fail_fast": True}, 422),
        ("a sweep that has ended", "PATCH", "{id}", {"max_parallel": 2}, 409),
    ],
)
def test_requests_that_make_no_sense(
    sweeping: Sweeping, why: str, method: str, what: str, body: Any, status: int
) -> None:
    known = [row["id"] for row in sweeping.client.get("/api/sweep_runs").json() if row["name"] == "gate"]
    (sweeping.place / "go").touch()
    number = known[0] if known else sweeping.start("gate", {"n": [1]})
    before = sweeping.await_end(number)
    path = f"/api/sweep_runs/{what.format(id=number)}"
    assert sweeping.client.request(method, path, json=body).status_code == status, why
    assert sweeping.row(number) == before


def test_one_key_makes_one_sweep(sweeping: Sweeping) -> None:
    body = {"sweep": {"matrix": {"n": [11, 12]}}, "args_override": {"place": str(sweeping.place)}}
    call = lambda body: sweeping.client.post("/api/workflows/gate/run", body, headers={"Idempotency-Key": "k1"})  # noqa: E731
    answers = sweeping.client.together([lambda: call(body)] * 10)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["sweep_run_id"] for answer in answers}) == 1
    assert call({**body, "sweep": {"matrix": {"n": [11]}}}).status_code == 422
    matrices = [row["matrix"] for row in sweeping.client.get("/api/sweep_runs").json()]
    assert matrices.count({"n": [11, 12]}) == 1 and {"n": [11]} not in matrices


# --- cells -----------------------------------------------------------------------------------------------------------


def test_cells_are_runs(sweeping: Sweeping) -> None:
    number = sweeping.start("gate", {"n": [1, 2, 3]}, max_parallel=1)
    run_of = lambda n: sweeping.client.get(f"/api/workflows/runs/{sweeping.cell(number, n=n)}").json()  # noqa: E731
    eventually(lambda: sweeping.log("begin") == ["1"])
    eventually(lambda: run_of(1)["job_statuses"] == {"wait": "RUNNING"})
    assert [run_of(n)["status"] for n in (1, 2, 3)] == ["running", "pending", "pending"]
    assert run_of(3)["jobs"] == [] and run_of(3)["args"]["n"] == 3 and run_of(3)["sweep_run_id"] == number
    assert [cell["status"] for cell in sweeping.cells(number)] == ["pending", "pending", "running"]

    cancel = lambda n: sweeping.client.post(f"/api/workflows/runs/{sweeping.cell(number, n=n)}/cancel").status_code  # noqa: E731
    assert cancel(3) == 200, "one that waits"
    assert (run_of(3)["status"], sweeping.row(number)["cells_cancelled"]) == ("cancelled", 1)
    assert run_of(3)["completed_at"]
    assert cancel(3) == 422
    assert cancel(1) == 200, "one that runs"
    eventually(lambda: run_of(1)["job_statuses"] == {"wait": "CANCELLED"})
    eventually(lambda: sweeping.log("begin") == ["1", "2"], what="its place is free for the next")
    (sweeping.place / "go").touch()
    row = sweeping.await_end(number)
    assert [row[f"cells_{state}"] for state in COUNTERS] == [0, 0, 1, 0, 2]
    assert row["status"] == "cancelled" and row["cancel_requested_at"] is None
    assert cancel(2) == 422, "one that has ended"
    assert sweeping.log("end") == ["2"], "the others were stopped, not let run on"


def test_a_cell_is_run_again_as_a_run(sweeping: Sweeping) -> None:
    (sweeping.place / "fail-0.1-2").touch()
    number = sweeping.start("train", {"lr": [0.1], "seed": [1, 2]})
    assert sweeping.await_end(number)["status"] == "failed"
    path = f"/api/workflows/runs/{sweeping.cell(number, seed=2)}"
    before = (sweeping.place / "ran").read_text().splitlines()
    (sweeping.place / "fail-0.1-2").unlink()
    call = lambda: sweeping.client.post(f"{path}/rerun", {"only": "all"}, headers={"Idempotency-Key": "k"})  # noqa: E731
    for answer in (call(), call()):
        assert answer.status_code == 202 and answer.json()["sweep_run_id"] == number, answer.text
    assert sweeping.await_end(number)["status"] == "completed"
    after = (sweeping.place / "ran").read_text().splitlines()
    assert after[len(before) :] == ["prepare 0.1 2", "fit 0.1 2"], "also what had completed"
    assert sweeping.client.post(f"{path}/rerun").status_code == 409
    assert call().json()["status"] == "completed", "the same request runs it again once"


def test_a_run_that_is_no_cell(client: Client) -> None:
    for name in ("c1f2e3d4-0001-4e00-a000-000000000001", sweeps.make_cell_id(sweeps.make_uid(), 1), "x"):
        assert client.get(f"/api/workflows/runs/{name}").status_code == 404


# --- the end of a sweep ----------------------------------------------------------------------------------------------


def test_cancelling_a_sweep(sweeping: Sweeping) -> None:
    number = sweeping.start("gate", {"n": [1, 2, 3, 4, 5]}, max_parallel=2)
    eventually(lambda: len(sweeping.log("begin")) == 2)
    first = sweeping.post(number, "cancel")
    assert first.status_code == 202 and first.json()["status"] == "draining"
    assert [first.json()[f"cells_{state}"] for state in COUNTERS] == [0, 2, 0, 0, 3], "those that wait, at once"
    assert sweeping.post(number, "rerun", {"cells": "cancelled"}).status_code == 409, "not while it drains"
    second = sweeping.post(number, "cancel").json()
    assert second["cancel_requested_at"] == first.json()["cancel_requested_at"] is not None
    row = sweeping.await_end(number)
    assert (row["status"], row["cells_cancelled"]) == ("cancelled", 5)
    for cell in sweeping.cells(number):
        for job_id in sweeping.client.get(f"/api/workflows/runs/{cell['id']}").json()["job_ids"].values():
            assert sweeping.client.job(job_id)["status"] == "CANCELLED"
    assert sweeping.post(number, "cancel").json() == row, "a sweep that has ended stays"
    assert sweeping.log("end") == []
    again = sweeping.post(number, "rerun", {"cells": "unfinished"}).json()
    assert (again["cells_pending"], again["cancel_requested_at"], again["completed_at"]) == (5, None, None)
    (sweeping.place / "go").touch()
    assert sweeping.await_end(number)["cells_completed"] == 5


def test_cancelling_before_anything_starts(sweeping: Sweeping) -> None:
    number = sweeping.start("gate", {"n": [1, 2]}, max_parallel=1)
    sweeping.post(number, "cancel")
    assert sweeping.await_end(number)["status"] == "cancelled"
    assert sweeping.log("end") == []


def test_a_completed_sweep_cannot_be_cancelled(sweeping: Sweeping) -> None:
    (sweeping.place / "go").touch()
    row = sweeping.await_end(sweeping.start("gate", {"n": [1]}))
    answer = sweeping.post(row["id"], "cancel")
    assert (answer.status_code, answer.json(), row["status"]) == (202, row, "completed")
    assert sweeping.post(row["id"], "rerun", {"cells": "failed"}).json() == row, "nothing to run again"


def test_fail_fast(sweeping: Sweeping) -> None:
    (sweeping.place / "fail-1").touch()
    number = sweeping.start("gate", {"n": [1, 2, 3, 4]}, max_parallel=2, fail_fast=True)
    eventually(lambda: len(sweeping.log("begin")) == 2)
    (sweeping.place / "go-1").touch()
    row = eventually(lambda: (found := sweeping.row(number))["status"] == "draining" and found)
    assert [row[f"cells_{state}"] for state in COUNTERS] == [0, 1, 0, 1, 2], "those that run may finish"
    (sweeping.place / "go-2").touch()
    row = sweeping.await_end(number)
    assert (row["status"], row["cells_completed"], row["cells_failed"]) == ("failed", 1, 1)
    assert row["cancel_requested_at"] is None and sorted(sweeping.log("begin")) == ["1", "2"]
    sweeping.post(number, "rerun", {"cells": "cancelled"})
    (sweeping.place / "go").touch()
    row = sweeping.await_end(number)
    assert (row["status"], row["cells_completed"]) == ("failed", 3), "the old failure does not stop what was asked for"
    (sweeping.place / "fail-1").unlink()
    sweeping.post(number, "rerun", {"cells": [sweeping.cell(number, n=1)]})
    assert sweeping.await_end(number)["status"] == "completed"


def test_many_cells_are_run_again_with_one_answer(sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("go", *(f"fail-{n}" for n in range(5))):
        (sweeping.place / name).touch()
    number = sweeping.start("gate", {"n": {"range": [0, 5]}})
    assert sweeping.await_end(number)["cells_failed"] == 5
    (sweeping.place / "fail-4").unlink()

    async def not_yet(*_arguments: object) -> None:
        """The loop cannot do it yet, and tries again."""
        raise StoreUnavailable(5, "not yet")

    with monkeypatch.context() as patch:
        patch.setattr("store.rules.sweeps.AT_ONCE", 2)
        patch.setattr("engine.sweeps.advance_sweep", not_yet)
        again = sweeping.post(number, "rerun", {"cells": "failed"}).json()
        assert (again["cells_pending"], again["status"]) == (5, "running")
        cells = {cell["args"]["n"]: cell["id"] for cell in sweeping.cells(number)}
        runs_by_n = {n: sweeping.client.get(f"/api/workflows/runs/{name}").json() for n, name in cells.items()}
        assert {(run["status"], run["completed_at"], run["error"]) for run in runs_by_n.values()} == {
            ("pending", None, None)
        }
        assert all(len(run["jobs"][0]["attempts"]) == 1 for run in runs_by_n.values()), "attempts are kept"
        assert sweeping.client.post(f"/api/workflows/runs/{cells[3]}/cancel").status_code == 200
        assert sweeping.client.get(f"/api/workflows/runs/{cells[3]}").json()["status"] == "cancelled"
        assert [sweeping.row(number)[f"cells_{state}"] for state in COUNTERS] == [4, 0, 0, 0, 1]
    row = sweeping.await_end(number)
    assert [row[f"cells_{state}"] for state in COUNTERS] == [0, 0, 1, 3, 1]
    assert Counter(sweeping.log("begin")) == {"0": 2, "1": 2, "2": 2, "3": 1, "4": 2}


def test_a_lost_node_fails_its_cell_and_holds_up_no_other(sweeping: Sweeping) -> None:
    if sweeping.client.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    number = sweeping.start("gate", {"n": [1, 2]}, max_parallel=1)
    eventually(lambda: sweeping.log("begin") == ["1"])
    cell = sweeping.cell(number, n=1)
    job = eventually(lambda: sweeping.client.get(f"/api/workflows/runs/{cell}").json()["job_ids"].get("wait"))
    with sqlite3.connect(sweeping.client.store / "cluster" / "state.db") as db:
        (pid,) = db.execute("SELECT sup_pid FROM jobs WHERE raw_id = ?", (int(job or 0),)).fetchone()
    db.close()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: sweeping.log("begin") == ["1", "2"])
    (sweeping.place / "go").touch()
    row = sweeping.await_end(number)
    assert (row["status"], row["cells_failed"], row["cells_completed"]) == ("failed", 1, 1)
    assert sweeping.client.get(f"/api/workflows/runs/{cell}").json()["jobs"][0]["slurm_state"] == "NODE_FAIL"


# --- how much at once ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_tasks_themselves_say_how_many_ran_at_once(sweeping: Sweeping) -> None:
    text = GATE.replace("name: gate", "name: short").replace("while [ ! -e", "sleep 0.1; while false && [ ! -e")
    sweeping.client.workflow("short", text)
    number = sweeping.start("short", {"n": {"range": [0, 12]}}, max_parallel=3)
    row = sweeping.await_end(number)
    assert row["cells_completed"] == 12
    assert sweeping.most_at_once() <= 3 and len(set(sweeping.log("end"))) == 12
    number = sweeping.start("short", {"n": {"range": [0, 4]}}, max_parallel=1)
    for n in range(4):
        (sweeping.place / f"fail-{n}").touch()
    assert sweeping.await_end(number)["cells_failed"] == 4
    (sweeping.place / "log").write_text("")
    sweeping.post(number, "rerun", {"cells": "failed"})
    sweeping.await_end(number)
    assert (sweeping.most_at_once(), len(sweeping.log("end"))) == (1, 4), "also when they are run again"


def test_changing_how_many_may_run(sweeping: Sweeping) -> None:
    number = sweeping.start("gate", {"n": [1, 2, 3, 4, 5]}, max_parallel=1)
    eventually(lambda: len(sweeping.log("begin")) == 1)
    answer = sweeping.client.request("PATCH", f"/api/sweep_runs/{number}", json={"max_parallel": 3})
    assert (answer.status_code, answer.json()["max_parallel"]) == (200, 3)
    eventually(lambda: len(sweeping.log("begin")) == 3)
    sweeping.client.request("PATCH", f"/api/sweep_runs/{number}", json={"max_parallel": 1})
    first, second, third = sweeping.log("begin")
    for n in (first, second):
        (sweeping.place / f"go-{n}").touch()
    eventually(lambda: sweeping.row(number)["cells_completed"] == 2)
    assert sweeping.row(number)["cells_running"] == 1 and len(sweeping.log("begin")) == 3, (
        "none follows those that went"
    )
    (sweeping.place / f"go-{third}").touch()
    eventually(lambda: len(sweeping.log("begin")) == 4)
    (sweeping.place / "go").touch()
    assert sweeping.await_end(number)["status"] == "completed"


def test_every_submission_of_a_cell_keeps_the_pace(sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    pace, beats = sweeping.client.server.pace, []

    async def beat(_has_controller: bool) -> None:
        beats.append(1)

    monkeypatch.setattr(pace, "wait_for_slot", beat)
    number = sweeping.start("train", {"lr": [1, 2]})
    assert sweeping.await_end(number)["status"] == "completed"
    assert len(beats) == 4


def test_cells_that_wait_for_their_submission_can_be_cancelled(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, hold = sweeping.client.server, asyncio.Event()

    async def beat(_has_controller: bool) -> None:
        """As long as many others are to be submitted before."""
        await hold.wait()

    def list_in_line(number: int) -> list[str]:
        ids = sorted(cell["id"] for cell in sweeping.cells(number))
        return [run_id for run_id in ids if not here.store.runs.get(run_id).jobs[0].attempts]

    monkeypatch.setattr(here.pace, "wait_for_slot", beat)
    places = here.store.config.sweeps.in_flight
    count = places + 6
    try:
        number = sweeping.start("gate", {"n": list(range(count))}, max_parallel=count)
        eventually(lambda: sweeping.row(number)["cells_running"] == count)
        eventually(lambda: len(list_in_line(number)) == count - places)
        in_line = list_in_line(number)
        answer = sweeping.client.post(f"/api/workflows/runs/{in_line[0]}/cancel")
        assert answer.status_code == 200
        assert sweeping.row(number)["cells_cancelled"] == 1
        sweeping.post(number, "cancel")
    finally:  # also where it fails: the end of the server waits for them
        sweeping.client.loop.call_soon_threadsafe(hold.set)
    assert sweeping.await_end(number)["cells_cancelled"] == count
    sent = [run for cell in sweeping.cells(number) for run in [here.store.runs.get(cell["id"])] if run.jobs[0].attempts]
    assert len(sent) == places, "nothing was submitted in order to be cancelled"


def test_axes_of_large_integers_null_and_lists(sweeping: Sweeping) -> None:
    """Exact in what is stored, shown, excluded and rendered."""
    large = 12345678901234567890123
    values = [large, None, [1, large], ["x", None], "y"]
    text = "name: many\nargs: {n: 0, place: /nowhere}\njobs: [{name: a, command: [echo, '{{ n }}', 'n={{ n }}']}]\n"
    sweeping.client.workflow("many", text)
    number = sweeping.start("many", {"n": values}, exclude=[{"n": [1, large]}])
    row = sweeping.await_end(number)
    assert (row["matrix"], row["cell_count"], row["cells_completed"]) == ({"n": values}, 4, 4)
    assert [type(value) for value in row["matrix"]["n"]] == [int, type(None), list, list, str]
    left = [large, None, ["x", None], "y"]
    cells = {cell["id"]: cell["args"]["n"] for cell in sweeping.cells(number)}
    results = sweeping.client.get(f"/api/sweep_runs/{number}/results").json()
    assert [row["args"]["n"] for row in results] == [cells[row["cell_id"]] for row in results] == left
    table = sweeping.client.get(f"/api/sweep_runs/{number}/results", headers={"Accept": "text/csv"}).text
    assert [line.split(",", 3)[3] for line in table.splitlines()[1:]] == [
        f"{large},/nowhere".replace("/nowhere", str(sweeping.place)), f",{sweeping.place}",
        f'"[""x"",null]",{sweeping.place}', f"y,{sweeping.place}",
    ]  # fmt: skip
    body = {"args_override": {"n": large, "place": "p"}, "dry_run": True}
    script = sweeping.client.post("/api/workflows/many/run", body).json()["jobs"][0]["script"]
    assert f"echo {large} n={large}" in script
