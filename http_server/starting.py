"""What the HTTP server is told of a start that failed."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from store.errors import StoreError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def shorten_traceback(send: Send) -> Send:
    """Return a `send` that shortens why a start failed.

    For a reason of ours it is told without the traceback.
    """

    async def send_on(message: MutableMapping[str, Any]) -> None:
        problem = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(problem, StoreError):
            message["message"] = str(problem)
        await send(message)

    return send_on
