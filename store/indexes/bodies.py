"""Answers kept as bytes: a JSON list made of one piece per row, joined once per change, with its ETag and gzip form."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import orjson

# Fast and already most of the gain: level 6 takes four times as long for a tenth less.
GZIP_LEVEL = 1


class Body:
    """Bytes that are ready to be sent: `data`, `etag` (strong, with quotes), `gzipped` (made when first asked for)."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def etag(self) -> str:
        """The strong ETag of the bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:32]}"'

    @cached_property
    def gzipped(self) -> bytes:
        """The same, compressed; the same bytes for the same data."""
        return gzip.compress(self.data, GZIP_LEVEL, mtime=0)


def join_array(pieces: Iterable[bytes]) -> bytes:
    """The JSON array of these values, without a second copy of what may be many megabytes.

    >>> array_of([b"1", b"2"]), array_of([])
    (b'[1,2]', b'[]')
    """
    parts = list(pieces)
    if not parts:
        return b"[]"
    parts[0], parts[-1] = b"[" + parts[0], (parts[-1] if parts[1:] else b"[" + parts[-1]) + b"]"
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
        """Nothing; the row is in the list from now on, in place of the one that the key had.

        The same object is taken to be unchanged, so a row is replaced and never changed in place.
        """
        if key in self.rows and self.rows[key] is row:
            return
        piece = orjson.dumps(row)
        self.rows[key] = row
        if self.rank is not None:
            rank = self.rank(key, row)
            self.sorted = self.sorted and key in self.ranks and self.ranks[key] == rank
            self.ranks[key] = rank
        if self.pieces.get(key) != piece or not self.sorted:
            self.pieces[key] = piece
            self._touch()

    def drop(self, key: str) -> None:
        """Nothing; the key is not in the list any more."""
        if self.rows.pop(key, None) is not None or key in self.pieces:
            self.pieces.pop(key, None)
            self.ranks.pop(key, None)
            self._touch()

    def replace(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Nothing; the list holds these rows in this order (or in that of `rank`); unchanged ones keep their bytes."""
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
        """The list as bytes, the same object until something changes."""
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


class BoundedCache:
    """Things by key, the ones asked for lately, as far as their sizes come to no more than `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> Any:
        """What is held under the key; None when nothing is."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key][0]

    def put(self, key: Any, thing: Any, size_bytes: int) -> None:
        """Nothing; the thing is held, and what was not asked for longest makes room."""
        self.drop(key)
        self._items[key] = (thing, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > self.limit_bytes:
            self.drop(next(iter(self._items)))

    def drop(self, key: Any) -> None:
        """Nothing; nothing is held under the key."""
        if key in self._items:
            self.size_bytes -= self._items.pop(key)[1]

    def clear(self) -> None:
        """Nothing; nothing is held."""
        self._items.clear()
        self.size_bytes = 0
