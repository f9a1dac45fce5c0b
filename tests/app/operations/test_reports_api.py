"""The Status API over HTTP: jobs report as the real client does, dashboards read, SLURM settles those that died."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.app_client import Client
from tests.faulty_disk import Faulty
from tests.report_calls import JOBS, page, post, put

DOCUMENTED = {
    "job_id": "12345",
    "job_name": "benchmark-run",
    "cluster": "gpu-cluster-01",
    "recipe": "configs/benchmark.yaml",
    "submitted_at": "2025-01-26T10:30:00Z",
    "metadata": {"tags": ["pipeline:98765", "suite:kv-router-comparison"]},
}
NULLS = dict.fromkeys(
    ("started_at", "completed_at", "exit_code", "logs_url", "benchmark_results", "artifacts", "slurm_state")
)


# --- the document's examples, literally ------------------------------------------------------------------------------


def test_the_documented_life(client: Client) -> None:
    made = client.post(JOBS, DOCUMENTED)
    assert (made.status_code, made.json()) == (201, {"job_id": "12345", "status": "submitted"})
    during = {
        "status": "workers", "stage": "workers", "message": "Starting workers", "updated_at": "2025-01-26T10:32:00Z",
    }  # fmt: skip
    answer = put(client, f"{JOBS}/12345", during)
    assert (answer.status_code, answer.json()) == (200, {"job_id": "12345", "status": "workers"})
    end = {
        "status": "completed",
        "exit_code": 0,
        "logs_url": "s3://bucket/benchmark-logs/12345/",
        "benchmark_results": {"throughput": 1234.5, "latency_p50_ms": 45.2, "latency_p99_ms": 120.8},
    }
    assert put(client, f"{JOBS}/12345", end).json() == {"job_id": "12345", "status": "completed"}
    detail = client.get(f"{JOBS}/12345").json()
    seen = detail.pop("events")
    updated_at = detail.pop("updated_at")
    assert updated_at > "2026", "the server's clock where the job tells no time"
    assert detail == {
        **NULLS, **DOCUMENTED, **end, "stage": "workers", "message": "Starting workers", "links": {"slurm": None},
    }  # fmt: skip
    assert [(event["status"], event["stage"], event["message"], event["source"]) for event in seen] == [
        ("submitted", None, None, "report"),
        ("workers", "workers", "Starting workers", "report"),
        ("completed", None, None, "report"),
    ]
    assert {event["job_id"] for event in seen} == {"12345"}
    page = client.get(JOBS, params={"status": "completed", "cluster": "gpu-cluster-01"}).json()
    same = ("job_id", "job_name", "status", "stage", "cluster", "submitted_at", "message", "completed_at", "exit_code")
    row = {**{key: detail[key] for key in same}, "updated_at": updated_at}
    assert page == {"jobs": [row], "total": 1, "page": 1, "per_page": 50}


START = [
    ("starting", "starting", "Job started on node01"),
    ("starting", "head_infrastructure", "Starting head infrastructure"),
    ("workers", "workers", "Starting workers"),
    ("frontend", "frontend", "Starting frontend"),
]
HEALTHY = [
    *START,
    ("benchmark", "benchmark", "Running benchmark"),
    ("benchmark", "benchmark", "Running post-benchmark evaluation"),
    ("benchmark", "cleanup", "Artifacts uploaded"),
    ("completed", "cleanup", "Benchmark completed successfully"),
]
FAILED = [
    *START,
    ("failed", "benchmark", "Workers failed health check"),
    ("benchmark", "cleanup", "Artifacts uploaded"),
    ("failed", "cleanup", "Job failed with exit code 1"),
]


@pytest.mark.parametrize(
    ("why", "life", "told_at"),
    [
        ("nine events of a healthy job", HEALTHY, 0),
        ("its submission was told late", HEALTHY, 3),
        ("a failed sweep, told last", FAILED, len(FAILED)),
    ],
)
def test_a_whole_life(client: Client, job_id: str, why: str, life: list[tuple[str, str, str]], told_at: int) -> None:
    path = f"{JOBS}/{job_id}"
    for number, (status, stage, message) in enumerate([*life, life[-1]]):
        if number == told_at:
            now = life[number - 1][0] if number else "submitted"
            assert post(client, job_id, cluster="c9").json() == {"job_id": job_id, "status": now}
        body = {"status": status, "stage": stage, "message": message, "updated_at": f"2026-03-30T12:0{number}:01.5Z"}
        assert put(client, path, body).json() == {"job_id": job_id, "status": status}
    detail = client.get(path).json()
    first = [] if told_at else [("submitted", None, None)]
    assert [(event["status"], event["stage"], event["message"]) for event in detail["events"]] == [*first, *life]
    assert len(first + life) == 9 or told_at, "nine of them"
    assert detail["job_name"] == "bench" and detail["cluster"] == "c9" and detail["status"] == life[-1][0]
    assert detail["submitted_at"] == "2026-03-30T12:00:00.000000Z", "before its first word"
    assert detail["updated_at"] == f"2026-03-30T12:0{len(life)}:01.5Z"


# --- what the document leaves open -----------------------------------------------------------------------------------


def submission(job_id: str) -> bytes:
    """A submission under this id."""
    return b'{"job_id": "%b", "job_name": "n", "submitted_at": "2026-03-30"}' % job_id.encode()


@pytest.mark.parametrize(
    ("why", "method", "path", "content", "status"),
    [
        ("no JSON", "POST", JOBS, b"{", 400),
        ("no JSON", "PUT", f"{JOBS}/o-1", b"status=workers", 400),
        ("nothing", "PUT", f"{JOBS}/o-1", b"", 422),
        ("nothing", "POST", JOBS, b"", 422),
        ("no object", "POST", JOBS, b"[]", 400),
        ("no object", "PUT", f"{JOBS}/o-1", b'"workers"', 400),
        ("no finite number", "PUT", f"{JOBS}/o-1", b'{"status": "workers", "exit_code": NaN}', 400),
        ("a missing name", "POST", JOBS, b'{"job_id": "o-1", "submitted_at": "2026-03-30T12:00:00Z"}', 422),
        ("no time", "POST", JOBS, b'{"job_id": "o-1", "job_name": "n", "submitted_at": "yesterday"}', 422),
        ("a number for an id", "POST", JOBS, b'{"job_id": 5, "job_name": "n", "submitted_at": "2026-03-30"}', 422),
        ("an id that is a path", "POST", JOBS, submission("a/b"), 422),
        ("an id that is a folder", "POST", JOBS, submission(".."), 422),
        ("no status", "PUT", f"{JOBS}/o-1", b"{}", 422),
        ("an unknown status", "PUT", f"{JOBS}/o-1", b'{"status": "workers_ready"}', 422),
        ("an unknown stage", "PUT", f"{JOBS}/o-1", b'{"status": "workers", "stage": "head_ready"}', 422),
        ("half an exit", "PUT", f"{JOBS}/o-1", b'{"status": "failed", "exit_code": 1.5}', 422),
        ("metadata that is a list", "PUT", f"{JOBS}/o-1", b'{"status": "failed", "metadata": []}', 422),
        ("too much", "PUT", f"{JOBS}/o-1", b'{"status": "failed", "message": "' + b"x" * 1_048_577 + b'"}', 413),
        ("a form", "POST", JOBS, None, 415),
        ("no such page", "GET", f"{JOBS}?page=0", None, 422),
        ("no such page", "GET", f"{JOBS}?page=x", None, 422),
        ("no number at all", "GET", f"{JOBS}?page=", None, 422),
        ("an empty page", "GET", f"{JOBS}?per_page=0", None, 422),
        ("too large a page", "GET", f"{JOBS}?per_page=101", None, 422),
        ("too many events", "GET", "/srtslurm/api/events?limit=1001", None, 422),
        ("before the first event", "GET", "/srtslurm/api/events?after=-1", None, 422),
        ("unknown", "GET", f"{JOBS}/o-1", None, 404),
        ("unknown", "DELETE", f"{JOBS}/o-1", None, 404),
        ("unknown", "GET", f"{JOBS}/o-1/events", None, 404),
        ("unknown", "GET", f"{JOBS}/o-1/logs", None, 404),
        ("unknown", "GET", f"{JOBS}/o-1/captures", None, 404),
        ("no redirect", "GET", "/srtslurm/api", None, 404),
        ("no such method", "DELETE", JOBS, None, 405),
    ],
)  # fmt: skip
def test_what_is_refused_stores_nothing(
    client: Client, why: str, method: str, path: str, content: bytes | None, status: int
) -> None:
    kind = "application/x-www-form-urlencoded" if status == 415 else "application/json"
    more = {"content": content if content is not None else b"a=b", "headers": {"content-type": kind}}
    answer = client.request(method, path, **({} if method in ("GET", "DELETE") else more))
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert client.get(f"{JOBS}/o-1").status_code == 404, "not even a placeholder"


def test_what_is_wrong_is_named(client: Client) -> None:
    detail = put(client, f"{JOBS}/o-1", {"status": "done", "stage": 3, "exit_code": "1"}).json()["detail"]
    assert {tuple(problem["loc"]) for problem in detail} == {
        ("body", "status"),
        ("body", "stage"),
        ("body", "exit_code"),
    }


def test_unknown_keys_are_ignored_and_nulls_are_absent(client: Client, job_id: str) -> None:
    assert post(client, job_id, cluster=None, more={"a": 1}, metadata={"isl": None}).status_code == 201
    body = {"status": "workers", "stage": None, "message": None, "updated_at": None, "started_at": None, "new": [1]}
    assert put(client, f"{JOBS}/{job_id}", body).status_code == 200
    detail = client.get(f"{JOBS}/{job_id}").json()
    assert detail["metadata"] == {"isl": None} and "more" not in detail and "new" not in detail


@pytest.mark.parametrize("given", ["123_4", "123+0", "7", "local:a", "job.1", "träger", "~x", "a" * 128])
def test_any_id_will_do(client: Client, given: str) -> None:
    assert post(client, given).json()["job_id"] == given
    assert put(client, f"{JOBS}/{given}", {"status": "workers"}).json() == {"job_id": given, "status": "workers"}
    assert client.get(f"{JOBS}/{given}").json()["job_id"] == given
    feed = client.get(f"/srtslurm/api/events?job_id={given}&limit=1000").json()["events"]
    assert [event["job_id"] for event in feed] == [given, given], "also where a plus is written as it is"
    assert client.delete(f"{JOBS}/{given}").json() == {"deleted": True, "job_id": given}
    assert client.get(f"{JOBS}/{given}").status_code == 404


def test_an_update_comes_first(client: Client, job_id: str) -> None:
    assert put(client, f"{JOBS}/{job_id}", {"status": "starting"}).status_code == 200
    assert client.get(f"{JOBS}/{job_id}").json()["job_name"] == f"job-{job_id}"


def test_head_is_like_get(client: Client) -> None:
    for path in (JOBS, "/srtslurm/api/health", "/srtslurm/api/events"):
        assert client.request("HEAD", path).status_code == 200


def test_health_needs_nobody(client: Client) -> None:
    assert client.get("/srtslurm/api/health", token=None).json() == {"status": "ok"}


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster_name(client: Client) -> Iterator[str]:
    """A cluster of five jobs, l-0 to l-4, submitted in this order but for the last two at the same time."""
    for number in range(5):
        at = f"2027-01-01T00:0{min(number, 3)}:00Z"
        tags = ["all", f"odd:{number % 2}"]
        post(client, f"l-{number}", cluster="five", submitted_at=at, metadata={"tags": tags})
    put(client, f"{JOBS}/l-1", {"status": "failed"})
    yield "five"


@pytest.mark.parametrize(
    ("why", "query", "found", "total"),
    [
        ("last submitted first, then by id", {}, ["l-4", "l-3", "l-2", "l-1", "l-0"], 5),
        ("a page", {"per_page": 2}, ["l-4", "l-3"], 5),
        ("the next one", {"per_page": 2, "page": 2}, ["l-2", "l-1"], 5),
        ("the last one", {"per_page": 2, "page": 3}, ["l-0"], 5),
        ("past the end", {"per_page": 2, "page": 4}, [], 5),
        ("a status", {"status": "failed"}, ["l-1"], 1),
        ("a status of none", {"status": "timeout"}, [], 0),
        ("no status at all", {"status": "nonsense"}, [], 0),
        ("an empty filter is none", {"status": "", "tag": ""}, ["l-4", "l-3", "l-2", "l-1", "l-0"], 5),
        ("a tag", {"tag": "odd:1"}, ["l-3", "l-1"], 2),
        ("a tag and a status", {"tag": "odd:1", "status": "submitted"}, ["l-3"], 1),
        ("a part of a tag is none", {"tag": "odd"}, [], 0),
    ],
)
def test_pages_and_filters(
    client: Client, cluster_name: str, why: str, query: dict[str, Any], found: list[str], total: int
) -> None:
    answer = client.get(JOBS, params={"cluster": cluster_name, **query}).json()
    assert ([job["job_id"] for job in answer["jobs"]], answer["total"]) == (found, total)
    assert (answer["page"], answer["per_page"]) == (query.get("page", 1), query.get("per_page", 50))


def test_a_list_that_did_not_change_is_not_sent_again(client: Client, cluster_name: str, job_id: str) -> None:
    first = client.get(JOBS, params={"cluster": cluster_name})
    again = client.get(JOBS, params={"cluster": cluster_name}, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    post(client, job_id, cluster=cluster_name, submitted_at="2020-01-01T00:00:00Z")
    assert page(client, cluster=cluster_name)[-1] == job_id
    client.delete(f"{JOBS}/{job_id}")
    assert job_id not in page(client, cluster=cluster_name)


# --- events ----------------------------------------------------------------------------------------------------------


def test_feeds_are_read_on_from_a_cursor(client: Client, job_id: str) -> None:
    start = client.get("/srtslurm/api/events?limit=1000").json()["next_cursor"] or 0
    while (more := client.get(f"/srtslurm/api/events?limit=1000&after={start}").json())["events"]:
        start = more["next_cursor"]
    assert more["next_cursor"] == (start or None), "nothing new: where one was"
    for status in ("starting", "workers", "frontend"):
        put(client, f"{JOBS}/{job_id}", {"status": status})
        put(client, f"{JOBS}/{job_id}-b", {"status": status})
    first = client.get(f"/srtslurm/api/events?after={start}&limit=4").json()
    rest = client.get(f"/srtslurm/api/events?after={first['next_cursor']}&limit=4").json()
    seen = [(event["job_id"], event["status"]) for event in first["events"] + rest["events"]]
    assert seen == [
        (name, status) for status in ("starting", "workers", "frontend") for name in (job_id, f"{job_id}-b")
    ]
    numbers = [event["id"] for event in first["events"] + rest["events"]]
    assert numbers == sorted(set(numbers)) and numbers[0] > start
    own = client.get(f"{JOBS}/{job_id}/events?after={numbers[0]}").json()
    assert own["job_id"] == job_id and [event["status"] for event in own["events"]] == ["workers", "frontend"]
    assert own["next_cursor"] == own["events"][-1]["id"]
    assert client.get(f"/srtslurm/api/events?job_id={job_id}").json()["events"] == [
        event for event in first["events"] + rest["events"] if event["job_id"] == job_id
    ]
    client.delete(f"{JOBS}/{job_id}")
    left = client.get(f"/srtslurm/api/events?after={start}").json()
    assert {event["job_id"] for event in left["events"]} == {f"{job_id}-b"}
    put(client, f"{JOBS}/{job_id}", {"status": "starting"})
    assert client.get(f"{JOBS}/{job_id}").json()["events"][0]["id"] > numbers[-1], "no number is given twice"


def test_no_events_at_all(client: Client) -> None:
    empty = client.get("/srtslurm/api/events?job_id=nobody").json()
    assert empty == {"events": [], "next_cursor": None}


# --- logs and captures -----------------------------------------------------------------------------------------------

RAW = {"content-type": "application/octet-stream"}


def test_a_log_is_streamed(client: Client, job_id: str) -> None:
    post(client, job_id)
    path = f"{JOBS}/{job_id}/logs"
    assert client.get(path).json() == {"job_id": job_id, "files": []}

    def send(offset: int, data: bytes, **more: Any) -> Any:
        query = {"file": "logs/worker 0.out", "offset": offset, **more}
        return client.post(path, params=query, content=data, headers=RAW).json()

    assert send(0, b"model ") == {"job_id": job_id, "stored": 1}
    assert send(6, b"gel" + "ä".encode()[:1], cluster="c") == {"job_id": job_id, "stored": 1}
    text = client.get(path, params={"file": "logs/worker 0.out"}).json()
    assert text == {"job_id": job_id, "file": "logs/worker 0.out", "offset": 0, "next_offset": 9, "data": "model gel"}
    assert send(6, b"gel" + "ä".encode()[:1])["stored"] == 0, "told twice"
    assert send(9, "ä\n".encode(), final=1)["stored"] == 1, "what overlaps is right"
    rest = client.get(path, params={"file": "logs/worker 0.out", "offset": 9}).json()
    assert (rest["data"], rest["next_offset"]) == ("ä\n", 12)
    assert client.get(path, params={"file": "logs/worker 0.out", "offset": 99}).json()["next_offset"] == 12
    (file,) = client.get(path).json()["files"]
    assert (file["file"], file["size"]) == ("logs/worker 0.out", 12)
    assert client.get(path, params={"file": "other"}).status_code == 404
    client.delete(f"{JOBS}/{job_id}")
    post(client, job_id)
    assert client.get(path).json()["files"] == [], "the streams go with the report"


def test_a_log_is_read_by_lines_searched_and_downloaded(client: Client, job_id: str) -> None:
    """As a job's own output; what is peculiar to lines is told in test_logs_api."""
    post(client, job_id)
    path, file = f"{JOBS}/{job_id}/log", {"file": "logs/w 0.out"}
    assert client.get(path, params=file).json()["exists"] is False, "none is sent yet"
    assert client.get(f"{path}/file", params=file).status_code == 404
    client.post(f"{path}s", params={**file, "offset": 0}, content=b"step 1\n\x1b[31mstep 2\x1b[0m\n", headers=RAW)
    found = client.get(path, params={**file, "lines": 1, "count": True}).json()
    assert (found["stream"], found["path"], found["line_count"], found["first_line"]) == (*[file["file"]] * 2, 2, 2)
    assert found["ended"] is False
    hit = client.get(f"{path}/search", params={**file, "q": "step 2"}).json()
    assert (hit["count"], hit["complete"], hit["hit"]["line"]) == (1, True, 2)
    assert client.get(f"{path}/file", params=file).content == b"step 1\n\x1b[31mstep 2\x1b[0m\n"
    client.post(f"{path}s", params={**file, "offset": 0}, content=b"anew\n", headers=RAW)
    anew = client.get(path, params=file).json()
    assert anew["file_id"] != found["file_id"] and [line["text"] for line in anew["lines"]] == ["anew"]
    assert client.get(f"{JOBS}/none/log", params=file).status_code == 404
    assert client.get(f"{path}/search", params={**file, "q": "(", "regex": True}).status_code == 422


