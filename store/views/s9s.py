"""Jobs, nodes and refusals as the S9S API shows them: pure functions.

Ids are strings, times RFC 3339, durations `[D-]H:MM:SS` or UNLIMITED, memory a whole number with a binary unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from store.errors import print_text, split_problem
from store.times import format_duration, to_rfc3339

# By status, where what went wrong says nothing more.
CODES = {
    401: "AUTHENTICATION_FAILED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    412: "RESOURCE_CONFLICT",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
UNITS = ("MB", "GB", "TB", "PB")
# The most rows of one page.
MOST_ROWS = 1000
Row = TypeVar("Row")


def to_error_json(
    status: int,
    code: str,
    message: str,
    problems: Sequence[Mapping[str, Any]],
    request_id: str,
    details: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Build a refusal; `code` is the name of the exception.

    What is wrong with several values is told field by field. `now` is epoch seconds.
    """
    if problems:
        details = {"fields": dict(map(split_problem, problems))}
        message = "; ".join(f"{name}: {text}" for name, text in details["fields"].items())
    if "hint" in details:
        message, details = details["hint"], {}
    if status == 404 and "resource_id" in details:
        # The document names things without quotes: Job 99999 not found.
        message = message.replace(f"'{details['resource_id']}'", details["resource_id"], 1)
    error = {
        "code": _find_code(status, code, problems),
        "message": print_text(message),
        "details": details,
        "request_id": request_id,
        "timestamp": to_rfc3339(int(now)),
    }
    return {"error": error}


def _find_code(status: int, code: str, problems: Sequence[Mapping[str, Any]]) -> str:
    if status >= 500 and (code.startswith(("Slurm", "Cluster")) or code == "UnreadableAnswer"):
        return "SLURM_ERROR"
    is_wrong_value = code == "SlurmInvalid" or (problems and not _is_malformed(code, problems[0]))
    return "VALIDATION_ERROR" if status == 400 and is_wrong_value else CODES.get(status, "INVALID_REQUEST")


def _is_malformed(code: str, problem: Mapping[str, Any]) -> bool:
    """Return whether a request has a wrong form: no JSON, no id, no number."""
    place = problem["loc"][0] if problem["loc"] else ""
    return code == "NotJson" or place == "path" or (place == "query" and problem["type"] == "int_parsing")


def format_memory(memory_mb: int | None) -> str | None:
    """Format memory with the largest unit that keeps the number whole.

    >>> format_memory(131072), format_memory(1536), format_memory(0), format_memory(None)
    ('128GB', '1536MB', '0MB', None)
    """
    if memory_mb is None:
        return None
    number, unit = memory_mb, 0
    while number and number % 1024 == 0 and unit < len(UNITS) - 1:
        number, unit = number // 1024, unit + 1
    return f"{number}{UNITS[unit]}"


def format_limit(limit_s: int | None) -> str:
    """Format a limit of time; None is none.

    >>> format_limit(14400), format_limit(604800), format_limit(None)
    ('4:00:00', '7-00:00:00', 'UNLIMITED')
    """
    return format_duration(limit_s) or "UNLIMITED"


def to_job_json(row: Mapping[str, Any], nodes: Sequence[str], reason_text: str | None = None) -> dict[str, Any]:
    """Build a job of the list from a row of SLURM; `nodes` are its hosts.

    The exit code of a job that a signal ended is 128 + the signal, as in a shell. `reason_text` says why it waits.
    """
    return {
        "job_id": row["job_id"],
        "job_name": row["name"],
        "user": row["user"],
        "account": row["account"],
        "partition": row["partition"],
        "state": row["state"],
        "submit_time": to_rfc3339(row["submit_time"]),
        "start_time": to_rfc3339(row["start_time"]),
        "end_time": to_rfc3339(row["end_time"]),
        "elapsed_time": format_duration(row["elapsed_s"]) or "0:00:00",
        "time_limit": format_limit(row["time_limit_s"]),
        "nodes": list(nodes),
        "node_count": row["node_count"],
        "cpu_count": row["cpu_count"],
        "memory": format_memory(row["memory_mb"]),
        "gpus": row["gpus"] or 0,
        "priority": row["priority"],
        "qos": row["qos"],
        "working_directory": row["work_dir"],
        "standard_output": row["stdout"],
        "standard_error": row["stderr"],
        "exit_code": row["exit_code"],
        "reason": row["reason"],
        "reason_text": reason_text,
    }


def to_page_json(
    name: str, rows: Sequence[Row], limit: int, offset: int, to_json: Callable[[Row], Any]
) -> dict[str, Any]:
    """Build one page of a list under this name, of at most MOST_ROWS rows.

    `to_json` builds one row.
    """
    limit = min(limit, MOST_ROWS)
    page = [to_json(row) for row in rows[offset : offset + limit]]
    has_more = offset + len(page) < len(rows)
    return {name: page, "total": len(rows), "limit": limit, "offset": offset, "has_more": has_more}
