"""A limit for submissions, so that sweeps spare the controller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

# What a controller is spared by where nobody has said how many it may be a second.
PER_SECOND = 20.0


class Pace:
    """A limit for submissions.

    At most `in_flight` hold a slot at once, and those begin `per_second` times a second. None: as often as a controller
    is to have them, and where there is none as fast as they come.
    """

    def __init__(self, per_second: float | None = None, in_flight: int = 1) -> None:
        self._next_at, self._in_flight = 0.0, 0
        self.set_bounds(per_second, in_flight)

    def set_bounds(self, per_second: float | None, in_flight: int) -> None:
        """Set the limits for those who come from now on."""
        self._is_set, self._between_s = per_second is not None, 1 / (per_second or PER_SECOND)
        if in_flight != self._in_flight:
            self._in_flight, self._slots = in_flight, asyncio.Semaphore(in_flight)

    @contextlib.asynccontextmanager
    async def hold_slot(self) -> AsyncIterator[None]:
        """Reserve a slot until the end of the block."""
        async with self._slots:
            yield

    async def wait_for_slot(self, has_controller: bool = True) -> None:
        """Wait until the next submission may begin."""
        if not (has_controller or self._is_set):
            return
        now = time.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._between_s
        await asyncio.sleep(at - now)