@pytest.mark.parametrize(
    ("why", "query", "size", "status"),
    [
        ("no file", {}, 1, 422),
        ("no name", {"file": ""}, 1, 422),
        ("a very long name", {"file": "ä" * 160}, 1, 422),
        ("a place that no file has", {"file": "a", "offset": 2_000_000_000}, 1, 422),
        ("a whole MiB is taken", {"file": "a"}, 1_048_576, 200),
        ("more is not", {"file": "a"}, 1_048_577, 413),
        ("the folder above", {"file": ".."}, 1, 200),
        ("a way out", {"file": "../../../config.yaml"}, 1, 200),
        ("a file of ours", {"file": ".sluice-0123456789abcdef.new"}, 1, 200),
    ],
)
def test_what_a_log_may_be(client: Client, why: str, query: dict[str, Any], size: int, status: int) -> None:
    post(client, "log-1")
    before = (client.store / "config.yaml").read_bytes()
    path = f"{JOBS}/log-1/logs"
    assert client.post(path, params=query, content=b"x" * size, headers=RAW).status_code == status
    if status == 200:
        assert client.get(path, params=query).json()["data"] == "x" * min(size, 1_000_000)
        assert query["file"] in [file["file"] for file in client.get(path).json()["files"]]
    assert (client.store / "config.yaml").read_bytes() == before
    assert {path.name for path in client.store.glob("streams/log-1/*")} <= {"logs"}


