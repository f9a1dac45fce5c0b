"""Alerts: what is wrong with the cluster, by thresholds. Pure.

A cause is found or not, and what could not be judged (SLURM does not answer) leaves its alert as it was. A value that
swings around its threshold is one alert, which ends somewhat below. An alert that was resolved by hand comes back only
when its cause has gone and returned, or has become worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from store.documents.configuration import AlertsConfig, Threshold
from store.documents.models import VERSION, ServerFileModel
from store.errors import Conflict, Invalid, make_problem, suggest_word
from store.rules.watches import Event
from store.times import to_epoch, to_rfc3339

SEVERITIES = ("info", "warning", "critical")
TYPES = ("health", "performance", "resource", "job", "node", "system")
# How a part of the use of the cluster is called.
USES = {"cpu": "CPUs", "memory": "Memory", "gpu": "GPUs"}
# An alert ends, and a critical one becomes a warning, at this part of the threshold.
ENDS_AT = 0.95


class Alert(ServerFileModel):
    """One alert.

    `key` names its cause, which `is_current` says is still there. `worst` and `raised_at` are of when it came or last
    became worse; `told` has the keys of the events that endpoints were notified of.
    """

    version: int = VERSION
    id: str
    key: str
    cluster: str
    severity: Literal["info", "warning", "critical"]
    type: str
    title: str
    message: str
    component: str
    is_current: bool = True
    created_at: str
    updated_at: str
    acknowledged: bool = False
    acknowledged_at: str | None = None
    acknowledged_by: str | None = None
    resolved: bool = False
    resolved_at: str | None = None
    resolved_by: str | None = None  # None where the cause went away by itself
    worst: Literal["info", "warning", "critical"]
    raised_at: str
    told: list[str] = Field(default=[])


class Cause(NamedTuple):
    """Something that is wrong now."""

    key: str
    severity: Literal["info", "warning", "critical"]
    type: str
    title: str
    message: str
    component: str


class Condition(NamedTuple):
    """What alerts are judged by; None is not known now.

    `uses` are percentages by CPU, memory, GPU, over the last minutes; errors are texts, or None where all is well.
    """

    cluster: str
    slurm_error: str | None
    database_error: str | None
    store_error: str | None
    problem_count: int
    nodes: tuple[int, int] | None = None  # unavailable, all
    pending: int | None = None
    uses: Mapping[str, float | None] = {}


def find_causes(now: Condition, limits: AlertsConfig, before: Mapping[str, str]) -> tuple[list[Cause], set[str]]:
    """Find what is wrong, and the keys of all that could be judged.

    `before` has the severities of what was wrong so far, by their keys.
    """
    judged = {"slurm", "database", "store", "files"}
    causes = _find_failures(now)
    if now.nodes is not None and now.nodes[1]:
        judged.add("nodes")
        out, total = now.nodes
        if severity := choose_severity(100 * out / total, limits.nodes_percent, before.get("nodes")):
            text = f"{out} of {total} nodes take no work: down, drained, failing or not responding."
            causes.append(Cause("nodes", severity, "node", "Nodes unavailable", text, "nodes"))
    if now.pending is not None:
        judged.add("pending")
        if severity := choose_severity(now.pending, limits.pending_jobs, before.get("pending")):
            text = f"{now.pending} jobs wait in the queue."
            causes.append(Cause("pending", severity, "job", "Many pending jobs", text, "queue"))
    for name, percent in now.uses.items():
        if percent is None:
            continue
        judged.add(f"use_{name}")
        if severity := choose_severity(percent, limits.utilization_percent, before.get(f"use_{name}")):
            text = f"{percent:.1f} % of the {'memory' if name == 'memory' else USES[name]} are allocated."
            title = f"{USES[name]} nearly used up"
            causes.append(Cause(f"use_{name}", severity, "resource", title, text, name))
    return causes, judged


def _find_failures(now: Condition) -> list[Cause]:
    """Find what does not work at all."""
    found = []
    if now.slurm_error:
        text = f"No state changes until it answers again: {now.slurm_error}"
        found.append(Cause("slurm", "critical", "health", "SLURM does not answer", text, "slurmctld"))
    if now.database_error:
        found.append(
            Cause("database", "warning", "health", "Accounting does not answer", now.database_error, "slurmdbd")
        )
    if now.store_error:
        found.append(Cause("store", "critical", "system", "The store cannot be written", now.store_error, "store"))
    if now.problem_count:
        text = f"{describe_problems(now.problem_count)}."
        found.append(Cause("files", "warning", "system", "Files that are wrong", text, "store"))
    return found


def describe_problems(count: int) -> str:
    """Describe how many files are wrong, and where that is told.

    >>> describe_problems(1)
    '1 file has a problem; GET /api/store/problems says which and why'
    >>> describe_problems(2)
    '2 files have problems; GET /api/store/problems says which and why'
    """
    words = "file has a problem" if count == 1 else "files have problems"
    return f"{count} {words}; GET /api/store/problems says which and why"


def choose_severity(value: float, limit: Threshold | None, before: str | None) -> Literal["warning", "critical"] | None:
    """Choose how bad a value is, which was so bad before; None for not at all.

    >>> limit = Threshold(warning=10, critical=20)
    >>> [choose_severity(value, limit, None) for value in (10, 10.1, 21)]
    [None, 'warning', 'critical']
    >>> [choose_severity(value, limit, "critical") for value in (19.5, 19, 9.6, 9.5)]
    ['critical', 'warning', 'warning', None]
    """
    if limit is None:
        return None
    if value > limit.critical * (ENDS_AT if before == "critical" else 1):
        return "critical"
    return "warning" if value > limit.warning * (ENDS_AT if before else 1) else None


def list_severities(alerts: Iterable[Alert], cluster: str) -> dict[str, str]:
    """List how bad things are at a cluster, by the keys of their causes."""
    return {alert.key: alert.severity for alert in alerts if alert.is_current and alert.cluster == cluster}


def advance_alerts(
    alerts: Iterable[Alert], cluster: str, causes: Iterable[Cause], judged: set[str], ids: Iterable[str], at: float
) -> list[Alert]:
    """Return the alerts that change: new, worse, better, resolved.

    `ids` are those of new ones.
    """
    now, given = to_rfc3339(int(at)) or "", iter(ids)
    current = {alert.key: alert for alert in alerts if alert.is_current and alert.cluster == cluster}
    changed = [_end_alert(alert, now) for alert in alerts if alert.is_current and alert.cluster != cluster]
    found = {cause.key: cause for cause in causes}
    for key, cause in found.items():
        alert = current.get(key)
        if alert is None:
            times: dict[str, Any] = {"created_at": now, "updated_at": now, "raised_at": now}
            changed.append(Alert(id=next(given), cluster=cluster, worst=cause.severity, **times, **cause._asdict()))
        elif alert.severity != cause.severity:
            changed.append(_change_severity(alert, cause, now))
    changed += [_end_alert(alert, now) for key, alert in current.items() if key in judged and key not in found]
    return changed


def _change_severity(alert: Alert, cause: Cause, now: str) -> Alert:
    """Return the alert as its cause is now; a worse one is open anew."""
    is_worse = SEVERITIES.index(cause.severity) > SEVERITIES.index(alert.severity)
    anew: dict[str, Any] = {}
    if is_worse:
        anew = {"acknowledged": False, "acknowledged_at": None, "acknowledged_by": None}
        anew |= {"resolved": False, "resolved_at": None, "resolved_by": None}
        anew |= {"worst": cause.severity, "raised_at": now}
    return alert.model_copy(update=cause._asdict() | {"updated_at": now} | anew)


def _end_alert(alert: Alert, now: str) -> Alert:
    """Return the alert without its cause."""
    own = {} if alert.resolved else {"resolved": True, "resolved_at": now, "resolved_by": None}
    return alert.model_copy(update={"is_current": False, "updated_at": now, **own})


def acknowledge_alert(alert: Alert, who: str, at: float) -> Alert:
    """Return the alert as somebody has seen it. Raises Conflict once resolved."""
    if alert.resolved:
        raise Conflict(f"alert '{alert.id}' is resolved already")
    if alert.acknowledged:
        return alert
    now = to_rfc3339(int(at))
    seen = {"acknowledged": True, "acknowledged_at": now, "acknowledged_by": who, "updated_at": now}
    return alert.model_copy(update=seen)


def resolve_alert(alert: Alert, who: str, at: float) -> Alert:
    """Return the alert as somebody has dealt with it."""
    if alert.resolved:
        return alert
    now = to_rfc3339(int(at))
    return alert.model_copy(update={"resolved": True, "resolved_at": now, "resolved_by": who, "updated_at": now})


def list_events(alert: Alert) -> list[Event]:
    """List what endpoints are told: that it came, that it is resolved."""
    names = ("message", "severity", "type", "component", "cluster")
    more = {"name": alert.title, **{name: getattr(alert, name) for name in names}}
    ref, raised = f"alert:{alert.id}", f"{alert.worst}@{alert.raised_at}"
    events = [Event("alert.raised", ref, alert.worst, raised, alert.raised_at, False, more)]
    if alert.resolved:
        at = alert.resolved_at
        events.append(Event("alert.resolved", ref, "resolved", f"resolved@{at}", at, True, more))
    return events


def is_wanted(least: str, alert: Alert) -> bool:
    """Return whether who is told of alerts from `least` on is told of this."""
    return least in SEVERITIES and SEVERITIES.index(alert.worst) >= SEVERITIES.index(least)


def parse_words(text: str | None, name: str, known: Sequence[str]) -> frozenset[str]:
    """Parse the words of a filter, with commas; all without one.

    Raises Invalid.
    """
    if text is None:
        return frozenset(known)
    words = [word.strip().lower() for word in text.split(",")]
    wrong = next((word for word in words if word not in known), None)
    if wrong is not None:
        message = f"must be {', '.join(known[:-1])} or {known[-1]}{suggest_word(wrong, known)}"
        raise Invalid([make_problem(message, ["query", name], input=wrong[:100])])
    return frozenset(words)


def list_old(alerts: Iterable[Alert], keep_days: float, keep_count: int, at: float) -> list[str]:
    """List the ids of resolved alerts that are old, or too many."""
    over = sorted(
        (alert for alert in alerts if not alert.is_current and alert.resolved), key=lambda alert: alert.updated_at
    )
    many = len(over) - keep_count
    before = at - keep_days * 86_400
    return [alert.id for place, alert in enumerate(over) if place < many or (to_epoch(alert.updated_at) or 0) < before]
