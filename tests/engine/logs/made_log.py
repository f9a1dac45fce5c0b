"""A log file that is made of bytes, for tests of what is counted and read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from engine.logs.log_files import LogFile
from store.errors import NotFound, StoreError
from store.rules.logs.counts import KnownCounts


class MadeLog(LogFile):
    """A log that holds these bytes, None for no file; `asked` are the bytes that were asked for at each reading."""

    def __init__(self, data: bytes | None, known: KnownCounts | None = None) -> None:
        super().__init__(known or KnownCounts(), "7", "stdout")
        self.data, self.asked = data, cast("list[int]", [])
        self.path, self._read = "/logs/7.out", self.read_made

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
