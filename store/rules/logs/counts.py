"""How many lines a file has before each part of it, counted as it grows."""

from __future__ import annotations

import asyncio
import secrets
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import Any, NamedTuple

# So much is counted at once, and is one part of the file.
PART_BYTES = 1_000_000
# With more parts, every second is forgotten: so a file of any size is counted in the same memory.
MOST_PARTS = 16_384
# So many files, and searches of them, are remembered.
MOST_KNOWN = 64
# By the first bytes, and by the last ones that were counted, a file is recognised.
KNOWN_BYTES = 64


class Mark(NamedTuple):
    """What a file is recognised by that was counted up to `end`.

    `head` are its first bytes, `tail` the last ones before `end`, `inode` is 0 where it is not known.
    """

    end: int
    head: bytes
    tail: bytes
    inode: int

    def is_in(self, head: bytes, tail: bytes, size_bytes: int, inode: int) -> bool:
        """Tell whether a file is the same."""
        is_same = self.inode in (0, inode) and size_bytes >= self.end
        return is_same and head.startswith(self.head) and tail == self.tail


class Counts:
    """What was counted of a file: its lines, and those that match.

    All before `end` is counted. `starts` are the offsets of its parts, `lines` how many line feeds stand before each,
    `hits` how many lines that match begin before it. `id` names it, `inode` is the file's where it is known. One at a
    time counts on, by `lock`; `is_inside` says that what was counted last ends within a line that matches.
    """

    def __init__(self) -> None:
        self.starts, self.lines, self.hits = array("Q"), array("Q"), array("Q")
        self.end = self.line_count = self.hit_count = 0
        self.head = self.tail = b""
        self.every, self.added, self.inode = 1, 0, 0
        self.id = secrets.token_hex(8)
        self.lock = asyncio.Lock()
        self.is_inside = False

    def add(self, data: bytes, hits: int = 0) -> None:
        """Count the bytes that follow."""
        if self.added % self.every == 0:
            self.starts.append(self.end)
            self.lines.append(self.line_count)
            self.hits.append(self.hit_count)
        self.added += 1
        if len(self.starts) > MOST_PARTS:
            self.starts, self.lines, self.hits = self.starts[::2], self.lines[::2], self.hits[::2]
            self.every *= 2
        self.head += data[: KNOWN_BYTES - len(self.head)]
        self.tail = (self.tail + data[-KNOWN_BYTES:])[-KNOWN_BYTES:]
        self.end += len(data)
        self.line_count += data.count(b"\n")
        self.hit_count += hits

    @property
    def mark(self) -> Mark:
        """What the file is recognised by."""
        return Mark(self.end, self.head, self.tail, self.inode)

    def find_line(self, number: int) -> tuple[int, int]:
        """Find where to look for the beginning of a line.

        Returns an offset, and how many line feeds follow it before the line (none: it begins there).

        >>> counts = Counts()
        >>> counts.add(b"a\\nb\\nc"), counts.add(b"d\\ne\\n")
        (None, None)
        >>> counts.find_line(1), counts.find_line(3), counts.find_line(4)
        ((0, 0), (0, 2), (5, 1))
        """
        if number <= 1:
            return 0, 0
        at = bisect_left(self.lines, number - 1) - 1
        return self.starts[at], number - 1 - self.lines[at]

    def find_part(self, offset: int) -> int:
        """Find the part that has this offset."""
        return bisect_right(self.starts, offset) - 1

    def get_part(self, at: int) -> tuple[int, int]:
        """Return where a part begins and ends."""
        return self.starts[at], self.starts[at + 1] if at + 1 < len(self.starts) else self.end

    def count_hits(self, at: int) -> int:
        """Count the lines that match and begin in a part."""
        return (self.hits[at + 1] if at + 1 < len(self.hits) else self.hit_count) - self.hits[at]

    def find_part_with_hits(self, at: int, forward: bool) -> int | None:
        """Find the next part, or the one before, that has hits; None if none."""
        if forward:
            before = self.hits[at] + self.count_hits(at)
            return None if before >= self.hit_count else bisect_right(self.hits, before) - 1
        return None if at < 0 or self.hits[at] == 0 else bisect_left(self.hits, self.hits[at]) - 1


class KnownCounts:
    """What was counted of the files and searches used last."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, Counts] = OrderedDict()

    def get(self, key: Any) -> Counts:
        """Get what was counted under this key; nothing yet if it is new."""
        found = self._known.pop(key, None) or Counts()
        self._known[key] = found
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    def forget(self, key: Any, known: Counts) -> None:
        """Forget what was counted, unless somebody has begun anew already."""
        if self._known.get(key) is known:
            del self._known[key]
