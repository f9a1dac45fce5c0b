"""Exports over HTTP: the document's example, every type and format, downloads, refusals."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import pytest

from slurm_shim.queue.job_changes import change_jobs
from tests.app_client import Client
from tests.waiting import eventually

DOCUMENT = {
    "type": "jobs",
    "format": "csv",
    "filter": {
        "state": "COMPLETED",
        "user": "alice",
        "start_time": "2023-12-01T00:00:00Z",
        "end_time": "2023-12-31T23:59:59Z",
    },
    "fields": ["job_id", "job_name", "user", "state", "runtime"],
    "options": {"include_headers": True, "delimiter": ",", "filename": "alice_december_jobs.csv"},
}
# Words that a spreadsheet would take for a formula, and bytes that would break a row or a page.
HOSTILE = ['=HYPERLINK("http://x.invalid","y")', "@SUM(A1)", 'a,b;"c"', "<script>alert(1)</script>", "a|b`c_d"]


def export(client: Client, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The export, once it is complete."""
    begun = client.post("/v1/export", body, **more)
    assert begun.status_code == 201, begun.text
    path = f"/v1/exports/{begun.json()['export_id']}"
    assert begun.headers["location"] == f"http://localhost{path}"

    def find_ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(path, **more).json()
        return found if found["status"] != "processing" else None

    done = eventually(find_ended, 60, "the export has ended")
    assert done is not None and done["status"] == "completed", done
    return done


def download(client: Client, body: dict[str, Any], **more: Any) -> bytes:
    """The file of an export."""
    done = export(client, body, **more)
    answer = client.get(done["download_url"].removeprefix("http://localhost"), **more)
    assert answer.status_code == 200 and len(answer.content) == done["file_size"]
    return answer.content


@pytest.fixture(scope="module")
def jobs(client: Client) -> list[str]:
    """Jobs with hostile names that wait, and one that has ended."""
    ids = [str(client.submit("#!/bin/bash\nsleep 60\n", f"hostile{number}")) for number in range(len(HOSTILE))]
    for job_id, name in zip(ids, HOSTILE, strict=True):
        row = client.server.cluster.snapshot.jobs
        eventually(lambda: job_id in row or job_id in client.server.cluster.snapshot.jobs, 30)  # noqa: B023
        assert change_jobs(client.server.cluster.slurm, "update", [job_id], {"name": name}) == {}
    ended = str(client.submit("#!/bin/bash\ntrue\n", "ended"))
    client.job(ended)
    eventually(lambda: {row["name"] for row in client.server.cluster.snapshot.jobs.values()} >= set(HOSTILE), 30)
    return [*ids, ended]


def test_the_example_of_the_document_works_literally(client: Client) -> None:
    begun = client.post("/v1/export", DOCUMENT)
    row = begun.json()
    assert (begun.status_code, row["status"], row["download_url"]) == (201, "processing", None)
    assert row["export_id"].startswith("exp_") and row["expires_at"] > row["created_at"]
    done = eventually(
        lambda: (found := client.get(f"/v1/exports/{row['export_id']}").json())["status"] == "completed" and found,
        60, "the export is complete",
    )  # fmt: skip
    assert done["download_url"] == f"http://localhost/v1/exports/{row['export_id']}/download"
    assert done["completed_at"] and done["record_count"] == 0
    answer = client.get(f"/v1/exports/{row['export_id']}/download")
    assert answer.content == b"job_id,job_name,user,state,elapsed_time\r\n"
    assert len(answer.content) == done["file_size"]
    assert answer.headers["content-disposition"] == 'attachment; filename="alice_december_jobs.csv"'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"


def test_each_job_is_in_once_with_cells_that_are_no_formulas(client: Client, jobs: list[str]) -> None:
    text = download(client, {"type": "jobs", "format": "csv", "fields": ["id", "name", "nodes"]}).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert text.startswith("job_id,job_name,nodes\r\n")
    names = dict(row[:2] for row in rows[1:])
    assert len(names) == len(rows) - 1 and set(jobs) <= set(names)
    assert [names[job_id] for job_id in jobs[:2]] == [f"'{name}" for name in HOSTILE[:2]]
    assert [names[job_id] for job_id in jobs[2:5]] == HOSTILE[2:]


def test_every_format_has_the_same_rows(client: Client, jobs: list[str]) -> None:
    body = {"type": "jobs", "fields": ["job_id", "job_name"]}
    as_json = json.loads(download(client, body | {"format": "json"}))
    names = {row["job_id"]: row["job_name"] for row in as_json}
    assert [names[job_id] for job_id in jobs[:5]] == HOSTILE
    lines = download(client, body | {"format": "jsonl"}).decode().splitlines()
    assert sorted(json.loads(line)["job_id"] for line in lines) == sorted(names)
    page = download(client, body | {"format": "html"}).decode()
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    table = download(client, body | {"format": "md"}).decode()
    assert r"a\|b\`c\_d" in table and "<script>" not in table
    assert download(client, body | {"format": "tsv"}).startswith(b"job_id\tjob_name\r\n")
    assert download(client, body | {"format": "txt"}).startswith(b"JOB_ID")
    book = zipfile.ZipFile(io.BytesIO(download(client, body | {"format": "xlsx"})))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet and "=HYPERLINK(" in sheet and "inlineStr" in sheet