def test_bytes_are_declared_as_bytes(client: Client, job_id: str) -> None:
    post(client, job_id)
    path = f"{JOBS}/{job_id}/logs?file=a"
    assert client.post(path, content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post(path, content=b"{}", headers={"content-type": "application/json"}).status_code == 415
    answer = client.request("PUT", f"{JOBS}/{job_id}", content=b'{"status": "workers"}', headers=RAW)
    assert answer.status_code == 415


def test_a_capture_is_whole_or_not_there(client: Client, job_id: str) -> None:
    post(client, job_id)
    path = f"{JOBS}/{job_id}/captures"

    def send(offset: int, data: bytes, generation: str = "0aF3", total: int = 10) -> tuple[int, bool]:
        query = {"file": "p/profile.json", "generation": generation, "offset": offset, "total": total}
        ack = client.post(path, params=query, content=data, headers=RAW).json()
        assert ack["job_id"] == job_id
        return ack["next_offset"], ack["complete"]

    assert send(4, b"late") == (0, False), "a piece from beyond: go on from the start"
    assert send(0, b"<html") == (5, False)
    assert client.get(path, params={"file": "p/profile.json"}).status_code == 404
    assert [file["complete"] for file in client.get(path).json()["files"]] == [False]
    assert send(0, b"<html") == (5, False), "told twice"
    assert send(5, b">done") == (10, True)
    assert send(5, b">done") == (10, True)
    whole = client.get(path, params={"file": "p/profile.json"})
    assert whole.content == b"<html>done" and whole.headers["content-type"] == "application/octet-stream"
    assert (
        whole.headers["content-disposition"] == "attachment" and "sandbox" in whole.headers["content-security-policy"]
    )
    assert send(0, b"new", "1b", 6) == (3, False)
    assert client.get(path, params={"file": "p/profile.json"}).content == b"<html>done", "until the next one is whole"
    assert send(3, b"er!", "1b", 6) == (6, True)
    assert client.get(path, params={"file": "p/profile.json"}).content == b"newer!"
    (file,) = client.get(path).json()["files"]
    assert (file["file"], file["generation"], file["size"], file["complete"]) == ("p/profile.json", "1b", 6, True)
    wrong = {"file": "x", "generation": "1", "offset": 3, "total": 4}
    assert client.post(path, params=wrong, content=b"xx", headers=RAW).status_code == 422
    empty = {"file": "empty", "generation": "1", "offset": 0, "total": 0}
    assert client.post(path, params=empty, content=b"", headers=RAW).json()["complete"] is True
    assert client.get(path, params={"file": "empty"}).content == b""


# --- who may report --------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a URL like http://user:password@host."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("why", "scope", "method", "status"),
    [
        ("a reader reads", "read", "GET", 200),
        ("a reader does not write", "read", "PUT", 403),
        ("nor deletes", "read", "DELETE", 403),
        ("a writer writes", "write", "PUT", 200),
        ("a writer reads", "write", "GET", 200),
        ("an old token", "expired", "GET", 401),
        ("no token", "nonsense", "GET", 401),
    ],
)
@pytest.mark.parametrize("way", ["bearer", "basic", "user only"])
def test_scopes(client: Client, why: str, scope: str, method: str, status: int, way: str) -> None:
    post(client, "scoped")
    token = client.tokens.get(scope, scope)
    ways = {"bearer": {"authorization": f"Bearer {token}"}, "basic": basic("srt", token), "user only": basic(token, "")}
    more = {"json": {"status": "workers"}} if method == "PUT" else {}
    answer = client.request(method, f"{JOBS}/scoped", token=None, headers=ways[way], **more)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="Sluice"')
        assert answer.headers["www-authenticate"].endswith(', Basic realm="Sluice"')
    client.server.callers.failures.spent.clear()


