"""Which rows a subscription means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store.errors import Invalid
from store.rules.live import subscriptions
from store.rules.live.subscriptions import parse_message, parse_subscription
from store.rules.queue import job_states

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


@pytest.mark.parametrize(
    ("why", "channel", "wanted", "row"),
    [
        ("a code of sinfo", "nodes", {"state": "drng"}, {"state": "DRAINING"}),
        ("drained or being drained", "Nodes", {"state": "drain"}, {"state": "DRAINING"}),
        ("alerts", "ALERTS", {"severity": "Info,Critical", "type": "NODE"}, {"severity": "critical", "type": "node"}),
    ],
)
def test_words_are_taken_in_any_case(why: str, channel: str, wanted: Any, row: Any) -> None:
    message = parse_message(json.dumps({"action": "Subscribe", "channel": channel, "filter": wanted}))
    found = parse_subscription(message, "sub_1")
    assert (message["action"], found.channel) == ("subscribe", channel.lower()), why
    assert found.accepts(channel.lower(), row), why


def test_the_documents_message_is_taken() -> None:
    text = '{ "action": "subscribe", "channel": "jobs", "filter": { "user": "alice", "state": "RUNNING" } }'
    assert parse_subscription(parse_message(text), "sub_1").accepts("jobs", RUNNING)


@pytest.mark.parametrize(
    ("why", "changed", "place"),
    [
        ("no state of a node", {"channel": "nodes", "filter": {"state": "IDEL"}}, "state"),
        ("no severity", {"channel": "alerts", "filter": {"severity": "bad"}}, "severity"),
        ("a list of channels", {"channel": ["jobs"]}, "channel"),
        ("an object as channel", {"channel": {"jobs": 1}}, "channel"),
        ("a filter that is none", {"filter": ["a"]}, "filter"),
        ("more words than values", {"filter": {"user": [f"a{n},b{n}" for n in range(600)]}}, "user"),
        ("no word", {"filter": {"user": ",,"}}, "user"),
        ("a fraction", {"filter": {"job_id": 1.5}}, "job_id"),
    ],
)
def test_what_is_refused(why: str, changed: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_subscription({"channel": "jobs", **changed}, "sub_1")
    assert [problem["loc"][-1] for problem in refused.value.problems] == [place], why


@pytest.mark.parametrize(
    ("why", "given", "most"),
    [
        ("fields", {f"f{n}": "a" for n in range(5000)}, subscriptions.MOST_PROBLEMS),
        ("states", {"state": [f"s{n}" for n in range(1000)]}, 3),
    ],
)
def test_near_words_are_looked_for_a_few_times_only(
    why: str, given: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message may hold thousands, and everybody else waits while they are read."""
    asked: list[str] = []
    monkeypatch.setattr(subscriptions, "suggest_word", lambda word, _known: asked.append(word) or "")
    monkeypatch.setattr(job_states, "describe_unknown_state", lambda word: asked.append(word) or word)
    with pytest.raises(Invalid):
        parse_subscription({"channel": "jobs", "filter": given}, "sub_1")
    assert len(asked) == most, why
