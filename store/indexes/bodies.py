"""Answers kept as bytes, with ETag and gzip form.

A JSON list is made of one piece per row, joined once per change.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from store.jsons import dump_json

# Level 6 would take four times as long to save another tenth.
GZIP_LEVEL = 1
# To compress so much takes some ms.
LARGE_BYTES = 500_000
GZIP_BITS = 31  # zlib.h: a gzip header, whose time is 0
# Rows are joined until they have so many bytes.
PIECE_BYTES = 64_000


class Body:
    """Bytes that are ready to be sent.

    `data`, `etag` (strong, with quotes), and `gzipped` (made when first asked for). With `rows` it is a JSON array of
    them, which is not joined as a whole: many readers of a long list cost no more memory than one.
    """

    def __init__(self, data: bytes = b"", rows: Sequence[bytes] | None = None) -> None:
        self.rows = rows
        self._data = data

    @property
    def data(self) -> bytes:
        """The bytes, of rows joined anew."""
        return self._data if self.rows is None else join_array(self.rows)

    @cached_property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return len(self._data) if self.rows is None else sum(map(len, self.rows)) + max(len(self.rows), 1) + 1

    @cached_property
    def etag(self) -> str:
        """The strong ETag of the bytes."""
        digest = hashlib.sha256()
        for piece in self.split():
            digest.update(piece)
        return f'"{digest.hexdigest()[:32]}"'

    @cached_property
    def gzipped(self) -> bytes:
        """The same bytes compressed; equal data gives equal bytes."""
        deflate = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_BITS)
        return b"".join([*map(deflate.compress, self.split()), deflate.flush()])

    def split(self) -> Iterator[bytes]:
        """Yield the bytes, rows in pieces of some size."""
        if self.rows is None:
            yield self._data
            return
        waiting, size_bytes, mark = [], 0, b"["
        for row in self.rows:
            waiting.append(row)
            size_bytes += len(row)
            if size_bytes >= PIECE_BYTES:
                yield mark + b",".join(waiting)
                waiting, size_bytes, mark = [], 0, b","
        yield (mark + b",".join(waiting) if waiting or mark == b"[" else b"") + b"]"

    async def compress(self) -> bytes:
        """Return `gzipped`; in a thread where that takes long."""
        if self.size_bytes < LARGE_BYTES:
            return self.gzipped
        return await asyncio.to_thread(lambda: self.gzipped)


def join_array(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Join these values to a JSON array, without copying them twice.

    >>> join_array([b"1", b"2"]), join_array([])
    (b'[1,2]', b'[]')
    """
    parts = list(pieces)
    if not parts:
        return b"[]"
    parts[0] = b"[" + bytes(parts[0])
    parts[-1] = bytes(parts[-1]) + b"]"
    return b",".join(parts)


class ListBody:
    """A JSON array of rows that change one by one.

    `rank(key, row)` puts the rows in order; without it they stay in the order in which they came. `version` grows with
    each change of the bytes.
    """

    def __init__(self, rank: Callable[[str, Any], Any] | None = None) -> None:
        self.rank = rank
        self.version = 0
        self.rows: dict[str, Any] = {}
        self.pieces: dict[str, bytes] = {}
        self.ranks: dict[str, Any] = {}
        self.sorted = True
        self.joined: Body | None = None

    def put(self, key: str, row: Any) -> None:
        """Put the row into the list, in place of the one that the key had.

        The same object is taken to be unchanged, so a row is replaced and never changed in place.
        """
        if key in self.rows and self.rows[key] is row:
            return
        piece = dump_json(row)
        self.rows[key] = row
        if self.rank is not None:
            rank = self.rank(key, row)
            self.sorted = self.sorted and key in self.ranks and self.ranks[key] == rank
            self.ranks[key] = rank
        if self.pieces.get(key) != piece or not self.sorted:
            self.pieces[key] = piece
            self._touch()

    def drop(self, key: str) -> None:
        """Remove the key from the list."""
        if self.rows.pop(key, None) is not None or key in self.pieces:
            self.pieces.pop(key, None)
            self.ranks.pop(key, None)
            self._touch()

    def replace(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Make the list hold just these rows; unchanged ones keep their bytes.

        They are in this order, or in that of `rank`.
        """
        wanted = dict(rows)
        before = list(self.pieces)
        for key in [key for key in before if key not in wanted]:
            self.drop(key)
        for key, row in wanted.items():
            self.put(key, row)
        if self.rank is None and list(self.pieces) != list(wanted):
            self.pieces = {key: self.pieces[key] for key in wanted}
            self._touch()

    def get_body(self) -> Body:
        """Return the whole list as bytes, joined anew only after a change."""
        if self.joined is None:
            if not self.sorted:
                self.pieces = {key: self.pieces[key] for key in sorted(self.pieces, key=self.ranks.__getitem__)}
                self.sorted = True
            self.joined = Body(join_array(self.pieces.values()))
        return self.joined

    def __len__(self) -> int:
        return len(self.pieces)

    def _touch(self) -> None:
        self.version += 1
        self.joined = None


# What the cache itself takes for each thing: its place, its key, and the object around its bytes.
ITEM_BYTES = 420


class BoundedCache:
    """A cache of recently used things, up to `limit_bytes` in all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> Any:
        """Return what is kept under the key; None if nothing is."""
        if (kept := self._items.get(key)) is None:
            return None
        self._items.move_to_end(key)
        return kept[0]

    def put(self, key: Any, thing: Any, size_bytes: int) -> None:
        """Keep the thing; drop those that were not used for longest."""
        self.drop(key)
        size_bytes += ITEM_BYTES
        self._items[key] = (thing, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > self.limit_bytes:
            self.drop(next(iter(self._items)))

    def drop(self, key: Any) -> None:
        """Drop what is kept under the key."""
        if key in self._items:
            self.size_bytes -= self._items.pop(key)[1]

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self.size_bytes = 0


class JobBodies(NamedTuple):
    """Single jobs of a cluster as bytes, by id, in one version of its queue."""

    version: tuple[int, int, int]
    bodies: BoundedCache


# --- what is said beside the bytes ------------------------------------------------------------------------------------


class Versioned(NamedTuple):
    """A value (Body or plain data) with its version.

    A later change names the version; it is None where the value cannot be changed.
    """

    value: Any
    etag: str | None


class Answer(NamedTuple):
    """A value with what is said about it beside its bytes."""

    value: Any
    age_s: float | None = None  # of the snapshot that it was made from
    total: int | None = None  # of the rows that a window of them is shown of
    media_type: str | None = None  # where an operation has several
    download: bool = False  # callers have sent it, so no browser may show it as a page
    location: str | None = None  # the URL of what was made
    filename: str | None = None  # what a browser saves a file as
    is_secret: bool = False  # nobody on the way may keep it
    caller: str | None = None  # who asked, where the operation itself has found that out
    cookies: Sequence[str] = ()  # what the browser is to keep
