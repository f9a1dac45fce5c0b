"""Mounts copied to where the jobs that need them will run, before any of these is submitted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from engine.mounts import sync
from engine.server import Server
from engine.workdirs import find_mount
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.errors import SyncFailed
from store.errors import NoProfile, NotFound


class MountUnsynced(SyncFailed):
    """A mount could not be copied, and so nothing of what needs it was begun."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (f"Mount sync failed: {reason}",)


@dataclass
class MountCopy:
    """The copying of one mount: one at a time, and when (epoch) the last that worked had begun."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    began: float = 0.0


async def require_mount(server: Server, cluster: Cluster, mount: str) -> None:
    """Nothing, after the mount was copied to the cluster; MountUnsynced, SlurmUnreachable."""
    error = await copy_mount(server, cluster, mount, time.time())
    if error is not None:
        raise MountUnsynced(error)


async def copy_mount(server: Server, cluster: Cluster, mount: str, since: float) -> str | None:
    """None, after the mount was copied to the cluster by a transfer begun at or after `since`; or why it cannot be.

    Many who wait for the same mount share a transfer. SlurmUnreachable when the connection was lost meanwhile: then
    nobody can say yet.
    """
    profile = server.clusters.find_profile(cluster.name)
    assert isinstance(cluster, RemoteCluster) and profile is not None
    copying = server.copying.setdefault((cluster.label, mount), MountCopy())
    async with copying.lock:
        if copying.began >= since:
            return None
        began = time.time()
        try:
            found = find_mount(server, mount, cluster.name)
            await sync.transfer_mount(server, profile, server.store.profiles.profiles[profile], found)
        except (SyncFailed, NotFound, NoProfile, ValueError) as problem:
            await cluster.connect()
            return problem.reason if isinstance(problem, SyncFailed) else str(problem)
        copying.began = began
    return None
