"""Arrays and heterogeneous jobs: many rows as one job. Pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from slurm_shim.ids import expand_tasks, split_job_id
from slurm_shim.parse import FINISHED, WAITING, Job

# The worst of several ends, worst first.
_WORST = (
    *("NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "FAILED", "TIMEOUT", "DEADLINE", "PREEMPTED", "CANCELLED", "REVOKED"),
    "COMPLETED",
)


def combine_rows(job_id: str, rows: Sequence[Job]) -> Job:
    """Combine the rows of an array or heterogeneous job into one job.

    Adds `tasks: {state: number}`.

    RUNNING (or another state at work) while any part is, PENDING while any part waits, else the worst end, whose exit
    code and signal count. Times span all parts; what else there is comes from the waiting or else the lowest part.
    """
    order = sorted(rows, key=lambda row: (row["state"] not in WAITING, _get_position(row)))
    if len(order) == 1 and order[0]["job_id"] == job_id:
        return order[0]
    deciding = _find_deciding_row(order)
    over = deciding["state"] in FINISHED
    counts: Counter[str] = Counter()
    for row in order:
        counts[row["state"]] += len(list_row_tasks(row)) or 1
    return order[0] | {
        "job_id": job_id,
        "array_task_id": None,
        "het_job_offset": None,
        "state": deciding["state"],
        "reason": deciding["reason"],
        "exit_code": deciding["exit_code"] if over else None,
        "exit_signal": deciding["exit_signal"] if over else None,
        "start_time": min((row["start_time"] for row in order if row["start_time"]), default=None),
        "end_time": max((row["end_time"] for row in order if row["end_time"]), default=None) if over else None,
        "elapsed_s": max((row["elapsed_s"] for row in order if row["elapsed_s"] is not None), default=None),
        "tasks": dict(counts),
    }


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
    return () if tasks is None else expand_tasks(tasks)


def is_part_of(row: Job, job_id: str) -> bool:
    """Return whether the row is the job with this id, or a part of it."""
    if row["job_id"] == job_id:
        return True
    parts = split_job_id(job_id)
    if parts["task"] is not None:
        return row["array_job_id"] == parts["job"] and parts["task"] in list_row_tasks(row)
    return parts["component"] is None and parts["job"] in (row["array_job_id"], row["het_job_id"])


_BLANK: Job = {
    **dict.fromkeys(("array_job_id", "array_task_id", "het_job_id", "het_job_offset", "uid", "account", "qos")),
    **dict.fromkeys(("reason", "start_time", "estimated_start_time", "end_time", "time_limit_s", "memory_mb")),
    **dict.fromkeys(("priority", "batch_host", "work_dir", "command", "stdout", "stderr", "exit_code", "exit_signal")),
    **dict.fromkeys(("dependency", "comment")),
    **dict.fromkeys(("name", "user", "partition", "nodes", "tres"), ""),
    **dict.fromkeys(("gpus", "restarts", "elapsed_s"), 0),
    **dict.fromkeys(("node_count", "cpu_count"), 1),
    "state": "PENDING",
    "time_limit": "UNLIMITED",
    "source": "squeue",
}


def build_waiting_job(job_id: str, **known: object) -> Job:
    """Build the job dict of a job that sbatch has just accepted."""
    own = {"job_id": job_id, "raw_id": split_job_id(job_id)["job"], "submit_time": int(time.time())}
    return _BLANK | own | known
