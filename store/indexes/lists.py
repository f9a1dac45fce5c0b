"""The documents of a folder as the answers that lists and single reads give, made when a document changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from store.disk.folders import FileEntry, Folder
from store.errors import NotFound
from store.indexes import jobs as history
from store.indexes.bodies import Body, BoundedCache, ListBody, join_array
from store.indexes.reports import ReportIndex
from store.indexes.timelines import Timeline
from store.views import srunx

KEPT_GROUPS = 200
# Bytes of rows and of whole answers that stay made.
KEPT_ROWS_BYTES = 4_000_000
KEPT_WINDOWS_BYTES = 8_000_000
# So many rows are made before others have their turn: some 3 ms.
ROWS_PER_STEP = 50
# Of an answer for which more rows were made than this, they do not stay made one by one.
MAX_KEPT_ROWS = 1000


class RowList:
    """The rows of a folder as bytes: one row, all rows, or those of a group.

    `view(entry)` gives the row, `rank(row)` its place in the list, `group(row)` the group it belongs to.
    """

    def __init__(
        self,
        folder: Folder,
        view: Callable[[FileEntry], dict[str, Any]],
        rank: Callable[[dict[str, Any]], Any],
        group: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        self._folder, self._view, self._group = folder, view, group
        self._list = ListBody(lambda _key, row: rank(row))
        self._groups: dict[str, tuple[int, Body]] = {}
        for entry in folder.iterate_entries():
            self._follow(entry.name, None, entry)
        folder.listeners.append(self._follow)

    def _follow(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        if new is None:
            self._list.drop(name)
        else:
            self._list.put(name, self._view(new))

    def get_row(self, name: str) -> Body:
        """The row of this name; NotFound."""
        if name not in self._list.pieces:
            raise NotFound(self._folder.kind, name)
        return Body(self._list.pieces[name])

    def get_all(self) -> Body:
        """All rows."""
        return self._list.get_body()

    def of(self, group: str | None) -> Body:
        """The rows of the group; all for None."""
        if group is None or self._group is None:
            return self.get_all()
        kept = self._groups.get(group)
        if kept is None or kept[0] != self._list.version:
            self._list.get_body()  # brings the pieces into their order
            pieces = [piece for key, piece in self._list.pieces.items() if self._group(self._list.rows[key]) == group]
            if len(self._groups) >= KEPT_GROUPS:
                self._groups.clear()
            kept = self._groups[group] = (self._list.version, Body(join_array(pieces)))
        return kept[1]


class RunList:
    """The documents of a folder whose facts have a group and a start, newest first, a window at a time.

    Of each only its place is held. Rows are made for who asks and stay made as far as memory for them goes, and so do
    whole windows until something changes. `view(document)` gives the row.
    """

    def __init__(self, folder: Folder, view: Callable[[Any], dict[str, Any]]) -> None:
        self._folder, self._view = folder, view
        self.version = 0
        self._all = Timeline()
        self._groups: dict[str, Timeline] = {}
        self._rows = BoundedCache(KEPT_ROWS_BYTES)
        self._windows = BoundedCache(KEPT_WINDOWS_BYTES)
        for entry in folder.iterate_entries():
            self.follow(entry.name, None, entry)
        folder.listeners.append(self.follow)

    def follow(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        """Nothing; a document was written, read or deleted."""
        self.version += 1
        self._windows.clear()
        self._rows.drop(name)
        before, after = (None if one is None else (_rank_entry(one), one.facts.group) for one in (old, new))
        if before == after:
            return
        if before is not None:
            start, group = before
            self._all.drop(start, name)
            self._groups[group].drop(start, name)
            if not self._groups[group]:
                del self._groups[group]
        if after is not None:
            start, group = after
            self._all.add(start, name)
            if group not in self._groups:
                self._groups[group] = Timeline()
            self._groups[group].add(start, name)

    def get_row(self, name: str) -> Body:
        """The row of this name; NotFound."""
        return Body(self._make_row(self._folder.get_entry(name)))

    async def get_window(self, group: str | None, limit: int, offset: int = 0) -> tuple[Body, int]:
        """At most `limit` rows of the group (None: of all) from the one at `offset` on, and how many there are."""
        line = self._all if group is None else self._groups.get(group, EMPTY)
        asked = (group, limit, offset)
        kept = self._windows.get(asked)
        if kept is None:
            version, total = self.version, len(line)
            rows = await self._make_rows([self._folder.get_entry(name) for name in line.keys[offset : offset + limit]])
            kept = (Body(join_array(rows)), total)
            # While rows were made, the list may have become another one.
            if version == self.version:
                self._windows.put(asked, kept, len(kept[0].data))
        return kept

    async def _make_rows(self, entries: list[FileEntry]) -> list[bytes]:
        rows = [self._rows.get(entry.name) for entry in entries]
        missing = [at for at, row in enumerate(rows) if row is None]
        for count, at in enumerate(missing):
            if count and count % ROWS_PER_STEP == 0:
                await asyncio.sleep(0)  # others have their turn, and may change what is listed here
            entry = entries[at]
            rows[at] = row = orjson.dumps(self._view(entry.parse()))
            if (
                len(missing) <= MAX_KEPT_ROWS
                and entry.name in self._folder
                and self._folder.get_entry(entry.name) is entry
            ):
                self._rows.put(entry.name, row, len(row))
        return rows

    def _make_row(self, entry: FileEntry) -> bytes:
        row: bytes | None = self._rows.get(entry.name)
        if row is None:
            row = orjson.dumps(self._view(entry.document))
            self._rows.put(entry.name, row, len(row))
        return row


def _rank_entry(entry: FileEntry) -> float:
    """The place of a document in a list: newest first."""
    return -(entry.facts.started or 0.0)


EMPTY = Timeline()


class JobList:
    """SLURM's jobs in its order, then those of ours that it does not show any more; a row is made once per change."""

    def __init__(self, reported: ReportIndex) -> None:
        self._reported = reported
        self._list = ListBody()
        self._rows: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
        self._versions: tuple[str, int, int, int] | None = None

    def get_body(
        self, cluster: str, version: int, jobs: dict[str, dict[str, Any]], ledger: history.JobIndex, since: str
    ) -> Body:
        """The list as bytes; `version` grows when `jobs` change, which are told from each other by identity.

        Ours are those that ended at or after `since` (RFC 3339).
        """
        now = (cluster, version, ledger.version, self._reported.stages_version)
        if self._versions != now:
            self._versions = now
            seen: list[tuple[str, dict[str, Any] | None, history.Source | None]] = [
                (job_id, job, ledger.find_source(cluster, job_id)) for job_id, job in jobs.items()
            ]
            # An array or a heterogeneous job that went through us is one entry, and SLURM shows its parts.
            shown = jobs.keys() | {str(job[key]) for job in jobs.values() for key in ("array_job_id", "het_job_id")}
            for at in ledger.list_ended_since(since, cluster):
                if at.job_id not in shown:
                    shown.add(at.job_id)
                    seen.append((at.job_id, None, at.source))
            self._rows = {job_id: self._build_row(job_id, job, source, ledger, cluster) for job_id, job, source in seen}
            self._list.replace((job_id, made[2]) for job_id, made in self._rows.items())
        return self._list.get_body()

    def _build_row(
        self,
        job_id: str,
        job: dict[str, Any] | None,
        source: history.Source | None,
        ledger: history.JobIndex,
        cluster: str,
    ) -> tuple[Any, Any, dict[str, Any]]:
        """The row with what it was made from; the same one as long as that is the same."""
        made, entry = self._rows.get(job_id), None
        if job is not None:
            told = self._reported.find_for_job(job, cluster)
        else:
            # An entry is made from its document, so only where it is needed.
            entry = ledger.build_entry(source, job_id) if source and self._reported.find(job_id) else None
            told = self._reported.find_for_entry(entry, cluster) if entry else None
        stage = told.stage if told else None
        if made is not None and made[0] is job and made[1] is source and made[2]["stage"] == stage:
            return made
        entry = entry or (ledger.build_entry(source, job_id) if source else None)
        if job is not None:
            return job, source, srunx.to_job_json(job, entry, stage, cluster)
        assert entry is not None, "the ledger names no job that its document does not have"
        return job, source, srunx.to_past_job_json(entry, 0, stage)
