"""The rows of lists and single reads as bytes, made once per change."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.disk.kept.kept_files import LoadedFiles
from store.errors import NotFound
from store.indexes.bodies import Body, BoundedCache, ListBody
from store.indexes.making import Making
from store.indexes.timelines import Timeline
from store.jsons import dump_json

# Bytes of rows and of whole answers that are kept.
KEPT_ROWS_BYTES = 4_000_000
KEPT_WINDOWS_BYTES = 8_000_000
# Rows made in a thread in one go: some 3 ms.
ROWS_PER_STEP = 50
# Answers with more rows than this do not keep them one by one.
MAX_KEPT_ROWS = 1000


class RowList:
    """The rows of a folder as bytes: one row, or all rows.

    `view(entry)` gives the row, `rank(row)` its place in the list.
    """

    def __init__(
        self,
        folder: Folder,
        view: Callable[[FileEntry], dict[str, Any]],
        rank: Callable[[dict[str, Any]], Any],
    ) -> None:
        self._folder, self._view = folder, view
        self._list = ListBody(lambda _key, row: rank(row))
        for entry in folder.iterate_entries():
            self._follow(entry.name, None, entry)
        folder.listeners.append(self._follow)

    def _follow(self, name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        if new is None:
            self._list.drop(name)
        else:
            self._list.put(name, self._view(new))

    def get_row(self, name: str) -> Body:
        """Return the row of this name. Raises NotFound."""
        if name not in self._list.pieces:
            raise NotFound(self._folder.kind, name)
        return Body(self._list.pieces[name])

    def get_all(self) -> Body:
        """Return all rows."""
        return self._list.get_body()


class RunFilter(NamedTuple):
    """Which runs a list shows; what is None, or empty, takes all."""

    workflow: str | None = None
    statuses: tuple[str, ...] = ()
    sweep: int | None = None
    cells: bool = True

    def accepts(self, workflow: str, status: str, sweep: int | None) -> bool:
        """Return whether the list shows a run with these facts."""
        return (
            (self.workflow is None or workflow == self.workflow)
            and (not self.statuses or status in self.statuses)
            and (self.sweep is None or sweep == self.sweep)
            and (self.cells or sweep is None)
        )


ALL_RUNS = RunFilter()


class RunList:
    """The documents of a folder with workflow, status and start, newest first.

    Lists are given a window at a time. Of each document only its position and what filters need are kept. Rows are made
    when they are asked for and stay made as far as memory for them goes, and so do whole windows until something
    changes. `view(document)` gives the row.
    """

    def __init__(self, folder: Folder, view: Callable[[Any], dict[str, Any]]) -> None:
        self._folder, self._view = folder, view
        self.version = 0
        self._timeline = Timeline("OOO")  # columns: workflow, status, sweep
        self._rows = BoundedCache(KEPT_ROWS_BYTES)
        self._windows = BoundedCache(KEPT_WINDOWS_BYTES)
        self._making = Making()
        for entry in folder.iterate_entries():
            self.follow(entry.name, None, entry)
        folder.add_listener(self.follow, self._load)
        folder.when_loaded.append(self._timeline.sort)

    def _load(self, loaded: LoadedFiles) -> None:
        """Follow documents that were not there before."""
        self.version += 1
        self._windows.clear()
        places = [-(started or 0.0) for started in loaded.get_column("started")]
        group, status = (map(sys.intern, loaded.get_column(field)) for field in ("group", "status"))
        self._timeline.extend(places, loaded.names, group, status, loaded.get_column("sweep"))

    def follow(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        """Follow a document that was written, read or deleted."""
        self.version += 1
        self._windows.clear()
        self._rows.drop(name)
        before, after = (None if entry is None else _pick_facts(entry) for entry in (old, new))
        if before == after:
            return
        if before is not None:
            self._timeline.drop(before[0], name)
        if after is not None:
            start, *facts = after
            self._timeline.add(start, name, *facts)

    def copy_columns(self) -> tuple[list[str], list[str], list[str]]:
        """Return ids, workflows and statuses of all, newest first."""
        line = self._timeline
        return list(line.keys), list(line.get_column(0)), list(line.get_column(1))

    def count_statuses(self) -> Counter[str]:
        """Count the documents by status."""
        return Counter(self._timeline.get_column(1))

    def get_row(self, name: str) -> Body:
        """Return the row of this name. Raises NotFound."""
        return Body(self._make_row(self._folder.get_entry(name)))

    async def get_window(self, limit: int, offset: int = 0, wanted: RunFilter = ALL_RUNS) -> tuple[Body, int]:
        """Return up to `limit` wanted rows from `offset` on, and their total."""
        kept: tuple[Body, int] | None = self._windows.get((limit, offset, wanted))
        if kept is not None:
            return kept
        key = (self.version, limit, offset, wanted)
        return await self._making.make_once(key, lambda: self._make_window(*key))

    async def _make_window(self, version: int, limit: int, offset: int, wanted: RunFilter) -> tuple[Body, int]:
        """Make a window, and keep it if the list has not changed meanwhile."""
        names = self._list_names(wanted)
        total, entries = len(names), [self._folder.get_entry(name) for name in names[offset : offset + limit]]
        # Joined some at a time: thousands of single rows would take twice as much memory.
        pieces = []
        for at in range(0, len(entries), ROWS_PER_STEP):  # others run, and may change what is listed here
            rows = await self._make_rows(entries[at : at + ROWS_PER_STEP], len(entries) <= MAX_KEPT_ROWS)
            pieces.append(b",".join(rows))
        made = (Body(rows=pieces), total)
        if version == self.version:
            self._windows.put((limit, offset, wanted), made, made[0].size_bytes)
        return made

    def _list_names(self, wanted: RunFilter) -> Sequence[str]:
        """List the names of the wanted runs, newest first."""
        names = self._timeline.keys
        if wanted == ALL_RUNS:
            return names
        facts = zip(*(self._timeline.get_column(number) for number in range(3)), strict=True)
        return [name for name, own in zip(names, facts, strict=True) if wanted.accepts(*own)]

    async def _make_rows(self, entries: list[FileEntry], is_kept: bool) -> list[bytes]:
        """Return the rows of these entries, made where they are not kept.

        In a thread: their documents may have to be read from the disk.
        """
        rows: dict[FileEntry, bytes] = {}
        for entry in entries:
            row = self._rows.get(entry.name)
            if row is not None:
                rows[entry] = row
        missing = [entry for entry in entries if entry not in rows]
        if missing:
            made = await asyncio.to_thread(lambda: [dump_json(self._view(entry.parse())) for entry in missing])
            for entry, row in zip(missing, made, strict=True):
                if is_kept and entry.name in self._folder and self._folder.get_entry(entry.name) is entry:
                    self._rows.put(entry.name, row, len(row))
                rows[entry] = row
        return [rows[entry] for entry in entries]

    def _make_row(self, entry: FileEntry) -> bytes:
        row: bytes | None = self._rows.get(entry.name)
        if row is None:
            row = dump_json(self._view(entry.document))
            self._rows.put(entry.name, row, len(row))
        return row


def _pick_facts(entry: FileEntry) -> tuple[float, str, str, int | None]:
    """Return the run's place in a list, newest first, and what filters need."""
    facts = entry.facts
    return -(facts.started or 0.0), sys.intern(facts.group), sys.intern(facts.status), facts.sweep
