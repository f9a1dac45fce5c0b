"""Simulations in lists: by owner, in both orders, by state."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from store.indexes.simulations import SimulationFacts, SimulationIndex, build_facts, restore_facts
from store.times import to_rfc3339
from tests.store.rules.simulations.samples import NOW, RUN_ID, make_simulation


def make_facts(owner: str = "ann", created: float = NOW, ended: float | None = None, **more: Any) -> SimulationFacts:
    """Facts of a simulation."""
    times = {"created_at": to_rfc3339(created), "ended_at": to_rfc3339(ended)}
    return build_facts(make_simulation(owner=owner, **times, **more))


def make_index() -> SimulationIndex:
    """Three simulations of ann, one of bob."""
    index = SimulationIndex()
    index.follow("a", None, make_facts(created=1, ended=30, state="COMPLETED", settled_at="x", run_id="ra"))
    index.follow("b", None, make_facts(created=2, state="RUNNING", run_id="rb"))
    index.follow("c", None, make_facts(created=3, ended=20, state="FAILED", settled_at="x", run_id="rc"))
    index.follow("d", None, make_facts("bob", created=4, state="RUNNING", run_id="rd"))
    return index


@pytest.mark.parametrize(
    ("why", "asked", "ids"),
    [
        ("newest first", ["ann"], "cba"),
        ("oldest first", ["ann", "start_time", False], "abc"),
        ("what has not ended ends last", ["ann", "end_time", False], "cab"),
        ("and is first the other way round", ["ann", "end_time", True], "bac"),
        ("some states", ["ann", "start_time", True, ["FAILED", "COMPLETED"]], "ca"),
        ("another's", ["bob"], "d"),
        ("all of them", [None], "dcba"),
        ("nobody's", ["eve"], ""),
    ],
)
def test_order(why: str, asked: list[Any], ids: str) -> None:
    assert "".join(simulation_id for simulation_id, _ in make_index().list_ordered(*asked)) == ids, why


def test_what_changes_is_followed() -> None:
    index = make_index()
    before = dict(index.list_ordered("ann"))["b"]
    after = before._replace(state="COMPLETED", ended=99.0, open=False)
    assert index.count_open("ann") == 1
    index.follow("b", before, after)
    assert [row for row in index.list_ordered("ann") if row[0] == "b"] == [("b", after)]
    assert (index.find_by_run("rb"), index.count_open("ann")) == ("b", 0)
    index.follow("b", after, None)
    assert (index.find_by_run("rb"), [name for name, _ in index.list_ordered("ann")]) == (None, ["c", "a"])
    index.follow("d", dict(index.list_ordered("bob"))["d"], None)
    assert (index.list_ordered("bob"), index.count_open("bob")) == ([], 0)


@pytest.mark.parametrize(
    ("why", "age_days", "count", "ids"),
    [
        ("all are kept", None, None, ""),
        ("old ones go, open ones stay", 10, None, "ca"),
        ("a few are kept", None, 1, "c"),
        ("the newest of them", None, 5, ""),
        ("both", 1e-9, 1, "ca"),
    ],
)
def test_what_need_not_be_kept(why: str, age_days: float | None, count: int | None, ids: str) -> None:
    assert "".join(make_index().list_expired(age_days, count, NOW)) == ids, why


def test_facts_survive_a_checkpoint() -> None:
    facts = make_facts(title="t", ended=5.0)
    assert restore_facts(orjson.loads(orjson.dumps(facts, default=tuple))) == facts
    assert (facts.open, facts.run_id, facts.ended) == (True, RUN_ID, 5.0)


def test_times_that_somebody_has_edited() -> None:
    facts = build_facts(make_simulation(created_at="then", ended_at="now"))
    assert (facts.created, facts.ended) == (0.0, None)