@pytest.mark.parametrize("given", ["Basic", "Basic !", "Basic eA==", "Basic /w==", "Digest x"])
def test_what_is_no_token(client: Client, given: str) -> None:
    assert client.get(JOBS, token=None, headers={"authorization": given}).status_code == 401
    client.server.callers.failures.spent.clear()


def test_other_apis_take_no_basic(client: Client) -> None:
    answer = client.get("/api/jobs", token=None, headers=basic("srt", client.tokens["read"]))
    assert answer.status_code == 401
    client.server.callers.failures.spent.clear()


def test_below_a_prefix(client: Client) -> None:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {client.tokens['read']}".encode())]
    for root, path, status in [
        ("/status", "/status/srtslurm/api/jobs", 200),
        ("/status", "/srtslurm/api/jobs", 200),
        ("/status", "/status/srtslurm/api/health", 200),
        ("/status", "/status", 200),
        ("/status", "/statusx/srtslurm/api/jobs", 404),
        ("", "/status/srtslurm/api/jobs", 404),
    ]:
        assert client.bare("GET", path, headers, root_path=root).status_code == status, (root, path)
    assert client.bare("GET", "/status/srtslurm/api/health", headers[:1], root_path="/status").status_code == 200
    assert client.bare("GET", "/status/srtslurm/api/jobs", headers[:1], root_path="/status").status_code == 401


# --- the audit --------------------------------------------------------------------------------------------------------


def test_a_report_and_its_line_in_the_audit_are_one_commit(client: Client) -> None:
    files = client.server.store.files
    lines: list[Any] = []
    commit = files.commit

    def watched(changes: Any, *rest: Any, **more: Any) -> None:
        commit(changes, *rest, **more)
        lines.extend(change.line for change in changes if change.path.name == "audited.json")

    files.commit = watched  # type: ignore[method-assign]
    assert put(client, f"{JOBS}/audited", {"status": "workers"}).status_code == 200
    files.ops = Faulty(lambda at, name: errno.ENOSPC if name == "fsync" else None)
    refused = put(client, f"{JOBS}/audited", {"status": "benchmark"})
    files.ops = os
    assert refused.status_code == 507
    answers = [
        (entry["status"], entry["made"])
        for path in (client.store / "audit").iterdir()
        for entry in map(orjson.loads, path.read_bytes().splitlines())
        if entry["path"] == f"{JOBS}/audited"
    ]
    assert answers == [(200, "audited"), (507, None)], "one line each: no promise of what was refused"
    assert [(line.is_written, line.is_synced) for line in lines] == [(True, True), (False, True)]
