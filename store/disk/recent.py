"""What is at hand of entries of a folder that were used or written lately."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from store.disk.entries import FileEntry, Parse
from store.indexes.bodies import ITEM_BYTES, BoundedCache

# Recent documents stay parsed up to so many bytes of their text; parsed they take one to six times as much.
PARSED_BYTES = 4_000_000
# So many bytes are written before they are packed: most of them are replaced soon.
UNPACKED_BYTES = 2_000_000


class Source(Protocol):
    """What is asked of the folder."""

    facts: Callable[[Any], Any] | None
    keep: bool
    parse: Parse

    def get_entry(self, name: str) -> FileEntry:
        """Return the entry of this name that is in force."""

    def __contains__(self, name: str) -> bool: ...


class RecentEntries:
    """The documents and facts of recent entries, and those not packed yet.

    Only of the version of each that is in force.
    """

    def __init__(self, folder: Source, parsed_bytes: int) -> None:
        self.folder = folder
        self.parsed = BoundedCache(parsed_bytes)  # by name: entry, document, facts
        self.unpacked: list[FileEntry] = []  # those written lately, in all their versions
        self.unpacked_bytes = 0

    def parse(self, entry: FileEntry) -> Any:
        """Return the document of a packed entry, which stays parsed."""
        found = self.parsed.get(entry.name)
        if found is not None and found[0] is entry:
            return found[1]
        data = entry.data
        document = self.folder.parse(data, entry.name)
        self.keep(entry, document, len(data))
        return document

    def find_facts(self, entry: FileEntry) -> Any:
        """Return the facts of an entry; make them where they are not kept."""
        assert self.folder.facts is not None
        document = entry.document
        found = self.parsed.get(entry.name)
        if found is None or found[0] is not entry:
            return self.folder.facts(document)
        if found[2] is None:
            found[2] = self.folder.facts(document)
        return found[2]

    def keep(self, entry: FileEntry, document: Any, size_bytes: int, facts: Any = None) -> None:
        """Keep the document of an entry that is in force, and its facts.

        One that is larger than all that may stay parsed is kept alone.
        """
        if not self.folder.keep and self.is_in_force(entry):
            self.parsed.put(entry.name, [entry, document, facts], min(size_bytes, self.parsed.limit_bytes - ITEM_BYTES))

    def drop_others(self, name: str, entry: FileEntry | None) -> None:
        """Drop what is kept of other versions than this one."""
        if (found := self.parsed.get(name)) is not None and found[0] is not entry:
            self.parsed.drop(name)

    def is_in_force(self, entry: FileEntry) -> bool:
        """Tell whether no other version has replaced the entry."""
        return entry.name in self.folder and self.folder.get_entry(entry.name) is entry

    def note_written(self, entry: FileEntry, size_bytes: int) -> asyncio.Future[None] | None:
        """Leave the entry unpacked until there are enough for a thread.

        Returns what ends when all until now are packed, if that has begun.
        """
        self.unpacked.append(entry)
        self.unpacked_bytes += size_bytes
        if self.unpacked_bytes <= UNPACKED_BYTES:
            return None
        written, self.unpacked, self.unpacked_bytes = self.unpacked, [], 0
        return asyncio.get_running_loop().run_in_executor(None, self._pack, written)

    def _pack(self, entries: list[FileEntry]) -> None:
        """Pack those of these entries that are still in force."""
        for entry in entries:
            if self.is_in_force(entry):
                entry.pack()
