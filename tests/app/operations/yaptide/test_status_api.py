"""The state of simulations, their end and their removal: in every state, and for owners alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

import pytest

from store.documents import SimulationState
from store.rules.simulations.states import ENDED
from tests.app.operations.yaptide.calls import (
    MADE,
    find,
    make_tasks,
    submit,
    write_file,
    write_results,
    write_simulation,
)
from tests.app_client import Client
from tests.waiting import eventually

ROUTES = ("direct", "batch")
STATES = get_args(SimulationState)
UNKNOWN, NOT_OWN = "Job with provided ID does not exist", "Job with provided ID does not belong to the user"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("platform", ["DIRECT", "BATCH"])
def test_a_state_is_told_and_not_changed(client: Client, state: str, platform: str) -> None:
    job_id = write_simulation(client, platform=platform, state=state)
    before = client.server.store.simulations.get_raw(job_id)
    answers = [client.get(f"{path}?job_id={job_id}") for path in (f"/jobs/{platform.lower()}", "/jobs")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[0].json()["job_state"] == state
    assert ("job_tasks_status" in answers[0].json()) is (state != "UNKNOWN")
    assert client.server.store.simulations.get_raw(job_id) == before
    other = client.get(f"/jobs/{'batch' if platform == 'DIRECT' else 'direct'}?job_id={job_id}")
    assert (other.status_code, other.json()) == (404, {"message": UNKNOWN})


def test_a_state_with_all_that_is_known(client: Client) -> None:
    times = {"started_at": MADE, "updated_at": "2026-11-21T16:39:27.5Z"}
    tasks = [
        make_tasks("COMPLETED")[0].model_copy(update={**times, "ended_at": MADE, "simulated_primaries": 5}),
        make_tasks("RUNNING", "RUNNING")[1].model_copy(update={**times, "estimated_s": 3723}),
        make_tasks("FAILED")[0].model_copy(update={"task_id": 3, "reason": "TIMEOUT: <b>"}),
    ]
    job_id = write_simulation(client, state="FAILED", tasks=tasks, error="1 of 3 tasks failed", is_partial=True)
    found = client.get(f"/jobs/direct?job_id={job_id}").json()
    assert (found["error"], found["partial"], found["missing_tasks"]) == ("1 of 3 tasks failed", True, [2, 3])
    first, second, third = found["job_tasks_status"]
    assert datetime.strptime(first["end_time"], "%a, %d %b %Y %H:%M:%S %Z") == datetime(2026, 11, 21, 16, 39, 17)
    assert first["last_update_time"] == "Sat, 21 Nov 2026 16:39:27 GMT" and "estimated_time" not in first
    assert second["estimated_time"] == {"hours": 1, "minutes": 2, "seconds": 3} and "end_time" not in second
    assert third["reason"] == "TIMEOUT: <b>"


def test_a_state_follows_its_document(client: Client) -> None:
    job_id = write_simulation(client, state="PENDING")
    found = [client.get(f"/jobs?job_id={job_id}").json()["job_state"]]
    for state in ("RUNNING", "MERGING_QUEUED", "MERGING_RUNNING", "COMPLETED"):
        changed = find(client, job_id).model_copy(update={"state": state})
        client.run(client.server.store.simulations.put(job_id, changed))
        found.append(client.get(f"/jobs?job_id={job_id}").json()["job_state"])
    assert found == ["PENDING", "RUNNING", "MERGING_QUEUED", "MERGING_RUNNING", "COMPLETED"]
    # Somebody edits the file.
    path = client.store / "simulations" / f"{job_id}.json"
    path.write_text(path.read_text().replace('"COMPLETED"', '"CANCELED"'))
    eventually(lambda: client.get(f"/jobs?job_id={job_id}").json()["job_state"] == "CANCELED", 10, "the edit is seen")


def test_who_looks_is_noted_so_that_progress_is_followed(client: Client) -> None:
    profile = {"name": "far", "hostname": "127.0.0.1", "username": "nobody", "port": 1, "key_filename": "/none"}
    assert client.post("/api/config/ssh/profiles", profile).status_code == 200
    job_id = submit(client, "batch", batch_options={"cluster_name": "far"}).json()["job_id"]
    assert job_id not in client.server.task_reports.known
    for path in ("/jobs/batch", "/jobs"):
        client.server.task_reports.known.pop(job_id, None)
        client.get(f"{path}?job_id={job_id}")
        assert client.server.task_reports.known[job_id].asked_at > 0
    client.delete(f"/jobs/batch?job_id={job_id}")


@pytest.mark.parametrize("state", sorted(ENDED))
@pytest.mark.parametrize("platform", ["DIRECT", "BATCH"])
def test_what_has_ended_is_not_cancelled(client: Client, state: str, platform: str) -> None:
    job_id = write_simulation(client, state=state, platform=platform)
    answer = client.delete(f"/jobs/{platform.lower()}?job_id={job_id}")
    assert answer.status_code == 200
    assert answer.json() == {"message": f"Cannot cancel job which is in {state} state", "job_state": state}


@pytest.mark.parametrize("state", [state for state in STATES if state not in ENDED])
@pytest.mark.parametrize("platform", ["DIRECT", "BATCH"])
def test_what_has_not_ended_is_cancelled(client: Client, state: str, platform: str) -> None:
    tasks = make_tasks("COMPLETED", "RUNNING", "PENDING", "FAILED")
    job_id = write_simulation(client, state=state, platform=platform, tasks=tasks)
    answer = client.delete(f"/jobs/{platform.lower()}?job_id={job_id}")
    assert (answer.status_code, answer.json()) == (200, {"message": "Job cancelled"})
    found = client.get(f"/jobs?job_id={job_id}").json()
    assert found["job_state"] == "CANCELED"
    states = [task["task_state"] for task in found["job_tasks_status"]]
    assert states == ["COMPLETED", "CANCELED", "CANCELED", "FAILED"], "what finished stays"
    again = client.delete(f"/jobs/{platform.lower()}?job_id={job_id}")
    assert again.json()["message"] == "Cannot cancel job which is in CANCELED state"


def test_a_cancelled_simulation_ends_with_its_jobs(client: Client) -> None:
    slow = {"dummy.json": '{"primaries": 100000000, "energy_mev": 60}'}
    job_id = submit(client, input_files=slow, ntasks=2).json()["job_id"]
    run_id = find(client, job_id).run_id
    eventually(lambda: client.get(f"/jobs?job_id={job_id}").json()["job_state"] == "RUNNING", 60, "it runs")
    assert client.delete(f"/jobs/direct?job_id={job_id}").json() == {"message": "Job cancelled"}
    run = client.await_run(run_id)
    assert run["status"] == "cancelled"
    eventually(lambda: find(client, job_id).settled_at is not None, 60, "it is over")
    assert client.get(f"/jobs/direct?job_id={job_id}").json()["job_state"] == "CANCELED"


@pytest.mark.parametrize("state", STATES)
def test_only_what_has_ended_is_deleted(client: Client, state: str) -> None:
    job_id = write_simulation(client, state=state)
    write_file(client, job_id, "input/dummy.json", "{}")
    answer = client.delete(f"/user/simulations?job_id={job_id}")
    folder = client.store / "simulations" / job_id
    if state in ENDED:
        assert (answer.status_code, answer.json()) == (200, {"message": "Simulation deleted"})
        assert client.get(f"/jobs?job_id={job_id}").status_code == 404
        eventually(lambda: not folder.exists(), 10, "its folder is gone")
        assert client.delete(f"/user/simulations?job_id={job_id}").status_code == 404
    else:
        assert answer.status_code == 403
        assert answer.json() == {"message": f"Job is in {state} state: cancel it first"}
        assert folder.exists()


# --- whose they are

OWNED = [
    ("GET", "/jobs"), ("GET", "/jobs/direct"), ("DELETE", "/jobs/direct"), ("GET", "/inputs"), ("GET", "/results"),
    ("GET", "/estimators"), ("GET", "/logfiles"), ("DELETE", "/user/simulations"),
    ("GET", "/results?estimator_name=dose_&page_number=0"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OWNED)
def test_a_simulation_is_its_owners(client: Client, method: str, path: str) -> None:
    """The write token and a user called as it is are two callers; the scope admin sees all."""
    joined = f"{path}{'&' if '?' in path else '?'}job_id="
    for owner in ("write", "token:admin", "keycloak:write", "ann"):
        job_id = write_simulation(client, owner=owner, state="COMPLETED")
        write_results(client, job_id)
        write_file(client, job_id, "input/dummy.json", "{}")
        answer = client.request(method, f"{joined}{job_id}", token="write")
        assert (answer.status_code, answer.json()) == (403, {"message": NOT_OWN}), owner
        assert client.request(method, f"{joined}{job_id}", token="admin").status_code in (200, 404)
    answer = client.request(method, f"{joined}20261121-163917-nobody")
    assert (answer.status_code, answer.json()) == (404, {"message": UNKNOWN})


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs/batch"), ("DELETE", "/jobs/batch")])
def test_a_simulation_on_a_cluster_is_its_owners_too(client: Client, method: str, path: str) -> None:
    job_id = write_simulation(client, owner="ann", platform="BATCH")
    answer = client.request(method, f"{path}?job_id={job_id}", token="write")
    assert (answer.status_code, answer.json()) == (403, {"message": NOT_OWN})


@pytest.mark.parametrize(("method", "path"), [*OWNED, ("GET", "/jobs/batch"), ("DELETE", "/jobs/batch")])
def test_the_query_is_checked(client: Client, method: str, path: str) -> None:
    path = path.partition("?")[0]
    known = write_simulation(client)
    for why, query, said in (
        ("no id", "", {"job_id": ["Missing data for required field."]}),
        ("an unknown parameter", f"?job_id={known}&jobid=2", {"jobid": ["Unknown field."]}),
        ("an empty id", "?job_id=", {"job_id": []}),
    ):
        answer = client.request(method, f"{path}{query}")
        assert answer.status_code == 400, (why, answer.text)
        found: dict[str, Any] = answer.json()
        assert found["message"].startswith("Wrong parameters: ")
        for name, texts in said.items():
            assert found[name][: len(texts)] == texts
    twice = client.request(method, f"{path}?job_id=a&job_id=b")
    assert twice.status_code == 400 and "stands twice" in twice.json()["message"]


@pytest.mark.parametrize("value", ["%00", "..%2F..%2Fetc", "%3Cscript%3E", "x" * 201, "%F0%9F%92%A9", "*", "a%0Ab"])
def test_ids_that_are_none(client: Client, value: str) -> None:
    for method, path in OWNED[:8]:
        answer = client.request(method, f"{path}?job_id={value}")
        assert answer.status_code in (400, 404) and "<" not in answer.json()["message"]
