"""The fields of a job by their names in the S9S API. Pure.

They are filtered and sorted as they stand in raw rows of SLURM: only the rows that are shown are made into JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

Row = Mapping[str, Any]
TEXT, NUMBER, SIZE, DURATION, TIME, STATE, HOSTS = "text", "number", "size", "duration", "time", "state", "hosts"
# Kinds that a text is looked for in.
WORDED = frozenset({TEXT, STATE, HOSTS})
PARTS = 2**34  # more than tasks or components that one job can have
_FIRST = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True)
class JobField:
    """A field: what kind of value it has, and how it is read from a row.

    Sizes are MB, durations and times seconds; None is null.
    """

    kind: str
    read: Callable[[Row], Any]


def _read_limit(row: Row) -> float:
    """Read the limit of time; without one it is larger than all others."""
    limit_s: float | None = row["time_limit_s"]
    return math.inf if limit_s is None else limit_s


FIELDS: dict[str, JobField] = {
    "job_id": JobField(TEXT, itemgetter("job_id")),
    "job_name": JobField(TEXT, itemgetter("name")),
    "user": JobField(TEXT, itemgetter("user")),
    "account": JobField(TEXT, itemgetter("account")),
    "partition": JobField(TEXT, itemgetter("partition")),
    "state": JobField(STATE, itemgetter("state")),
    "submit_time": JobField(TIME, itemgetter("submit_time")),
    "start_time": JobField(TIME, itemgetter("start_time")),
    "end_time": JobField(TIME, itemgetter("end_time")),
    "elapsed_time": JobField(DURATION, lambda row: row["elapsed_s"] or 0),
    "time_limit": JobField(DURATION, _read_limit),
    "nodes": JobField(HOSTS, itemgetter("nodes")),
    "node_count": JobField(NUMBER, itemgetter("node_count")),
    "cpu_count": JobField(NUMBER, itemgetter("cpu_count")),
    "memory": JobField(SIZE, itemgetter("memory_mb")),
    "gpus": JobField(NUMBER, lambda row: row["gpus"] or 0),
    "priority": JobField(NUMBER, itemgetter("priority")),
    "qos": JobField(TEXT, itemgetter("qos")),
    "working_directory": JobField(TEXT, itemgetter("work_dir")),
    "standard_output": JobField(TEXT, itemgetter("stdout")),
    "standard_error": JobField(TEXT, itemgetter("stderr")),
    "exit_code": JobField(NUMBER, itemgetter("exit_code")),
    "reason": JobField(TEXT, itemgetter("reason")),
}
SORTABLE = tuple(name for name, field in FIELDS.items() if field.kind != HOSTS)
# Shorter names that are taken as well.
ALIASES = {
    "id": "job_id", "jobid": "job_id", "name": "job_name", "status": "state", "time": "elapsed_time",
    "elapsed": "elapsed_time", "runtime": "elapsed_time", "timelimit": "time_limit", "node": "nodes",
    "cpu": "cpu_count", "cpus": "cpu_count", "mem": "memory", "gpu": "gpus", "node_list": "nodes",
    "nodelist": "nodes", "submitted": "submit_time", "started": "start_time", "ended": "end_time",
}  # fmt: skip


def get_field_name(word: str) -> str | None:
    """Get the name of a field that a word stands for; None if there is none.

    >>> get_field_name("Memory"), get_field_name("cpus"), get_field_name("colour")
    ('memory', 'cpu_count', None)
    """
    name = word.lower()
    name = ALIASES.get(name, name)
    return name if name in FIELDS else None


def rank_id(row: Row) -> int:
    """Rank a row by its numbers: the job's, then the task's or component's.

    Tasks that wait together stand where the first of them would.
    """
    whole = row["array_job_id"] if row["array_job_id"] is not None else row["het_job_id"]
    part = row["het_job_offset"]
    if part is None and row["array_task_id"]:
        first = _FIRST.match(row["array_task_id"])
        part = int(first[0]) if first else 0
    number = whole if whole is not None else row["raw_id"]
    return make_rank(int(number), part)


def make_rank(number: int, part: int | None) -> int:
    """Make the rank of a job's number and of a task or component of it.

    >>> make_rank(8, None) < make_rank(8, 0) < make_rank(8, 3) < make_rank(9, None)
    True
    """
    return number * PARTS + (0 if part is None else part + 1)
