"""Passwords, checked a few at a time and off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from slurm_shim.threads import Pool
from store.access.limits import Buckets
from store.access.yaptide import passwords
from store.errors import TooManyTries, TooManyWaiting

# So many are checked at once, each takes 19 MB and some hundredths of a second; and so many wait for their turn.
MOST_RUNNING, MOST_WAITING = 2, 32


class PasswordChecks:
    """Checks passwords, and counts who tries how often. `clock` is for tests.

    Unlike a token a password can be guessed, so who has guessed too often waits before another try is even looked at.
    That is counted for each client and name, so that behind a proxy nobody is locked out by those who guess for another
    name; and for each client on the whole, who may know many names.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pool, self.waiting = Pool(MOST_RUNNING, "passwords"), 0
        self.tries = Buckets(10, 6, clock)
        self.clients = Buckets(100, 1, clock)
        self.registrations = Buckets(20, 30, clock)

    def count_try(self, client: str, user_id: str) -> None:
        """Count a try to log in. Raises TooManyTries."""
        if wait_s := self.tries.take(f"{client} {user_id}") or self.clients.take(client):
            raise TooManyTries("Too many wrong passwords", wait_s)

    def forget_try(self, client: str, user_id: str) -> None:
        """Forget a try: it was right."""
        self.tries.give_back(f"{client} {user_id}")
        self.clients.give_back(client)

    def count_registration(self, client: str) -> None:
        """Count a registration. Raises TooManyTries."""
        if wait_s := self.registrations.take(client):
            raise TooManyTries("Too many registrations", wait_s)

    async def is_password(self, password: str, hashed: str | None) -> bool:
        """Return whether the password has this hash; None is nobody's.

        Raises TooManyWaiting.
        """
        return bool(await self._run(passwords.is_password, password, hashed))

    async def hash_password(self, password: str) -> str:
        """Return the hash of a password. Raises TooManyWaiting."""
        return str(await self._run(passwords.hash_password, password))

    async def _run(self, work: Callable[..., Any], *given: str | None) -> Any:
        if self.waiting >= MOST_RUNNING + MOST_WAITING:
            raise TooManyWaiting("Too many passwords wait to be checked")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work, *given)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)
