"""The WebSocket of the S9S API: subscriptions, updates of what happens, and what a client does wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.monitoring import alerts
from http_server import websocket
from tests.app_client import Client
from tests.contract_judge import find_envelope
from tests.waiting import eventually

HELD = "#!/bin/bash\n#SBATCH --hold\nsleep 300\n"


class Talk:
    """A WebSocket to the app in this process."""

    def __init__(self, client: Client, path: str, token: str | None, **headers: str) -> None:
        self.client, self.said, self.heard = client, asyncio.Queue[Any](), asyncio.Queue[Any]()
        name, _, query = path.partition("?")
        given = [(b"host", b"localhost")]
        given += [(key.encode(), value.encode()) for key, value in headers.items()]
        if token:
            given.append((b"authorization", f"Bearer {client.tokens.get(token, token)}".encode()))
        scope = {
            "type": "websocket", "path": name, "raw_path": name.encode(), "query_string": query.encode(),
            "root_path": "", "headers": given, "client": ("127.0.0.1", 4), "server": ("127.0.0.1", 8000),
            "scheme": "ws", "subprotocols": [],
        }  # fmt: skip
        self.is_read = asyncio.Event()
        self.is_read.set()
        self.heard.put_nowait({"type": "websocket.connect"})

        async def begin() -> asyncio.Task[None]:
            return asyncio.ensure_future(client.serve(scope, self.heard.get, self.take))

        self.task: asyncio.Task[None] = client.run(begin())

    async def take(self, message: dict[str, Any]) -> None:
        """Take what the server sends, once the client reads."""
        if message["type"] == "websocket.send":
            await self.is_read.wait()
        await self.said.put(message)

    def say(self, message: Any) -> None:
        """Send an object, a text or bytes."""
        kind = "bytes" if isinstance(message, bytes) else "text"
        data = message if isinstance(message, str | bytes) else json.dumps(message)
        self.client.loop.call_soon_threadsafe(self.heard.put_nowait, {"type": "websocket.receive", kind: data})

    def next(self) -> dict[str, Any]:
        """The next message of ASGI."""
        found: dict[str, Any] = self.client.run(self.said.get(), 60)
        return found

    def hear(self) -> dict[str, Any]:
        """The next message of the server."""
        message = self.next()
        if message["type"] == "websocket.accept":
            return self.hear()
        assert message["type"] == "websocket.send", message
        found: dict[str, Any] = json.loads(message["text"])
        return found

    def ask(self, message: Any) -> dict[str, Any]:
        """The answer to a message, whatever updates come before it."""
        self.say(message)
        while "channel" in (found := self.hear()) and found["action"] not in ("subscribed", "unsubscribed"):
            pass
        return found

    def subscribe(self, channel: str, **more: Any) -> str:
        """The id of a new subscription."""
        found = self.ask({"action": "subscribe", "channel": channel, **more})
        assert found["action"] == "subscribed", found
        return str(found["subscription_id"])

    def await_update(self, resource_id: Any, **expected: Any) -> dict[str, Any]:
        """The first update of this resource whose data has these values."""
        while True:
            found = self.hear()
            data = found.get("data", {})
            if found.get("resource_id") == str(resource_id) and all(data.get(key) == expected[key] for key in expected):
                return found

    def close_code(self) -> int:
        """The code that the server closes with."""
        while (message := self.next())["type"] != "websocket.close":
            pass
        return int(message["code"])

    def leave(self) -> None:
        """Leave, and wait until the server has noticed."""
        self.client.loop.call_soon_threadsafe(self.heard.put_nowait, {"type": "websocket.disconnect", "code": 1000})

        async def end() -> None:
            await asyncio.wait({self.task}, timeout=60)

        self.client.run(end())
        assert self.task.done() and self.task.exception() is None


@contextlib.contextmanager
def talk(client: Client, path: str = "/api/v1/ws", token: str | None = "read", **headers: str) -> Iterator[Talk]:
    made = Talk(client, path, token, **headers)
    try:
        yield made
    finally:
        made.leave()


# --- updates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/ws", "/v1/ws"])
def test_a_job_is_followed_from_its_submission_to_its_end(client: Client, path: str) -> None:
    with talk(client, path) as made:
        made.subscribe("jobs")
        job_id = client.submit(HELD, name="followed")
        created = made.await_update(job_id)
        assert (created["channel"], created["action"]) == ("jobs", "created")
        assert created["data"].items() >= {"job_id": str(job_id), "job_name": "followed", "state": "PENDING"}.items()
        client.delete(f"/api/v1/jobs/{job_id}")
        update = made.await_update(job_id, state="CANCELLED")
        assert update["action"] == "update" and update["timestamp"].endswith("Z")
        assert "job_name" not in update["data"], "only what is new"


def test_the_example_of_the_document(client: Client) -> None:
    """Who watches running jobs hears that one has completed."""
    job_id = client.submit(f"#!/bin/bash\nwhile [ ! -e {client.store}/go ]; do sleep 0.1; done\n")
    user = client.get(f"/api/v1/jobs/{job_id}").json()["user"]
    with talk(client) as made:
        made.subscribe("jobs", filter={"user": user, "state": "RUNNING"})
        eventually(lambda: client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "RUNNING")
        (client.store / "go").touch()
        update = made.await_update(job_id, state="COMPLETED")
        assert update["data"]["exit_code"] == 0 and update["data"]["end_time"].endswith("Z")
        assert set(update) == {"channel", "action", "resource_id", "timestamp", "data"}


def test_what_no_filter_wants_is_not_told(client: Client) -> None:
    with talk(client) as made:
        made.subscribe("jobs", filter={"job_name": "wanted"})
        made.subscribe("jobs", filter={"job_name": ["wanted", "other"], "state": "pd"})
        ids = [client.submit(HELD, name=name) for name in ("unwanted", "wanted")]
        assert made.hear()["resource_id"] == str(ids[1])
        for job_id in ids:
            client.delete(f"/api/v1/jobs/{job_id}")
        assert made.await_update(ids[1], state="CANCELLED")["action"] == "update", "once, though two want it"


def test_a_snapshot_comes_first(client: Client) -> None:
    job_id = client.submit(HELD, name="there-already")
    with talk(client) as made:
        made.subscribe("jobs", filter={"job_name": "there-already"}, snapshot=True)
        snapshot = made.hear()
        assert snapshot["action"] == "snapshot" and snapshot["data"]["has_more"] is False
        assert [row["job_id"] for row in snapshot["data"]["jobs"]] == [str(job_id)]
        made.subscribe("queue", snapshot=True)
        queue = made.hear()["data"]["queue"][0]
        assert queue["pending"] >= 1 and sum(row["pending"] for row in queue["by_partition"].values()) >= 1
        assert set(queue) == {"pending", "running", "avg_wait_time", "by_partition"}
        client.delete(f"/api/v1/jobs/{job_id}")
        assert made.await_update(client.server.cluster.name, pending=queue["pending"] - 1)["channel"] == "queue"


def test_metrics_are_told_as_they_are_asked_for(client: Client) -> None:
    with talk(client) as made:
        made.subscribe("metrics")
        update = made.await_update(client.server.cluster.name)
        assert (update["channel"], update["action"]) == ("metrics", "update")
        assert set(update["data"]) == set(client.get("/api/v1/metrics/cluster").json())


def test_a_node_is_followed(client: Client) -> None:
    name = client.server.cluster.snapshot.nodes[0]["name"]
    # A job of another test may have ended there a moment ago.
    eventually(lambda: client.get(f"/api/v1/nodes/{name}").json()["state"] == "IDLE")
    with talk(client) as made:
        made.subscribe("nodes", filter={"node_name": name}, snapshot=True)
        (row,) = made.hear()["data"]["nodes"]
        assert (row["node_name"], row["state"]) == (name, "IDLE")
        snapshot = client.server.cluster.snapshot

        async def drain() -> None:
            snapshot.show_nodes([{**snapshot.nodes[0], "flags": ["DRAIN"], "reason": "a test"}])

        client.run(drain())
        update = made.await_update(name, state="DRAIN")
        assert update["channel"] == "nodes" and update["data"]["reason"] == "a test"
        assert "partitions" not in update["data"]


async def check_alerts(client: Client, problems: dict[str, str]) -> None:
    """Have alerts looked for, with these problems of files."""
    client.server.store.note_problems("jobs", problems)
    await alerts.check_alerts(client.server)


def test_alerts_are_told_and_what_becomes_of_them(client: Client) -> None:
    with talk(client) as made:
        made.subscribe("alerts", filter={"type": "system"})
        client.run(check_alerts(client, {"jobs/x.json": "it is wrong"}))
        found = made.hear()
        assert (found["channel"], found["action"]) == ("alerts", "created")
        assert found["data"]["title"] == "Files that are wrong"
        client.request("PUT", f"/api/v1/alerts/{found['resource_id']}/acknowledge")
        update = made.await_update(found["resource_id"], acknowledged=True)
        assert "title" not in update["data"] and update["data"]["resolved"] is False
        client.run(check_alerts(client, {}))
        made.await_update(found["resource_id"], resolved=True)
        made.subscribe("alerts", snapshot=True)
        assert found["resource_id"] in [row["alert_id"] for row in made.hear()["data"]["alerts"]]


def test_what_is_unsubscribed_is_told_no_more(client: Client) -> None:
    with talk(client) as made:
        first, second = made.subscribe("jobs"), made.subscribe("queue")
        assert made.ask({"action": "unsubscribe", "subscription_id": first})["subscription_id"] == first
        assert made.ask({"action": "unsubscribe", "channel": "queue"})["subscription_id"] == second
        assert made.ask({"action": "unsubscribe", "channel": "queue"})["action"] == "error"
        client.delete(f"/api/v1/jobs/{client.submit(HELD)}")
        assert made.ask({"action": "ping"}) == {"action": "pong"}


# --- what clients do wrong -------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any, str]] = [
    ("no JSON", "hello", "INVALID_REQUEST"),
    ("nothing", "", "VALIDATION_ERROR"),
    ("no object", [1], "INVALID_REQUEST"),
    ("binary", b"\xff\x00", "INVALID_REQUEST"),
    ("nested", "[" * 50_000, "INVALID_REQUEST"),
    ("no action", {}, "VALIDATION_ERROR"),
    ("an unknown one", {"action": "subscrib"}, "VALIDATION_ERROR"),
    ("not even text", {"action": ["subscribe"]}, "VALIDATION_ERROR"),
    ("an unknown field", {"action": "ping", "more": 1}, "VALIDATION_ERROR"),
    ("an unknown channel", {"action": "subscribe", "channel": "job"}, "VALIDATION_ERROR"),
    ("no channel", {"action": "subscribe"}, "VALIDATION_ERROR"),
    ("a filter that is none", {"action": "subscribe", "channel": "jobs", "filter": [1]}, "VALIDATION_ERROR"),
    ("an unknown field of it", {"action": "subscribe", "channel": "jobs", "filter": {"usr": "a"}}, "VALIDATION_ERROR"),
    ("an unknown state", {"action": "subscribe", "channel": "jobs", "filter": {"state": "RUNING"}}, "VALIDATION_ERROR"),
    ("no value", {"action": "subscribe", "channel": "jobs", "filter": {"user": None}}, "VALIDATION_ERROR"),
    ("no values", {"action": "subscribe", "channel": "jobs", "filter": {"user": []}}, "VALIDATION_ERROR"),
    ("a filter for none", {"action": "subscribe", "channel": "metrics", "filter": {"a": "b"}}, "VALIDATION_ERROR"),
    ("no such subscription", {"action": "unsubscribe", "subscription_id": "sub_9"}, "VALIDATION_ERROR"),
]


def test_a_wrong_message_is_told_and_closes_nothing(client: Client) -> None:
    with talk(client) as made:
        for why, message, code in WRONG:
            found = made.ask(message)
            assert found.pop("action") == "error", why
            assert found["error"]["code"] == code, why
            assert find_envelope("GET", "/api/v1/ws").is_valid(found), why
        assert "did you mean 'jobs'" in made.ask({"action": "subscribe", "channel": "job"})["error"]["message"]
        assert made.ask({"action": "ping"}) == {"action": "pong"}


MESSAGES = st.one_of(
    st.text(max_size=50),
    st.binary(max_size=50),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda part: st.lists(part, max_size=3)
    ),
    st.fixed_dictionaries(
        {"action": st.sampled_from(["subscribe", "unsubscribe", "ping", "auth", "x"])},
        optional={
            "channel": st.sampled_from(["jobs", "nodes", "queue", "metrics", "alerts"]) | st.text(max_size=5),
            "filter": st.dictionaries(
                st.sampled_from(["user", "state", "x"]), st.text(max_size=5) | st.integers() | st.none()
            ),
            "snapshot": st.booleans() | st.none(),
            "subscription_id": st.sampled_from(["sub_1", "sub_2"]) | st.integers(),
        },
    ),
)
ANSWERS = {
    "error", "pong", "subscribed", "unsubscribed", "snapshot", "authenticated", "created", "update", "deleted",
}  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(MESSAGES, max_size=20))
def test_whatever_is_said_the_next_ping_is_answered(client: Client, messages: list[Any]) -> None:
    with talk(client) as made:
        for message in messages:
            made.say(message if isinstance(message, str | bytes) else json.dumps(message))
        made.say({"action": "ping", "the end": 1})  # an unknown field, which the error names
        while "the end" not in json.dumps(found := made.hear()):
            assert found["action"] in ANSWERS
        assert found["action"] == "error"
        assert made.ask({"action": "ping"}) == {"action": "pong"}


# --- bounds and ends -------------------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_is_sent_away_and_delays_nobody(client: Client) -> None:
    with talk(client) as slow, talk(client) as quick:
        slow.subscribe("jobs")
        quick.subscribe("jobs")
        client.loop.call_soon_threadsafe(slow.is_read.clear)
        job_id = client.submit(HELD, name="seen")
        assert quick.await_update(job_id)["action"] == "created"
        feed = client.server.update_feeds[0]

        async def publish_much() -> None:
            for number in range(1000):
                feed.tell_update("jobs", "created", f"x{number}", {"job_id": f"x{number}"})
                await asyncio.sleep(0)

        client.run(publish_much())
        assert quick.await_update("x999")
        assert slow.close_code() == 1013
        assert len(feed.listeners) == 1
        client.delete(f"/api/v1/jobs/{job_id}")


def test_nothing_is_left_of_clients_that_have_gone(client: Client) -> None:
    with talk(client) as made:
        made.subscribe("jobs")
    feed = client.server.update_feeds[0]
    assert not feed.listeners and feed._task is None


def test_who_may_not_read_is_sent_away(client: Client) -> None:
    for token, code in (("report", 4403), ("expired", 4401), ("nonsense", 4401)):
        made = Talk(client, "/api/v1/ws", token)
        assert made.close_code() == code
        made.leave()
    made = Talk(client, "/api/v1/ws", "read", origin="https://evil.example")
    assert made.close_code() == 4403
    made.leave()
    client.server.callers.failures.spent.clear()


def test_a_token_in_the_first_message(client: Client) -> None:
    with talk(client, token=None) as made:
        assert made.ask({"action": "auth", "token": client.tokens["read"]}) == {
            "action": "authenticated",
            "user": "read",
        }
        assert made.ask({"action": "ping"}) == {"action": "pong"}
        assert made.ask({"action": "auth", "token": "again"})["user"] == "read"
    with talk(client, token=None) as made:
        made.say({"action": "subscribe", "channel": "jobs"})
        assert made.close_code() == 4401


def test_a_ticket_is_good_once(client: Client) -> None:
    answer = client.post("/api/v1/ws/ticket", token="read")
    assert answer.status_code == 201
    path = f"/api/v1/ws?ticket={answer.json()['ticket']}"
    with talk(client, path, token=None) as made:
        assert made.ask({"action": "ping"}) == {"action": "pong"}
    for spent in (path, "/api/v1/ws?ticket=guess"):
        made = Talk(client, spent, None)
        assert made.close_code() == 4401
        made.leave()
    client.server.callers.failures.spent.clear()


def test_a_token_that_is_taken_back_ends_its_sockets(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CHECK_S", 0.05)
    path = client.store / "access.yaml"
    before = path.read_text()
    ticket = client.post("/api/v1/ws/ticket", token="read").json()["ticket"]
    with contextlib.ExitStack() as open_:
        made, by_ticket, other = (
            open_.enter_context(talk(client, where, token))
            for where, token in (
                ("/api/v1/ws", "read"),
                (f"/api/v1/ws?ticket={ticket}", None),
                ("/api/v1/ws", "write"),
            )
        )
        for item in (made, by_ticket, other):
            assert item.ask({"action": "ping"}) == {"action": "pong"}
        try:
            path.write_text("".join(line for line in before.splitlines(keepends=True) if "name: read" not in line))
            assert made.close_code() == by_ticket.close_code() == 4401
            assert other.ask({"action": "ping"}) == {"action": "pong"}
        finally:
            path.write_text(before)
            eventually(lambda: client.get("/api/session", token="read").status_code == 200, what="its token is back")


def test_a_browser_that_has_signed_in_speaks_and_pages_of_others_do_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CHECK_S", 0.05)
    answer = client.post("/api/session", {"token": client.tokens["read"]}, token=None)
    client.http.cookies.clear()
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "same-site"}):
        made = Talk(client, "/api/v1/ws", None, cookie=cookie, **headers)
        assert made.close_code() == 4403
        made.leave()
    with talk(client, token=None, cookie=cookie, origin="http://localhost") as made:
        assert made.ask({"action": "ping"}) == {"action": "pong"}
        assert client.delete("/api/session", token=None, headers={"cookie": cookie}).status_code == 204
        assert made.close_code() == 4401


def test_a_plain_request_is_told_to_upgrade(client: Client) -> None:
    answer = client.get("/api/v1/ws")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
