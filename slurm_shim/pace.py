"""A limit for submissions, so that sweeps spare the controller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Pace:
    """A limit for submissions.

    At most `in_flight` hold a slot at once, and those begin `per_second` times a second.
    """

    def __init__(self, per_second: float = 1.0, in_flight: int = 1) -> None:
        self._next_at, self._in_flight = 0.0, 0
        self.set_bounds(per_second, in_flight)

    def set_bounds(self, per_second: float, in_flight: int) -> None:
        """Set the limits for those who come from now on."""
        self._between_s = 1 / per_second
        if in_flight != self._in_flight:
            self._in_flight, self._slots = in_flight, asyncio.Semaphore(in_flight)

    @contextlib.asynccontextmanager
    async def hold_slot(self) -> AsyncIterator[None]:
        """Reserve a slot until the end of the block."""
        async with self._slots:
            yield

    async def wait_for_slot(self, is_strained: bool = True) -> None:
        """Wait until the next submission may begin; at once if it strains nobody."""
        if not is_strained:
            return
        now = time.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._between_s
        await asyncio.sleep(at - now)
