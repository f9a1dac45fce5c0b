"""A WebSocket over ASGI's messages, with its bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

# So many messages of a client wait to be received, of at most so many bytes each.
WAITING_MESSAGES, MESSAGE_BYTES = 16, 65_536
# A client that reads nothing is not waited for longer than this at the end.
CLOSING_S = 1.0
# A client whose credentials have ended is sent away within so long.
CHECK_S = 5.0
REASON_BYTES = 123  # RFC 6455, 5.5
TOO_BIG, ABNORMAL, BINARY = 1009, 1006, "replace"


class Gone(Exception):
    """The client has left."""


class WebSocket:
    """One WebSocket, which is accepted when it is first used.

    `count` returns how many seconds to wait before another message of this client is taken. `has_left` is set when the
    client has gone, and when it has sent too much at once.
    """

    __slots__ = (
        "_accepting", "_code", "_count", "_is_read", "_is_too_big", "_messages", "_pumping", "_receive", "_send",
        "has_left", "is_accepted",
    )  # fmt: skip

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        count: Callable[[], float],
    ) -> None:
        self._receive, self._send, self._count = receive, send, count
        self._accepting: asyncio.Task[None] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[str] = asyncio.Queue(WAITING_MESSAGES)
        self._code = ABNORMAL  # that the client has left with
        self._is_read = self._is_too_big = self.is_accepted = False
        self.has_left = asyncio.Event()

    async def accept(self) -> None:
        """Accept the WebSocket, unless that has been done."""
        self._accepting = self._accepting or asyncio.ensure_future(self._accept_now())
        if not self._accepting.done():
            await asyncio.shield(self._accepting)
        self._accepting.result()

    async def _accept_now(self) -> None:
        self.is_accepted = True
        try:
            await self._receive()  # that it wants to connect
            await self._send({"type": "websocket.accept"})
        except Exception as problem:  # each server has its own
            self.has_left.set()
            raise Gone from problem
        self._pumping = asyncio.ensure_future(self._pump())

    async def _pump(self) -> None:
        """Take what the client sends, until it leaves.

        No receiving is ever cancelled: granian's next one might say that the client has left. Before anybody wants to
        know what the client says, no more than a few messages are kept.
        """
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                text, data = message.get("text"), message.get("bytes")
                if len(text or data or b"") > MESSAGE_BYTES:
                    self._is_too_big = True
                    return
                if self._is_read or not self._messages.full():
                    await self._messages.put(text if text is not None else (data or b"").decode(errors=BINARY))
            self._code = message.get("code", self._code)
        except Exception:  # noqa: S110 - each server has its own for a client that has left amid a message
            pass
        finally:
            self.has_left.set()

    async def receive(self) -> str:
        """Return the next message as text.

        Who sends more than it may is read as slowly as it may send.
        """
        self._is_read = True  # before anything can arrive, of which some would be thrown away
        await self.accept()
        while wait_s := self._count():
            await asyncio.sleep(wait_s)
        return await self._messages.get()

    async def send(self, message: str | bytes) -> None:
        """Send text, or bytes as a binary message; raise Gone."""
        await self.accept()
        await asyncio.sleep(0)  # a sending that need not wait would let nobody else have a turn
        if self.has_left.is_set():
            raise Gone
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: message})
        except Exception as problem:
            raise Gone from problem

    async def close(self, code: int, reason: str) -> int:
        """Close with code and reason, where the client is still there.

        Returns the code that it was closed with.
        """
        if self._is_too_big:
            code, reason = TOO_BIG, f"A message has at most {MESSAGE_BYTES} bytes"
        elif self.has_left.is_set():
            return self._code
        short = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        with contextlib.suppress(Exception):  # it may have left meanwhile, or reads nothing
            async with asyncio.timeout(CLOSING_S):
                await self.accept()
                await self._send({"type": "websocket.close", "code": code, "reason": short})
        return code

    async def run(
        self, speak: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]], check: Callable[[], None]
    ) -> BaseException | None:
        """Run what speaks until it ends, or the client leaves.

        Returns what went wrong: the exception of `speak`, CancelledError where somebody cancelled its task, which is in
        `tasks` meanwhile, or what `check` raised, which is called every CHECK_S.
        """
        speaking, leaving = asyncio.ensure_future(speak), asyncio.ensure_future(self.has_left.wait())
        tasks.add(speaking)
        try:
            while not (speaking.done() or leaving.done()):
                await asyncio.wait({speaking, leaving}, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                check()
            if not speaking.done():
                return None
            return asyncio.CancelledError() if speaking.cancelled() else speaking.exception()
        except Exception as problem:
            return problem
        finally:
            tasks.discard(speaking)
            leaving.cancel()
            speaking.cancel()
            await asyncio.wait({speaking})

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
