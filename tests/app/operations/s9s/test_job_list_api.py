"""Jobs over the S9S API: filtered, sorted, page by page; on both clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually


@pytest.fixture(scope="module")
def jobs(client: Client) -> dict[str, str]:
    """The ids of jobs that wait, by their names."""
    made = {
        name: str(client.submit(f"#!/bin/bash\n#SBATCH --hold{more}\ntrue\n", name))
        for name, more in {
            "list_small": " --mem=100M", "list_large": " --mem=3G -n 2 -t 1:00:00",
            "list_array": " --array=1-4%2 --mem=50M -t 2:00:00",
        }.items()
    }  # fmt: skip
    assert eventually(lambda: set(made.values()) <= {row["job_id"].partition("_")[0] for row in list_jobs(client)})
    return made


def list_jobs(client: Client, **asked: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/api/v1/jobs", params=asked).json()["jobs"]
    return rows


def list_names(client: Client, **asked: Any) -> list[str]:
    return [row["job_name"] for row in list_jobs(client, **asked)]


ALL = ["list_array", "list_large", "list_small"]
CHOSEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("the last one first", {}, ALL),
    ("a state in lower case, and a code", {"state": "pending,R"}, ALL),
    ("another state", {"state": "RUNNING"}, []),
    ("a filter with a size", {"filter": "memory>=2G"}, ["list_large"]),
    ("a filter with a duration", {"filter": "time_limit>=1:00:00 and time_limit<1-00:00:00"},
     ["list_array", "list_large"]),
    ("a filter with an expression", {"filter": "name=~^list_[sl]"}, ["list_large", "list_small"]),
    ("sorted by name", {"sort": "job_name", "order": "desc"}, ["list_small", "list_large", "list_array"]),
    ("sorted by a number", {"sort": "cpu_count", "order": "ASC", "filter": "name in (list_small,list_large)"},
     ["list_small", "list_large"]),
    ("a page", {"sort": "job_name", "order": "asc", "limit": 1, "offset": 1}, ["list_large"]),
    ("tasks on their own", {"expand_arrays": "true", "filter": "name=list_array"}, ["list_array"] * 4),
    ("nobody's", {"user": "no-such-user"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("why", "asked", "names"), CHOSEN, ids=[row[0] for row in CHOSEN])
def test_lists(client: Client, jobs: dict[str, str], why: str, asked: dict[str, Any], names: list[str]) -> None:
    mine = {**asked, "filter": f"{asked.get('filter', '')} name~list_"}
    assert list_names(client, **mine) == names


def test_a_job_that_waits_says_why(client: Client, jobs: dict[str, str]) -> None:
    """A job is listed as submitted at once; why it waits is known once the queue was asked."""
    (row,) = eventually(lambda: [row for row in list_jobs(client, filter="name=list_small") if row["reason"]])
    assert row["reason"].startswith("JobHeld") and row["reason_text"].startswith("is held by")


def test_an_ended_job_is_found_by_its_state_and_its_time(client: Client) -> None:
    job_id = str(client.submit("#!/bin/bash\nexit 3\n", "failing"))
    client.job(job_id)
    for asked in ({"state": "F"}, {"filter": "exit_code=3"}, {"start_time": "now-1h"}):
        rows = eventually(
            lambda asked=asked: [row for row in list_jobs(client, **asked) if row["job_id"] == job_id]  # type: ignore[misc]
        )
        assert (rows[0]["state"], rows[0]["exit_code"], rows[0]["reason_text"]) == ("FAILED", 3, None)
    assert job_id not in [row["job_id"] for row in list_jobs(client, start_time="2020-01-01", end_time="2020-01-02")]


def test_a_list_that_did_not_change_is_304(client: Client, jobs: dict[str, str]) -> None:
    asked = {"filter": "name=list_small", "sort": "job_id"}
    first = client.get("/api/v1/jobs", params=asked)
    again = client.get("/api/v1/jobs", params=asked, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and float(again.headers["x-snapshot-age"]) >= 0 and again.headers["x-change"]


@pytest.mark.parametrize(("why", "asked", "names"), CHOSEN, ids=[row[0] for row in CHOSEN])
def test_ids_are_those_of_the_list(
    client: Client, jobs: dict[str, str], why: str, asked: dict[str, Any], names: list[str]
) -> None:
    mine = {**asked, "filter": f"{asked.get('filter', '')} name~list_"}
    offset = mine.pop("offset", 0)
    whole = [row["job_id"] for row in list_jobs(client, **{**mine, "limit": 1000})]
    if offset:
        assert client.get("/api/v1/jobs/ids", params={**mine, "offset": offset}).status_code == 400, "all of them"
    found = client.get("/v1/jobs/ids", params=mine)
    limit = int(mine.get("limit", 1000))
    assert found.json() == {"job_ids": whole[:limit], "total": len(whole), "has_more": len(whole) > limit}
    again = client.get("/api/v1/jobs/ids", params=mine, headers={"If-None-Match": found.headers["etag"]})
    assert again.status_code == 304 and again.headers["x-change"]
    among = client.get("/api/v1/jobs/ids", params={**mine, "among": ",".join([*jobs.values(), *whole])}).json()
    assert (among["job_ids"], among["total"]) == (whole, len(whole))


def test_what_a_filter_can_say(client: Client, jobs: dict[str, str]) -> None:
    answer = client.get("/api/v1/jobs/filter-fields")
    fields = {field["name"]: field for field in answer.json()["fields"]}
    user = fields["user"]["values"][0]
    assert client.get("/api/v1/jobs/ids", params={"filter": f"user={user}"}).json()["total"] >= 1
    half = {"filter": f"user={user} and sate=RUNNING"}
    assert client.get("/api/v1/jobs/ids", params=half).status_code == 400
    answer = client.get("/api/v1/jobs/ids", params={**half, "check": True})
    assert answer.status_code == 200 and answer.json()["job_ids"] == []
    assert "did you mean 'state'?" in answer.json()["problem"]
    assert fields["memory"]["aliases"] == ["mem"] and fields["nodes"]["values"] and fields["partition"]["values"]
    again = client.get("/api/v1/jobs/filter-fields", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code in (200, 304)
    assert client.get("/api/v1/jobs/filter-fields?cluster=elsewhere").status_code == 404


REFUSED = [
    ("a state", {"state": "R,RUNING"}, "state", "unknown state 'RUNING'; did you mean 'RUNNING'?"),
    ("a field to sort by", {"sort": "prioriti"}, "sort", "unknown field 'prioriti'; did you mean 'priority'?"),
    ("an order", {"order": "dsc"}, "order", "asc or desc, not 'dsc'; did you mean 'desc'?"),
    ("a field of a filter", {"filter": "user=a stat=R"}, "filter",
     "at character 8: unknown field 'stat'; did you mean 'state'?"),
    ("a time", {"start_time": "noon"}, "start_time",
     "'noon' is no time; write it as 2026-03-30T12:00:00Z, 2026-03-30 or now-2h"),
    ("a parameter", {"partitions": "gpu"}, "partitions",
     "unknown query parameter 'partitions'; did you mean 'partition'?"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "asked", "field", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_wrong_parameters_are_told_with_a_near_word(
    client: Client, why: str, asked: dict[str, Any], field: str, text: str
) -> None:
    answer = client.get("/v1/jobs", params=asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (400, "VALIDATION_ERROR", {"fields": {field: text}})


def test_a_cluster_is_chosen_by_its_name(client: Client, jobs: dict[str, str]) -> None:
    name = client.get("/api/v1/status").json()["cluster"]
    assert "list_small" in list_names(client, cluster=name)
    assert client.get("/api/v1/jobs", params={"cluster": "elsewhere"}).status_code == 404


def test_the_document_s_own_call(client: Client) -> None:
    answer = client.get("/v1/jobs?state=RUNNING&user=alice&limit=50").json()
    assert answer == {"jobs": [], "total": 0, "limit": 50, "offset": 0, "has_more": False}
