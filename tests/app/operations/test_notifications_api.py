"""Endpoints, watches, subscriptions and deliveries over HTTP; messages arrive at a receiver on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.monitoring import alerts
from store.rules import deliveries
from tests.app_client import Client, serving
from tests.receiver import Receiver
from tests.waiting import eventually

CONFIG = """\
cluster: {nodes: 2, cpus: 8, memory_mb: 16000, gpus: 4}
poll: {min_s: 1, max_s: 1}
webhooks: {allow_hosts: [localhost]}
"""
SLACK = "https://hooks.slack.com/services/T000/B000/" + "secret"
WORKFLOW = """\
name: two
jobs:
  - {name: a, command: "true"}
  - {name: b, command: [bash, -c, "exit {{ code }}"], depends_on: [a]}
args: {code: 0}
"""


@pytest.fixture(scope="module")
def receiver(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that the app of this module trusts."""
    made = Receiver(tmp_path_factory.mktemp("receiver"))
    os.environ["SSL_CERT_FILE"] = str(made.authority)
    yield made
    del os.environ["SSL_CERT_FILE"]
    made.close()


@pytest.fixture(scope="module")
def client(cluster: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app, which sends to this machine only."""
    store = tmp_path_factory.mktemp("store")
    (store / "config.yaml").write_text(CONFIG)
    with serving(store, cluster) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the next attempt."""
    monkeypatch.setattr(deliveries, "FIRST_PAUSE_S", 0)


def endpoint(client: Client, name: str, url: str, kind: str = "webhook") -> int:
    """The number of a new endpoint."""
    answer = client.post("/api/endpoints", {"kind": kind, "name": name, "config": {"webhook_url": url}})
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["id"]
    return number


def await_deliveries(client: Client, number: int, count: int) -> list[dict[str, Any]]:
    """Await the end of so many deliveries to an endpoint; oldest first."""

    def over() -> list[dict[str, Any]] | None:
        own = [
            delivery for delivery in client.get("/api/deliveries?limit=500").json() if delivery["endpoint_id"] == number
        ]
        ended = [delivery for delivery in own if delivery["status"] in ("delivered", "abandoned")]
        return own[::-1] if len(ended) >= count else None

    return eventually(over, 40, f"{count} deliveries to endpoint {number}")  # type: ignore[return-value]


def list_bodies(receiver: Receiver, path: str) -> list[dict[str, Any]]:
    """List the bodies that arrived there."""
    return [request["body"] for request in receiver.got if request["path"] == path]


# --- endpoints -------------------------------------------------------------------------------------------------------


def test_the_life_of_an_endpoint(client: Client) -> None:
    number = endpoint(client, "life", SLACK, "slack_webhook")
    row = next(row for row in client.get("/api/endpoints").json() if row["id"] == number)
    assert row["config"] == {"webhook_url": "https://hooks.slack.com/services/***"}
    file = client.store / "endpoints" / f"{number}.yaml"
    assert SLACK in file.read_text() and file.stat().st_mode & 0o077 == 0
    # A person's comment survives what the API changes, and the mask keeps the address.
    file.write_text("# ask Ann before changing this\n" + file.read_text())
    eventually(lambda: b"Ann" in client.server.store.endpoints.get_raw(str(number))[0])
    answer = client.request("PATCH", f"/api/endpoints/{number}", json={"name": "other", "config": row["config"]})
    assert answer.status_code == 200 and answer.json()["name"] == "other"
    assert file.read_text().startswith("# ask Ann") and SLACK in file.read_text()
    disabled = client.post(f"/api/endpoints/{number}/disable").json()
    assert disabled["disabled_at"] and client.post(f"/api/endpoints/{number}/disable").json() == disabled
    assert number not in [endpoint["id"] for endpoint in client.get("/api/endpoints?include_disabled=false").json()]
    assert client.post(f"/api/endpoints/{number}/enable").json()["disabled_at"] is None
    assert client.delete(f"/api/endpoints/{number}").status_code == 204
    assert client.delete(f"/api/endpoints/{number}").json() == {"detail": "endpoint not found"}
    assert endpoint(client, "later", SLACK, "slack_webhook") > number


def test_an_endpoint_written_by_hand_counts(client: Client) -> None:
    folder = client.store / "endpoints"
    (folder / "900.yaml").write_text(f"kind: slack_webhook\nname: by hand\nwebhook_url: {SLACK}\n")
    eventually(lambda: any(endpoint["id"] == 900 for endpoint in client.get("/api/endpoints").json()))
    (folder / "901.yaml").write_text("kind: slack_webhook\nname: wrong\nwebhook_url: https://example.org/secret-word\n")
    found = eventually(
        lambda: [problem for problem in client.get("/api/store/problems").json() if "901" in problem["path"]]
    )
    assert found[0]["line"] == 3 and "secret-word" not in found[0]["reason"]
    (folder / "901.yaml").unlink()
    assert endpoint(client, "after", SLACK, "slack_webhook") > 900


def bad(**more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "name": "bad", "config": {"webhook_url": "https://example.org/x"}, **more}


@pytest.mark.parametrize(
    ("why", "method", "path", "body", "status", "said"),
    [
        ("a kind that is none", "POST", "/api/endpoints", bad(kind="mail"), 422, "kind"),
        ("no name", "POST", "/api/endpoints", bad(name=""), 422, "name"),
        ("a name too long", "POST", "/api/endpoints", bad(name="x" * 81), 422, "name"),
        ("a line break in a name", "POST", "/api/endpoints", bad(name="a\nb"), 422, "name"),
        ("Slack elsewhere", "POST", "/api/endpoints", bad(kind="slack_webhook"), 422, "hooks.slack.com"),
        ("http", "POST", "/api/endpoints", bad(config={"webhook_url": "http://example.org/"}), 422, "https"),
        ("the mask", "POST", "/api/endpoints", bad(config={"webhook_url": "https://example.org/***"}), 422, "mask"),
        ("alerts of no severity", "POST", "/api/endpoints", bad(alerts="info"), 422, "alerts"),
        ("nothing there", "PATCH", "/api/endpoints/99999", {"name": "x"}, 404, "endpoint not found"),
        ("nothing there", "POST", "/api/endpoints/99999/disable", None, 404, "endpoint not found"),
        ("no number", "POST", "/api/endpoints/x/enable", None, 422, "endpoint_id"),
        ("digest", "POST", "/api/subscriptions", {"watch_id": 1, "endpoint_id": 1, "preset": "digest"}, 422, "digest"),
        ("no preset", "POST", "/api/subscriptions", {"watch_id": 1, "endpoint_id": 1, "preset": "some"}, 422, "preset"),
        ("no watch", "POST", "/api/subscriptions", {"watch_id": 99999, "endpoint_id": 1}, 409, "not found"),
        ("no subscription", "DELETE", "/api/subscriptions/99999", None, 404, "subscription not found"),
        ("no watch", "GET", "/api/watches/99999", None, 404, "watch not found"),
        ("no watch", "POST", "/api/watches/99999/close", None, 404, "watch not found"),
        ("closed ones of everything", "GET", "/api/watches?open=false", None, 400, "target_ref"),
        ("no delivery", "GET", "/api/deliveries/99999", None, 404, "delivery not found"),
        ("too many", "GET", "/api/deliveries?limit=501", None, 422, "limit"),
        ("no such state", "GET", "/api/deliveries?status=lost", None, 422, "status"),
        ("a time in the future", "GET", "/api/deliveries/stuck?older_than_sec=-1", None, 422, "older_than_sec"),
        ("no job", "POST", "/api/watches", {"kind": "job", "job_id": 999999, "endpoint_id": 1}, 404, "Job"),
        (
            "no sweep",
            "POST",
            "/api/watches",
            {"kind": "sweep_run", "sweep_run_id": 9999, "endpoint_id": 1},
            404,
            "Sweep",
        ),
        ("no target", "POST", "/api/watches", {"kind": "job", "endpoint_id": 1}, 422, "job_id"),
    ],
)
def test_refusals(client: Client, why: str, method: str, path: str, body: Any, status: int, said: str) -> None:
    answer = client.request(method, path, **({"json": body} if body is not None else {}))
    assert answer.status_code == status, (why, answer.text)
    assert said in answer.text, why


def test_two_of_one_kind_have_two_names(client: Client) -> None:
    first, second = endpoint(client, "one", SLACK, "slack_webhook"), endpoint(client, "two", SLACK, "slack_webhook")
    again = {"kind": "slack_webhook", "name": "one", "config": {"webhook_url": SLACK}}
    assert client.post("/api/endpoints", again).status_code == 409
    assert client.request("PATCH", f"/api/endpoints/{second}", json={"name": "one"}).status_code == 409
    assert client.request("PATCH", f"/api/endpoints/{first}", json={"name": "one"}).status_code == 200
    endpoint(client, "one", "https://example.org/")


# --- notify on submissions -------------------------------------------------------------------------------------------


def requests_with_notify(client: Client) -> list[tuple[str, dict[str, Any]]]:
    client.workflow("two", WORKFLOW)
    return [
        ("/api/jobs", {"name": "n", "script_content": "#!/bin/bash\ntrue\n"}),
        ("/api/workflows/two/run", {}),
        ("/api/workflows/two/run", {"dry_run": True}),
        ("/api/workflows/two/run", {"sweep": {"matrix": {"code": [0, 1]}}}),
    ]


def test_what_notify_needs_is_checked_before_anything_is_submitted(client: Client) -> None:
    off = endpoint(client, "off", "https://localhost/off")
    client.post(f"/api/endpoints/{off}/disable")
    before = [client.get(path).json() for path in ("/api/history", "/api/workflows/runs", "/api/sweep_runs")]
    for path, body in requests_with_notify(client):
        for more, status, said in (
            ({}, 422, "endpoint_id"),
            ({"endpoint_id": 77777}, 404, "endpoint 77777 not found"),
            ({"endpoint_id": off}, 422, f"endpoint {off} is disabled"),
            ({"endpoint_id": off, "preset": "digest"}, 422, "digest"),
            ({"endpoint_id": off, "preset": "sometimes"}, 422, "preset"),
        ):
            answer = client.post(path, {**body, "notify": True, **more})
            assert answer.status_code == status and said in answer.text, (path, more, answer.text)
    assert before == [client.get(path).json() for path in ("/api/history", "/api/workflows/runs", "/api/sweep_runs")]


@pytest.mark.parametrize(
    ("preset", "events"),
    [
        ("terminal", [("job.status_changed", "COMPLETED")]),
        ("running_and_terminal", [("job.status_changed", "RUNNING"), ("job.status_changed", "COMPLETED")]),
        ("all", [("job.submitted", "PENDING"), ("job.status_changed", "RUNNING"), ("job.status_changed", "COMPLETED")]),
    ],
)
def test_a_job_tells_what_its_preset_says(
    client: Client, receiver: Receiver, preset: str, events: list[tuple[str, str]]
) -> None:
    number = endpoint(client, f"job {preset}", f"{receiver.url}/{preset}/ok")
    job_id = client.submit("#!/bin/bash\ntrue\n", notify=True, endpoint_id=number, preset=preset)
    found = await_deliveries(client, number, len(events))
    assert [delivery["status"] for delivery in found] == ["delivered"] * len(events)
    bodies = list_bodies(receiver, f"/{preset}/ok")
    assert [(body["event"], body["status"]) for body in bodies] == events
    assert {body["target_ref"] for body in bodies} == {f"job:local:{job_id}"}
    assert [body["id"] for body in bodies] == [body["idempotency_key"] for body in found]
    assert client.get(f"/api/deliveries/{found[0]['id']}").json() == found[0]
    watch = client.get(f"/api/watches?open=false&target_ref=job:local:{job_id}").json()[0]
    eventually(lambda: client.get(f"/api/watches/{watch['id']}").json()["closed_at"], what="it closes by itself")


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (3, "failed")])
def test_a_run_tells_how_it_ended(client: Client, receiver: Receiver, code: int, status: str) -> None:
    number = endpoint(client, f"run {status}", f"{receiver.url}/run-{status}/ok")
    wanted = {"notify": True, "endpoint_id": number, "preset": "running_and_terminal"}
    run = client.start_run("two", WORKFLOW, args_override={"code": code}, **wanted)
    await_deliveries(client, number, 2)
    bodies = list_bodies(receiver, f"/run-{status}/ok")
    assert [body["status"] for body in bodies] == ["running", status]
    assert bodies[1]["target_ref"] == f"workflow_run:{run['id']}" and bodies[1]["name"] == "two"
    assert (bodies[1]["error"] is None) == (code == 0) and bodies[0]["error"] is None


