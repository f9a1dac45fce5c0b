"""The keys that sign the tokens of a realm of Keycloak, as fetched last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from engine.notify.webhooks import NoAnswer, NotSent
from store.access.yaptide import keycloak
from store.errors import StoreError, TooManyWaiting

# After so long they are asked for anew: a key that was withdrawn counts no more. A key that is not among them is asked
# for at once, but not more often than this: who makes up ids of keys asks nothing of Keycloak.
KEEP_S, PAUSE_S = 3600.0, 10.0
ANSWER_BYTES = 256_000
MOST_WAITING = 32

Get = Callable[[str, int], Awaitable[bytes]]


class KeycloakUnreachable(StoreError):
    """Keycloak does not say which keys sign its tokens."""


class RealmKeys:
    """Keys of a realm, fetched by `get(url, limit_bytes)`.

    That is done once at a time. `now` is for tests.
    """

    def __init__(self, get: Get, now: Callable[[], float] = time.monotonic) -> None:
        self.get, self.now = get, now
        self.url, self.keys, self.problem = "", dict[str, Any](), ""
        self.fetched_at = self.tried_at = float("-inf")
        self.lock, self.waiting = asyncio.Lock(), 0

    async def find_key(self, url: str, key_id: str) -> Any:
        """Return the key with this id; None if the realm has no such key.

        Raises KeycloakUnreachable, TooManyWaiting.
        """
        if self._is_fresh(url) and key_id in self.keys:
            return self.keys[key_id]
        if self.waiting >= MOST_WAITING:
            raise TooManyWaiting("Too many logins wait for Keycloak")
        self.waiting += 1
        try:
            async with self.lock:
                if not (self._is_fresh(url) and key_id in self.keys):
                    await self._renew(url)
        finally:
            self.waiting -= 1
        if self.problem:
            raise KeycloakUnreachable(f"Keycloak does not tell its keys: {self.problem} ({url})")
        return self.keys.get(key_id)

    def _is_fresh(self, url: str) -> bool:
        return url == self.url and self.now() < self.fetched_at + KEEP_S

    async def _renew(self, url: str) -> None:
        """Fetch the keys, unless that was tried a moment ago."""
        if url == self.url and self.now() < self.tried_at + PAUSE_S:
            return
        if not self._is_fresh(url):
            self.keys = {}
        self.url, self.tried_at, self.problem = url, self.now(), ""
        try:
            self.keys = await asyncio.to_thread(keycloak.parse_keys, await self.get(url, ANSWER_BYTES))
            self.fetched_at = self.now()
        except (NotSent, NoAnswer) as problem:
            self.problem = str(problem)
        except (StoreError, ValueError):
            self.problem = "its answer has no keys that can be read"
