"""The state of server and cluster in short."""

from __future__ import annotations

import errno
import time
from typing import Any

from engine import loop
from engine.server import Server
from slurm_shim.commands import DATABASE_PROGRAMS, Slurm
from slurm_shim.errors import ClusterUnreachable
from store import access
from store.errors import StoreUnavailable
from store.indexes.bodies import Answer
from store.times import to_rfc3339


def get_status(server: Server, caller: access.Caller) -> dict[str, Any]:
    """Get the state of server and cluster, and who calls."""
    cluster, found = server.cluster, loop.summarize_health(server)
    snapshot, slurm = cluster.snapshot, cluster.slurm
    return {
        "status": "degraded" if found["reasons"] else "ok",
        "cluster": cluster.name,
        "slurm": {
            "version": slurm.version or None,
            "controller": "DOWN" if snapshot.problem else "UP",
            "database": describe_database(slurm),
            "last_poll": to_rfc3339(int(snapshot.taken_at_epoch)) if snapshot.taken_at_epoch else None,
            "age_seconds": found["slurm"]["age_seconds"],
            "error": found["slurm"]["error"],
        },
        "user": {"name": caller.name, "scopes": sorted(caller.scopes)},
        "uptime_seconds": int(time.monotonic() - server.began),
        "timestamp": found["time"],
    }


def describe_database(slurm: Slurm) -> str | None:
    """Describe whether accounting answered when it was last asked.

    None where there is none, and until it was asked.
    """
    was_asked = any(program in slurm.calls.list_counts() for program in DATABASE_PROGRAMS)
    if not slurm.has_database or not was_asked:
        return None
    return "DOWN" if slurm.database.is_failing else "UP"


def check_health(server: Server) -> dict[str, Any]:
    """Check that SLURM answers and the store takes writes."""
    if server.store.files.failure:
        raise StoreUnavailable(errno.EIO, server.store.files.failure)
    if server.cluster.snapshot.problem:
        raise ClusterUnreachable("squeue", f"SLURM does not answer: {server.cluster.snapshot.problem}")
    return {"status": "healthy", "time": to_rfc3339(int(time.time()))}


async def write_metrics(server: Server) -> Answer:
    """Write all metrics as Prometheus reads them."""
    from engine.monitoring import prometheus  # here, since few ask, and its library takes 5 MB

    return await prometheus.write_metrics(server)
