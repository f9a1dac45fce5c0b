"""What partitions and the whole cluster have, and their jobs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from slurm_shim.ids import count_tasks, expand_hosts
from slurm_shim.parse import BASES_AT_WORK, FINISHED, WAITING, Job, Node, Partition

IDLE = WAITING | FINISHED  # jobs in these states take nothing of any node


def summarize_partitions(
    partitions: Sequence[Partition], nodes: Sequence[Node], jobs: Iterable[Job]
) -> list[dict[str, Any]]:
    """Summarize each partition in one dict, sorted by name.

    Keys: partition, total_gpus, gpus_in_use, gpus_available, jobs_running, nodes_total, nodes_idle, nodes_down,
    gpu_utilization (0..1), has_available_gpus. Nodes count by their own names (several slurmds may share a host). The
    GPUs of nodes that take no work (down, drained, failing, not responding, reserved) are neither there nor in use.
    """
    by_name = {node["name"]: node for node in nodes}
    at_work = [job for job in jobs if job["state"] not in IDLE]
    used = count_gpus_in_use(by_name, at_work)
    running = Counter[str]()
    for names, number in Counter(map(itemgetter("partition"), at_work)).items():
        running.update(dict.fromkeys((names or "").split(","), number))
    rows = []
    for partition in sorted(partitions, key=lambda partition: partition["name"]):
        members = [by_name[name] for name in partition["nodes"] if name in by_name]
        rows.append(_build_row(partition["name"], members, used, running[partition["name"]]))
    return rows


def count_jobs(jobs: Iterable[Job]) -> tuple[int, int]:
    """Count jobs at work and waiting; each task of an array counts."""
    running = pending = 0
    for job in jobs:
        if job["state"] in WAITING:
            pending += count_tasks(job["array_task_id"])
        elif job["state"] not in FINISHED:
            running += 1
    return running, pending


def make_empty_row(partition: str) -> dict[str, Any]:
    """Make the row of an unknown partition: all zero."""
    return _build_row(partition, [], {}, 0)


def _build_row(name: str, members: Sequence[Node], used: Mapping[str, int], jobs_running: int) -> dict[str, Any]:
    usable = [node for node in members if node["usable"]]
    total = sum(node["gpus"] for node in usable)
    # A node that lost GPUs since the job started (reconfigured) must not make more than all in use.
    in_use = sum(min(node["gpus"], used.get(node["name"], 0)) for node in usable)
    return {
        "partition": name,
        "total_gpus": total,
        "gpus_in_use": in_use,
        "gpus_available": total - in_use,
        "jobs_running": jobs_running,
        "nodes_total": len(members),
        "nodes_idle": sum(1 for node in usable if node["state"] == "IDLE"),
        "nodes_down": len(members) - len(usable),
        "gpu_utilization": in_use / total if total else 0.0,
        "has_available_gpus": total > in_use,
    }


def count_gpus_in_use(nodes: Mapping[str, Node], jobs: Iterable[Job]) -> dict[str, int]:
    """Count the GPUs in use by node.

    As SLURM counts them, else derived from the jobs that run there.
    """
    used = {name: node["gpus_allocated"] for name, node in nodes.items()}
    untracked = {name for name, node in nodes.items() if not node["gpus_tracked"]}
    if not untracked:
        return used
    for job in jobs:
        if job["gpus"] and job["nodes"]:
            for name, count in _split_gpus(job, nodes).items():
                if name in untracked:
                    used[name] += count
    return used


def _split_gpus(job: Job, nodes: Mapping[str, Node]) -> dict[str, int]:
    # SLURM does not say how a job's GPUs lie on its nodes; evenly is right for --gpus-per-node and --gres.
    names = [name for name in expand_hosts(job["nodes"]) if name in nodes]
    if not names:
        return {}
    each, left = divmod(job["gpus"], len(names))
    return {name: each + (1 if place < left else 0) for place, name in enumerate(names)}


_get_kind = itemgetter("partition", "state", "array_task_id", "submit_time")


class ClusterCounts(NamedTuple):
    """The whole cluster in numbers, tasks of arrays counted one by one.

    Pairs are what is allocated and what there is on nodes that are not DOWN, None where SLURM does not say. `jobs` by
    state and `queue` by partition and state count those that have not ended; `waiting_since` is when the longest
    waiting one was submitted. `unavailable` nodes take no work. `partition_cpus` and `partition_gpus` count by
    partition and state: allocated, idle, other (down or drained).
    """

    cpus: tuple[int, int]
    memory_mb: tuple[int, int] | None
    gpus: tuple[int, int]
    jobs: Mapping[str, int]
    queue: Mapping[tuple[str, str], int]
    waiting_since: int | None
    unavailable: int
    partition_cpus: Mapping[tuple[str, str], int]
    partition_gpus: Mapping[tuple[str, str], int]

    def count_jobs_of(self, partition: str) -> tuple[int, int]:
        """Count jobs at work and waiting that are, or may come, there."""
        at_work = waiting = 0
        for (names, state), number in self.queue.items():
            if partition in names.split(","):
                at_work, waiting = at_work + number * (state not in WAITING), waiting + number * (state in WAITING)
        return at_work, waiting


def count_cluster(partitions: Sequence[Partition], nodes: Sequence[Node], jobs: Sequence[Job]) -> ClusterCounts:
    """Count nodes, jobs and what they use."""
    queue: Counter[tuple[str, str]] = Counter()
    waiting: list[int] = []
    for (partition, state, tasks), (number, first) in _count_kinds(jobs).items():
        if state not in FINISHED:
            queue[partition or "", state] += number * count_tasks(tasks)
        if state in WAITING and first:
            waiting.append(first)
    states: Counter[str] = Counter()
    for (_partition, state), number in queue.items():
        states[state] += number
    by_name = {node["name"]: node for node in nodes}
    gpus = count_gpus_in_use(by_name, (job for job in jobs if job["state"] not in IDLE))
    up = [node for node in nodes if node["state"] in BASES_AT_WORK and "INVALID_REG" not in node["flags"]]
    cpus, memory_mb = _sum_pair(up, "cpus"), _sum_pair(up, "memory_mb", "memory_allocated_mb")
    by_partition = [_count_partition(row, by_name, gpus) for row in partitions]
    return ClusterCounts(
        cpus,
        # Where memory is not allocated (SelectTypeParameters without it) SLURM counts 0 whatever runs.
        None if cpus[0] and not memory_mb[0] else memory_mb,
        (sum(min(node["gpus"], gpus.get(node["name"], 0)) for node in up), sum(node["gpus"] for node in up)),
        states,
        queue,
        min(waiting, default=None),
        sum(1 for node in nodes if not node["usable"]),
        {key: number for counts, _ in by_partition for key, number in counts.items()},
        {key: number for _, counts in by_partition for key, number in counts.items()},
    )


def _count_kinds(jobs: Iterable[Job]) -> Mapping[tuple[str, str, str], Sequence[int]]:
    """Count jobs by partition, state and tasks; with the first submission.

    In one look at each: there are few kinds of tens of thousands of jobs.
    """
    kinds: dict[tuple[str, str, str], list[int]] = {}
    for partition, state, tasks, submitted in map(_get_kind, jobs):
        known = kinds.get((partition, state, tasks))
        if known is None:
            kinds[partition, state, tasks] = [1, submitted or 0]
            continue
        known[0] += 1
        if submitted and (submitted < known[1] or not known[1]):
            known[1] = submitted
    return kinds


def _sum_pair(nodes: Sequence[Node], total: str, used: str | None = None) -> tuple[int, int]:
    used = used or f"{total}_allocated"
    return sum(node[used] for node in nodes), sum(node[total] for node in nodes)


def _count_partition(
    partition: Partition, nodes: Mapping[str, Node], gpus: Mapping[str, int]
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    cpus, cards = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    name = partition["name"]
    for node in (nodes[host] for host in partition["nodes"] if host in nodes):
        used, used_gpus = node["cpus_allocated"], min(node["gpus"], gpus.get(node["name"], 0))
        rest = "idle" if node["usable"] else "other"
        for counts, in_use, total in ((cpus, used, node["cpus"]), (cards, used_gpus, node["gpus"])):
            counts[name, "allocated"] += in_use
            counts[name, rest] += max(0, total - in_use)
    return dict(cpus), {key: number for key, number in cards.items() if number}
