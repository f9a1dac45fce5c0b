"""What may be exported: types, their columns and formats. Pure."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.errors import Invalid, make_problem, suggest_word
from store.times import read_time, to_day_end

TEXT, NUMBER, WHOLE, LIST, TIME = "text", "number", "whole", "list", "time"

JOBS = {
    "job_id": TEXT, "job_name": TEXT, "user": TEXT, "account": TEXT, "partition": TEXT, "state": TEXT,
    "submit_time": TIME, "start_time": TIME, "end_time": TIME, "elapsed_time": TEXT, "time_limit": TEXT,
    "nodes": LIST, "node_count": WHOLE, "cpu_count": WHOLE, "memory": TEXT, "gpus": WHOLE, "priority": WHOLE,
    "qos": TEXT, "working_directory": TEXT, "standard_output": TEXT, "standard_error": TEXT, "exit_code": WHOLE,
    "reason": TEXT,
}  # fmt: skip
NODES = {
    "node_name": TEXT, "state": TEXT, "partitions": LIST, "cpu_total": WHOLE, "cpu_allocated": WHOLE,
    "cpu_load": NUMBER, "memory_total": TEXT, "memory_allocated": TEXT, "memory_free": TEXT, "gpus_total": WHOLE,
    "gpus_allocated": WHOLE, "features": LIST, "architecture": TEXT, "os": TEXT, "boot_time": TIME, "last_busy": TIME,
    "jobs": LIST, "reason": TEXT,
}  # fmt: skip
USERS = {
    "username": TEXT, "default_account": TEXT, "admin_level": TEXT, "jobs_running": WHOLE, "jobs_pending": WHOLE,
    "cpu_time_used": TEXT, "associations": LIST,
}  # fmt: skip
PARTITIONS = {
    "name": TEXT, "state": TEXT, "nodes_total": WHOLE, "nodes_idle": WHOLE, "nodes_allocated": WHOLE,
    "nodes_mixed": WHOLE, "cpus_total": WHOLE, "cpus_allocated": WHOLE, "default_time": TEXT, "max_time": TEXT,
    "max_nodes": WHOLE, "priority": WHOLE, "qos": TEXT, "features": LIST,
}  # fmt: skip
METRICS = {
    "timestamp": TIME, "cpu_utilization": NUMBER, "memory_utilization": NUMBER, "gpu_utilization": NUMBER,
    "jobs_submitted": WHOLE, "jobs_completed": WHOLE, "avg_queue_time": WHOLE,
}  # fmt: skip
COLUMNS: dict[str, dict[str, str]] = {
    "jobs": JOBS, "nodes": NODES, "users": USERS, "partitions": PARTITIONS, "metrics": METRICS
}  # fmt: skip
# What people call a column; "runtime" is the word of the document's own example.
ALIASES = {
    "jobs": {
        "runtime": "elapsed_time", "elapsed": "elapsed_time", "id": "job_id", "name": "job_name", "cpus": "cpu_count",
        "username": "user", "workdir": "working_directory", "work_dir": "working_directory", "limit": "time_limit",
        "stdout": "standard_output", "stderr": "standard_error", "submitted": "submit_time", "started": "start_time",
        "ended": "end_time", "node_list": "nodes",
    },
    "nodes": {"name": "node_name", "node": "node_name", "cpus": "cpu_total", "memory": "memory_total"},
    "users": {"user": "username", "name": "username", "account": "default_account"},
    "partitions": {"partition": "name", "partition_name": "name"},
    "metrics": {"time": "timestamp"},
}  # fmt: skip
# Which parts of `filter` say something about a type.
FILTERS = {
    "jobs": ("state", "user", "partition", "start_time", "end_time"),
    "nodes": ("state", "partition"),
    "users": ("user",),
    "partitions": ("state", "partition"),
    "metrics": ("start_time", "end_time"),
}
MEDIA_TYPES = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "md": "text/markdown",
    "html": "text/html",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "txt": "text/plain",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
}
GET_PARQUET = "parquet needs pyarrow, which is not installed here: pip install pyarrow"


@dataclass(frozen=True)
class Period:
    """From when to when, in epoch seconds; None where it was not said."""

    since: float | None = None
    until: float | None = None


def resolve_fields(kind: str, fields: Sequence[str] | None) -> list[str]:
    """Return the columns' own names; all columns where none are named.

    Raises Invalid for names that no column has.
    """
    if not fields:
        return list(COLUMNS[kind])
    known, aliases = COLUMNS[kind], ALIASES[kind]
    found = [aliases.get(field.lower(), field.lower()) for field in fields]
    problems = [
        make_problem(
            f"{kind} have no field '{given}'{suggest_word(given, [*known, *aliases])}",
            ["body", "fields", at],
            input=given,
        )
        for at, (given, name) in enumerate(zip(fields, found, strict=True))
        if name not in known
    ]
    if problems:
        raise Invalid(problems)
    return list(dict.fromkeys(found))


def check_filter(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the filter of an export; raise Invalid for what says nothing."""
    problems = [
        make_problem(f"does not apply to {kind}", ["body", "filter", name], input=given[name])
        for name in given
        if name not in FILTERS[kind]
    ]
    if problems:
        raise Invalid(problems)
    read_period(given)
    return {name: text for name, text in given.items() if text.strip()}


def read_period(given: Mapping[str, str]) -> Period:
    """Read start_time and end_time of a filter; raise Invalid."""
    since = read_time(given.get("start_time") or None, ["body", "filter", "start_time"])
    until = read_time(given.get("end_time") or None, ["body", "filter", "end_time"], to_day_end)
    if since is not None and until is not None and since > until:
        raise Invalid([make_problem("is after end_time", ["body", "filter", "start_time"], input=given["start_time"])])
    return Period(since, until)


def check_format(name: str) -> None:
    """Raise Invalid for a format that needs what is not installed."""
    if name == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise Invalid([make_problem(GET_PARQUET, ["body", "format"], input=name)])


def check_delimiter(delimiter: str) -> str:
    """Return the delimiter of a CSV file; raise Invalid for one that is none."""
    if len(delimiter) != 1 or delimiter in '"\r\n\0\ufeff=+-@' or 0xD800 <= ord(delimiter) < 0xE000:
        message = "must be one character: no quote, no end of line, and nothing that begins a formula"
        raise Invalid([make_problem(message, ["body", "options", "delimiter"], input=delimiter)])
    return delimiter


def name_file(kind: str, extension: str, now: float) -> str:
    """Name a file that the caller gave no name.

    >>> name_file("jobs", "csv", 0)
    'jobs-19700101T000000Z.csv'
    """
    return f"{kind}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.{extension}"
