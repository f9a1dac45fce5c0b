"""What is known of single files in a folder of the store."""

from __future__ import annotations

import errno
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from store.disk.compression import Packer
from store.disk.reading import Stamp, read_file
from store.errors import Changed, Conflict, StoreUnavailable

FILE_LIMIT_BYTES = 16_000_000
PACK_FROM_BYTES = 512
MARK = struct.Struct("<QQqIII")  # a stamp
PROBLEMS_PER_FILE = 20
# The type of the problem of a file that could not be read this time.
UNREAD = "unread"

Parse = Callable[[bytes, str], Any]
Summary = Callable[[Any], dict[str, Any]]
FindWarnings = Callable[[Any], list[dict[str, Any]]]


def is_named(if_match: str, etag: str) -> bool:
    """Return whether `if_match` names this version.

    It has several versions with blanks between them, or is `*` for whatever is there.
    """
    return if_match == "*" or etag in if_match.split()


class Recent(Protocol):
    """What is at hand of entries that were used lately."""

    def parse(self, entry: FileEntry) -> Any:
        """Return the document; recent ones stay parsed."""

    def find_facts(self, entry: FileEntry) -> Any:
        """Return the facts; those of recent ones are kept."""


class EntrySource(Protocol):
    """What an entry needs of its folder: what the files there mean."""

    summary: Summary | None
    find_warnings: FindWarnings | None
    facts: Callable[[Any], Any] | None
    keep: bool
    packer: Packer
    parse: Parse
    path: Path

    @property
    def recent(self) -> Recent:
        """What is at hand of the entries."""

    def get_entry(self, name: str) -> FileEntry:
        """Return the entry of this name that is in force."""

    def find_file(self, entry: FileEntry) -> tuple[str, bytes | None]:
        """Return name and mark of an entry's file.

        None for the mark if another entry has the file by now.
        """


class FileEntry:
    """One good file: its name and summary.

    And on demand its `etag`, bytes, document and facts. The bytes are packed, at once or by `pack`: for one that is
    likely to be written again soon that is not worth its time.
    """

    __slots__ = ("__weakref__", "_document", "_facts", "_folder", "kept", "name", "summary", "warnings")

    def __init__(self, folder: EntrySource, name: str, data: bytes, document: Any, *, is_packed: bool = True) -> None:
        self._folder = folder
        self.name = name
        self.summary = folder.summary(document) if folder.summary else None
        self.warnings = tuple(folder.find_warnings(document)) if folder.find_warnings else ()
        self._facts = folder.facts(document) if folder.facts else None
        self._document = document
        # Replaced as a whole, also in a thread, when the bytes are packed or kept elsewhere.
        self.kept = KeptBytes(None, data)
        if is_packed:
            self.pack()

    @classmethod
    def from_kept(cls, folder: EntrySource, name: str, kept: KeptBytes) -> FileEntry:
        """Make the entry of a file that was read before, from kept bytes."""
        self = cls.__new__(cls)
        self._folder, self.name, self.summary, self._document, self._facts = folder, name, None, None, None
        self.kept = kept
        self.warnings = ()
        return self

    @property
    def place(self) -> Place:
        """Where the document stands, in all its versions."""
        return Place(self._folder, self.name)

    @property
    def etag(self) -> str:
        """The sha256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def data(self) -> bytes:
        """The bytes of the file. Raises StoreUnavailable."""
        packing, data = self.kept
        try:
            return packing.unpack(data) if packing else data
        except (OSError, zlib.error):
            return self._read_again()

    @property
    def is_packed(self) -> bool:
        """Whether the bytes are packed."""
        return self.kept.packing is not None

    def pack(self) -> None:
        """Pack the bytes where that is worth it; safe in any thread."""
        packing, data = self.kept
        if packing is None and not self._folder.keep and len(data) >= PACK_FROM_BYTES:
            packing = self._folder.packer.choose_packing(data)
            self.kept = KeptBytes(packing, packing.pack(data))

    def _read_again(self) -> bytes:
        """Read the file, whose kept bytes are lost; it must be as it was.

        Raises StoreUnavailable.
        """
        folder = self._folder
        filename, mark = folder.find_file(self)
        if mark is not None:
            data, stamp = read_file(folder.path / filename, FILE_LIMIT_BYTES)
            if pack_stamp(stamp) == mark:
                return data
        raise StoreUnavailable(errno.EIO, f"what was kept of {folder.path.name}/{filename} is lost")

    @property
    def document(self) -> Any:
        """The document; shared, so change only a `model_copy(deep=True)`."""
        if self._document is not None:
            return self._document
        document = self._folder.recent.parse(self)
        if self._facts is not None:
            self._document = document
        return document

    @property
    def facts(self) -> Any:
        """The facts of the document.

        Kept, like the document, while listeners are called; made again for whoever asks later.
        """
        return (
            self._facts if self._facts is not None or not self._folder.facts else self._folder.recent.find_facts(self)
        )

    def parse(self) -> Any:
        """Return a document of the caller's own; safe in any thread."""
        return self._document if self._folder.keep else self._folder.parse(self.data, self.name)

    def has_data(self, data: bytes) -> bool:
        """Return whether these are the bytes; those that are lost are others."""
        try:
            return self.data == data
        except StoreUnavailable:
            return False

    def has_same_data(self, before: FileEntry) -> bool:
        """Return whether the bytes are the same; the same packing gives the same."""
        if self.kept.packing is before.kept.packing:
            return self.kept == before.kept
        return before.has_data(self.data)

    def hold(self, facts: Any = None) -> None:
        """Keep the facts, and the document once it is parsed, until the release."""
        self._facts = self.facts if facts is None else facts

    def release(self) -> None:
        """Stop keeping facts and document, but for one that stays parsed."""
        self._facts = None
        if not self._folder.keep:
            self._document = None


