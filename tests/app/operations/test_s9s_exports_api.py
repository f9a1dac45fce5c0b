"""Exports over HTTP: the document's example, every type and format, downloads, refusals."""

from __future__ import annotations

from typing import Any

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


def export(client: Client, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The export, once it has ended."""
    begun = client.post("/v1/export", body, **more)
    assert begun.status_code == 201, begun.text
    path = f"/v1/exports/{begun.json()['export_id']}"
    assert begun.headers["location"] == f"http://localhost{path}"

    def find_ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(path, **more).json()
        return found if found["status"] != "processing" else None

    return eventually(find_ended, 60, "the export has ended")  # type: ignore[return-value]


def test_the_example_of_the_document_works_literally(client: Client) -> None:
    begun = client.post("/v1/export", DOCUMENT)
    assert begun.status_code == 201
    row = begun.json()
    assert (row["status"], row["download_url"], row["file_size"]) == ("processing", None, None)
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
