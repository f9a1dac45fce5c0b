"""Submissions in bounded numbers, so that a large sweep does not bury the controller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Pace:
    """`async with pace.turn():` waits for its turn: at most `in_flight` at once, and `per_second` begun."""

    def __init__(self, per_second: float, in_flight: int) -> None:
        self._next_at = 0.0
        self.set(per_second, in_flight)

    def set(self, per_second: float, in_flight: int) -> None:
        """Nothing; other bounds are in force for those who come from now on."""
        self._between_s = 1 / per_second
        self._places = asyncio.Semaphore(in_flight)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of one submission, over with the block."""
        async with self._places:
            now = time.monotonic()
            at = max(now, self._next_at)
            self._next_at = at + self._between_s
            await asyncio.sleep(at - now)
            yield