class Place(NamedTuple):
    """Where a document stands, whatever version it is of."""

    folder: Any  # something with `get_entry`
    name: str

    @property
    def source(self) -> Any:
        """The entry that is in force. Raises NotFound."""
        return self.folder.get_entry(self.name)


class Unpacking(Protocol):
    """What gives the bytes of a file: a packing, or where they are on disk."""

    def unpack(self, packed: Any) -> bytes:
        """Return the bytes. Raises OSError, zlib.error."""


class KeptBytes(NamedTuple):
    """The bytes of a file: as they are if `packing` is None, packed, or a row.

    A row of a segment is a number.
    """

    packing: Unpacking | None
    data: Any


def pack_stamp(now: Stamp) -> bytes:
    """Return the stamp in a quarter of the memory."""
    return MARK.pack(*now)


@dataclass(frozen=True, eq=False, slots=True)
class FileState:
    """What is known of one file.

    The good version in force, the state on disk when last looked at, and what is wrong with it; `wrong_etag` is the
    sha256 of the bytes that are wrong.
    """

    entry: FileEntry | None
    mark: bytes | None
    problems: tuple[dict[str, Any], ...] = ()
    since: str | None = None
    wrong_etag: str | None = None

    @property
    def is_unread(self) -> bool:
        """Whether the disk, or the lack of something, kept it from being read."""
        return any(problem.get("type") == UNREAD for problem in self.problems)

    @property
    def size_bytes(self) -> int | None:
        """How long the entry's file is; None where that is not known."""
        return None if self.mark is None or self.problems else int(MARK.unpack(self.mark)[1])

    def has_same_data(self, before: FileState) -> bool:
        """Return whether both have entries of the same bytes."""
        if self.entry is None or before.entry is None:
            return False
        sizes = {self.size_bytes, before.size_bytes}  # of two that differ no bytes need be unpacked
        return (len(sizes) == 1 or None in sizes) and self.entry.has_same_data(before.entry)

    def refuse_change(self, kind: str, name: str) -> None:
        """Raise Conflict for a wrong file, StoreUnavailable for an unread one."""
        reason = self.problems[0]["msg"]
        if self.is_unread:
            raise StoreUnavailable(errno.EAGAIN, f"{kind} '{name}' cannot be changed now: {reason}")
        raise Conflict(f"{kind} '{name}' has a file that cannot be read ({reason}); correct or remove it first")

    def list_problems(self) -> tuple[dict[str, Any], ...]:
        """Return what is wrong, or else what is doubtful about a good file."""
        return self.problems or (self.entry.warnings if self.entry else ())

    def build_problem_rows(self, path: str, since: str | None, mount: str | None) -> list[dict[str, Any]]:
        """Build the rows that tell what is wrong."""
        return [
            {
                "path": path,
                "line": problem.get("line"),
                "column": problem.get("column"),
                "reason": describe_reason(problem),
                "since": since,
                "severity": "error" if self.problems else "warning",
                "mount": mount,
            }
            for problem in self.list_problems()[:PROBLEMS_PER_FILE]
        ]


def describe_reason(problem: dict[str, Any]) -> str:
    """Return what is wrong, with the place inside of the document."""
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"] if problem.get("loc") else str(problem["msg"])


def check_change(state: FileState | None, kind: str, name: str, if_match: str | None) -> FileState | None:
    """Return the state of a file if it may be changed.

    A wrong file only by who names just its version. Raises Changed, Conflict, StoreUnavailable.
    """
    if state and state.wrong_etag and state.wrong_etag in (if_match or "").split():
        return state
    entry = state.entry if state else None
    if if_match is not None and (entry is None or not is_named(if_match, entry.etag)):
        raise Changed(kind, name, entry.etag if entry else None)
    if state and state.problems:
        state.refuse_change(kind, name)
    return state


def build_wrong_state(
    seen: FileState | None, mark: bytes | None, problems: list[dict[str, Any]], data: bytes | None = None
) -> FileState:
    """Return the state of a wrong file: the old entry and the problems."""
    since = seen.since if seen and seen.since else format_now()
    etag = None if data is None else hashlib.sha256(data).hexdigest()
    return FileState(seen.entry if seen else None, mark, tuple(problems), since, etag)


def build_unread_state(seen: FileState | None, error: Exception) -> FileState:
    """Return the state of a file that is to be read once more."""
    return build_wrong_state(seen, None, [{"loc": (), "msg": str(error) or "out of memory", "type": UNREAD}])


def format_now() -> str:
    """Return the time as problems tell since when they are."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
