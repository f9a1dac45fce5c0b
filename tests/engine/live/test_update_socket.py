"""One client: what it is sent in which order, and how it is given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from engine.live import update_feed, update_socket
from engine.live.sockets import SocketClosed
from store import access
from store.rules.live.updates import MOST_WAITING

CALLER = access.Caller("alice", frozenset({"read"}))


class Socket:
    """A WebSocket of a test: what is said to it, what it is sent, and whether it takes that."""

    def __init__(self) -> None:
        self.heard, self.sent, self.is_open = asyncio.Queue[str](), asyncio.Queue[Any](), asyncio.Event()
        self.is_open.set()

    async def receive(self) -> str:
        return await self.heard.get()

    async def send(self, message: str | bytes) -> None:
        await self.is_open.wait()
        self.sent.put_nowait(json.loads(message))


async def iterate_rows(_server: Any, _channel: str) -> AsyncIterator[dict[str, Any]]:
    """Yield more jobs than one message has."""
    for number in range(250):
        yield {"job_id": str(number)}


def serve(test: Any) -> None:
    """Run a test with a feed, a socket and the task that serves it."""

    async def work() -> None:
        feed, socket = update_feed.UpdateFeed(), Socket()
        feed.join = lambda _server, listener: feed.listeners.add(listener)  # type: ignore[method-assign]
        feed.iterate_rows = iterate_rows  # type: ignore[method-assign,assignment]
        server: Any = SimpleNamespace(update_feeds=[feed])
        serving = asyncio.ensure_future(update_socket.serve_updates(server, CALLER, socket))
        async with asyncio.timeout(60):
            await test(feed, socket, serving)
        serving.cancel()
        await asyncio.wait({serving})
        assert not feed.listeners

    asyncio.run(work())


SUBSCRIBE = '{"action": "subscribe", "channel": "jobs", "snapshot": %s}'


def test_a_snapshot_comes_in_pieces_before_all_updates() -> None:
    async def test(feed: Any, socket: Socket, serving: Any) -> None:
        socket.heard.put_nowait(SUBSCRIBE % "true")
        assert (await socket.sent.get())["action"] == "subscribed"
        socket.is_open.clear()
        first = await socket.sent.get()
        feed.tell_update("jobs", "update", "7", {"job_id": "7", "state": "RUNNING"})
        feed.tell_update("jobs", "update", "7", {"job_id": "7", "state": "COMPLETED"})
        socket.is_open.set()
        more = [await socket.sent.get() for _ in range(3)]
        assert [len(message["data"]["jobs"]) for message in (first, *more[:2])] == [100, 100, 50]
        assert [message["data"]["has_more"] for message in (first, *more[:2])] == [True, True, False]
        assert more[2]["data"] == {"job_id": "7", "state": "COMPLETED"}, "of each job the newest"

    serve(test)


def test_a_client_that_takes_nothing_is_given_up() -> None:
    async def test(feed: Any, socket: Socket, serving: Any) -> None:
        socket.heard.put_nowait(SUBSCRIBE % "false")
        await socket.sent.get()
        socket.is_open.clear()
        for _ in range(10 * MOST_WAITING):
            feed.tell_update("jobs", "update", "7", {"job_id": "7"})
            await asyncio.sleep(0)
        assert not serving.done(), "of one job one update waits"
        for number in range(2 * MOST_WAITING + 2):
            feed.tell_update("jobs", "update", str(number), {"job_id": str(number)})
        with pytest.raises(SocketClosed) as closed:
            await serving
        assert closed.value.code == update_socket.TRY_AGAIN_LATER

    serve(test)


def test_there_are_not_too_many_subscriptions() -> None:
    async def test(feed: Any, socket: Socket, serving: Any) -> None:
        for _ in range(update_socket.MOST_SUBSCRIPTIONS + 1):
            socket.heard.put_nowait(SUBSCRIBE % "false")
        answers = [await socket.sent.get() for _ in range(update_socket.MOST_SUBSCRIPTIONS + 1)]
        assert [answer["action"] for answer in answers[-2:]] == ["subscribed", "error"]
        assert answers[0]["subscription_id"] != answers[1]["subscription_id"]

    serve(test)
