"""How full each partition is, and who waits for it. Pure.

Worked out once for all waiting jobs; what is asked of it for one job costs no look at the others.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Reasons of jobs that wait for room: only these stand before others.
_COMPETING = frozenset({None, "Resources", "Priority"})
_WAITING = frozenset({"PENDING", "REQUEUED"})
_get_place = operator.itemgetter("state", "reason", "priority", "array_task_id", "partition")


@dataclass(frozen=True)
class PartitionLoad:
    """What a partition has, and what of it is in use.

    Nodes that take no work are only in `nodes_total`. `waiting` and `counts` are the priorities of the jobs that wait
    for room, in rising order, and how many jobs have at most the priority at this place.
    """

    name: str
    state: str = "UP"
    max_time_s: int | None = None
    nodes_total: int = 0
    nodes_usable: int = 0
    nodes_idle: int = 0
    cpus: int = 0
    cpus_used: int = 0
    gpus: int = 0
    gpus_used: int = 0
    waiting: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    def count_before(self, priority: int | None) -> int | None:
        """Count the jobs with a higher priority; None where it has none."""
        if not priority:
            return None
        at = bisect.bisect_right(self.waiting, priority)
        return (self.counts[-1] if self.counts else 0) - (self.counts[at - 1] if at else 0)


def measure_load(
    partitions: Iterable[Mapping[str, Any]],
    nodes: Iterable[Mapping[str, Any]],
    gpus: Iterable[Mapping[str, Any]],
    jobs: Iterable[Mapping[str, Any]],
    count_tasks: Callable[[str | None], int],
) -> dict[str, PartitionLoad]:
    """Measure the load of each partition by its name.

    `partitions`, `nodes` and `jobs` as SLURM shows them, `gpus` rows of partition, total_gpus and gpus_in_use;
    `count_tasks` says how many jobs a list of array tasks is.
    """
    by_name = {node["name"]: node for node in nodes}
    counted = {row["partition"]: row for row in gpus}
    queued = _count_priorities(jobs, count_tasks)
    loads = {}
    for partition in partitions:
        name, members = partition["name"], [by_name[host] for host in partition["nodes"] if host in by_name]
        usable = [node for node in members if node["usable"]]
        waiting = sorted(queued.get(name, {}).items())
        own = counted.get(name, {})
        loads[name] = PartitionLoad(
            name=name,
            state=partition["state"],
            max_time_s=partition["max_time_s"],
            nodes_total=len(members),
            nodes_usable=len(usable),
            nodes_idle=sum(node["state"] == "IDLE" for node in usable),
            cpus=sum(node["cpus"] for node in usable),
            cpus_used=sum(node["cpus_allocated"] for node in usable),
            gpus=own.get("total_gpus", 0),
            gpus_used=own.get("gpus_in_use", 0),
            waiting=tuple(priority for priority, _count in waiting),
            counts=tuple(itertools.accumulate(count for _priority, count in waiting)),
        )
    return loads


def _count_priorities(
    jobs: Iterable[Mapping[str, Any]], count_tasks: Callable[[str | None], int]
) -> dict[str, dict[int, int]]:
    """Count the jobs that wait for room, by partition and priority."""
    found: dict[str, dict[int, int]] = {}
    for state, reason, priority, tasks, names in map(_get_place, jobs):
        if state in _WAITING and reason in _COMPETING and priority:
            number = 1 if tasks is None else count_tasks(tasks)
            for name in (names or "").split(","):
                numbers = found.setdefault(name, {})
                numbers[priority] = numbers.get(priority, 0) + number
    return found


def choose_load(loads: Mapping[str, PartitionLoad], partition: str | None) -> PartitionLoad | None:
    """Choose the load that tells most for a job: of its first known partition."""
    names: Sequence[str] = (partition or "").split(",")
    return next((loads[name] for name in names if name in loads), None)
