"""When to ask again, and after which pause. Pure, but for chance."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass

import httpx

from s9s_client.errors import read_retry_after

RETRIED_STATUSES = frozenset({429, 503})
# The connection could not be made, or was lost on the way. A key makes asking twice harmless.
LOST = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
# Who breaks connections again and again does so earlier.
STOOD_S = 20.0
KEY = "Idempotency-Key"


@dataclass(frozen=True)
class Retries:
    """How often to ask again, and how long to wait before.

    A server that is started anew is away for some seconds.
    """

    count: int = 5
    first_s: float = 0.5
    longest_s: float = 60.0

    def find_pause(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Return the pause before the next attempt; None where there is none.

        `attempt` counts from 1. No response stands for a lost connection. A server that wants a longer pause than
        `longest_s` gets no further attempt: its refusal says how long.
        """
        if attempt > self.count or (response is not None and response.status_code not in RETRIED_STATUSES):
            return None
        wanted = read_retry_after(response.headers.get("retry-after")) if response is not None else None
        if wanted is not None:
            return wanted if wanted <= self.longest_s else None
        return min(self.longest_s, self.first_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311


def add_key(request: httpx.Request) -> None:
    """Name a request that makes something, so that it can be repeated."""
    if request.method == "POST" and KEY not in request.headers:
        request.headers[KEY] = uuid.uuid4().hex


def count_lost(lost: int, opened_at: float) -> int:
    """Count a connection that was lost.

    One that stood for long is lost for the first time, however silent it was.
    """
    return 1 if time.monotonic() - opened_at > STOOD_S else lost + 1


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def pause_async(seconds: float) -> None:
    """Wait, and let others work meanwhile."""
    await asyncio.sleep(seconds)
