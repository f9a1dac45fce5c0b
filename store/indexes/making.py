"""What many ask for at once, made once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Making:
    """What is being made at present, each under its key."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def make_once(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Make it, or wait until it is made that somebody else asked for."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(make())
            task.add_done_callback(lambda _: self._tasks.pop(key))
        made: T = await asyncio.shield(task)
        return made
