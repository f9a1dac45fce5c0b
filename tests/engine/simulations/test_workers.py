"""What the programs of a simulation report of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.simulations import workers
from store.errors import NotFound
from tests.app_client import Client, serving
from tests.engine.simulations.reporting import Worker

OTHER = "20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT"


def ask(worker: Worker) -> dict[str, Any]:
    """The state as callers see it."""
    answer: dict[str, Any] = worker.client.get(f"/jobs?job_id={worker.id}", token="admin").json()
    return answer


def test_what_a_task_reports_is_seen_at_once(worker: Worker) -> None:
    answer = worker.report_task(
        task_state="RUNNING", simulated_primaries=250, requested_primaries=1000, estimated_time=3723,
        start_time="2026-11-21 16:39:27.250000",
    )  # fmt: skip
    assert (answer.status_code, answer.json()) == (202, {"message": "Task updated"})
    seen = ask(worker)
    assert seen["job_state"] == "RUNNING"
    first, second = seen["job_tasks_status"]
    assert (first["task_state"], first["simulated_primaries"]) == ("RUNNING", 250)
    assert first["estimated_time"] == {"hours": 1, "minutes": 2, "seconds": 3}
    assert first["start_time"] == "Sat, 21 Nov 2026 16:39:27 GMT"
    assert second["task_state"] == "PENDING"
    # It is on disk when it is answered.
    text = (worker.client.store / "simulations" / f"{worker.id}.json").read_text()
    assert '"simulated_primaries": 250' in text and worker.key not in text


def test_states_only_go_forward(worker: Worker) -> None:
    for task_id in (1, 2):
        worker.report_task(task_id, task_state="RUNNING", simulated_primaries=10)
        worker.report_task(task_id, task_state="COMPLETED")
        worker.report_task(task_id, task_state="RUNNING", simulated_primaries=5, estimated_time=9)
    assert [task.simulated_primaries for task in worker.simulation.tasks] == [1000, 1000]
    assert worker.simulation.state == "MERGING_QUEUED"
    for state, then in (
        ("MERGING_RUNNING", "MERGING_RUNNING"), ("RUNNING", "MERGING_RUNNING"), ("COMPLETED", "MERGING_RUNNING"),
        ("FAILED", "MERGING_RUNNING"), ("UNKNOWN", "MERGING_RUNNING"),
    ):  # fmt: skip
        answer = worker.post("/jobs", job_state=state)
        assert (answer.status_code, answer.json()) == (202, {"message": "Task updated"}), state
        assert worker.simulation.state == then, state


def test_what_has_ended_stays_as_it_is(quiet_client: Client) -> None:
    worker = Worker(quiet_client, state="CANCELED", settled_at="2026-11-21T17:00:00Z")
    before = worker.simulation
    assert worker.report_task(task_state="RUNNING").status_code == 202
    assert worker.post("/jobs", job_state="RUNNING").status_code == 202
    assert worker.simulation is before or worker.simulation == before
    answer = worker.post("/results", estimators=[])
    assert answer.status_code == 409 and "CANCELED" in answer.json()["message"]


def test_the_documented_call_of_a_worker(worker: Worker) -> None:
    """With its names: the id is the text that the submission told."""
    body = {"sim_id": worker.id, "update_key": worker.key, "job_state": "RUNNING"}
    answer = worker.client.post("/jobs", json=body, token=None)
    assert answer.status_code == 202 and worker.simulation.state == "RUNNING"


def test_the_real_back_end_also_sends_where_and_how_it_submitted(worker: Worker) -> None:
    more = {
        "job_dir": "/scratch/x",
        "array_id": 1,
        "collect_id": 2,
        "submit_stdout": "Job id: 1",
        "sh_files": {"a": "b"},
    }
    times = {"end_time": "2026-11-21 16:39:17.000000"}
    answer = worker.post("/jobs", job_state="RUNNING", log={"error": "none", "n": {"a": 1}}, **more, **times)
    assert answer.status_code == 202
    logs = worker.client.store / "simulations" / worker.id / "logs"
    assert {path.name: path.read_text() for path in logs.iterdir()} == {"error": "none", "n": '{"a":1}'}


CALLS: dict[str, dict[str, Any]] = {
    "/jobs": {"job_state": "RUNNING"},
    "/tasks": {"task_id": 1, "update_dict": {"task_state": "RUNNING"}},
    "/results": {"estimators": []},
    "/logfiles": {"logfiles": {"a": "b"}},
}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a wrong key", {"update_key": "x.y.z"}, "Invalid update key"),
    ("no key", {"update_key": None}, "update_key"),
    ("an empty key", {"update_key": ""}, "update_key"),
    ("a key that is no text", {"update_key": ["secret-word"]}, "update_key"),
    ("no id", {"simulation_id": None}, "Missing keys in JSON payload: simulation_id"),
    ("no such simulation", {"simulation_id": OTHER}, f"Simulation {OTHER} does not exist"),
    ("one by a number", {"simulation_id": 7}, "Simulation 7 does not exist"),
    ("one that is no name", {"simulation_id": "../x<"}, "Simulation ../x&lt; does not exist"),
    ("an unknown field", {"secret": 1}, "secret"),
]


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize(("why", "change", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_who_has_no_key_is_refused(worker: Worker, path: str, why: str, change: dict[str, Any], text: str) -> None:
    before = worker.simulation
    answer = worker.post(path, **{**CALLS[path], **change})
    is_unknown = path == "/jobs" and "does not exist" in text
    assert answer.status_code == (501 if is_unknown else 400), answer.text
    assert text in answer.json()["message"]
    assert "secret-word" not in answer.text and worker.key not in answer.text
    assert "www-authenticate" not in answer.headers
    assert worker.simulation == before and not (worker.client.store / "simulations" / worker.id).exists()


def test_the_key_of_one_simulation_is_not_that_of_another(quiet_client: Client, worker: Worker) -> None:
    second = Worker(quiet_client)
    assert worker.post("/jobs", update_key=second.key, job_state="RUNNING").json()["message"] == "Invalid update key"
    assert second.post("/jobs", job_state="RUNNING").status_code == 202


def test_guesses_are_counted_and_right_keys_pass(worker: Worker) -> None:
    answers = [worker.post("/jobs", update_key=f"a.b.{number}", job_state="RUNNING") for number in range(15)]
    assert {answer.status_code for answer in answers} == {400, 429}
    assert worker.post("/jobs", job_state="RUNNING").status_code == 202


def test_the_key_stands_in_no_log_and_no_audit(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        worker.report_task(task_state="RUNNING")
        worker.post("/jobs", update_key=worker.key + "x", job_state="RUNNING")
        worker.post("/results", estimators=[{}])
    audit = "".join(path.read_text() for path in (worker.client.store / "audit").iterdir())
    assert worker.key not in caplog.text and worker.key not in audit
    assert f"simulation {worker.id}" not in audit, "what tasks tell all the time fills no audit"
    worker.post("/jobs", job_state="RUNNING")
    audit = "".join(path.read_text() for path in (worker.client.store / "audit").iterdir())
    assert f"simulation {worker.id}" in audit


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("no such task", "/tasks", {"task_id": 3}, "Task 3 does not exist"),
    ("no task", "/tasks", {"task_id": None}, "Missing keys in JSON payload: task_id"),
    ("a task by name", "/tasks", {"task_id": "one"}, "task_id"),
    ("no update", "/tasks", {"update_dict": None}, "Missing keys in JSON payload: update_dict"),
    ("an unknown state", "/tasks", {"update_dict": {"task_state": "DONE"}}, "task_state"),
    ("a mistyped key", "/tasks", {"update_dict": {"task_stat": "RUNNING"}}, "task_state"),
    ("no time", "/tasks", {"update_dict": {"start_time": "yesterday"}}, "start_time"),
    ("fewer than none", "/tasks", {"update_dict": {"simulated_primaries": -1}}, "simulated_primaries"),
    ("an unknown state of a job", "/jobs", {"job_state": "DONE"}, "job_state"),
    ("no logs", "/logfiles", {"logfiles": None}, "Missing keys in JSON payload: logfiles"),
    ("a log that is no text", "/logfiles", {"logfiles": {"a": 1}}, "logfiles"),
    ("no estimators", "/results", {"estimators": None}, "Missing keys in JSON payload: estimators"),
    ("estimators of another kind", "/results", {"estimators": {"a": 1}}, "estimators"),
    ("one without a name", "/results", {"estimators": [{"pages": []}]}, "name"),
    ("one without pages", "/results", {"estimators": [{"name": "a"}]}, "pages"),
    ("a page without data", "/results", {"estimators": [{"name": "a", "pages": [{}]}]}, "data"),
    ("without values", "/results", {"estimators": [{"name": "a", "pages": [{"data": {}}]}]}, "values"),
    ("texts for values", "/results", {"estimators": [{"name": "a", "pages": [{"data": {"values": ["1"]}}]}]}, "values"),
    ("values in lists", "/results", {"estimators": [{"name": "a", "pages": [{"data": {"values": [[1]]}}]}]}, "values"),
    ("half a pair", "/results", {"estimators": [{"name": "a", "pages": [], "metadata": {"a": "\ud800"}}]}, "JSON"),
    (
        "too many dimensions", "/results",
        {"estimators": [{"name": "a", "pages": [{"dimensions": 10, "data": {"values": [1]}}]}]}, "dimensions",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("why", "path", "change", "text"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_told(worker: Worker, why: str, path: str, change: dict[str, Any], text: str) -> None:
    answer = worker.post(path, **{**CALLS[path], **change})
    assert answer.status_code == 400, answer.text
    assert text in answer.json()["message"]
    assert worker.simulation.results is None


def test_logs_have_safe_names_and_are_bounded(worker: Worker) -> None:
    logs = worker.client.store / "simulations" / worker.id / "logs"
    answer = worker.post("/logfiles", logfiles={"../../x": "a", ".y": "b", "z.log": "é"})
    assert (answer.status_code, answer.json()) == (202, {"message": "Log files saved"})
    assert {path.name: path.read_text() for path in logs.iterdir()} == {"_._.._x": "a", "_y": "b", "z.log": "é"}
    worker.post("/logfiles", logfiles={"z.log": "new"})
    assert (logs / "z.log").read_text() == "new"
    answer = worker.post("/logfiles", logfiles={f"{number}": "" for number in range(workers.LOG_FILES - 2)})
    assert answer.status_code == 400 and len(list(logs.iterdir())) == 3
    assert worker.post("/logfiles", logfiles={"a": "x" * 2_000_000}).status_code == 413


def test_a_simulation_that_is_deleted_meanwhile_is_unknown(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def delete(*_: Any) -> None:
        raise NotFound("Simulation", worker.id)

    monkeypatch.setattr(worker.client.server.report_batches, "apply", delete)
    assert worker.report_task(task_state="RUNNING").status_code == 400
    assert worker.post("/jobs", job_state="RUNNING").status_code == 501


def test_keys_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "embedded") as client:
        worker = Worker(client)
    with serving(tmp_path / "store", "embedded") as client:
        worker.client = client
        assert worker.post("/jobs", job_state="RUNNING").status_code == 202
