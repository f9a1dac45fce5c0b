"""The queue by partition, how the cluster is reached, and disk space."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from engine.clusters import is_ssh
from engine.server import Server
from slurm_shim.cluster import EMBEDDED, Cluster
from store.errors import StoreUnavailable
from store.outside_files import mount_calls


async def get_overview(server: Server) -> dict[str, Any]:
    """Get the queue by partition, how the cluster is reached, and disk space.

    Waiting and running jobs alone; each task of an array counts. What is not known is null or empty.
    """
    cluster = server.cluster
    queue = [
        {"partition": partition, "state": state, "jobs": jobs}
        for (partition, state), jobs in sorted((await cluster.fetch_counts()).queue.items())
    ]
    return {
        "cluster": cluster.name,
        "way": name_way(cluster),
        "profile": server.store.profiles.current,
        "age_seconds": cluster.snapshot.age_s,
        "error": cluster.snapshot.problem,
        "queue": queue,
        "disks": [await measure_disk(server.store.root)],
    }


def name_way(cluster: Cluster) -> str:
    """Name how the cluster is reached: embedded, local or ssh."""
    if cluster.name == EMBEDDED:
        return "embedded"
    return "ssh" if is_ssh(cluster.label) else "local"


async def measure_disk(folder: Path) -> dict[str, Any]:
    """Measure what is free below a folder; nulls where that hangs."""
    try:
        found = await mount_calls.run_call(folder, shutil.disk_usage, folder)
    except (OSError, StoreUnavailable):
        return {"path": str(folder), "total_bytes": None, "free_bytes": None}
    return {"path": str(folder), "total_bytes": found.total, "free_bytes": found.free}
