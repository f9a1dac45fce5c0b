"""Sharing the event loop while there is much to do on it."""

from __future__ import annotations

import asyncio
import time

# Well below the 20 ms that others may have to wait.
TURN_S = 0.005


class Turn:
    """The time since others had the event loop."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def yield_in_time(self) -> None:
        """Let others have the event loop if this turn has been long enough."""
        if time.perf_counter() - self._began >= TURN_S:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
