"""Segments of a checkpoint: files with some thousand rows, written once.

A segment has a table (name, size of the packed document and facts of each file), the state of each file on disk, and
the packed documents. Table and states are read at the start, documents only when they are asked for: a segment stays
open as long as an entry has its bytes there, also when its file is deleted.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from store.disk import owners
from store.disk.compression import Packing
from store.disk.kept.look_worker import STATE
from store.disk.reading import open_regular_file, read_at

MAGIC = b"sluice checkpoint 3\n"
HEADER = struct.Struct("<32sIIII")  # code, CRC-32 of the rest, bytes of the dictionary, of the table, of the states
MAX_BYTES = 64_000_000
PIECE_BYTES = 1_000_000
STATE_BYTES = STATE.size


class SegmentRow(NamedTuple):
    """A file as it is kept: name, state, packed document, facts as JSON."""

    name: str
    state: bytes
    packed: bytes
    facts: bytes


class Segment:
    """Where the documents of a segment are; `unpack` gives that of a row."""

    __slots__ = ("_fd", "_offsets", "_packing")

    def __init__(self, fd: int, packing: Packing, start: int, sizes: Sequence[int]) -> None:
        self._fd, self._packing = fd, packing
        self._offsets = array("I", accumulate(sizes, initial=start))

    def __del__(self) -> None:
        os.close(self._fd)

    def unpack(self, row: int) -> bytes:
        """Return the document of a row. Raises OSError, zlib.error."""
        start, end = self._offsets[row : row + 2]
        return self._packing.unpack(os.pread(self._fd, end - start, start))


class Table(NamedTuple):
    """What a segment says of its files.

    The columns are equally long, `states` so many times STATE_BYTES.
    """

    segment: Segment
    names: list[str]
    states: bytes
    facts: list[Any]


def build_segment(code: bytes, packing: Packing, rows: Sequence[SegmentRow]) -> tuple[bytes, int, list[int]]:
    """Build a segment: its bytes, where its documents begin, and their sizes."""
    sizes = [len(row.packed) for row in rows]
    facts = orjson.Fragment(b"[" + b",".join([row.facts for row in rows]) + b"]")
    parts = [packing.dictionary, orjson.dumps([[row.name for row in rows], sizes, facts])]
    parts.append(b"".join([row.state for row in rows]))
    body = b"".join([*parts, *(row.packed for row in rows)])
    head = MAGIC + HEADER.pack(code, zlib.crc32(body), *map(len, parts))
    return head + body, len(head) + sum(map(len, parts)), sizes


def read_segment(path: Path, code: bytes, find_packing: Any) -> Table | None:
    """Read a segment of this code; None if it is not whole, or not ours.

    `find_packing(dictionary)` gives the packing. Raises StoreError, ValueError, TypeError, struct.error, OSError.
    """
    fd, status = open_regular_file(path)
    try:
        owners.check_file(fd, status)
        head = os.pread(fd, len(MAGIC) + HEADER.size, 0)
        if status.st_size > MAX_BYTES or not head.startswith(MAGIC):
            return None
        made_by, crc, *lengths = HEADER.unpack_from(head, len(MAGIC))
        start = len(head) + sum(lengths)
        if made_by != code or start > status.st_size:
            return None
        data = read_at(fd, len(head), sum(lengths))
        if _sum_up(fd, zlib.crc32(data), start) != crc:
            return None
        dictionary, table = data[: lengths[0]], orjson.loads(memoryview(data)[lengths[0] : lengths[0] + lengths[1]])
        names, sizes, facts = table
        if not len(names) == len(sizes) == len(facts) == lengths[2] / STATE_BYTES:
            return None
        if start + sum(sizes) != status.st_size:
            return None
        segment, fd = Segment(fd, find_packing(dictionary), start, sizes), -1
        return Table(segment, names, data[lengths[0] + lengths[1] :], facts)
    finally:
        if fd >= 0:
            os.close(fd)


def open_segment(path: Path, packing: Packing, start: int, sizes: Sequence[int]) -> Segment:
    """Open a segment that was just written. Raises StoreError."""
    return Segment(open_regular_file(path)[0], packing, start, sizes)


def _sum_up(fd: int, crc: int, at: int) -> int:
    """Extend a CRC-32 over the rest of a file, piece by piece."""
    while piece := os.pread(fd, PIECE_BYTES, at):
        crc = zlib.crc32(piece, crc)
        at += len(piece)
    return crc
