"""A WebSocket of ASGI's messages, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from http_server.websocket import WAITING_MESSAGES, WebSocket
from tests.pretended import asynchronous


@asynchronous
async def test_who_says_much_at_once_is_heard_whole() -> None:
    """All of it has come before the WebSocket is accepted."""
    said = [str(number) for number in range(3 * WAITING_MESSAGES)]
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for message in ({"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in said)):
        waiting.put_nowait(message)

    async def take(_message: Any) -> None:
        await asyncio.sleep(0)

    async with WebSocket(waiting.get, take, lambda: 0) as socket:
        assert [await socket.receive() for _ in said] == said
