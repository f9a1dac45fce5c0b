"""The clusters: the one here, and one for each SSH profile that is active or has open jobs of ours.

Every document names its cluster, and is only ever compared with what that one says. `embedded` and the name that SLURM
gives itself stand for the cluster here; `ssh:PROFILE:NAME` for what a profile leads to, where NAME is again what that
cluster calls itself. A profile that leads elsewhere some day is another cluster, so ids are never mixed up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from slurm_shim.cluster import EMBEDDED, Cluster, RemoteCluster, choose_cluster, make_embedded
from slurm_shim.commands import Slurm
from slurm_shim.embedded import conf as embedded_conf
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.remote.connection import Connection
from slurm_shim.remote.ssh import Login
from store.config.profiles import Profile
from store.config.settings import Settings
from store.errors import NotFound
from store.store import Store

SSH = "ssh:"
# Somebody who looks at a cluster that nothing else needs keeps it in view for so long.
WATCHED_S = 60.0
# A start waits so long for the first answer from another machine; it goes on without one.
FIRST_ANSWER_S = 5.0
LOGIN_FIELDS = ("hostname", "username", "port", "key_filename", "proxy_jump", "ssh_host")


def is_ssh(name: str) -> bool:
    """Whether this is the name of a cluster on another machine."""
    return name.startswith(SSH)


def is_remote(profile: Profile | None) -> bool:
    """Whether a profile leads to another machine; one that only has mounts is the cluster here."""
    return profile is not None and bool(profile.hostname or profile.ssh_host)


class Clusters:
    """The clusters in view. `start()`, then `tend()` again and again, in the end `close()`; all in one event loop."""

    def __init__(self, store: Store, settings: Settings, pool: ThreadPoolExecutor) -> None:
        self._store, self._settings, self._pool = store, settings, pool
        self._local: tuple[str, Slurm]
        self._clusters: dict[str, Cluster] = {}  # by label
        self._profiles: dict[str, Profile] = {}  # what a remote one was made from
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, float] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.is_busy: Callable[[Cluster], bool] = lambda _cluster: False
        self.on_change: Callable[[Cluster, set[str]], None] = lambda _cluster, _job_ids: None

    # ---------------------------------------------------------------------------------------------------- which

    @property
    def in_force(self) -> Cluster:
        """The cluster of the active profile, or the one here."""
        return self._get_or_make(self._find_label_in_force())

    def find(self, name: str) -> Cluster | None:
        """The cluster of documents that have this name; None for one that is not in view, or not heard of yet."""
        label = self.find_label(name)
        if label is None:
            return None
        found = self._get_or_make(label)
        return found if found.name == name or not is_ssh(label) else None

    def get(self, name: str) -> Cluster:
        """The cluster of documents that have this name, for doing something there; SlurmUnreachable without it."""
        found = self.find(name)
        if found is None:
            problem = SlurmUnreachable("squeue", f"the jobs are on cluster {name}, which cannot be asked now")
            problem.args = (problem.text,)  # whole: a name may have colons
            raise problem
        return found

    def resolve(self, name: str | None) -> Cluster:
        """The cluster that somebody asks about, by its name or its label; the one in force for None; NotFound."""
        if name is None:
            return self.in_force
        label = self.find_label(name)
        found = self._get_or_make(label) if label is not None else None
        # One that was not heard yet may turn out to be another than the one that is meant.
        if found is None or (name not in (found.name, label) and (found.name != label or not is_ssh(name))):
            raise NotFound("Cluster", name)
        self._watched[found.label] = time.monotonic()
        return found

    def find_label(self, name: str) -> str | None:
        """What a cluster is called before it was heard; None where no way leads to one of this name any more."""
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
            # The oldest documents name none, and those of a SLURM that did not answer at a start call it so.
            return local
        return EMBEDDED if name == EMBEDDED and self._own_conf.exists() else None

    def find_profile(self, name: str) -> str | None:
        """The name of the profile that leads to the cluster of this name; None where none does, as to the one here."""
        known = self._store.profiles.profiles.items()
        leads = [one for one, profile in known if is_remote(profile) and f"{name}:".startswith(f"{SSH}{one}:")]
        return max(leads, key=len, default=None)

    async def reach(self, profile: str) -> None:
        """Nothing; the cluster that a profile leads to answers, without waiting for any pause to be over.

        Raises SlurmUnreachable or its like, NotFound for a profile that is not there or leads nowhere.
        """
        if not is_remote(self._store.profiles.profiles.get(profile)):
            raise NotFound("Profile", profile)
        found = self._get_or_make(f"{SSH}{profile}")
        assert isinstance(found, RemoteCluster)
        self._watched[found.label] = time.monotonic()  # it stays in view meanwhile
        try:
            await found.connect()
        except BaseException:
            # Nobody goes on trying: machines that refuse keys soon refuse everything.
            self._watched.pop(found.label, None)
            raise

    def find_socket(self, profile: str) -> str | None:
        """The socket of the connection that is there for a profile; None without one."""
        found = self._clusters.get(f"{SSH}{profile}")
        greeting = found.connection.greeting if isinstance(found, RemoteCluster) else None
        return None if greeting is None else greeting.socket

    def list_in_view(self) -> list[Cluster]:
        """The clusters in view, the one in force first."""
        first = self.in_force
        return [first, *(one for label, one in self._clusters.items() if one is not first and label in self._polls)]

    def _find_label_in_force(self) -> str:
        profiles = self._store.profiles
        current = profiles.current
        return f"{SSH}{current}" if current and is_remote(profiles.profiles.get(current)) else self._local[0]

    # --------------------------------------------------------------------------------------------------- making

    def _get_or_make(self, label: str) -> Cluster:
        profile = self._store.profiles.profiles.get(label.removeprefix(SSH)) if is_ssh(label) else None
        if (
            label in self._clusters
            and self._profiles.get(label) != profile
            and not _is_same_login(self._profiles.get(label), profile)
        ):
            self._drop(label)
        if label not in self._clusters:
            made = self._clusters[label] = self._make(label, profile)
            made.snapshot.is_busy = partial(self.is_busy, made)
            made.snapshot.on_jobs_changed.append(partial(self.on_change, made))
            if profile is not None:
                self._profiles[label] = profile
        return self._clusters[label]

    def _make(self, label: str, profile: Profile | None) -> Cluster:
        poll = self._store.config.poll
        if profile is not None:
            return RemoteCluster(label, self.make_connection(profile), poll.min_s, poll.max_s)
        slurm = self._local[1] if label == self._local[0] else self._make_embedded()
        slurm.make_dirs = self._store.files.make_dirs
        return Cluster(label, slurm, self._pool, poll.min_s, poll.max_s)

    def make_connection(self, profile: Profile) -> Connection:
        """A connection as the profile says, that nobody else has and that is not made yet."""
        login = Login(**{name: getattr(profile, name) for name in LOGIN_FIELDS})
        return Connection(login, self._settings.ssh_config, profile.env_vars)

    def _make_embedded(self) -> Slurm:
        return make_embedded(os.environ.get("PATH", os.defpath), str(self._own_conf), self._hold_fd)

    @property
    def _own_conf(self) -> Any:
        return self._store.join_path("cluster", "slurm.conf")

    @property
    def _hold_fd(self) -> int | None:
        return self._store.lock.fd if self._store.lock else None

    # ----------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Nothing; the cluster in force was asked for the first time."""
        path, conf = os.environ.get("PATH", os.defpath), os.environ.get("SLURM_CONF")
        given = (self._settings.cluster, path, conf, str(self._own_conf), self._hold_fd)
        self._local = await asyncio.to_thread(choose_cluster, *given)
        if self._local[0] == EMBEDDED:
            await self._write_conf()
        first = self.in_force.snapshot.refresh()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_S if is_ssh(self.in_force.label) else None):
                await asyncio.shield(asyncio.ensure_future(first))

    async def _write_conf(self) -> None:
        """The embedded cluster's slurm.conf says what config.yaml says."""
        text = await asyncio.to_thread(
            embedded_conf.build_fitting_conf, self._store.config.cluster.model_dump(), sys.executable
        )
        if not self._own_conf.exists() or self._own_conf.read_text() != text:
            await self._store.files.write(self._own_conf, text.encode())

    def poll_needed(self, names: Iterable[str]) -> None:
        """Nothing; the cluster in force and those with open documents are polled, with those that somebody looks at.

        `names` are the clusters of the open documents. All others are let go.
        """
        since = time.monotonic() - WATCHED_S
        looked_at = [label for label, at in self._watched.items() if at >= since]
        needed = {label for name in (*names, *looked_at) if (label := self.find_label(name)) is not None}
        needed.add(self._find_label_in_force())
        for label in needed:
            cluster = self._get_or_make(label)
            if label not in self._polls:
                self._polls[label] = asyncio.create_task(cluster.snapshot.run())
        for label in set(self._clusters) - needed:
            self._drop(label)

    def update_intervals(self) -> None:
        """Nothing; the intervals of a changed config.yaml are in force."""
        poll = self._store.config.poll
        for one in self._clusters.values():
            one.snapshot.min_s, one.snapshot.max_s = poll.min_s, poll.max_s

    def _drop(self, label: str) -> None:
        # Made anew when it is needed again: what it knew is old by then.
        cluster, poll = self._clusters.pop(label), self._polls.pop(label, None)
        self._profiles.pop(label, None)
        task = asyncio.ensure_future(_end_cluster(cluster, poll))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Nothing; no poll is left, and no connection."""
        for label in list(self._clusters):
            self._drop(label)
        await asyncio.gather(*self._ending)


def _is_same_login(one: Profile | None, other: Profile | None) -> bool:
    """Whether two profiles lead to the same account in the same way; mounts and descriptions may differ."""
    if one is None or other is None:
        return one is other
    return all(getattr(one, name) == getattr(other, name) for name in (*LOGIN_FIELDS, "env_vars"))


async def _end_cluster(cluster: Cluster, poll: asyncio.Task[None] | None) -> None:
    if poll is not None:
        poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poll
    await cluster.close()
