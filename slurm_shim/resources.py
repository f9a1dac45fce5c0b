"""GPUs, nodes and running jobs of each partition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slurm_shim.ids import expand_hosts
from slurm_shim.parse import FINISHED, WAITING, Job, Node, Partition


def summarize_partitions(
    partitions: Sequence[Partition], nodes: Sequence[Node], jobs: Iterable[Job]
) -> list[dict[str, Any]]:
    """Summarize each partition in one dict, sorted by name.

    Keys: partition, total_gpus, gpus_in_use, gpus_available, jobs_running, nodes_total, nodes_idle, nodes_down,
    gpu_utilization (0..1), has_available_gpus. Nodes count by their own names (several slurmds may share a host). The
    GPUs of nodes that take no work (down, drained, failing, not responding, reserved) are neither there nor in use.
    """
    by_name = {node["name"]: node for node in nodes}
    at_work = [job for job in jobs if job["state"] not in WAITING and job["state"] not in FINISHED]
    used = _count_gpus_in_use(by_name, at_work)
    rows = []
    for partition in sorted(partitions, key=lambda partition: partition["name"]):
        members = [by_name[name] for name in partition["nodes"] if name in by_name]
        running = sum(1 for job in at_work if partition["name"] in job["partition"].split(","))
        rows.append(_build_row(partition["name"], members, used, running))
    return rows


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


def _count_gpus_in_use(nodes: Mapping[str, Node], jobs: Iterable[Job]) -> dict[str, int]:
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
