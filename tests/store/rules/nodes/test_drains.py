"""Drains that end by themselves: spans of time, and what a drain is told from another by."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import Invalid
from store.rules.nodes import drains

NOW = 1_795_280_227.0
DRAIN = drains.build_drain("here", "n1", "disk", 7200, "ann", NOW).model_copy(update={"set_at": 1_795_280_228})


def node(flags: list[str], reason: str | None = "disk", at: int | None = 1_795_280_228) -> dict[str, Any]:
    """A node as SLURM tells it."""
    return {"flags": flags, "reason": reason, "reason_time": at}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("30m", 1800), ("90s", 90), ("1d", 86_400), ("1d12h", 129_600), ("1.5h", 5400), ("3600", 3600),
     ("2:00:00", 7200), ("1-00:00:00", 86_400), (" 2H ", 7200), ("1w", 604_800)],
)  # fmt: skip
def test_times(text: str, seconds: int) -> None:
    assert drains.parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "0h", "-1h", "400d", "2h!", "1e9", "٣h"])
def test_no_times(text: str) -> None:
    with pytest.raises(Invalid):
        drains.parse_timeout(text)


@pytest.mark.parametrize(
    ("why", "found", "at", "verdict"),
    [
        ("it is not time yet", node(["DRAIN"]), NOW + 7199, "wait"),
        ("it is time", node(["DRAIN"]), NOW + 7200, "resume"),
        ("jobs still run there", node(["DRAIN", "COMPLETING"]), NOW + 9000, "resume"),
        ("the clock was put back by a day", node(["DRAIN"]), NOW - 86_400, "resume"),
        ("given back", node([], None, None), NOW + 7200, "undone"),
        ("another reason", node(["DRAIN"], "power"), NOW + 7200, "replaced"),
        ("drained anew", node(["DRAIN"], at=1_795_280_300), NOW + 7200, "replaced"),
    ],
)
def test_what_becomes_of_a_drain(why: str, found: dict[str, Any], at: float, verdict: str) -> None:
    assert drains.judge_drain(DRAIN, found, at) == verdict, why


@pytest.mark.parametrize(
    ("why", "found", "verdict"),
    [
        ("it has arrived", node(["DRAIN"]), "wait"),
        ("it has not", node([], None, None), "undone"),
        ("somebody had drained it long before", node(["DRAIN"], at=1_795_200_000), "replaced"),
    ],
)
def test_a_drain_whose_arrival_is_not_known(why: str, found: dict[str, Any], verdict: str) -> None:
    unsure = DRAIN.model_copy(update={"set_at": None})
    assert drains.judge_drain(unsure, found, NOW + 1) == verdict, why
    assert drains.find_due_time(unsure, NOW) == NOW + drains.UNSURE_S


def test_when_it_is_looked_at() -> None:
    assert drains.find_due_time(DRAIN, NOW) == NOW + 7200
    assert drains.find_due_time(drains.end_drain(DRAIN, "undone", NOW), NOW) is None


def test_ids_are_names_of_files() -> None:
    made = {drains.make_id(cluster, name) for cluster in ("a", "ssh:b:c") for name in ("n1", "n" * 200)}
    assert len(made) == 4 and all(len(name) < 128 and ":" not in name for name in made)
