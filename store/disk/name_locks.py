"""Locks for the writers of one name, made when somebody wants them."""

from __future__ import annotations

import asyncio


class NameLock:
    """A lock for the writers of one name; dropped when nobody uses it."""

    def __init__(self, locks: dict[str, NameLock], name: str) -> None:
        self.locks = locks
        self.name = name
        self.lock = asyncio.Lock()
        self.users = 0

    async def __aenter__(self) -> None:
        self.users += 1
        try:
            await self.lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.lock.release()
        self._leave()

    def _leave(self) -> None:
        self.users -= 1
        if not self.users:
            self.locks.pop(self.name, None)
