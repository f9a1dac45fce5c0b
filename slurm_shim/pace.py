"""Submissions in bounded numbers, so that a large sweep does not bury the controller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Pace:
    """At most `in_flight` have a `place()` at once, and those take `per_second` times a `beat()`."""

    def __init__(self, per_second: float, in_flight: int) -> None:
        self._next_at, self._in_flight = 0.0, 0
        self.set_bounds(per_second, in_flight)

    def set_bounds(self, per_second: float, in_flight: int) -> None:
        """Nothing; other bounds are in force for those who come from now on."""
        self._between_s = 1 / per_second
        if in_flight != self._in_flight:
            self._in_flight, self._slots = in_flight, asyncio.Semaphore(in_flight)

    @contextlib.asynccontextmanager
    async def hold_slot(self) -> AsyncIterator[None]:
        """A place among those who submit, given up with the block."""
        async with self._slots:
            yield

    async def wait_for_slot(self) -> None:
        """Nothing, when the time has come for the next submission."""
        now = time.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._between_s
        await asyncio.sleep(at - now)
