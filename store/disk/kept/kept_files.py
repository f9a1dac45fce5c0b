"""The files of a folder that are as a checkpoint has them.

Of each only its name and a number are held. Its entry is made when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from store.disk.entries import MARK, EntrySource, FileEntry, FileState, KeptBytes
from store.disk.kept.segments import STATE_BYTES, Segment

# Row numbers of one segment.
ROWS = 1 << 20


class KeptFiles:
    """Files by the names they stand for; `len` is how many."""

    def __init__(self, folder: EntrySource) -> None:
        self._folder = folder
        self._rows: dict[str, int] = {}
        self._segments: list[tuple[Segment, bytes]] = []  # each with the states of its files
        self._made: WeakValueDictionary[str, FileEntry] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def has_none(self, names: Iterable[str]) -> bool:
        """Return whether there is no file of these names."""
        return self._rows.keys().isdisjoint(names)

    def add(self, segment: Segment, states: bytes, names: Sequence[str], places: Sequence[int]) -> None:
        """Add the files in these rows of a segment; `states` are of all its rows."""
        first = len(self._segments) * ROWS
        self._segments.append((segment, states))
        self._rows.update(zip(names, [first + place for place in places], strict=True))

    def get_entry(self, name: str) -> FileEntry | None:
        """Return the entry of this name, the same as long as anybody has it."""
        number = self._rows.get(name)
        if number is None:
            return None
        entry = self._made.get(name)
        if entry is None:
            kept = KeptBytes(self._segments[number // ROWS][0], number % ROWS)
            entry = self._made[name] = FileEntry.from_kept(self._folder, name, kept)
        return entry

    def get_mark(self, name: str) -> bytes | None:
        """Return how the file of this name was when it was last looked at."""
        number = self._rows.get(name)
        if number is None:
            return None
        at = number % ROWS * STATE_BYTES
        return self._segments[number // ROWS][1][at : at + MARK.size]

    def take(self, name: str) -> FileState | None:
        """Return the state of the file of this name, which is not here any more."""
        entry, mark = self.get_entry(name), self.get_mark(name)
        if entry is None:
            return None
        del self._rows[name]
        return FileState(entry, mark)


class LoadedFiles:
    """Many files that are new in a folder, in columns.

    `rows` are their facts as JSON has them, `restore_facts` makes facts of a row.
    """

    def __init__(
        self, folder: EntrySource, names: Sequence[str], rows: Sequence[Any], restore_facts: Callable[[Any], Any]
    ) -> None:
        self.folder, self.names = folder, names
        self._rows, self._restore_facts = rows, restore_facts

    @cached_property
    def _columns(self) -> dict[str, Sequence[Any]]:
        fields = self._restore_facts(self._rows[0])._fields
        return dict(zip(fields, zip(*self._rows, strict=True), strict=True))

    def get_column(self, field: str) -> Sequence[Any]:
        """Return what the facts of each file say here, as JSON has it."""
        return self._columns[field]

    @cached_property
    def entries(self) -> list[FileEntry]:
        """The entries with their facts, for who takes one after the other."""
        found = []
        for name, row in zip(self.names, self._rows, strict=True):
            entry = self.folder.get_entry(name)
            entry.hold(self._restore_facts(row))
            found.append(entry)
        return found

    def release(self) -> None:
        """Stop keeping the facts of the entries, if there are any."""
        for entry in self.__dict__.pop("entries", ()):
            entry.release()
