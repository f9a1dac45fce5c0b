"""Sharing the event loop while there is much to do on it."""

from __future__ import annotations

import asyncio
import time

from store.collecting import freeze_new_objects

# Well below the 20 ms that others may have to wait.
TURN_S = 0.005
# After so many turns of one piece of work, what it left in memory is kept from the collector of cycles.
TURNS_PER_FREEZE = 4


class Turn:
    """The time since others had the event loop."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._turns = 0

    async def yield_in_time(self) -> None:
        """Let others have the event loop if this turn has been long enough."""
        if time.perf_counter() - self._began >= TURN_S:
            self._turns += 1
            if self._turns % TURNS_PER_FREEZE == 0:
                freeze_new_objects()
            await asyncio.sleep(0)
            self._began = time.perf_counter()
