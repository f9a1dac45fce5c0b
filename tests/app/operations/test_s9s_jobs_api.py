"""Jobs over the S9S API: listed, found and cancelled, with the refusals of its document."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

HELD = "#!/bin/bash\n#SBATCH --hold\necho hello\n"
KEYS = [
    "job_id", "job_name", "user", "account", "partition", "state", "submit_time", "start_time", "end_time",
    "elapsed_time", "time_limit", "nodes", "node_count", "cpu_count", "memory", "gpus", "priority", "qos",
    "working_directory", "standard_output", "standard_error", "exit_code", "reason", "reason_text",
]  # fmt: skip


def submit_held(client: Client) -> str:
    """Submit a job that waits until it is released; return its id."""
    return str(client.post("/api/jobs", {"name": "held", "script_content": HELD}).json()["job_id"])


def list_ids(client: Client, **query: Any) -> list[str]:
    """List the ids of a page of jobs."""
    return [job["job_id"] for job in client.get("/api/v1/jobs", params=query).json()["jobs"]]


def test_a_job_is_listed_and_found_under_both_roots(client: Client) -> None:
    job_id = submit_held(client)
    for root in ("/api/v1", "/v1"):
        assert job_id in [job["job_id"] for job in client.get(f"{root}/jobs").json()["jobs"]]
        job = client.get(f"{root}/jobs/{job_id}").json()
        assert list(job)[: len(KEYS)] == KEYS
        assert (job["job_id"], job["job_name"], job["state"]) == (job_id, "held", "PENDING")
        assert (job["start_time"], job["end_time"], job["exit_code"]) == (None, None, None)


def test_a_page_says_what_there_is_beside_it(client: Client) -> None:
    ids = [submit_held(client) for _ in range(3)]
    page = client.get("/api/v1/jobs", params={"limit": 1, "offset": 1}).json()
    assert list(page) == ["jobs", "total", "limit", "offset", "has_more"]
    assert (len(page["jobs"]), page["limit"], page["offset"], page["has_more"]) == (1, 1, 1, True)
    assert page["total"] >= 3 and set(ids) <= set(list_ids(client))
    assert client.get("/api/v1/jobs", params={"limit": 5000}).json()["limit"] == 1000


def test_a_job_is_cancelled_once(client: Client) -> None:
    job_id = submit_held(client)
    answer = client.delete(f"/api/v1/jobs/{job_id}")
    assert answer.json() == {"job_id": job_id, "state": "CANCELLED", "message": "Job cancelled successfully"}
    eventually(lambda: client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "CANCELLED")
    again = client.delete(f"/api/v1/jobs/{job_id}")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "RESOURCE_CONFLICT")


REFUSED = [
    ("an id that is none", "/api/v1/jobs/abc", 400, "INVALID_REQUEST", {"fields": {"job_id": None}}),
    ("a job that nobody has", "/api/v1/jobs/99999999", 404, "RESOURCE_NOT_FOUND",
     {"resource_type": "job", "resource_id": "99999999"}),
    ("a limit that is no number", "/api/v1/jobs?limit=many", 400, "INVALID_REQUEST", {"fields": {"limit": None}}),
    ("a limit of nothing", "/api/v1/jobs?limit=0", 400, "VALIDATION_ERROR", {"fields": {"limit": None}}),
    ("an unknown parameter", "/api/v1/jobs?limt=5", 400, "VALIDATION_ERROR",
     {"fields": {"limt": "unknown query parameter 'limt'; did you mean 'limit'?"}}),
    ("an unknown path", "/v1/nothing", 404, "RESOURCE_NOT_FOUND", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "method", "path", "message"),
    [
        ("a near path", "GET", "/v1/job", "There is no /job below /v1; did you mean '/jobs'?"),
        ("a near path of another base", "GET", "/api/v1/statuss",
         "There is no /statuss below /api/v1; did you mean '/status'?"),
        ("a near path with an id", "GET", "/v1/jobs/1/outputs",
         "There is no /jobs/1/outputs below /v1; did you mean '/jobs/{job_id}/output'?"),
        ("nothing is near", "GET", "/v1", "There is no / below /v1; /docs shows every path"),
        ("a long path is cut", "GET", f"/v1/{'x' * 99}", f"There is no /{'x' * 79} below /v1; /docs shows every path"),
        ("a method that the path does not have", "POST", "/v1/exports", "This path takes GET, HEAD only"),
    ],
)  # fmt: skip
def test_unknown_paths_and_methods_are_told_with_what_there_is(
    client: Client, why: str, method: str, path: str, message: str
) -> None:
    error = client.request(method, path).json()["error"]
    assert (error["message"], error["details"]) == (message, {}), why


@pytest.mark.parametrize(("why", "path", "status", "code", "details"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_have_the_shape_of_the_document(
    client: Client, why: str, path: str, status: int, code: str, details: dict[str, Any]
) -> None:
    answer = client.get(path, headers={"X-Request-ID": "req_abc123"})
    error = answer.json()["error"]
    assert list(error) == ["code", "message", "details", "request_id", "timestamp"]
    assert (answer.status_code, error["code"], error["request_id"]) == (status, code, "req_abc123")
    if "fields" in details:
        ((name, text),) = error["details"]["fields"].items()
        assert [name] == list(details["fields"]) and details["fields"][name] in (None, text)
    else:
        assert error["details"] == details


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "code"),
    [
        ("GET", "/v1/jobs", None, 401, "AUTHENTICATION_FAILED"),
        ("GET", "/v1/jobs", "expired", 401, "AUTHENTICATION_FAILED"),
        ("DELETE", "/v1/jobs/1", "read", 403, "PERMISSION_DENIED"),
        ("PATCH", "/v1/jobs", "write", 405, "INVALID_REQUEST"),
    ],
)
def test_callers_are_refused_in_the_same_shape(
    client: Client, method: str, path: str, token: str | None, status: int, code: str
) -> None:
    answer = client.request(method, path, token=token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
