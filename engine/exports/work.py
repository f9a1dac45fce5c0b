"""What exports and reports that are being made share in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from store.exports.children import Work

AT_ONCE = 2


class FileWork:
    """The files that are being made, by id, and the threads that feed them."""

    def __init__(self) -> None:
        self.making: dict[str, Work] = {}
        # Threads of their own: what waits for a child or for accounting holds up nothing else.
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="exports")

    def close(self) -> None:
        """End what is being made, without waiting for it."""
        for work in self.making.values():
            work.stop()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def count_rows(self, name: str) -> int:
        """Count the rows that were written so far."""
        return self.making[name].rows if name in self.making else 0

    async def run(self, name: str, make: Callable[[Work], Any]) -> Any:
        """Run `make` in a thread, with its progress in view.

        When this is cancelled the child is ended, and only then it returns.
        """
        work = self.making[name] = Work()
        job = self.pool.submit(make, work)
        future = asyncio.wrap_future(job)
        future.add_done_callback(_take_exception)  # nobody waits for it any more where this is cancelled
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            work.stop()
            if not job.cancel():
                await asyncio.wait({future})
            raise
        finally:
            self.making.pop(name, None)


def _take_exception(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
