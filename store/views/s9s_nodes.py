"""Nodes, partitions and reservations as the S9S API shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.rules.nodes.states import name_state
from store.times import format_duration, to_rfc3339
from store.views.s9s import format_limit, format_memory

Row = Mapping[str, Any]


def to_node_json(node: Row, job_ids: Sequence[str], gpus_allocated: int) -> dict[str, Any]:
    """Build a node of the list from what SLURM says of it.

    `job_ids` are those at work there, `gpus_allocated` what they hold.
    """
    return {
        "node_name": node["name"],
        "state": name_state(node["state"], node["flags"]),
        "partitions": node["partitions"],
        "cpu_total": node["cpus"],
        "cpu_allocated": node["cpus_allocated"],
        "cpu_load": node["load"],
        "memory_total": format_memory(node["memory_mb"]),
        "memory_allocated": format_memory(node["memory_allocated_mb"]),
        "memory_free": format_memory(node["memory_free_mb"]),
        "gpus_total": node["gpus"],
        "gpus_allocated": gpus_allocated,
        "features": node["features"],
        "architecture": node["architecture"],
        "os": shorten_system(node["os"]),
        "boot_time": to_rfc3339(node["boot_time"]),
        "last_busy": to_rfc3339(node["last_busy_time"]),
        "jobs": list(job_ids),
        "reason": node["reason"],
        "state_flags": node["flags"],
        "state_raw": node["state_text"],
    }


def shorten_system(system: str | None) -> str | None:
    """Shorten the name of a system to what the document shows of it.

    >>> shorten_system("Linux 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1"), shorten_system(None)
    ('Linux 6.1.0-18-amd64', None)
    """
    return None if system is None else system.partition(" #")[0]


def to_node_detail_json(
    node: Row, jobs: Sequence[Row], gpus_allocated: int, resume_at: str | None = None
) -> dict[str, Any]:
    """Build all that is known of a node; `jobs` are the rows at work there.

    `resume_at` is when it is given back by itself.
    """
    return {
        **to_node_json(node, [job["job_id"] for job in jobs], gpus_allocated),
        "available": node["available"],
        "hostname": node["host"],
        "address": node["address"],
        "slurm_version": node["version"] or None,
        "sockets": node["sockets"],
        "cores_per_socket": node["cores_per_socket"],
        "threads_per_core": node["threads_per_core"],
        "tmp_disk": format_memory(node["tmp_disk_mb"]),
        "weight": node["weight"],
        "slurmd_start_time": to_rfc3339(node["slurmd_start_time"]),
        "reason_set_by": node["reason_user"],
        "reason_set_at": to_rfc3339(node["reason_time"]),
        "resume_at": resume_at,
        "comment": node["comment"],
        "tres_configured": node["tres"],
        "tres_allocated": node["tres_allocated"],
        "running_jobs": [
            {
                "job_id": job["job_id"],
                "user": job["user"],
                "state": job["state"],
                "cpus": job["cpu_count"],
                "gpus": job["gpus"] or 0,
            }
            for job in jobs
        ],
    }


def to_change_json(name: str, rows: Sequence[Row], message: str, resume_at: str | None) -> dict[str, Any]:
    """Build the answer to a change of nodes that were named together."""
    nodes = [
        {
            "node_name": row["name"],
            "state": name_state(row["state"], row["flags"]),
            "reason": row["reason"],
        }
        for row in rows
    ]
    both: dict[str, Any] = {}
    for key in ("state", "reason"):
        values = {node[key] for node in nodes}
        both[key] = values.pop() if len(values) == 1 else None
    return {"node_name": name, **both, "message": message, "resume_at": resume_at, "nodes": nodes}


def to_partition_json(partition: Row, members: Sequence[Row]) -> dict[str, Any]:
    """Build a partition of the list; `members` are its nodes."""
    states = [name_state(node["state"], node["flags"]) for node in members]
    default_s = partition["default_time_s"]
    return {
        "name": partition["name"],
        "state": partition["state"],
        "nodes_total": len(partition["nodes"]),
        "nodes_idle": states.count("IDLE"),
        "nodes_allocated": states.count("ALLOCATED"),
        "nodes_mixed": states.count("MIXED"),
        "cpus_total": partition["cpus"],
        "cpus_allocated": sum(node["cpus_allocated"] for node in members),
        "default_time": None if default_s is None else format_limit(default_s),
        "max_time": format_limit(partition["max_time_s"]),
        "max_nodes": partition["max_nodes"],
        "priority": partition["priority"],
        "qos": partition["qos"],
        "features": sorted({feature for node in members for feature in node["features"]}),
    }


def to_partition_detail_json(
    partition: Row, members: Sequence[Row], usage: Row, counts: tuple[int, int]
) -> dict[str, Any]:
    """Build all that is known of a partition.

    `usage` is its row of the resources, `counts` are its running and its waiting jobs.
    """
    return {
        **to_partition_json(partition, members),
        "is_default": partition["is_default"],
        "nodes": partition["nodes"],
        "nodes_down": usage["nodes_down"],
        "gpus_total": usage["total_gpus"],
        "gpus_allocated": usage["gpus_in_use"],
        "allow_accounts": partition["allow_accounts"],
        "jobs_running": counts[0],
        "jobs_pending": counts[1],
    }


def to_reservation_json(row: Row) -> dict[str, Any]:
    """Build a reservation."""
    return {
        "name": row["name"],
        "state": row["state"],
        "start_time": to_rfc3339(row["start_time"]),
        "end_time": to_rfc3339(row["end_time"]),
        "duration": format_duration(row["duration_s"]),
        "nodes": row["nodes"],
        "node_count": row["node_count"],
        "core_count": row["core_count"],
        "partition": row["partition"],
        "features": row["features"],
        "flags": row["flags"],
        "tres": row["tres"],
        "users": row["users"],
        "groups": row["groups"],
        "accounts": row["accounts"],
        "licenses": row["licenses"],
    }