def test_a_sweep_tells_once_and_not_for_each_cell(client: Client, receiver: Receiver) -> None:
    number = endpoint(client, "sweep", f"{receiver.url}/sweep/ok")
    wanted = {"notify": True, "endpoint_id": number, "sweep": {"matrix": {"code": [0, 3, 0]}}}
    made = client.start_run("two", WORKFLOW, **wanted)
    found = await_deliveries(client, number, 1)
    body = list_bodies(receiver, "/sweep/ok")[0]
    assert len(found) == 1 and body["target_ref"] == f"sweep_run:{made['sweep_run_id']}"
    assert body["status"] == "failed" and body["cells"]["completed"] == 2 and body["cells"]["failed"] == 1
    assert "b" in body["representative_error"]


def test_how_it_ended_is_told_before_it_runs_again(
    client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nobody had the time to tell it until then."""
    number = endpoint(client, "rerun", f"{receiver.url}/rerun/ok")
    wanted = {"notify": True, "endpoint_id": number, "sweep": {"matrix": {"code": [3]}}}

    async def no_time() -> None:
        """Nothing is told by itself."""

    with monkeypatch.context() as patch:
        patch.setattr(client.server.notifications, "run_once", no_time)
        sweep_id = client.start_run("two", WORKFLOW, **wanted)["sweep_run_id"]
        eventually(lambda: client.get(f"/api/sweep_runs/{sweep_id}").json()["status"] == "failed", 40)
        assert client.post(f"/api/sweep_runs/{sweep_id}/rerun", {"cells": "failed"}).status_code == 202
    await_deliveries(client, number, 1)
    assert [body["status"] for body in list_bodies(receiver, "/rerun/ok")] == ["failed"]
    client.post(f"/api/sweep_runs/{sweep_id}/cancel")


def test_the_same_request_asks_once(client: Client, receiver: Receiver) -> None:
    number = endpoint(client, "again", f"{receiver.url}/again/ok")
    body = {"name": "again", "script_content": "#!/bin/bash\ntrue\n", "notify": True, "endpoint_id": number}
    for _ in range(3):
        assert client.post("/api/jobs", body, headers={"Idempotency-Key": "again"}).status_code == 201
        await_deliveries(client, number, 1)
    assert len(await_deliveries(client, number, 1)) == 1 == len(list_bodies(receiver, "/again/ok"))
    watches = client.get(f"/api/subscriptions?endpoint_id={number}").json()
    assert len(watches) == 1


def test_a_file_in_the_inbox_may_ask_for_it(client: Client, receiver: Receiver) -> None:
    number = endpoint(client, "inbox", f"{receiver.url}/inbox/ok")
    client.workflow("two", WORKFLOW)
    inbox = client.store / "inbox"
    (inbox / "tell.yaml").write_text(f"workflow: two\nnotify: true\nendpoint_id: {number}\n")
    (inbox / "wrong.yaml").write_text("workflow: two\nnotify: true\nendpoint_id: 77777\n")
    await_deliveries(client, number, 1)
    assert [body["status"] for body in list_bodies(receiver, "/inbox/ok")] == ["completed"]
    failed = eventually(lambda: [path.read_text() for path in (inbox / "failed").glob("wrong*")])
    assert any("endpoint 77777 not found" in text for text in failed)


def test_an_alert_is_told_when_it_comes_and_when_it_is_resolved(client: Client, receiver: Receiver) -> None:
    number = endpoint(client, "alerts", f"{receiver.url}/alerts/ok")
    asked = client.request("PATCH", f"/api/endpoints/{number}", json={"alerts": "warning"})
    assert asked.json()["alerts"] == "warning"
    server = client.server
    server.store.note_problems("jobs", {"jobs/x.json": "it is wrong"})
    client.run(alerts.check_alerts(server))
    await_deliveries(client, number, 1)
    server.store.note_problems("jobs", {})
    client.run(alerts.check_alerts(server))
    await_deliveries(client, number, 2)
    bodies = [body for body in list_bodies(receiver, "/alerts/ok") if body["name"] == "Files that are wrong"]
    assert [(body["event"], body["status"]) for body in bodies] == [
        ("alert.raised", "warning"),
        ("alert.resolved", "resolved"),
    ]
    assert len({body["id"] for body in bodies}) == 2
    off = client.request("PATCH", f"/api/endpoints/{number}", json={"alerts": "none"})
    assert off.json()["alerts"] == "none" and "alerts: none" in (client.store / f"endpoints/{number}.yaml").read_text()


# --- watches and subscriptions ---------------------------------------------------------------------------------------


def test_a_job_is_watched_from_now_on(client: Client, receiver: Receiver) -> None:
    number, other = endpoint(client, "w1", f"{receiver.url}/w1/ok"), endpoint(client, "w2", f"{receiver.url}/w2/ok")
    flag = client.store / "go"
    job_id = client.submit(f"#!/bin/bash\nwhile [ ! -e {flag} ]; do sleep 0.1; done\n")
    eventually(lambda: client.get(f"/api/jobs/{job_id}").json()["status"] == "RUNNING")
    wanted: dict[str, Any] = {"kind": "job", "job_id": job_id, "endpoint_id": number, "preset": "all"}
    made = client.post("/api/watches", wanted).json()
    assert made["created"] is True
    assert client.post("/api/watches", wanted).json() == {**made, "created": False}
    floats = {**wanted, "job_id": float(job_id), "endpoint_id": float(number)}
    assert client.post("/api/watches", floats).json() == {**made, "created": False}
    assert [watch["id"] for watch in client.get("/api/watches?kind=job&open=true").json()] == [made["watch_id"]]
    more = {"watch_id": made["watch_id"], "endpoint_id": other, "preset": "terminal"}
    assert client.post("/api/subscriptions", more).status_code == 201
    assert client.post("/api/subscriptions", more).status_code == 409
    subscriptions = client.get(f"/api/subscriptions?watch_id={made['watch_id']}").json()
    assert [(subscription["endpoint_id"], subscription["preset"]) for subscription in subscriptions] == [
        (number, "all"),
        (other, "terminal"),
    ]
    flag.touch()
    await_deliveries(client, number, 1), await_deliveries(client, other, 1)
    # That it was submitted and runs was no news when it was asked for.
    assert [body["status"] for body in list_bodies(receiver, "/w1/ok")] == ["COMPLETED"]
    assert [body["status"] for body in list_bodies(receiver, "/w2/ok")] == ["COMPLETED"]
    late = client.post("/api/watches", wanted)
    assert late.status_code == 422 and "already COMPLETED" in late.text
    eventually(lambda: client.get(f"/api/watches/{made['watch_id']}").json()["closed_at"])
    assert client.post("/api/subscriptions", {**more, "endpoint_id": 900}).status_code == 409


def test_a_job_of_somebody_else_is_watched(client: Client, receiver: Receiver) -> None:
    """One that did not go through us: SLURM is asked how it ended when it leaves the queue."""
    number = endpoint(client, "foreign", f"{receiver.url}/foreign/ok")
    slurm = client.server.cluster.slurm
    flag = client.store / "foreign-go"
    script = f"#!/bin/bash\nwhile [ ! -e {flag} ]; do sleep 0.1; done\nexit 4\n"
    job_id = int(slurm.sbatch(script, {"job_name": "foreign", "comment": "x", "chdir": str(client.store / "work")}))
    eventually(lambda: client.get(f"/api/jobs/{job_id}").status_code == 200)
    body = {"kind": "job", "job_id": job_id, "endpoint_id": number}
    assert client.post("/api/watches", body).status_code == 201
    flag.touch()
    await_deliveries(client, number, 1)
    bodies = list_bodies(receiver, "/foreign/ok")
    assert [(body["status"], body["exit_code"], body["name"]) for body in bodies] == [("FAILED", 4, "foreign")]


def test_a_closed_watch_and_a_lost_subscription_are_silent(client: Client, receiver: Receiver) -> None:
    number = endpoint(client, "silent", f"{receiver.url}/silent/ok")
    flag = client.store / "silent-go"
    script = f"#!/bin/bash\nwhile [ ! -e {flag} ]; do sleep 0.1; done\n"
    first = client.submit(script, notify=True, endpoint_id=number)
    second = client.submit(script, notify=True, endpoint_id=number)
    third = client.submit(script, notify=True, endpoint_id=number)
    of = {watch["target_ref"]: watch["id"] for watch in client.get("/api/watches").json()}
    closed = client.post(f"/api/watches/{of[f'job:local:{first}']}/close").json()
    assert closed["closed_at"]
    assert client.post(f"/api/watches/{closed['id']}/close").json() == closed
    subscription = client.get(f"/api/subscriptions?watch_id={of[f'job:local:{second}']}").json()[0]
    assert client.delete(f"/api/subscriptions/{subscription['id']}").status_code == 204
    assert client.delete(f"/api/subscriptions/{subscription['id']}").status_code == 404
    flag.touch()
    await_deliveries(client, number, 1)
    for job_id in (first, second, third):
        client.job(job_id)
    eventually(lambda: not client.get("/api/watches").json(), what="all watches are closed")
    assert [body["target_ref"] for body in list_bodies(receiver, "/silent/ok")] == [f"job:local:{third}"]


def test_what_was_deleted_or_disabled_hears_nothing(client: Client, receiver: Receiver) -> None:
    gone, off = endpoint(client, "gone", f"{receiver.url}/gone/ok"), endpoint(client, "off2", f"{receiver.url}/off2/ok")
    stays = endpoint(client, "stays", f"{receiver.url}/stays/ok")
    flag = client.store / "gone-go"
    script = f"#!/bin/bash\nwhile [ ! -e {flag} ]; do sleep 0.1; done\n"
    for number in (gone, off, stays):
        client.submit(script, notify=True, endpoint_id=number)
    assert client.delete(f"/api/endpoints/{gone}").status_code == 204
    assert client.post(f"/api/endpoints/{off}/disable").status_code == 200
    assert client.get(f"/api/subscriptions?endpoint_id={gone}").json() == []
    flag.touch()
    await_deliveries(client, stays, 1)
    eventually(lambda: not client.get("/api/watches").json(), what="all watches are closed")
    assert list_bodies(receiver, "/gone/ok") == list_bodies(receiver, "/off2/ok") == []
    numbers = {delivery["endpoint_id"] for delivery in client.get("/api/deliveries?limit=500").json()}
    assert not numbers & {gone, off}


# --- sending ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "path", "attempts", "said"),
    [
        ("errors are tried five times", "500", 5, "the receiver answered 500"),
        ("so are redirects, which lead nowhere", "redirect", 5, "redirects are not followed"),
        ("and answers without end", "huge", 5, "the receiver answered 500"),
    ],
)
def test_what_fails_is_tried_again_and_then_given_up(
    client: Client, receiver: Receiver, why: str, path: str, attempts: int, said: str
) -> None:
    number = endpoint(client, path, f"{receiver.url}/tried/{path}")
    client.submit("#!/bin/bash\ntrue\n", notify=True, endpoint_id=number)
    delivery = await_deliveries(client, number, 1)[0]
    assert (delivery["status"], delivery["attempt_count"]) == ("abandoned", attempts), why
    assert said in delivery["last_error"] and receiver.url not in delivery["last_error"]
    got = [request["headers"]["idempotency-key"] for request in receiver.got if request["path"] == f"/tried/{path}"]
    assert len(got) == attempts and len(set(got)) == 1


def test_a_receiver_that_hangs_holds_up_no_other(
    client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = client.server.notifications.outbox.sender
    monkeypatch.setattr(sender, "timeout_s", 0.5)
    hangs, works = (
        endpoint(client, "hangs", f"{receiver.url}/x/hang"),
        endpoint(client, "works", f"{receiver.url}/x/ok"),
    )
    for number in (hangs, works):
        client.submit("#!/bin/bash\ntrue\n", notify=True, endpoint_id=number)
    assert await_deliveries(client, works, 1)[0]["status"] == "delivered"
    delivery = await_deliveries(client, hangs, 1)[0]
    assert (delivery["status"], delivery["attempt_count"]) == ("abandoned", 5) and "no answer" in delivery["last_error"]


def test_slack_gets_a_text_and_never_the_same_twice(
    client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The name hooks.slack.com means this machine here, and its certificate is the test's."""
    from engine.notify import webhooks

    slack = Receiver(tmp_path, "hooks.slack.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(slack.authority))
    sender = webhooks.Sender(lambda *_: ["127.0.0.1"], timeout_s=0.5)
    monkeypatch.setattr(client.server.notifications.outbox, "sender", sender)
    monkeypatch.setattr("store.rules.endpoints.parse_host", lambda url: ("hooks.slack.com", slack.port))
    monkeypatch.setattr("store.addresses.is_allowed", lambda *_: True)
    try:
        takes = endpoint(client, "takes", "https://hooks.slack.com/services/T/B/ok", "slack_webhook")
        hangs = endpoint(client, "slack hangs", "https://hooks.slack.com/services/T/B/hang", "slack_webhook")
        client.submit("#!/bin/bash\nexit 2\n", "<!channel> & co", notify=True, endpoint_id=takes)
        client.submit("#!/bin/bash\ntrue\n", notify=True, endpoint_id=hangs)
        assert await_deliveries(client, takes, 1)[0]["status"] == "delivered"
        delivery = await_deliveries(client, hangs, 1)[0]
        assert delivery["status"] == "abandoned" and "not sent again" in delivery["last_error"]
        texts = [request["body"]["text"] for request in slack.got if request["path"].endswith("/ok")]
        assert len(texts) == 1 and re.match(r"❌ Job \d+ \(&lt;!channel&gt; &amp; co\): FAILED, exit code 2", texts[0])
        assert len([request for request in slack.got if request["path"].endswith("/hang")]) == 1
    finally:
        slack.close()
        sender.close()


def test_addresses_of_webhooks_are_told_to_nobody(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in an answer, nor in the audit, nor in a document that is sent around."""
    endpoint(client, "secret", "https://localhost:1/very-secret-path")
    for path in ("/api/endpoints", "/api/deliveries?limit=500", "/api/watches", "/api/subscriptions"):
        assert "very-secret-path" not in client.get(path).text
    for file in [*(client.store / "audit").iterdir(), *(client.store / "deliveries").iterdir()]:
        assert "very-secret-path" not in file.read_text()


def test_nothing_is_stuck(client: Client) -> None:
    assert client.get("/api/deliveries/stuck").json() == {"count": 0, "older_than_sec": 300}
