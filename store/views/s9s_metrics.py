"""Metrics as the S9S API shows them: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.rules.monitoring.alerts import Alert
from store.rules.monitoring.samples import DAY_S, Row, compute_percent, format_wait
from store.times import format_duration, to_rfc3339
from store.views.s9s import format_memory

# What the document shows is always there; other states only where there are some.
JOB_STATES = ("RUNNING", "PENDING", "COMPLETED", "FAILED", "CANCELLED")
NODE_STATES = ("IDLE", "MIXED", "ALLOCATED", "DOWN", "DRAIN")
HOUR_S = 3600


def to_cluster_json(
    at: float | None,
    shares: Sequence[tuple[int, int] | None],
    jobs: Mapping[str, int],
    finished: Mapping[str, int],
    nodes: Mapping[str, int] | None,
    queue: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the state of the cluster; `shares` are CPUs, memory and GPUs.

    `nodes` is None where SLURM has not told its nodes.
    """
    names = ("cpu_percent", "memory_percent", "gpu_percent")
    return {
        "timestamp": to_rfc3339(None if at is None else int(at)),
        "cluster_utilization": dict(zip(names, map(compute_percent, shares), strict=True)),
        "job_counts": dict.fromkeys(JOB_STATES, 0) | _keep_counts(finished) | _keep_counts(jobs),
        "node_counts": None if nodes is None else dict.fromkeys(NODE_STATES, 0) | _keep_counts(nodes),
        "queue_stats": dict(queue),
    }


def _keep_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {state: number for state, number in sorted(counts.items()) if number}


def to_queue_json(rows: Sequence[Row], waiting_since: float | None, now: float) -> dict[str, Any]:
    """Build how jobs wait, from the samples of the last 24 hours.

    Who waits longest may still wait. Ends are counted per hour, over the last hour.
    """
    recent = [row for row in rows if row.at > now - DAY_S]
    started = sum(row.started for row in recent)
    longest = [row.longest_wait_s for row in recent if row.started]
    longest += [] if waiting_since is None else [max(0.0, now - waiting_since)]
    return {
        "avg_wait_time": format_wait(sum(row.waited_s for row in recent) / started) if started else None,
        "max_wait_time": format_wait(max(longest, default=None)),
        "throughput": round(float(sum(row.ended for row in recent if row.at > now - HOUR_S)), 1),
    }


def to_efficiency_json(used: Mapping[str, Any]) -> dict[str, Any]:
    """Build how much a job used of what it was given."""
    return {
        "job_id": used["job_id"],
        "job_name": used["name"],
        "user": used["user"],
        "partition": used["partition"],
        "state": used["state"],
        "elapsed_time": format_duration(used["elapsed_s"]),
        "cpu_efficiency": used["cpu_efficiency"],
        "memory_efficiency": used["memory_efficiency"],
        "gpu_utilization": used["gpu_utilization"],
        "max_memory_used": format_used_memory(used["memory_used_mb"]),
        "requested_memory": format_memory(used["memory_mb"]),
        "wasted_cpu_hours": compute_wasted_h(used),
    }


def compute_wasted_h(used: Mapping[str, Any]) -> float | None:
    """Compute the hours of CPUs that were given and not used; None unknown."""
    if used["cpu_s"] is None:
        return None
    return round(max(0.0, used["elapsed_s"] * used["cpu_count"] - used["cpu_s"]) / HOUR_S, 3)


def format_used_memory(memory_mb: float | None) -> str | None:
    """Format memory that was used, in GB from 10 of them on; None unknown.

    >>> format_used_memory(213.1), format_used_memory(91_136.0), format_used_memory(None)
    ('213MB', '89GB', None)
    """
    if memory_mb is None:
        return None
    number, unit = memory_mb, 0
    while number >= 10 * 1024 and unit < 3:
        number, unit = number / 1024, unit + 1
    return f"{round(number)}{('MB', 'GB', 'TB', 'PB')[unit]}"


def summarize_efficiency(used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarize the efficiency of jobs: means over those that were measured."""
    wasted = [hours for row in used if (hours := compute_wasted_h(row)) is not None]
    return {
        "count": len(used),
        "avg_cpu_efficiency": _compute_mean(row["cpu_efficiency"] for row in used),
        "avg_memory_efficiency": _compute_mean(row["memory_efficiency"] for row in used),
        "wasted_cpu_hours": round(sum(wasted), 3) if wasted else None,
    }


def _compute_mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def to_alert_json(alert: Alert) -> dict[str, Any]:
    """Build an alert, as lists and the change feed have it."""
    names = (
        *("severity", "type", "title", "message", "component", "acknowledged", "acknowledged_at", "acknowledged_by"),
        *("resolved", "resolved_at", "resolved_by", "created_at", "updated_at", "cluster"),
    )
    return {"alert_id": alert.id, **{name: getattr(alert, name) for name in names}}
