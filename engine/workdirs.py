"""Where jobs work and where their files lie: on this machine, or on another one, over the connection to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.clusters import is_remote
from engine.server import Server
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.remote.commands import Slice
from store.config.profiles import Mount
from store.disk.files import ReadSlices, read_slices
from store.errors import Denied, NotFound, StoreError

# Below the home of the account over there: what a run without a mount and without a work_dir of its own works in.
OWN_WORK = ".sluice/work"


@dataclass(frozen=True)
class WorkDir:
    """Where a run works (`root`), where scripts of its mount lie here (`local`), and whether that is copied before."""

    root: Path
    local: Path | None = None
    is_copied: bool = False


def find_mount(server: Server, name: str, cluster: str) -> Mount:
    """The mount of this name of the profile that leads to the cluster; NotFound.

    For the cluster here: of the active profile, else of another one that is no way to another machine.
    """
    known = server.store.profiles
    profile = server.clusters.find_profile(cluster)
    if profile is not None:
        names = [profile]
    else:
        names = sorted((one for one in known.profiles if not is_remote(known.profiles[one])), key=known.current.__ne__)
    mounts = (mount for one in names for mount in known.profiles[one].mounts)
    found = next((mount for mount in mounts if mount.name == name), None)
    if found is None:
        raise NotFound("Mount", name)
    return found


def choose_workdir(server: Server, cluster: Cluster, mount: str | None, work_id: str) -> WorkDir:
    """Where what is called `work_id` works on the cluster; NotFound for a mount that its profile does not have.

    Before another machine was heard its folder begins with `~`. What was drafted so is never started: it does not have
    the name that the cluster has from then on.
    """
    found = find_mount(server, mount, cluster.name) if mount is not None else None
    if not isinstance(cluster, RemoteCluster):
        return WorkDir(found.root if found else server.store.join_path("work", work_id), found.root if found else None)
    if found is None:
        return WorkDir(Path(cluster.home) / OWN_WORK / work_id)
    return WorkDir(Path(found.remote), found.root, is_copied=True)


async def is_sync_wanted(server: Server, place: WorkDir) -> bool:
    """Whether the configuration wants mounts copied before what needs them (`sync.auto`)."""
    found = await server.store.configuration.resolve(place.local)
    return bool(found.config["sync"]["auto"])


def make_reader(cluster: Cluster) -> ReadSlices:
    """How the files of the cluster's jobs are read; raises SlurmUnreachable when it cannot be reached."""
    if not isinstance(cluster, RemoteCluster):
        return read_slices

    async def read(
        wanted: Sequence[tuple[str, int, int]], owner: int | None = None
    ) -> list[tuple[bytes, int] | StoreError]:
        slices = await cluster.read_files(wanted, owner)
        return [_to_content(one, path) for one, (path, _, _) in zip(slices, wanted, strict=True)]

    return read


def _to_content(one: Slice, path: str) -> tuple[bytes, int] | StoreError:
    name = PurePosixPath(path).name
    if one.refused is not None:
        return Denied(f"{name} {one.refused}")
    return NotFound("file", name) if one.size_bytes is None else (one.data, one.size_bytes)
