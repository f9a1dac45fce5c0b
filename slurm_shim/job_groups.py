"""Arrays and heterogeneous jobs: many rows as one job. Pure."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from slurm_shim.ids import expand_tasks, list_tasks, split_job_id
from slurm_shim.parse import FINISHED, WAITING, Job

# The worst of several ends, worst first.
_WORST = (
    *("NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "FAILED", "TIMEOUT", "DEADLINE", "PREEMPTED", "CANCELLED", "REVOKED"),
    "COMPLETED",
)
# So many parts of a job are told one by one; an array has 1,001 tasks at most unless the cluster says otherwise.
MOST_PARTS = 2000


def combine_rows(job_id: str, rows: Sequence[Job]) -> Job:
    """Combine the rows that belong to an id into the job with this id.

    A row that is the job already is returned as it is. Else what is combined is an array, some of its tasks ("8_[3-6]",
    or "8_5" while it waits among others) or a heterogeneous job. It has its `ended_parts` by id, and `tasks`: the
    number of its parts by state.

    RUNNING (or another state at work) while any part is, PENDING while any part waits, else the worst end, whose exit
    code and signal count. Times span all parts, output is that of the part which has the number of the whole; what else
    there is comes from the waiting or else the lowest part.
    """
    order = sorted(rows, key=lambda row: (row["state"] not in WAITING, _get_position(row)))
    ids, first = split_job_id(job_id), order[0]
    number = ids["job"]
    if len(order) == 1 and (first["job_id"] == job_id or number not in (first["array_job_id"], first["het_job_id"])):
        return first
    deciding = _find_deciding_row(order)
    over = deciding["state"] in FINISHED
    counts: Counter[str] = Counter()
    for row in order:
        counts[row["state"]] += len(list_row_tasks(row)) or 1
    named = next((row for row in order if row["raw_id"] == number), first)
    return first | {
        "job_id": job_id,
        "raw_id": number if ids["task"] is None else first["raw_id"],
        "array_job_id": next((row["array_job_id"] for row in order if row["array_job_id"] is not None), None),
        "array_task_id": ids["tasks"] if ids["task"] is None else str(ids["task"]),
        "het_job_offset": None,
        "state": deciding["state"],
        "reason": deciding["reason"],
        "exit_code": deciding["exit_code"] if over else None,
        "exit_signal": deciding["exit_signal"] if over else None,
        "start_time": min((row["start_time"] for row in order if row["start_time"]), default=None),
        "end_time": max((row["end_time"] for row in order if row["end_time"]), default=None) if over else None,
        "elapsed_s": max((row["elapsed_s"] for row in order if row["elapsed_s"] is not None), default=None),
        "stdout": named["stdout"],
        "stderr": named["stderr"],
        "tasks": dict(counts),
        "ended_parts": _list_ended_parts(row for row in order if row["job_id"] != job_id),
    }


def _list_ended_parts(rows: Iterable[Job]) -> dict[str, Job]:
    """List the ended parts by id, one by one; of very many the first."""
    parts = (
        (f"{row['array_job_id']}_{task}" if task is not None else row["job_id"], row)
        for row in rows
        if row["state"] in FINISHED
        for task in list_row_tasks(row) or (None,)
    )
    return dict(itertools.islice(parts, MOST_PARTS))


def _get_position(row: Job) -> int:
    offset = row["het_job_offset"]
    task = row["array_task_id"] or "0"
    return offset if offset is not None else int(task) if task.isdigit() else 0


def _find_deciding_row(rows: Sequence[Job]) -> Job:
    at_work = [row for row in rows if row["state"] not in FINISHED and row["state"] not in WAITING]
    waiting = [row for row in rows if row["state"] in WAITING]
    if at_work or waiting:
        return next((row for row in at_work if row["state"] == "RUNNING"), (at_work or waiting)[0])
    return min(rows, key=lambda row: _WORST.index(row["state"]))


def list_row_tasks(row: Job) -> tuple[int, ...]:
    """List the array tasks that a row stands for; () when it has none.

    A started task is one; the row of what still waits has many.
    """
    tasks = row["array_task_id"]
    return expand_tasks(tasks) if tasks else ()


def is_part_of(row: Job, job_id: str) -> bool:
    """Return whether the row is the job with this id, or a part of it.

    A task or component is also known by the number that it has in its own $SLURM_JOB_ID.
    """
    if job_id in (row["job_id"], str(row["raw_id"])):
        return True
    parts, tasks = split_job_id(job_id), list_tasks(job_id)
    if tasks:
        return row["array_job_id"] == parts["job"] and not tasks.isdisjoint(list_row_tasks(row))
    return parts["component"] is None and parts["job"] in (row["array_job_id"], row["het_job_id"])


def list_common_tasks(row: Job, job_id: str) -> tuple[int, ...]:
    """List the array tasks that a row stands for and the id names."""
    named = list_tasks(job_id)
    return tuple(task for task in list_row_tasks(row) if not named or task in named)


_BLANK: Job = {
    **dict.fromkeys(("array_job_id", "array_task_id", "het_job_id", "het_job_offset", "uid", "account", "qos")),
    **dict.fromkeys(("reason", "start_time", "estimated_start_time", "end_time", "time_limit_s", "memory_mb")),
    **dict.fromkeys(("priority", "batch_host", "work_dir", "command", "stdout", "stderr", "exit_code", "exit_signal")),
    **dict.fromkeys(("dependency", "comment", "user", "partition", "time_limit", "gpus", "node_count", "cpu_count")),
    **dict.fromkeys(("name", "nodes", "tres"), ""),
    **dict.fromkeys(("restarts", "elapsed_s"), 0),
    "state": "PENDING",
    "source": "squeue",
}


def build_waiting_job(job_id: str, **known: object) -> Job:
    """Build the job dict of a job that sbatch has just accepted.

    None is what SLURM has not told yet.
    """
    own = {"job_id": job_id, "raw_id": split_job_id(job_id)["job"], "submit_time": int(time.time())}
    return _BLANK | own | known
