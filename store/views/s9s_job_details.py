"""One job with all that is known of it, as the S9S API shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from store.rules.queue import redaction
from store.times import to_rfc3339

_SOURCES = {"squeue": "queue", "sacct": "accounting"}
_UNITS = ("MB", "GB", "TB", "PB")


def to_detail_json(
    row: Mapping[str, Any],
    job: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    resources: Mapping[str, Any],
    dependencies: Sequence[Mapping[str, Any]],
    tres: Mapping[str, str],
    submit_line: str | None,
    hold_reason: str | None = None,
) -> dict[str, Any]:
    """Build a job's detail from its row and its row of the list, `job`."""
    task = row["array_task_id"]
    return {
        **job,
        "command": row["command"],
        "environment": redaction.redact_environment(environment),
        "resources": resources,
        "dependencies": dependencies,
        "array_job_id": None if row["array_job_id"] is None else str(row["array_job_id"]),
        "array_task_id": int(task) if task is not None and task.isdigit() else None,
        "array_tasks_summary": row.get("tasks") if row["job_id"].isdigit() else None,
        "het_job_id": None if row["het_job_id"] is None else str(row["het_job_id"]),
        "estimated_start_time": to_rfc3339(row["estimated_start_time"]),
        "exit_signal": row["exit_signal"],
        "submit_line": redaction.redact_line(submit_line),
        "batch_host": row["batch_host"],
        "tres": tres,
        "restarts": row["restarts"],
        "comment": redaction.strip_tag(row["comment"]),
        "hold_reason": hold_reason,
        "source": _SOURCES.get(row["source"], "sluice"),
    }


def to_resources_json(usage: Mapping[str, Any] | None, unknown: str | None) -> dict[str, Any]:
    """Build what a job used; `unknown` says why some of it is null."""
    found = usage or {}
    values = {
        "cpu_efficiency": _round_share(found.get("cpu_efficiency")),
        "memory_efficiency": _round_share(found.get("memory_efficiency")),
        "gpu_utilization": _round_share(found.get("gpu_utilization")),
        "max_memory_used": format_used_memory(found.get("memory_used_mb")),
        "max_cpu_time": format_hours(found.get("cpu_s")),
    }
    reasons = [unknown] if unknown else list(_list_gaps(found, values))
    return {**values, "unknown_because": "; ".join(reasons) or None}


def _list_gaps(found: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """List why single values are not known of a job that has begun."""
    if values["max_cpu_time"] is None or values["max_memory_used"] is None:
        if found.get("end_time") is None:
            yield "SLURM tells what a running job uses to its owner and root only, and where it gathers that"
        else:
            yield "its steps were not measured (JobAcctGatherType), or were too short for it"
    if values["cpu_efficiency"] is None and values["max_cpu_time"] is not None:
        yield "it ran for less than a second"
    if values["memory_efficiency"] is None and values["max_memory_used"] is not None:
        yield "it asked for no amount of memory"
    if values["gpu_utilization"] is None and found.get("gpus"):
        yield "this cluster does not measure the use of GPUs"


def _round_share(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def format_used_memory(memory_mb: float | None) -> str | None:
    """Format measured memory with the unit that leaves it two digits or more.

    >>> format_used_memory(213.08), format_used_memory(91136), format_used_memory(0.4), format_used_memory(None)
    ('213MB', '89GB', '1MB', None)
    """
    if memory_mb is None:
        return None
    unit = 0
    while memory_mb >= 10 * 1024 and unit < len(_UNITS) - 1:
        memory_mb, unit = memory_mb / 1024, unit + 1
    return f"{max(1, round(memory_mb))}{_UNITS[unit]}"


def format_hours(duration_s: float | None) -> str | None:
    """Format a time of computing in hours.

    >>> format_hours(459000), format_hours(12.338), format_hours(None)
    ('127.5h', '0.0034h', None)
    """
    if duration_s is None:
        return None
    hours = duration_s / 3600
    return f"{round(hours, 1 if hours >= 1 else 4):g}h" if hours < 100_000 else f"{round(hours)}h"


def to_script_json(job_id: str, script: str, source: str) -> dict[str, Any]:
    """Build the script of a job; `source` is sluice or slurm."""
    return {"job_id": job_id, "script": script, "source": source}
