"""Which rows a subscription means."""

from __future__ import annotations

from typing import Any

import pytest

from store.rules.live.subscriptions import parse_message, parse_subscription

PENDING = {"job_id": "7", "user": "alice", "state": "PENDING", "partition": "gpu,cpu", "account": None}
RUNNING = {**PENDING, "state": "RUNNING", "partition": "gpu"}


@pytest.mark.parametrize(
    ("why", "wanted", "versions", "accepted"),
    [
        ("no filter", {}, (PENDING,), True),
        ("the old version", {"state": "PENDING"}, (PENDING, RUNNING), True),
        ("the new version", {"state": "RUNNING"}, (PENDING, RUNNING), True),
        ("neither", {"state": "FAILED"}, (PENDING, RUNNING), False),
        ("each half in another version", {"state": "RUNNING", "partition": "cpu"}, (PENDING, RUNNING), False),
        ("a compact code", {"state": "pd"}, (PENDING,), True),
        ("several states", {"state": "CD,R"}, (RUNNING,), True),
        ("a list", {"user": ["bob", "alice"]}, (PENDING,), True),
        ("a number", {"job_id": 7}, (PENDING,), True),
        ("one of its partitions", {"partition": "cpu"}, (PENDING,), True),
        ("nothing there", {"account": "None"}, (PENDING,), False),
        ("a new one", {"user": "alice"}, (None, PENDING), True),
        ("no versions", {"user": "alice"}, (None,), False),
    ],
)
def test_which_versions_are_wanted(why: str, wanted: Any, versions: Any, accepted: bool) -> None:
    message = {"action": "subscribe", "channel": "jobs", "filter": wanted}
    found = parse_subscription(message, "sub_1")
    assert found.accepts("jobs", *versions) == accepted, why
    assert not found.accepts("nodes", *versions)
    assert found.given == wanted


def test_nodes_are_in_partitions() -> None:
    found = parse_subscription({"channel": "nodes", "filter": {"partition": "gpu", "state": "idle"}}, "sub_1")
    assert found.accepts("nodes", {"partitions": ["cpu", "gpu"], "state": "IDLE"})
    assert not found.accepts("nodes", {"partitions": ["cpu"], "state": "IDLE"})


def test_the_documents_message_is_taken() -> None:
    text = '{ "action": "subscribe", "channel": "jobs", "filter": { "user": "alice", "state": "RUNNING" } }'
    assert parse_subscription(parse_message(text), "sub_1").accepts("jobs", RUNNING)
