"""What a cluster did in a period, summed up job by job. Pure.

Jobs are rows with user, partition, state, submit_time, start_time, end_time, cpu_count, gpus, and where they were
measured cpu_s, cpu_efficiency and memory_efficiency; those that run have `runs_until`, the present. Memory is bounded
by users, partitions and buckets of time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HOUR_S, DAY_S = 3600, 86_400
# The longest period that is told in buckets of this length.
BUCKETS = ((2 * DAY_S, HOUR_S), (92 * DAY_S, DAY_S), (3 * 366 * DAY_S, 7 * DAY_S), (float("inf"), 30 * DAY_S))
MOST_WASTEFUL = 20
MOST_GROUPS = 10_000
OTHERS = "(others)"
FAILURES = frozenset({"FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"})


@dataclass
class Group:
    """The sums over some jobs; times in seconds."""

    jobs: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    wait_s: float = 0.0
    waits: int = 0
    run_s: float = 0.0
    longest_s: float = 0.0
    measured: int = 0  # jobs whose CPU time is known
    used_s: float = 0.0
    given_s: float = 0.0
    memory_shares: float = 0.0
    memory_measured: int = 0

    @property
    def cpu_efficiency(self) -> float | None:
        """The CPU time used of that given, 0..1; None where none was measured."""
        return min(1.0, self.used_s / self.given_s) if self.given_s else None

    @property
    def memory_efficiency(self) -> float | None:
        """The mean share of memory used, 0..1; None where none was measured."""
        return self.memory_shares / self.memory_measured if self.memory_measured else None

    @property
    def average_wait_s(self) -> float | None:
        """The mean time from submission to start; None where none started."""
        return self.wait_s / self.waits if self.waits else None

    @property
    def average_run_s(self) -> float | None:
        """The mean time that jobs ran; None where none did."""
        return self.run_s / self.waits if self.waits else None


@dataclass
class Bucket:
    """What ran and ended in a part of the period."""

    start: float
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    ended: int = 0


@dataclass
class Totals:
    """The sums over a period, from `since` to before `until`."""

    since: float
    until: float
    partitions: frozenset[str] | None = None
    all: Group = field(default_factory=Group)
    users: dict[str, Group] = field(default_factory=dict)
    by_partition: dict[str, Group] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    bins: list[int] = field(default_factory=lambda: [0] * 10)  # jobs by CPU efficiency
    wasteful: list[tuple[float, int, Any]] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)
    bucket_s: float = 0.0

    def __post_init__(self) -> None:
        self.bucket_s = next(length for longest, length in BUCKETS if self.until - self.since <= longest)
        count = max(1, -int(-(self.until - self.since) // self.bucket_s))
        self.buckets = [Bucket(self.since + at * self.bucket_s) for at in range(count)]

    def add_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Add jobs that ended, or run; each counts as far as it is in the period."""
        for job in jobs:
            names = (job["partition"] or "").split(",")
            if self.partitions is None or not self.partitions.isdisjoint(names):
                self._add_job(job, names[0])

    def _add_job(self, job: Mapping[str, Any], partition: str) -> None:
        end, start = job["end_time"], job["start_time"]
        is_in = end is not None and self.since <= end < self.until
        groups = [self.all, _get_group(self.users, job["user"]), _get_group(self.by_partition, partition)]
        if start is not None:
            until = min(self.until, job["runs_until"] if end is None else end)
            ran_s = max(0.0, until - max(start, self.since))
            for group in groups:
                group.cpu_s += ran_s * (job["cpu_count"] or 0)
                group.gpu_s += ran_s * (job["gpus"] or 0)
            self._spread_time(max(start, self.since), until, job["cpu_count"] or 0, job["gpus"] or 0)
        if is_in:
            self._count_end(job, groups)

    def _spread_time(self, start: float, end: float, cpus: int, gpus: int) -> None:
        first = int((start - self.since) // self.bucket_s)
        for bucket in self.buckets[max(0, first) :]:
            if bucket.start >= end:
                return
            seconds = max(0.0, min(end, bucket.start + self.bucket_s) - max(start, bucket.start))
            bucket.cpu_s += seconds * cpus
            bucket.gpu_s += seconds * gpus

    def _count_end(self, job: Mapping[str, Any], groups: list[Group]) -> None:
        state, end, start = job["state"], job["end_time"], job["start_time"]
        self.states[state] += 1
        self.buckets[min(len(self.buckets) - 1, int((end - self.since) // self.bucket_s))].ended += 1
        used_s, given_s = job.get("cpu_s"), (end - start) * (job["cpu_count"] or 0) if start is not None else 0
        for group in groups:
            group.jobs += 1
            group.completed += state == "COMPLETED"
            group.failed += state in FAILURES
            group.cancelled += state == "CANCELLED"
            if start is not None:
                group.waits += 1
                group.wait_s += max(0.0, start - (start if job["submit_time"] is None else job["submit_time"]))
                group.run_s += end - start
                group.longest_s = max(group.longest_s, end - start)
            if used_s is not None and given_s > 0:
                group.measured += 1
                group.used_s += used_s
                group.given_s += given_s
            if (share := job.get("memory_efficiency")) is not None:
                group.memory_measured += 1
                group.memory_shares += share
        if used_s is not None and given_s > 0:
            share = min(1.0, used_s / given_s)
            self.bins[min(9, int(10 * share))] += 1
            self._keep_wasteful(job, max(0.0, given_s - used_s))

    def _keep_wasteful(self, job: Mapping[str, Any], wasted_s: float) -> None:
        heapq.heappush(self.wasteful, (wasted_s, self.all.measured, job))
        if len(self.wasteful) > MOST_WASTEFUL:
            heapq.heappop(self.wasteful)

    def list_wasteful(self) -> list[tuple[float, Any]]:
        """List the jobs that left most CPU time unused, with that time."""
        return [(wasted_s, job) for wasted_s, _, job in sorted(self.wasteful, key=lambda row: -row[0]) if wasted_s > 0]


def _get_group(groups: dict[str, Group], name: str | None) -> Group:
    name = name or "(none)"
    if name not in groups and len(groups) >= MOST_GROUPS:
        name = OTHERS
    return groups.setdefault(name, Group())
