"""Where jobs work and where their files lie: on this machine, or on another one, over the connection to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.clusters import is_remote
from engine.server import Here
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.remote.commands import Slice
from store.config.profiles import Mount
from store.disk.files import Read, read_slices
from store.errors import Denied, NotFound, StoreError

# Below the home of the account over there: what a run without a mount and without a work_dir of its own works in.
OWN_WORK = ".sluice/work"


@dataclass(frozen=True)
class Place:
    """Where a run works (`root`), where scripts of its mount lie here (`local`), and whether that is copied before."""

    root: Path
    local: Path | None = None
    copied: bool = False


def mount_of(server: Here, name: str, cluster: str) -> Mount:
    """The mount of this name of the profile that leads to the cluster; NotFound.

    For the cluster here: of the active profile, else of another one that is no way to another machine.
    """
    known = server.store.profiles
    profile = server.clusters.profile_of(cluster)
    if profile is not None:
        names = [profile]
    else:
        names = sorted((one for one in known.profiles if not is_remote(known.profiles[one])), key=known.current.__ne__)
    mounts = (mount for one in names for mount in known.profiles[one].mounts)
    found = next((mount for mount in mounts if mount.name == name), None)
    if found is None:
        raise NotFound("Mount", name)
    return found


def place(server: Here, cluster: Cluster, mount: str | None, work_id: str) -> Place:
    """Where what is called `work_id` works on the cluster; NotFound for a mount that its profile does not have.

    Before another machine was heard its folder begins with `~`. What was drafted so is never started: it does not have
    the name that the cluster has from then on.
    """
    found = mount_of(server, mount, cluster.name) if mount is not None else None
    if not isinstance(cluster, RemoteCluster):
        return Place(found.root if found else server.store.path("work", work_id), found.root if found else None)
    if found is None:
        return Place(Path(cluster.home) / OWN_WORK / work_id)
    return Place(Path(found.remote), found.root, copied=True)


async def is_synced(server: Here, place: Place) -> bool:
    """Whether the configuration wants mounts copied before what needs them (`sync.auto`)."""
    found = await server.store.configuration.in_force(place.local)
    return bool(found.config["sync"]["auto"])


def reader(cluster: Cluster) -> Read:
    """How the files of the cluster's jobs are read; raises SlurmUnreachable when it cannot be reached."""
    if not isinstance(cluster, RemoteCluster):
        return read_slices

    async def read(
        wanted: Sequence[tuple[str, int, int]], owner: int | None = None
    ) -> list[tuple[bytes, int] | StoreError]:
        slices = await cluster.read(wanted, owner)
        return [_told(one, path) for one, (path, _, _) in zip(slices, wanted, strict=True)]

    return read


def _told(one: Slice, path: str) -> tuple[bytes, int] | StoreError:
    name = PurePosixPath(path).name
    if one.refused is not None:
        return Denied(f"{name} {one.refused}")
    return NotFound("file", name) if one.size_bytes is None else (one.data, one.size_bytes)
