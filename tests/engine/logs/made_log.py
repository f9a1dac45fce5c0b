"""A log file that is made of bytes, for tests of what is counted and read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from engine.logs.log_files import LogFile
from store.errors import NotFound, StoreError
from store.rules.logs.counts import Counts, KnownCounts


class MadeLog(LogFile):
    """A log that holds these bytes, None for no file; `asked` are the bytes that were asked for at each reading."""

    def __init__(self, data: bytes | None, known: KnownCounts | None = None) -> None:
        self.data, self.asked = data, cast("list[int]", [])
        self.path, self.owner, self.stream, self.job_id = "/logs/7.out", None, "stdout", "7"
        self.is_merged, self.is_over, self.size_bytes = False, False, None
        self.modified_at, self.inode = 0.0, 0
        self.known, self.counts = known or KnownCounts(), Counts()
        self._read = self.read_made

    async def read_made(
        self, wanted: Sequence[tuple[str, int, int]], _owner: int | None
    ) -> list[tuple[bytes, int] | StoreError]:
        """Read parts of what was made."""
        found: list[tuple[bytes, int] | StoreError] = []
        for _, offset, limit in wanted:
            self.asked.append(limit)
            if self.data is None:
                found.append(NotFound("file", "7.out"))
            else:
                found.append((self.data[offset : offset + limit], len(self.data)))
        return found


def make_clock(step_s: float) -> Any:
    """A clock that goes on by so much whenever it is looked at."""

    def tick() -> Iterator[float]:
        at = 0.0
        while True:
            yield at
            at += step_s

    return tick().__next__
