"""The documents that may still change, and which are due.

A document is looked at when it changed itself, when one of its jobs changed in the snapshot, when its time has come, or
when its cluster answers again. Documents at rest cost nothing.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.disk.kept.kept_files import LoadedFiles
from store.kinds import Key, Kind, OpenDocument
from store.rules.jobs.lost import SOUGHT_S

# What could not be done now is tried again after so long.
RETRY_S = 0.5


class OpenDocuments:
    """Open documents by cluster and job, and when they are due.

    `wake` is called when a document changed.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._open: dict[Key, OpenDocument] = {}
        self._clusters: dict[str | None, dict[Key, None]] = {}
        self._jobs: dict[str, dict[str, set[Key]]] = {}  # by cluster and job id
        self._changed: dict[str | None, dict[Key, None]] = {}  # by cluster, in the order in which they changed
        self._due: list[tuple[float, Key]] = []  # a heap; times that are not in `_due_at` any more are skipped
        self._due_at: dict[Key, float] = {}

    def follow_folder(self, folder: Folder, kind: Kind) -> None:
        """Follow the folder of this kind, whose `find_open` must be set."""
        find_open: Any = kind.find_open

        def follow(name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
            document = None if new is None else find_open(new)
            if document is None:
                self.remove(Key(kind.name, name))
            else:
                self.put(Key(kind.name, name), document)

        def load(loaded: LoadedFiles) -> None:
            for name, is_open in zip(loaded.names, loaded.get_column("open"), strict=True):
                if is_open:
                    follow(name, None, folder.get_entry(name))

        folder.add_listener(follow, load)

    # Following the documents.

    def put(self, key: Key, document: OpenDocument) -> None:
        """Follow a document that is new or has changed; it is to be looked at."""
        before = self._open.get(key)
        if before != document:
            if before is not None:
                self._forget(key, before)
            self._open[key] = document
            self._clusters.setdefault(document.cluster, {})[key] = None
            if document.cluster is not None:
                jobs = self._jobs.setdefault(document.cluster, {})
                for job_id in document.job_ids:
                    jobs.setdefault(job_id, set()).add(key)
        self.mark(key)

    def remove(self, key: Key) -> None:
        """Follow a document no longer, which has ended or was deleted."""
        before = self._open.pop(key, None)
        self._due_at.pop(key, None)
        if before is not None:
            self._forget(key, before)
            self._changed.get(before.cluster, {}).pop(key, None)

    def _forget(self, key: Key, document: OpenDocument) -> None:
        keys = self._clusters[document.cluster]
        del keys[key]
        if not keys:
            del self._clusters[document.cluster]
        jobs = self._jobs.get(document.cluster or "", {})
        for job_id in document.job_ids:
            named = jobs[job_id]
            named.discard(key)
            if not named:
                del jobs[job_id]
        if not jobs:
            self._jobs.pop(document.cluster or "", None)

    # What is to be looked at.

    def mark(self, key: Key) -> None:
        """Have the document looked at in the next pass, if it is open."""
        document = self._open.get(key)
        if document is not None:
            self._changed.setdefault(document.cluster, {})[key] = None
            self._wake()

    def skip(self, key: Key) -> None:
        """Have the next pass leave out a document that is as its jobs are."""
        document = self._open.get(key)
        if document is not None:
            self._changed.get(document.cluster, {}).pop(key, None)

    def mark_jobs(self, cluster: str, job_ids: Iterable[str]) -> None:
        """Mark the documents of these jobs as changed.

        A task of an array or a part of a job counts as the whole.
        """
        jobs = self._jobs.get(cluster)
        if not jobs:
            return
        for job_id in job_ids:
            for name in {job_id, job_id.partition("_")[0], job_id.partition("+")[0]}:
                for key in jobs.get(name, ()):
                    self.mark(key)

    def mark_cluster(self, cluster: str) -> None:
        """Have all documents of a cluster looked at."""
        for key in self._clusters.get(cluster, ()):
            self.mark(key)

    def schedule(self, key: Key, at: float) -> None:
        """Mark the document at this time (of the monotonic clock), if not before."""
        if key in self._open and at < self._due_at.get(key, float("inf")):
            self._due_at[key] = at
            heapq.heappush(self._due, (at, key))

    def retry_later(self, key: Key) -> None:
        """Mark a document whose work failed again, but not at once."""
        self.schedule(key, time.monotonic() + RETRY_S)

    def take(
        self, clusters: Iterable[str | None], now: float, is_held: Callable[[Key], bool] = lambda _key: False
    ) -> list[Key]:
        """Take the marked documents of these clusters; leave the others.

        Those are left as well that somebody else works on now.
        """
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            if self._due_at.get(key) == at:
                self._changed.setdefault(self._open[key].cluster, {})[key] = None
        taken = []
        for cluster in clusters:
            changed = self._changed.pop(cluster, {})
            if held := dict.fromkeys(filter(is_held, changed)):
                self._changed[cluster] = held
            taken += [key for key in changed if key not in held]
        for key in taken:
            self._due_at.pop(key, None)
        return taken

    # What is open.

    def list_clusters(self) -> list[str]:
        """List the clusters that open documents wait for."""
        return [cluster for cluster in self._clusters if cluster is not None]

    def get_job_ids(self, cluster: str) -> Collection[str]:
        """Get the ids of open jobs on this cluster; `in` is fast."""
        return self._jobs.get(cluster, {}).keys()

    def count_jobs(self) -> int:
        """Count the open jobs on all clusters."""
        return sum(map(len, self._jobs.values()))

    def count_by_cluster(self) -> dict[str, int]:
        """Count the open documents of each cluster."""
        return {cluster: len(keys) for cluster, keys in self._clusters.items() if cluster is not None}


class LostDocuments:
    """Documents with jobs that were taken for lost, which may turn up.

    `search_at` is when each cluster is to be searched again, on the monotonic clock.
    """

    def __init__(self) -> None:
        self._lost: dict[str, dict[Key, float]] = {}  # by cluster: since when, inf for open ones
        self._clusters: dict[Key, str] = {}
        self.search_at: dict[str, float] = {}

    def follow_folder(self, folder: Folder, kind: str) -> None:
        """Follow the folder of this kind."""

        def follow(name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
            key, facts = Key(kind, name), None if new is None else new.facts
            if key in self._clusters:
                self._lost[self._clusters.pop(key)].pop(key, None)
            if facts is not None and facts.lost:
                self._clusters[key] = facts.cluster
                self._lost.setdefault(facts.cluster, {})[key] = math.inf if facts.open else facts.completed or 0.0
                self.search_at.pop(facts.cluster, None)

        def load(loaded: LoadedFiles) -> None:
            for name, is_lost in zip(loaded.names, loaded.get_column("lost"), strict=True):
                if is_lost:
                    follow(name, None, folder.get_entry(name))

        folder.add_listener(follow, load)

    def list_clusters(self, now: float) -> dict[str, float]:
        """List the clusters where jobs are missed, and since when the last one is."""
        latest = {cluster: max(since.values(), default=0.0) for cluster, since in self._lost.items()}
        return {cluster: since for cluster, since in latest.items() if now - since <= SOUGHT_S}

    def list_keys(self, cluster: str, now: float) -> list[Key]:
        """List the documents of a cluster whose jobs are still looked for."""
        return [key for key, since in self._lost.get(cluster, {}).items() if now - since <= SOUGHT_S]
