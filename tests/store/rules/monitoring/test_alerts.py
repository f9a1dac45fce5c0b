"""Alerts by thresholds, and what becomes of them."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from store.documents.configuration import AlertsConfig
from store.errors import Conflict, Invalid
from store.rules.monitoring import alerts
from store.rules.monitoring.alerts import Alert, Condition

FINE = Condition("here", None, None, None, 0, (1, 10), 100, {"cpu": 90.0, "memory": None, "gpu": 10.0})
NOON, NEXT = 1_702_641_600.0, 1_702_641_660.0

CAUSES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("at the thresholds all is well", {}, []),
    ("more nodes out than a tenth", {"nodes": (11, 100)}, [("nodes", "warning")]),
    ("more than a quarter", {"nodes": (26, 100)}, [("nodes", "critical")]),
    ("a cluster without nodes", {"nodes": (0, 0)}, []),
    ("a long queue", {"pending": 101}, [("pending", "warning")]),
    ("a very long one", {"pending": 501}, [("pending", "critical")]),
    (
        "busy",
        {"uses": {"cpu": 90.1, "memory": 95.1, "gpu": None}},
        [("use_cpu", "warning"), ("use_memory", "critical")],
    ),
    ("nobody answers", {"slurm_error": "down", "nodes": None, "pending": None, "uses": {}}, [("slurm", "critical")]),
    ("accounting is away", {"database_error": "refused"}, [("database", "warning")]),
    (
        "a full disk and wrong files",
        {"store_error": "no room", "problem_count": 2},
        [("store", "critical"), ("files", "warning")],
    ),
]


@pytest.mark.parametrize(("why", "changes", "expected"), CAUSES, ids=[row[0] for row in CAUSES])
def test_causes(why: str, changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found, judged = alerts.find_causes(FINE._replace(**changes), AlertsConfig(), {})
    assert [(cause.key, cause.severity) for cause in found] == expected, why
    assert {cause.key for cause in found} <= judged and all(cause.type in alerts.TYPES for cause in found)


def test_thresholds_may_be_set_and_turned_off() -> None:
    limits = AlertsConfig.model_validate({"pending_jobs": {"warning": 1, "critical": 5}, "nodes_percent": None})
    found, _ = alerts.find_causes(FINE._replace(nodes=(9, 10), pending=2), limits, {})
    assert [(cause.key, cause.severity) for cause in found] == [("pending", "warning")]


class Life:
    """The alerts of a store over time."""

    def __init__(self) -> None:
        self.kept: dict[str, Alert] = {}
        self.ids = (f"a{number}" for number in count(1))

    def see(self, at: float = NOON, **changes: Any) -> list[str]:
        """See a condition; return the ids of the alerts that change."""
        condition = FINE._replace(**{"pending": 10, **changes})
        before = alerts.list_severities(self.kept.values(), condition.cluster)
        causes, judged = alerts.find_causes(condition, AlertsConfig(), before)
        changed = alerts.advance_alerts(self.kept.values(), condition.cluster, causes, judged, self.ids, at)
        self.kept |= {alert.id: alert for alert in changed}
        return [alert.id for alert in changed]


def test_an_alert_is_there_once_and_resolves_itself() -> None:
    life = Life()
    assert life.see(pending=200) == ["a1"] and life.see(NEXT, pending=201) == []
    assert life.see(NEXT) == ["a1"]
    alert = life.kept["a1"]
    assert (alert.resolved, alert.resolved_by, alert.resolved_at, alert.created_at) == (
        True,
        None,
        "2023-12-15T12:01:00Z",
        "2023-12-15T12:00:00Z",
    )
    assert life.see(NEXT, pending=200) == ["a2"], "another time is another alert"


def test_a_value_that_swings_around_its_threshold_is_one_alert() -> None:
    life = Life()
    assert life.see(pending=101) == ["a1"]
    for pending in (100, 101, 96, 110):
        assert life.see(NEXT, pending=pending) == [], "it is neither over nor another one"
    assert life.see(NEXT, pending=501) == ["a1"] and life.kept["a1"].severity == "critical"
    events = list_told(life.kept["a1"])
    for pending in (500, 502, 476):
        assert life.see(NEXT + 60, pending=pending) == []
    assert list_told(life.kept["a1"]) == events
    assert life.see(NEXT + 60, pending=475) == ["a1"] and life.kept["a1"].severity == "warning"
    assert life.see(NEXT + 60, pending=95) == ["a1"] and life.kept["a1"].resolved


def test_what_cannot_be_judged_stays() -> None:
    life = Life()
    life.see(pending=200)
    assert life.see(NEXT, pending=None, nodes=None, uses={}, slurm_error="down") == ["a2"]
    assert not life.kept["a1"].resolved


def test_a_worse_alert_has_not_been_seen() -> None:
    life = Life()
    life.see(pending=200)
    life.kept["a1"] = alerts.acknowledge_alert(life.kept["a1"], "ann", NOON)
    assert (life.kept["a1"].acknowledged_by, life.kept["a1"].acknowledged_at) == ("ann", "2023-12-15T12:00:00Z")
    assert life.see(NEXT, pending=600) == ["a1"]
    assert (life.kept["a1"].severity, life.kept["a1"].acknowledged) == ("critical", False)
    life.kept["a1"] = alerts.acknowledge_alert(life.kept["a1"], "ann", NEXT)
    life.see(NEXT, pending=200)
    assert (life.kept["a1"].severity, life.kept["a1"].acknowledged) == ("warning", True)


def test_one_resolved_by_hand_stays_so_while_its_cause_lasts() -> None:
    life = Life()
    life.see(pending=200)
    life.kept["a1"] = alerts.resolve_alert(life.kept["a1"], "ann", NOON)
    assert alerts.resolve_alert(life.kept["a1"], "bob", NEXT).resolved_by == "ann"
    with pytest.raises(Conflict):
        alerts.acknowledge_alert(life.kept["a1"], "ann", NOON)
    assert life.see(NEXT, pending=201) == []
    assert life.see(NEXT) == ["a1"] and life.kept["a1"].resolved_by == "ann"
    assert life.see(NEXT, pending=200) == ["a2"]


def test_alerts_of_a_cluster_that_is_left_are_over() -> None:
    life = Life()
    life.see(pending=200)
    assert life.see(NEXT, cluster="elsewhere") == ["a1"] and life.kept["a1"].resolved


def list_told(alert: Alert) -> list[tuple[str, str, str | None]]:
    """List what endpoints are told of the alert: what happened, how bad, when."""
    return [(event.kind, event.status, event.at) for event in alerts.list_events(alert)]


def test_what_endpoints_are_told() -> None:
    life, noon, later = Life(), "2023-12-15T12:00:00Z", "2023-12-15T12:01:00Z"
    life.see(pending=200)
    assert list_told(life.kept["a1"]) == [("alert.raised", "warning", noon)]
    before = alerts.list_events(life.kept["a1"])[0].key
    life.see(NEXT, pending=600)
    assert list_told(life.kept["a1"]) == [("alert.raised", "critical", later)], "worse is told anew"
    assert alerts.list_events(life.kept["a1"])[0].key != before
    life.see(NEXT + 60, pending=200)
    life.kept["a1"] = alerts.acknowledge_alert(life.kept["a1"], "ann", NEXT + 60)
    assert list_told(life.kept["a1"]) == [("alert.raised", "critical", later)], "better, or seen, is no news"
    life.see(NEXT + 120)
    assert [kind for kind, _status, _at in list_told(life.kept["a1"])] == ["alert.raised", "alert.resolved"]
    assert alerts.is_wanted("critical", life.kept["a1"]), "who heard that it came hears that it went"


@pytest.mark.parametrize(
    ("least", "pending", "wanted"),
    [
        ("none", 600, False),
        ("warning", 200, True),
        ("warning", 600, True),
        ("critical", 200, False),
        ("critical", 600, True),
    ],
)
def test_who_is_told(least: str, pending: int, wanted: bool) -> None:
    life = Life()
    life.see(pending=pending)
    assert alerts.is_wanted(least, life.kept["a1"]) == wanted


def test_old_ones_go() -> None:
    life = Life()
    for at in (NOON, NEXT, NEXT + 60):
        life.see(at, pending=200)
        life.see(at)
    life.see(NEXT, pending=200)
    assert alerts.list_old(life.kept.values(), 30, 2, NEXT) == ["a1"]
    assert alerts.list_old(life.kept.values(), 30, 10, NEXT + 31 * 86_400) == ["a1", "a2", "a3"]


def test_words_of_filters() -> None:
    assert alerts.parse_words("Warning, critical", "severity", alerts.SEVERITIES) == {"warning", "critical"}
    with pytest.raises(Invalid, match="did you mean 'critical'"):
        alerts.parse_words("critcal", "severity", alerts.SEVERITIES)
