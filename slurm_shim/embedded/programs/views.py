"""A job's row in SLURM's words: ids, states, amounts and times.

`Job` wraps a row; its methods are what squeue, scontrol and sacct have in common. Words for nothing differ between
the programs (`N/A`, `(null)`, `n/a`, `Unknown`), so those are put in by the programs.
"""

from __future__ import annotations

import os

from .. import arrays, patterns, schedule, times, units
from ..units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Job:
    """A job's row at a moment.

    `task` is set when one task of a waiting array is shown alone (squeue -r).
    """

    __slots__ = ("now", "row", "shares", "task")

    def __init__(self, row: Mapping[str, Any], now: int, task: int | None = None) -> None:
        self.row, self.now, self.task = row, now, task
        self.shares = schedule.unpack_shares(row["alloc"]) if row["alloc"] else []

    @property
    def state(self) -> str:
        """State, COMPLETING while processes still end."""
        return "COMPLETING" if self.row["completing"] else str(self.row["state"])

    @property
    def array_id(self) -> str:
        """Id as squeue prints it: `8_[3-6%2]`, `8_1`, `9+1` or `42`."""
        row = self.row
        if row["het_job_id"]:
            return f"{row['het_job_id']}+{row['het_offset']}"
        if not row["array_job_id"]:
            return str(row["raw_id"])
        if row["array_tasks"] and self.task is None:
            text = f"{row['array_job_id']}_[{self.waiting_tasks}]"
            # Unless told not to, SLURM cuts this one to its buffer of 32 bytes, without closing the bracket.
            return text if os.environ.get("SLURM_BITSTR_LEN") == "0" else text[:31]
        return f"{row['array_job_id']}_{self.task if self.task is not None else row['array_task_id']}"

    @property
    def waiting_tasks(self) -> str:
        """Array tasks that wait: `3-6%2`.

        Cut as SLURM_BITSTR_LEN says (0: not at all; 64 unless set).
        """
        row = self.row
        text = str(row["array_tasks"])
        length = os.environ.get("SLURM_BITSTR_LEN", "64")
        most = int(length) if is_number(length) else 64
        if most and len(text) > most:
            text = text[: max(0, most - 4)] + "..."
        return f"{text}%{row['array_limit']}" if row["array_limit"] else text

    @property
    def task_id(self) -> str:
        """Array task or waiting tasks; `N/A` when it is no array's."""
        row = self.row
        if not row["array_job_id"]:
            return "N/A"
        if row["array_tasks"] and self.task is None:
            return self.waiting_tasks
        return str(self.task if self.task is not None else row["array_task_id"])

    @property
    def elapsed_s(self) -> int:
        """Seconds that the job has run, without suspensions."""
        row = self.row
        if not row["start_time"] or row["state"] == "PENDING":
            return 0
        end = row["suspend_time"] or row["end_time"] or self.now
        return max(0, int(end - row["start_time"] - (row["suspended_s"] or 0)))

    @property
    def start_time(self) -> int | None:
        """Start, or the earliest start of a waiting job; epoch seconds."""
        row = self.row
        if row["state"] == "PENDING" and row["begin_time"] and row["begin_time"] > self.now:
            return int(row["begin_time"])
        return int(row["start_time"]) if row["start_time"] else None

    @property
    def end_time(self) -> int | None:
        """End, or start plus limit where it has not ended; epoch seconds.

        None when the start or the limit is not known.
        """
        row = self.row
        if row["end_time"]:
            return int(row["end_time"])
        start = self.start_time
        if start is None or row["time_limit_min"] is None:
            return None
        return start + int(row["time_limit_min"]) * 60 + int(row["suspended_s"] or 0)

    @property
    def node_count(self) -> int:
        """Number of nodes, allocated or asked for."""
        return len(self.shares) or int(self.row["min_nodes"])

    @property
    def cpu_count(self) -> int:
        """Number of CPUs, allocated or asked for."""
        return sum(share[1] for share in self.shares) or int(self.row["ntasks"] * self.row["cpus_per_task"])

    @property
    def memory_mb(self) -> int:
        """Memory of the whole job, allocated or asked for."""
        if self.shares:
            return sum(share[2] for share in self.shares)
        row = self.row
        by_gpu_mb = row["mem_gpu_mb"] * self.gpu_count
        return int(row["mem_node_mb"] * row["min_nodes"] or row["mem_cpu_mb"] * self.cpu_count or by_gpu_mb)

    @property
    def gpu_count(self) -> int:
        """Number of GPUs, allocated or asked for."""
        if self.shares:
            return sum(len(share[3]) for share in self.shares)
        row = self.row
        return int(row["gpus_total"] or row["gpus_node"] * row["min_nodes"] or row["gpus_task"] * row["ntasks"])

    @property
    def shown(self) -> dict[str, str]:
        """What is shown of options without effect, see `hints`."""
        return dict(line.split("=", 1) for line in (self.row["shown"] or "").split("\n") if line)

    @property
    def over_subscribe(self) -> str:
        """Whether others may run on the nodes meanwhile, as squeue prints it."""
        if self.row["exclusive"] or "Reboot" in self.shown:
            return self.shown.get("OverSubscribe", "NO")
        return self.shown.get("OverSubscribe", "OK")

    def format_tres(self, by_name: bool = False, convert: bool = True) -> str:
        """Format the job's trackable resources."""
        return units.format_tres(self.cpu_count, self.memory_mb, self.node_count, self.gpu_count, by_name, convert)

    def format_requested_tres(self, convert: bool = True) -> str:
        """Format what was asked for, sorted by name as in accounting."""
        asked = Job({**dict(self.row), "alloc": ""}, self.now)
        return asked.format_tres(by_name=True, convert=convert)

    @property
    def batch_host(self) -> str:
        """First node of a started job; "" before."""
        return self.shares[0][0] if self.shares else ""

    @property
    def time_limit(self) -> str:
        """Time limit as squeue prints it."""
        return times.format_short_limit(self.row["time_limit_min"])

    def format_path(self, pattern: str) -> str:
        """Format a file name of the job."""
        row = self.row
        if self.task is not None:
            row = {**dict(row), "array_task_id": self.task}
        return patterns.format_path(pattern, row)


def split_by_partition(job: Job) -> list[Job]:
    """Split a waiting job into one per partition (squeue -P).

    Others are returned as they are.
    """
    names = job.row["partition"].split(",")
    if job.row["state"] != "PENDING" or len(names) < 2:
        return [job]
    return [Job({**dict(job.row), "partition": name}, job.now, job.task) for name in names]


def build_jobs(rows: list[Any], now: int, one_line_per_task: bool) -> list[Job]:
    """Build jobs from rows.

    With `one_line_per_task` the waiting tasks of an array stand alone.
    """
    jobs: list[Job] = []
    for row in rows:
        if one_line_per_task and row["array_tasks"]:
            jobs += [Job(row, now, task) for task in arrays.unfold_tasks(row["array_tasks"])]
        else:
            jobs.append(Job(row, now))
    return jobs
