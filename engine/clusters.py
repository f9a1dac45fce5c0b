"""The clusters in view: the local one, and those behind SSH profiles.

A profile's cluster is in view while the profile is active, while jobs of ours are open there, or while somebody looks
at it. Every document names its cluster and is only compared with what that one says. `embedded` and the name that SLURM
gives itself stand for the local cluster, `ssh:PROFILE:NAME` for what a profile leads to, where NAME is what that
cluster calls itself. A profile that is changed to lead elsewhere is another cluster, so ids are never mixed up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from slurm_shim.cluster import EMBEDDED, Cluster, RemoteCluster, choose_cluster, make_embedded
from slurm_shim.commands import Contents, Folders, Slurm
from slurm_shim.directives import read_options
from slurm_shim.embedded import conf as embedded_conf
from slurm_shim.errors import ClusterUnreachable, FolderRefused
from slurm_shim.remote.commands import Check
from slurm_shim.remote.connection import Connection
from slurm_shim.remote.ssh import Login
from slurm_shim.submissions import Submission
from store.config import masks
from store.config.profiles import Profile, Profiles
from store.config.settings import Settings
from store.disk.files import Files
from store.errors import NotFound, StoreError, StoreUnavailable
from store.outside_files import mount_calls
from store.rules.jobs.views import ById, ByTag, JobView, Tried, Wanted
from store.store import Store
from store.times import to_epoch

log = logging.getLogger("sluice")

SSH = "ssh:"
# A cluster that somebody asked about stays in view for so long.
WATCHED_S = 60.0
# The server's start waits so long for the first answer from another machine.
FIRST_ANSWER_S = 5.0
# What is submitted to a cluster that was only just chosen waits so long for it.
CHOSEN_ANSWER_S = 30.0
UNKNOWN = JobView("unknown")
LOGIN_FIELDS = ("hostname", "username", "port", "key_filename", "proxy_jump", "ssh_host")


def find_own_folder(path: Path) -> Path | None:
    """Find the folder around the path that each machine has for itself."""
    names = ("/tmp", "/var/tmp", "/dev/shm", "/run", os.environ.get("TMPDIR"))  # noqa: S108 - nothing is written there
    folders = [Path(name).resolve() for name in names if name]
    return next((folder for folder in folders if path.resolve().is_relative_to(folder)), None)


def is_ssh(name: str) -> bool:
    """Return whether this is the name of a cluster on another machine."""
    return name.startswith(SSH)


def is_remote(profile: Profile | None) -> bool:
    """Return whether a profile leads to another machine.

    One that only has mounts is for the local cluster.
    """
    return profile is not None and profile.has_host


class Clusters:
    """The clusters in view.

    Call `start()` once, `poll_needed()` repeatedly and `close()` at the end, all in one event loop.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        pool: ThreadPoolExecutor,
        start_task: Callable[[str, Callable[[], Awaitable[None]]], asyncio.Task[None]],
    ) -> None:
        self._store, self._settings, self._pool, self._start_task = store, settings, pool, start_task
        self._local: tuple[str, Slurm]
        self._clusters: dict[str, Cluster] = {}  # by label
        self._profiles: dict[str, Profile] = {}  # the profile that a remote cluster was made from, by label
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, float] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._in_force: tuple[Profiles | None, Cluster | None] = None, None  # and by which profiles
        self._needs_embedded = False
        store.signals[self._own_conf.parent / embedded_conf.ENDED] = self._poll_embedded
        self.is_busy: Callable[[Cluster], bool] = lambda _cluster: False
        self.on_change: Callable[[Cluster, set[str]], None] = lambda _cluster, _job_ids: None

    # ---------------------------------------------------------------------------------------------------- look-up

    @property
    def in_force(self) -> Cluster:
        """The cluster of the active profile, or the local one."""
        profiles, cluster = self._in_force
        if cluster is None or profiles is not self._store.profiles:
            profiles, cluster = self._store.profiles, self._get_or_make(self._find_label_in_force())
            self._in_force = profiles, cluster
        return cluster

    def find(self, name: str) -> Cluster | None:
        """Find the cluster of this name; None if not in view or not known yet."""
        label = self.find_label(name)
        if label is None:
            return None
        cluster = self._get_or_make(label)
        return cluster if cluster.name == name or not is_ssh(label) else None

    def get(self, name: str) -> Cluster:
        """Return the cluster of this name, to do something there.

        Raises SlurmUnreachable without it.
        """
        cluster = self.find(name)
        if cluster is None:
            raise ClusterUnreachable("squeue", f"the jobs are on cluster {name}, which cannot be asked now")
        return cluster

    def view_job(self, name: str, job_id: str) -> JobView:
        """View the job that has this id now, as the cluster of this name knows it."""
        cluster = self.find(name)
        return UNKNOWN if cluster is None else JobView(*cluster.snapshot.by_id(job_id))

    def make_lookups(self, name: str) -> tuple[ById, ByTag]:
        """Make the look-ups of a cluster: by job id, and by tag.

        The tag finds an attempt whose job id is not known.
        """
        cluster = self.find(name)
        if cluster is None:
            return lambda *_job: UNKNOWN, lambda *_job: UNKNOWN

        def find_by_id(tried: Tried, wanted: Wanted) -> JobView:
            return JobView(*cluster.snapshot.by_id(tried.job_id or "", describe_submission(cluster, tried, wanted)))

        def find_by_tag(tried: Tried, wanted: Wanted) -> JobView:
            submission = describe_submission(cluster, tried, wanted)
            return JobView(*cluster.by_tag(submission, to_epoch(tried.intended_at) or 0))

        return find_by_id, find_by_tag

    def resolve(self, name: str | None) -> Cluster:
        """Return the cluster that somebody asks about, by name or label.

        None means the one in force. Raises NotFound.
        """
        if name is None:
            return self.in_force
        label = self.find_label(name)
        cluster = self._get_or_make(label) if label is not None else None
        # A cluster that has not answered yet may turn out to have another name than the one asked for.
        if cluster is None or (name not in (cluster.name, label) and (cluster.name != label or not is_ssh(name))):
            raise NotFound("Cluster", name)
        self._watched[cluster.label] = time.monotonic()
        return cluster

    def find_label(self, name: str) -> str | None:
        """Return a cluster's label, which it has before its name is known.

        None if no profile leads to a cluster of this name any more.
        """
        if is_ssh(name):
            profile = self.find_profile(name)
            return None if profile is None else f"{SSH}{profile}"
        local = self._local[0]
        learned = self._clusters[local].name if local in self._clusters else local
        if (
            name in (local, learned)
            or (name in ("", "slurm") and local != EMBEDDED)
            or (not name and local == EMBEDDED)
        ):
            # The oldest documents have no name; "slurm" stands for a SLURM that did not answer at the start.
            return local
        return EMBEDDED if name == EMBEDDED and self._own_conf.exists() else None

    def find_profile(self, name: str) -> str | None:
        """Return the name of the profile that leads to this cluster.

        None if there is none, as for the local cluster.
        """
        profiles = self._store.profiles.profiles.items()
        leads = [
            profile_name
            for profile_name, profile in profiles
            if is_remote(profile) and f"{name}:".startswith(f"{SSH}{profile_name}:")
        ]
        return max(leads, key=len, default=None)

    async def reach(self, profile: str) -> Check:
        """Connect to the profile's cluster now, without waiting for a pause.

        Done with its first snapshot. Raises NotFound for a profile that does not exist or leads nowhere.
        """
        if not is_remote(self._store.profiles.profiles.get(profile)):
            raise NotFound("Profile", profile)
        cluster = self._get_or_make(f"{SSH}{profile}")
        assert isinstance(cluster, RemoteCluster)
        self._watched[cluster.label] = time.monotonic()  # keep it in view meanwhile
        check = None
        try:
            check = await cluster.connect()
            return check
        finally:
            if check is None or check.failed:
                # Stop trying: a machine that refuses our keys would soon block this address.
                self._watched.pop(cluster.label, None)

    def find_socket(self, profile: str) -> str | None:
        """Return the socket of the profile's connection; None without one."""
        cluster = self._clusters.get(f"{SSH}{profile}")
        greeting = cluster.connection.greeting if isinstance(cluster, RemoteCluster) else None
        return None if greeting is None else greeting.socket

    def list_in_view(self) -> list[Cluster]:
        """List the clusters in view, the one in force first."""
        first = self.in_force
        return [
            first,
            *(cluster for label, cluster in self._clusters.items() if cluster is not first and label in self._polls),
        ]

    def _find_label_in_force(self) -> str:
        profiles = self._store.profiles
        current = profiles.current
        return f"{SSH}{current}" if current and is_remote(profiles.profiles.get(current)) else self._local[0]

    # --------------------------------------------------------------------------------------------------- construction

    def _get_or_make(self, label: str) -> Cluster:
        profile = self._store.profiles.profiles.get(label.removeprefix(SSH)) if is_ssh(label) else None
        if (
            label in self._clusters
            and self._profiles.get(label) != profile
            and not _is_same_login(self._profiles.get(label), profile)
        ):
            self._drop(label)
        if label not in self._clusters:
            cluster = self._clusters[label] = self._make(label, profile)
            self._set_intervals(cluster)
            cluster.snapshot.is_busy = partial(self.is_busy, cluster)
            cluster.snapshot.on_jobs_changed.append(partial(self.on_change, cluster))
            if profile is not None:
                self._profiles[label] = profile
        return self._clusters[label]

    def _make(self, label: str, profile: Profile | None) -> Cluster:
        if profile is not None:
            return RemoteCluster(label, self.make_connection(label.removeprefix(SSH), profile))
        slurm = self._local[1] if label == self._local[0] else self._make_embedded()
        slurm.make_folders = partial(make_folders, self._store.files, list_mounts=self._store.list_mount_roots)
        slurm.write_files = partial(write_files, self._store.files)
        if label == EMBEDDED:
            slurm.check_ready = self._check_own_cluster
        return Cluster(label, slurm, self._pool)

    def make_connection(self, name: str, profile: Profile) -> Connection:
        """Make an unshared connection for the profile, not connected yet."""
        login = Login(**{name: getattr(profile, name) for name in LOGIN_FIELDS})
        secrets = masks.find_secrets({"env_vars": profile.env_vars})
        secret_names = [place.removeprefix("env_vars.") for place in secrets]
        return Connection(login, self._settings.ssh_config, profile.env_vars, name, secret_names)

    def _make_embedded(self) -> Slurm:
        return make_embedded(os.environ.get("PATH", os.defpath), str(self._own_conf), self._hold_fd)

    def _poll_embedded(self) -> None:
        """Ask the embedded cluster now: jobs have ended there."""
        if EMBEDDED in self._clusters:
            self._clusters[EMBEDDED].snapshot.hurry()

    def _check_own_cluster(self) -> None:
        """Raise SlurmUnreachable while the embedded cluster's folder is not ours."""
        if (loss := self._store.files.describe_loss(self._own_conf)) is not None:
            raise ClusterUnreachable("slurm.conf", loss)

    @property
    def _own_conf(self) -> Any:
        return self._store.join_path("cluster", "slurm.conf")

    @property
    def _hold_fd(self) -> int | None:
        return self._store.lock.fd if self._store.lock else None

    # ----------------------------------------------------------------------------------------------------- lifecycle

    async def start(self) -> None:
        """Find the local cluster, and ask the one in force for the first time."""
        path, conf = os.environ.get("PATH", os.defpath), os.environ.get("SLURM_CONF")
        arguments = (self._settings.cluster, path, conf, str(self._own_conf), self._hold_fd)
        self._local = await asyncio.to_thread(choose_cluster, *arguments)
        if self._local[0] == EMBEDDED:
            await self._write_conf()
        elif (own := find_own_folder(self._store.root)) is not None:
            log.warning("the store lies in %s, which each machine has for itself: jobs on other nodes will fail", own)
        await self.ask_in_force()

    async def ask_in_force(self) -> None:
        """Wait until the cluster in force has answered, at most a while."""
        await self._wait_for_answer(FIRST_ANSWER_S if is_ssh(self.in_force.label) else None)

    async def wait_for_first_answer(self) -> None:
        """Wait until the cluster in force, if it is new, has answered or failed."""
        snapshot = self.in_force.snapshot
        if snapshot.age_s is None and snapshot.error is None:
            await self._wait_for_answer(CHOSEN_ANSWER_S)

    async def _wait_for_answer(self, most_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.in_force.snapshot.refresh()

    async def require_embedded(self) -> Cluster:
        """Return the embedded cluster of this machine, beside a real SLURM too.

        Its slurm.conf is written when it is first needed. Raises StoreUnavailable, StoreFull.
        """
        self._needs_embedded = True
        if self._local[0] != EMBEDDED and EMBEDDED not in self._clusters:
            await self._write_conf()
        await self.restore_conf()
        return self._get_or_make(EMBEDDED)

    async def restore_conf(self) -> None:
        """Write the embedded cluster's slurm.conf again where somebody removed it."""
        if (self._needs_embedded or self._local[0] == EMBEDDED) and not self._own_conf.exists():
            await self._write_conf()
            self._poll_embedded()

    async def _write_conf(self) -> None:
        """Write the embedded cluster's slurm.conf from config.yaml."""
        text = await asyncio.to_thread(
            embedded_conf.build_fitting_conf, self._store.config.cluster.model_dump(), sys.executable
        )
        if not self._own_conf.exists() or self._own_conf.read_text() != text:
            await self._store.files.write(self._own_conf, text.encode())

    def poll_needed(self, names: Iterable[str]) -> None:
        """Poll the clusters that are needed, and drop all others.

        Needed are the one in force, those of open documents (`names`), and those that somebody looks at.
        """
        since = time.monotonic() - WATCHED_S
        watched = [label for label, watched_at in self._watched.items() if watched_at >= since]
        needed = {label for name in (*names, *watched) if (label := self.find_label(name)) is not None}
        needed.add(self._find_label_in_force())
        for label in needed:
            cluster = self._get_or_make(label)
            if label not in self._polls:
                self._polls[label] = self._start_task(f"poll {label}", cluster.snapshot.run)
        for label in set(self._clusters) - needed:
            self._drop(label)

    def update_intervals(self) -> None:
        """Apply the poll intervals of a changed config.yaml."""
        for cluster in self._clusters.values():
            self._set_intervals(cluster)

    def _set_intervals(self, cluster: Cluster) -> None:
        poll = self._store.config.poll
        cluster.snapshot.min_s, cluster.snapshot.max_s = poll.min_s, poll.max_s
        cluster.snapshot.missing.absence.confirm_s = poll.absence_s

    def _drop(self, label: str) -> None:
        """Drop a cluster; it is made anew when it is needed again."""
        cluster, poll = self._clusters.pop(label), self._polls.pop(label, None)
        self._in_force = None, None
        self._profiles.pop(label, None)
        task = asyncio.ensure_future(_end_cluster(cluster, poll))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all polls and connections."""
        for label in list(self._clusters):
            self._drop(label)
        await asyncio.gather(*self._ending)


def describe_submission(cluster: Cluster, tried: Tried, wanted: Wanted) -> Submission:
    """Describe a job of ours, as it is told from others with its id."""
    script = wanted.script or ""
    user = wanted.options.get("uid") or (read_options(script).get("uid") if "--uid" in script else None)
    at = to_epoch(tried.submitted_at or tried.intended_at)
    return cluster.describe_submission(tried.tag, user, wanted.options.get("job_name"), at)


def make_folders(files: Files, folders: Folders, list_mounts: Callable[[], Iterable[Path]] = list) -> None:
    """Make the folders of a job on this machine; raise FolderRefused.

    SlurmUnreachable for what may be over in a moment: a full disk, or the store without its permissions. A job enters
    `work_dir` and writes into the others. `list_mounts` lists folders whose disk may hang.
    """
    for name, folder in folders.items():
        try:
            is_open = mount_calls.ask_below(list_mounts(), folder, _make_folder, files, name, folder)
        except StoreError as problem:
            if isinstance(problem, StoreUnavailable) and (
                problem.is_momentary or (problem.errno == errno.EACCES and files.is_own(Path(folder)))
            ):
                raise ClusterUnreachable("sbatch", f"{name} {folder}: {problem}") from None
            raise FolderRefused(name, folder, str(problem)) from None
        if not is_open:
            raise FolderRefused(name, folder, f"no permission to {'enter it' if name == 'work_dir' else 'write in it'}")


def write_files(files: Files, folder: str, contents: Contents) -> None:
    """Write files below a folder of the store; raise as `make_folders`."""
    try:
        files.write_all_now({Path(folder, name): data for name, data in contents.items()})
    except StoreError as problem:
        if isinstance(problem, StoreUnavailable) and problem.is_momentary:
            raise ClusterUnreachable("sbatch", f"{folder}: {problem}") from None
        raise FolderRefused("work_dir", folder, str(problem)) from None


def _make_folder(files: Files, name: str, folder: str) -> bool:
    """Make a folder of a job; return whether the job can use it."""
    files.make_dirs(Path(folder), is_synced=False)  # it is with the record of its job
    return os.access(folder, os.X_OK if name == "work_dir" else os.W_OK | os.X_OK)


def _is_same_login(first: Profile | None, second: Profile | None) -> bool:
    """Return whether two profiles log in to the same account the same way.

    Mounts and descriptions may differ.
    """
    if first is None or second is None:
        return first is second
    return all(getattr(first, name) == getattr(second, name) for name in (*LOGIN_FIELDS, "env_vars"))


async def _end_cluster(cluster: Cluster, poll: asyncio.Task[None] | None) -> None:
    """End the cluster's poll, then its connection."""
    if poll is not None:
        poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poll
    await cluster.close()