@pytest.mark.parametrize("kind", ["nodes", "users", "partitions", "metrics"])
def test_every_type_has_all_columns_of_the_document(client: Client, jobs: list[str], kind: str) -> None:
    rows = list(csv.reader(io.StringIO(download(client, {"type": kind, "format": "csv"}).decode(), newline="")))
    assert len(rows) > 1 and all(len(row) == len(rows[0]) for row in rows)


def test_options_and_filters(client: Client, jobs: list[str]) -> None:
    body = {"type": "jobs", "format": "csv", "fields": ["job_id"], "filter": {"state": "cd"}}
    assert download(client, body | {"options": {"include_headers": False}}).decode().split("\r\n")[:-1].count(jobs[-1])
    nobody = download(
        client,
        body | {"filter": {"user": "nobody-of-that-name"}, "fields": ["id", "user"], "options": {"delimiter": ";"}},
    )
    assert nobody == b"job_id;user\r\n"


def test_a_part_of_the_file_can_be_asked_for(client: Client) -> None:
    done = export(client, {"type": "partitions", "format": "tsv"})
    path = f"/api/v1/exports/{done['export_id']}/download"
    whole = client.get(path)
    part = client.get(path, headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, whole.content[:2])
    assert part.headers["content-range"] == f"bytes 0-1/{done['file_size']}"
    beyond = client.get(path, headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (416, "INVALID_REQUEST")
    assert beyond.headers["content-range"] == f"bytes */{done['file_size']}"
    assert client.request("HEAD", path).headers["content-length"] == str(done["file_size"])
    again = client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == whole.content


def test_the_list_and_the_end_of_an_export(client: Client) -> None:
    done = export(client, {"type": "partitions", "format": "csv"})
    page = client.get("/v1/exports?limit=1").json()
    assert page["exports"][0]["export_id"] == done["export_id"] and page["has_more"] == (page["total"] > 1)
    assert client.get("/api/store/problems").json() == [], "the folder of a file is no file that cannot be read"
    etag = client.get(f"/v1/exports/{done['export_id']}").headers["etag"]
    assert client.get(f"/v1/exports/{done['export_id']}", headers={"If-None-Match": etag}).status_code == 304
    assert client.get(f"/v1/exports/{done['export_id']}", token="read").status_code == 404, "it is another caller's"
    assert client.get(f"/v1/exports/{done['export_id']}", token="admin").status_code == 200
    assert client.delete(f"/v1/exports/{done['export_id']}").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/download")):
        gone = client.request(method, f"/v1/exports/{done['export_id']}{path}")
        assert gone.status_code == 404
        assert gone.json()["error"]["details"] == {"resource_type": "export", "resource_id": done["export_id"]}


@pytest.mark.parametrize(("path", "kind"), [("export", "partitions"), ("reports", "node_health")])
def test_asked_for_twice_it_is_made_once(client: Client, path: str, kind: str) -> None:
    body, key = {"type": kind, "format": "csv"}, {"Idempotency-Key": f"nightly {kind}".replace(" ", "-")}
    first, again = (client.post(f"/v1/{path}", body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"]
    assert client.post(f"/v1/{path}", body).headers["location"] != first.headers["location"], "without a key"
    others = client.post(f"/v1/{path}", body, headers=key, token="admin")
    assert others.status_code == 201 and others.headers["location"] != first.headers["location"], "another caller"
    other = client.post(f"/v1/{path}", body | {"format": "md"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (400, "VALIDATION_ERROR"), "another body"


REFUSED = [
    ("no type", {"format": "csv"}, "type"),
    ("a type that is none", {"type": "job", "format": "csv"}, "type"),
    ("a format that is none", {"type": "jobs", "format": "pdf"}, "format"),
    ("an unknown key", {"type": "jobs", "format": "csv", "filters": {}}, "filters"),
    ("an unknown column", {"type": "jobs", "format": "csv", "fields": ["job_id", "usr"]}, "fields.1"),
    ("an unknown state", {"type": "jobs", "format": "csv", "filter": {"state": "RUNING"}}, "filter.state"),
    ("a filter of another type", {"type": "nodes", "format": "csv", "filter": {"user": "a"}}, "filter.user"),
    ("a time that is none", {"type": "jobs", "format": "csv", "filter": {"end_time": "x"}}, "filter.end_time"),
    ("a long delimiter", {"type": "jobs", "format": "csv", "options": {"delimiter": "ab"}}, "options.delimiter"),
]


@pytest.mark.parametrize(("why", "body", "field"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_name_the_field(client: Client, why: str, body: dict[str, Any], field: str) -> None:
    answer = client.post("/v1/export", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "VALIDATION_ERROR"), why
    assert field in error["details"]["fields"]
    assert client.post("/v1/export", body, token="read").status_code == 403


def test_a_body_that_is_no_json_is_told_with_its_place(client: Client) -> None:
    header = {"content-type": "application/json"}
    error = client.request("POST", "/v1/export", token="write", content=b'{"type": }', headers=header).json()["error"]
    assert (error["code"], list(error["details"]["fields"])) == ("INVALID_REQUEST", ["body"])
    assert error["message"].startswith("body: JSON decode error: ") and error["message"].endswith("(character 9)")
