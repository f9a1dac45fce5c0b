"""drains/ID.json: drains of nodes that end by themselves. Pure.

One file for each node that was ever drained for a time, with its last drain. What tells our drain from any other is the
reason and the moment when SLURM has noted it: who changes either has taken the node over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from store.documents import VERSION, ServerFileModel
from store.durations import parse_duration_s
from store.errors import Invalid, make_problem
from store.times import has_come, to_epoch, to_rfc3339

LONGEST_S = 366 * 86_400
# How soon it is looked again whether a drain has arrived that was cut off.
UNSURE_S = 1.0
# Clocks of server and cluster may differ by so much.
CLOCKS_S = 300

Outcome = Literal["resumed", "undone", "replaced", "refused"]
Row = Mapping[str, Any]


class Drain(ServerFileModel):
    """A drain of one node, and how it ended.

    `set_at` is when SLURM has noted the reason, in epoch seconds of its clock; None until it is known to have. An
    outcome is `resumed` (by us, when its time came), `undone` or `replaced` (by somebody before), or `refused`.
    """

    version: int = VERSION
    id: str
    cluster: str
    node: str
    reason: str
    timeout_s: int
    asked_by: str
    asked_at: str
    resume_at: str
    set_at: int | None = None
    ended_at: str | None = None
    outcome: Outcome | None = None
    error: str | None = None


def make_id(cluster: str, node: str) -> str:
    """Make the id of a node's drain, which its name can be read from."""
    return f"{node[:60]}-{hashlib.sha256(f'{cluster} {node}'.encode()).hexdigest()[:12]}"


def parse_timeout(text: str) -> int:
    """Parse a span of time to seconds; raise Invalid.

    >>> parse_timeout("2h"), parse_timeout("1d12h"), parse_timeout("90"), parse_timeout("2:00:00")
    (7200, 129600, 90, 7200)
    """
    try:
        seconds = parse_duration_s(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= LONGEST_S:
        why = f"not a time like 30m, 2h, 1d12h or 2:00:00, of a second to {LONGEST_S // 86_400} days: {text[:40]!r}"
        raise Invalid([make_problem(why, ["body", "timeout"], input=text[:200])])
    return int(seconds)


def build_drain(cluster: str, node: str, reason: str, timeout_s: int, asked_by: str, now: float) -> Drain:
    """Build a drain that is intended, and not known to SLURM yet."""
    return Drain(
        id=make_id(cluster, node),
        cluster=cluster,
        node=node,
        reason=reason,
        timeout_s=timeout_s,
        asked_by=asked_by,
        asked_at=to_rfc3339(int(now)) or "",
        resume_at=to_rfc3339(int(now) + timeout_s) or "",
    )


def confirm_drain(drain: Drain, node: Row) -> Drain:
    """Record the moment by which SLURM knows the drain."""
    return drain.model_copy(update={"set_at": node["reason_time"], "reason": node["reason"] or drain.reason})


def end_drain(drain: Drain, outcome: Outcome, now: float, error: str | None = None) -> Drain:
    """Record how the drain ended."""
    return drain.model_copy(update={"ended_at": to_rfc3339(int(now)), "outcome": outcome, "error": error})


def is_in_force(drain: Drain, node: Row) -> bool:
    """Return whether the node is drained by this and not otherwise."""
    if drain.outcome is not None or "DRAIN" not in node["flags"] or node["reason"] != drain.reason:
        return False
    if drain.set_at is None:
        asked_at = to_epoch(drain.asked_at) or 0
        return node["reason_time"] is None or node["reason_time"] >= asked_at - CLOCKS_S
    return bool(node["reason_time"] == drain.set_at)


def is_due(drain: Drain, now: float) -> bool:
    """Return whether the node is to be given back."""
    return has_come(to_epoch(drain.resume_at) or 0, now, drain.timeout_s)


def judge_drain(drain: Drain, node: Row, now: float) -> Literal["wait", "resume", "undone", "replaced"]:
    """Judge what becomes of an open drain from what SLURM says of the node."""
    if is_in_force(drain, node):
        return "resume" if is_due(drain, now) else "wait"
    return "replaced" if "DRAIN" in node["flags"] else "undone"


def find_due_time(drain: Drain, now: float) -> float | None:
    """Find when an open drain is to be looked at again."""
    if drain.outcome is not None:
        return None
    due_at = to_epoch(drain.resume_at)
    return due_at if drain.set_at is not None else now + UNSURE_S
