"""Where jobs run and where their files lie: here, or on another machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.clusters import is_remote
from engine.server import Server
from slurm_shim.cluster import Cluster, RemoteCluster
from slurm_shim.errors import SlurmError
from slurm_shim.remote.commands import Slice
from store.config.profiles import Mount
from store.disk.reading import ReadSlices
from store.errors import Denied, Invalid, NotFound, StoreError, StoreUnavailable, make_problem
from store.outside_files import job_files, mount_calls
from store.outside_files.job_files import JobPlace, Notice

# Below the remote home: working directory of runs that have neither a mount nor a work_dir.
OWN_WORK = ".sluice/work"


@dataclass(frozen=True)
class WorkDir:
    """The directory of a run.

    `root` is where it runs, `local` where the scripts of its mount lie on this machine, `is_copied` whether the mount
    is copied there first.
    """

    root: Path
    local: Path | None = None
    is_copied: bool = False


async def find_mount(server: Server, name: str, cluster: str) -> Mount:
    """Find the mount of this name in the cluster's profile.

    Raises NotFound, Denied, StoreUnavailable for one that does not answer.

    For the local cluster: in the active profile, else in another one that does not lead to another machine.
    """
    known = server.store.profiles
    profile = server.clusters.find_profile(cluster)
    if profile is not None:
        names = [profile]
    else:
        local_names = (profile_name for profile_name in known.profiles if not is_remote(known.profiles[profile_name]))
        names = sorted(local_names, key=known.current.__ne__)
    for profile_name in names:
        for mount in known.profiles[profile_name].mounts:
            if mount.name == name:
                return await known.check_mount(mount)
    raise NotFound("Mount", name)


async def choose_workdir(server: Server, cluster: Cluster, mount: str | None, work_id: str) -> WorkDir:
    """Choose where the run or job `work_id` works on the cluster.

    Raises NotFound for a mount that the profile does not have. Before another machine has answered, its folder begins
    with `~`. A run planned like that is never started: its cluster gets another name with the first answer.
    """
    profile_mount = await find_mount(server, mount, cluster.name) if mount is not None else None
    if not isinstance(cluster, RemoteCluster):
        if profile_mount is None:
            return WorkDir(server.store.join_path("work", work_id))
        return WorkDir(profile_mount.root, profile_mount.root)
    if profile_mount is None:
        return WorkDir(Path(cluster.home) / OWN_WORK / work_id)
    return WorkDir(Path(profile_mount.remote), profile_mount.root, is_copied=True)


async def expand_homes(server: Server, job: dict[str, Any], loc: Sequence[str], cluster: Cluster | None = None) -> None:
    """Expand `~` and `~USER` where the folders of a job begin with it.

    They are the homes on the cluster, by default the one in force. Raises Invalid for an unknown user, and
    SlurmUnreachable.
    """
    for holder, key in ((job, "work_dir"), (job, "log_dir"), (job.get("environment") or {}, "venv")):
        if match := TILDE.match(holder.get(key) or ""):
            if cluster is None:
                await server.clusters.wait_for_first_answer()
            place = cluster or server.cluster
            home = await find_home(place, match[1])
            if home is None:
                message = f"there is no user '{match[1]}' on {place.name}"
                raise Invalid([make_problem(message, (*loc, key), input=holder[key])])
            holder[key] = home + holder[key][match.end() :]


TILDE = re.compile(r"~([A-Za-z0-9_][A-Za-z0-9_.-]*|)(?=/|$)")


async def find_home(cluster: Cluster, user: str) -> str | None:
    """Find a user's home on the cluster, "" for our own; None if unknown."""
    if isinstance(cluster, RemoteCluster):
        return await cluster.find_home(user)
    # Accounts may be looked up in the network.
    home = await asyncio.to_thread(os.path.expanduser, f"~{user}")
    return None if home.startswith("~") else home.rstrip("/")


async def is_sync_wanted(server: Server, workdir: WorkDir) -> bool:
    """Return whether mounts are to be copied before use (`sync.auto`)."""
    layers = await server.store.configuration.resolve(workdir.local)
    return bool(layers.config["sync"]["auto"])


def build_place(server: Server, cluster: Cluster, folders: Sequence[str | None], since: float | None) -> JobPlace:
    """Build where the files of a job may lie that has these folders."""
    profile, known = server.clusters.find_profile(cluster.name), server.store.profiles
    mounts = known.profiles[profile].mounts if profile is not None else list(known.get_mounts().values())
    given = tuple(folder for folder in folders if folder and folder.startswith("/"))
    if isinstance(cluster, RemoteCluster):
        own = f"{cluster.home}/{OWN_WORK}"
        return JobPlace(given, tuple(mount.remote for mount in mounts), (own,), cluster.home, None, since)
    store, home = server.store.root, str(Path("~").expanduser())
    return JobPlace(given, tuple(str(mount.root) for mount in mounts), (f"{store}/work",), home, str(store), since)


def make_reader(cluster: Cluster, place: JobPlace, notice: Notice | None = None) -> ReadSlices:
    """Return a function that reads files of one of the cluster's jobs.

    `notice` hears when they were last written. Raises SlurmUnreachable when the cluster cannot be reached.
    """
    if not isinstance(cluster, RemoteCluster):
        return job_files.make_reader(place, notice)

    async def read(
        wanted: Sequence[tuple[str, int, int]], owner: int | None = None
    ) -> list[tuple[bytes, int] | StoreError]:
        slices, real = await cluster.read_files(wanted, owner, place.list_roots())
        there = place.resolve(lambda folder: real.get(folder, ""))
        for piece in slices:
            if notice is not None and piece.size_bytes is not None:
                notice(piece.modified_at, 0)
        return [_to_content(piece, path, there) for piece, (path, _, _) in zip(slices, wanted, strict=True)]

    return read


async def remove_files(server: Server, cluster: Cluster, files: Sequence[str], folders: Sequence[str]) -> None:
    """Remove files of the cluster's jobs, then the folders that are empty.

    What cannot be removed stays; nothing depends on it.
    """
    if isinstance(cluster, RemoteCluster):
        with contextlib.suppress(SlurmError):
            await cluster.remove_files(files, folders)
    else:
        roots = server.store.list_mount_roots()
        given = [Path(file) for file in files], [Path(folder) for folder in folders]
        with contextlib.suppress(StoreUnavailable):
            # All lie where the run works.
            place = next((path for paths in given for path in paths), server.store.root)
            await mount_calls.run_below(roots, place, server.store.files.remove_leftovers, *given)


def _to_content(piece: Slice, path: str, place: JobPlace) -> tuple[bytes, int] | StoreError:
    """Convert a slice of a remote file to its content, or to the error."""
    name, refused = PurePosixPath(path).name, piece.refused
    if piece.size_bytes is not None:
        refused = place.explain_refusal(piece.path, piece.modified_at)
    if refused is not None:
        return Denied(f"{name} {refused}")
    return NotFound("file", name) if piece.size_bytes is None else (piece.data, piece.size_bytes)
