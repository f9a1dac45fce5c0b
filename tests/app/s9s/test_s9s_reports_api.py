"""Reports over HTTP: the document's example with its e-mail, every type, every format."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app_client import CONFIG, Client, serving
from tests.mail_server import MailServer
from tests.waiting import eventually

DOCUMENT = {
    "type": "utilization",
    "format": "pdf",
    "parameters": {
        "period": "month",
        "start_date": "2023-12-01",
        "end_date": "2023-12-31",
        "partitions": ["gpu", "cpu"],
        "include_charts": True,
    },
    "delivery": {"method": "email", "email": "admin@example.com"},
}
TYPES = ("utilization", "user_activity", "job_summary", "efficiency", "node_health")


def make(client: Client, body: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The report, once it is complete, and its file."""
    begun = client.post("/v1/reports", body)
    assert begun.status_code == 201, begun.text
    path = f"/v1/reports/{begun.json()['report_id']}"
    assert begun.headers["location"] == f"http://localhost{path}"

    def find_ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(path).json()
        return found if found["status"] != "processing" else None

    done = eventually(find_ended, 120, "the report has ended")
    assert done is not None and done["status"] == "completed", done
    answer = client.get(done["download_url"].removeprefix("http://localhost"))
    assert len(answer.content) == done["file_size"]
    assert f'filename="{done["filename"]}"' in answer.headers["content-disposition"]
    return done, answer.content


@pytest.fixture(scope="module")
def ended(client: Client) -> str:
    """A job that accounting knows the end of."""
    job_id = str(client.submit("#!/bin/bash\ntrue\n", "for the reports"))
    client.job(job_id)
    slurm = client.server.cluster.slurm
    eventually(lambda: [job for job in slurm.sacct([job_id]) if job["end_time"]], 30, "accounting knows the end")
    return job_id


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    """A server for e-mail."""
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def mailing(mail: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app with a server for e-mail."""
    store = tmp_path_factory.mktemp("store")
    smtp = f"smtp: {{host: 127.0.0.1, port: {mail.port}, tls: none, from: sluice@example.com}}\n"
    (store / "config.yaml").write_text(CONFIG + smtp)
    with serving(store, "embedded") as made:
        yield made


def test_the_example_of_the_document_works_literally(mailing: Client, mail: MailServer) -> None:
    done, data = make(mailing, DOCUMENT)
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    assert done["parameters"] == DOCUMENT["parameters"]
    path = f"/v1/reports/{done['report_id']}"
    sent = eventually(
        lambda: (row := mailing.get(path).json())["delivery"]["status"] == "delivered" and row, 60, "it was sent"
    )
    assert (sent["delivery"]["method"], sent["delivery"]["email"]) == ("email", "admin@example.com")
    (message,) = mail.got
    (attached,) = message.iter_attachments()
    assert attached.get_content() == data and attached.get_content_type() == "application/pdf"
    delivery = mailing.get(f"/api/deliveries/{sent['delivery']['delivery_id']}").json()
    assert (delivery["status"], delivery["endpoint_id"]) == ("delivered", 0)


def test_without_a_server_for_mail_it_is_refused_by_field(client: Client) -> None:
    error = client.post("/v1/reports", DOCUMENT).json()["error"]
    assert error["code"] == "VALIDATION_ERROR" and list(error["details"]["fields"]) == ["delivery.method"]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_made_on_this_cluster(client: Client, ended: str, kind: str) -> None:
    _, data = make(client, {"type": kind, "format": "json", "parameters": {"period": "day"}})
    report = json.loads(data)
    assert report["type"] == kind and report["summary"] and report["tables"]
    if kind == "job_summary":
        assert report["summary"]["completed"] >= 1
    if kind == "node_health":
        assert report["summary"]["nodes"] == len(report["tables"]["nodes"]) > 0


def test_every_format_is_made(client: Client, ended: str) -> None:
    body = {"type": "job_summary", "parameters": {"period": "day"}}
    page = make(client, body | {"format": "html"})[1].decode()
    assert "<svg" in page and "prefers" not in page and "color-scheme:light dark" in page and "@media print" in page
    assert "http://" not in page.replace("http://www.w3.org", ""), "it needs nothing from elsewhere"
    bare = make(client, body | {"format": "html", "parameters": {"include_charts": False}})[1].decode()
    assert "<svg" not in bare and "<table>" in bare
    assert make(client, body | {"format": "pdf"})[1].startswith(b"%PDF-")
    assert make(client, body | {"format": "csv"})[1].startswith(b"Summary\r\nwhat,value\r\n")
    assert make(client, body | {"format": "md"})[1].startswith(b"# Jobs of ")


def test_the_list_and_the_end_of_a_report(client: Client) -> None:
    done, _ = make(client, {"type": "node_health", "format": "md"})
    page = client.get("/v1/reports?limit=1").json()
    assert page["reports"][0]["report_id"] == done["report_id"] and page["has_more"] == (page["total"] > 1)
    part = client.get(f"/v1/reports/{done['report_id']}/download", headers={"Range": "bytes=0-0"})
    assert (part.status_code, part.content) == (206, b"#")
    assert client.delete(f"/v1/reports/{done['report_id']}").status_code == 204
    assert client.get(f"/v1/reports/{done['report_id']}").status_code == 404


REFUSED = [
    ("a type that is none", {"type": "gossip", "format": "json"}, "type"),
    ("a format that is none", {"type": "utilization", "format": "xlsx"}, "format"),
    ("a date that is none", {"type": "utilization", "format": "json", "parameters": {"start_date": "x"}},
     "parameters.start_date"),
    ("no such period", {"type": "utilization", "format": "json", "parameters": {"period": "decade"}},
     "parameters.period"),
    ("an unknown parameter", {"type": "utilization", "format": "json", "parameters": {"partition": "gpu"}},
     "parameters.partition"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "body", "field"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_name_the_field(client: Client, why: str, body: dict[str, Any], field: str) -> None:
    answer = client.post("/v1/reports", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR"), why
    assert field in answer.json()["error"]["details"]["fields"]


ADDRESSES = [
    ("a header behind it", "a@example.com\r\nBcc: all@example.com"),
    ("an end of line", "a@example.com\n"),
    ("two", "a@example.com, b@example.com"),
    ("two in other words", "a@example.com;b@example.com"),
    ("with brackets", "<a@b.c>"),
    ("with a name", "Ann <a@b.c>"),
    ("a quoted name", '"a b"@example.com'),
    ("no domain", "root"),
    ("two signs", "a@b@example.com"),
    ("dots without letters", "a@example..com"),
    ("a dot in front", ".a@example.com"),
    ("a number of the network", "a@[127.0.0.1]"),
    ("another alphabet", "ä@example.com"),
    ("none", None),
    ("nothing", ""),
]


@pytest.mark.parametrize(("why", "address"), ADDRESSES, ids=[row[0] for row in ADDRESSES])
def test_an_address_is_one_address(mailing: Client, why: str, address: str | None) -> None:
    body = {"type": "node_health", "format": "json", "delivery": {"method": "email", "email": address}}
    error = mailing.post("/v1/reports", body).json()["error"]
    assert list(error["details"]["fields"]) == ["delivery.email"]


def test_matplotlib_is_loaded_nowhere_but_in_the_child(client: Client, ended: str) -> None:
    before = set(sys.modules)  # another test of this process may have loaded it
    make(client, {"type": "job_summary", "format": "html"})
    assert not {"matplotlib", "numpy", "xlsxwriter", "pyarrow"} & (set(sys.modules) - before)
