"""What workers report of a simulation, gathered into few writes.

A report is answered when it is on disk. The first one is written at once; those that come soon after are written
together, so that a hundred tasks that report all the time cost no more than a few writes a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from store.documents import Simulation
from store.errors import StoreError
from store.kinds import Key

if TYPE_CHECKING:
    from engine.server import Server

# So long reports wait for others; less than a task waits for its answer.
GATHER_S = 0.5

Change = Callable[[Simulation, float], Simulation]
Waiting = tuple[Change, asyncio.Future[None]]


class ReportBatches:
    """The reports that wait to be written, by simulation.

    `pause` is for tests.
    """

    def __init__(self, pause: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        self._pause = pause
        self._waiting: dict[str, list[Waiting]] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}

    async def apply(self, server: Server, simulation_id: str, change: Change) -> None:
        """Apply the change to the simulation; return when it is on disk.

        Raises what the change raises, NotFound, StoreUnavailable, StoreFull.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(simulation_id, []).append((change, answer))
        if simulation_id not in self._writers:
            self._writers[simulation_id] = asyncio.create_task(self._write_all(server, simulation_id))
        await answer

    async def _write_all(self, server: Server, simulation_id: str) -> None:
        try:
            while waiting := self._waiting.pop(simulation_id, None):
                await _write_together(server, simulation_id, waiting)
                await self._pause(GATHER_S)
        finally:
            del self._writers[simulation_id]
            for _, answer in self._waiting.pop(simulation_id, ()):
                answer.cancel()


async def _write_together(server: Server, simulation_id: str, waiting: Sequence[Waiting]) -> None:
    """Apply all that waits, in its order, in one write."""
    answers = []
    try:
        async with server.locks.hold(Key("simulation", simulation_id)):
            before = after = server.store.simulations.get(simulation_id)
            now = time.time()
            for change, answer in waiting:
                try:
                    after = change(after, now)
                    answers.append(answer)
                except StoreError as problem:
                    _set_answer(answer, problem)
            if after is not before:
                await server.store.simulations.put(simulation_id, after)
    except Exception as problem:
        for _, answer in waiting:
            _set_answer(answer, problem)
    except asyncio.CancelledError:
        for _, answer in waiting:
            answer.cancel()
        raise
    for answer in answers:
        _set_answer(answer)


def _set_answer(answer: asyncio.Future[None], problem: Exception | None = None) -> None:
    """Give the answer, unless it has one or nobody waits for it any more."""
    if answer.done():
        return
    if problem is None:
        answer.set_result(None)
    else:
        answer.set_exception(problem)
