"""Copies of mounts, made before the jobs that need them are submitted."""

from __future__ import annotations

import time

from engine.mounts import sync
from engine.mounts.work import MountCopy
from engine.server import Server
from engine.workdirs import find_mount
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.errors import ClusterUnreachable, SyncFailed, is_momentary
from store.errors import NoProfile, NotFound


class MountUnsynced(SyncFailed):
    """A mount could not be copied, so nothing that needs it was started."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (f"Mount sync failed: {reason}",)


async def require_mount(server: Server, cluster: Cluster, mount: str) -> None:
    """Copy the mount to the cluster; MountUnsynced, SlurmUnreachable."""
    error = await copy_mount(server, cluster, mount, time.time())
    if error is not None:
        raise MountUnsynced(error)


async def copy_mount(server: Server, cluster: Cluster, mount: str, since: float) -> str | None:
    """Copy the mount to the cluster; return why it failed, or None.

    A transfer begun at or after `since` is enough, so many who wait for one mount share it. Raises SlurmUnreachable
    when the connection was lost meanwhile, or a disk is full for now: it is tried again, after growing pauses.
    """
    profile = server.clusters.find_profile(cluster.name)
    assert isinstance(cluster, RemoteCluster) and profile is not None
    copying = server.mount_work.copies.setdefault((cluster.label, mount), MountCopy())
    async with copying.lock:
        if copying.began >= since:
            return None
        if time.monotonic() < copying.retry_at:
            raise ClusterUnreachable("rsync", copying.reason)
        began = time.time()
        try:
            source = await find_mount(server, mount, cluster.name)
            await sync.transfer_mount(server, profile, server.store.profiles.profiles[profile], source)
        except (SyncFailed, NotFound, NoProfile, ValueError) as problem:
            await cluster.connect()
            reason = problem.reason if isinstance(problem, SyncFailed) else str(problem)
            if not is_momentary(reason):
                return reason
            copying.put_off(reason, time.monotonic())
            raise ClusterUnreachable("rsync", reason) from None
        copying.began, copying.tries = began, 0
    return None
