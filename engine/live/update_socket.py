"""One client of the S9S WebSocket, and what it is sent."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

from engine.live.sockets import Socket, SocketClosed
from engine.live.update_feed import get_feed
from engine.server import Server
from store import access
from store.errors import Invalid, StoreError, make_problem
from store.jsons import dump_json
from store.rules.live.subscriptions import MOST_SUBSCRIPTIONS, Subscription, parse_message, parse_subscription
from store.rules.live.updates import Update, WaitingUpdates
from store.times import to_rfc3339
from store.views import s9s

# So many rows of a snapshot are sent in one message.
SNAPSHOT_ROWS = 100
TRY_AGAIN_LATER = 1013


async def serve_updates(server: Server, caller: access.Caller, socket: Socket) -> None:
    """Send a client the updates that it subscribes to."""
    await Client(server, caller, socket).serve()


class Client:
    """One connection.

    What is wrong with a message is told, and closes nothing.
    """

    def __init__(self, server: Server, caller: access.Caller, socket: Socket) -> None:
        self._server, self._caller, self._socket = server, caller, socket
        self._feed = get_feed(server)
        self._subscriptions: dict[str, Subscription] = {}
        self._made = 0  # subscriptions, in all
        self._waiting, self._news = WaitingUpdates(), asyncio.Event()
        self._is_too_slow = asyncio.Event()
        self._sending = asyncio.Lock()  # held while a snapshot is sent: updates come after it

    async def serve(self) -> None:
        """Answer messages and send updates until the client leaves."""
        works = (self._answer_messages, self._send_updates, self._wait_until_too_slow)
        tasks = {asyncio.ensure_future(work()) for work in works}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._feed.leave(self)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _wait_until_too_slow(self) -> None:
        await self._is_too_slow.wait()
        raise SocketClosed(TRY_AGAIN_LATER, "Too many updates wait: connect again and subscribe anew")

    async def _answer_messages(self) -> None:
        while True:
            text = await self._socket.receive()
            try:
                message = parse_message(text)
                await getattr(self, f"_answer_{message['action']}")(message)
            except StoreError as problem:
                await self._send({"action": "error", **to_error_json(problem)})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._socket.send(_write_json(message))

    async def _answer_ping(self, _message: Mapping[str, Any]) -> None:
        await self._send({"action": "pong"})

    async def _answer_auth(self, _message: Mapping[str, Any]) -> None:
        # A client that was let in without one, such as over loopback, may send it all the same.
        await self._send({"action": "authenticated", "user": self._caller.name})

    async def _answer_subscribe(self, message: Mapping[str, Any]) -> None:
        wanted = parse_subscription(message, f"sub_{self._made + 1}")
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            text = f"a connection has at most {MOST_SUBSCRIPTIONS} subscriptions"
            raise Invalid([make_problem(text, ["body", "channel"], input=wanted.channel)])
        self._made += 1
        async with self._sending:
            named = {"channel": wanted.channel, "filter": wanted.given, "subscription_id": wanted.id}
            await self._send({"action": "subscribed", **named})
            self._feed.join(self._server, self)
            self._subscriptions[wanted.id] = wanted
            if message.get("snapshot"):
                await self._send_snapshot(wanted)

    async def _send_snapshot(self, wanted: Subscription) -> None:
        channel_rows = self._feed.iterate_rows(self._server, wanted.channel)
        rows = [row async for row in channel_rows if wanted.accepts(wanted.channel, row)]
        at = to_rfc3339(int(time.time()))
        for first in range(0, max(len(rows), 1), SNAPSHOT_ROWS):
            piece = rows[first : first + SNAPSHOT_ROWS]
            data = {wanted.channel: piece, "total": len(rows), "has_more": first + len(piece) < len(rows)}
            named = {"channel": wanted.channel, "action": "snapshot", "subscription_id": wanted.id}
            await self._send({**named, "timestamp": at, "data": data})

    async def _answer_unsubscribe(self, message: Mapping[str, Any]) -> None:
        id, channel = message.get("subscription_id"), message.get("channel")
        ended = [
            item for item in self._subscriptions.values() if id in (None, item.id) and channel in (None, item.channel)
        ]
        if not ended or (id is None and channel is None):
            field, value = ("channel", channel) if id is None else ("subscription_id", id)
            raise Invalid([make_problem("there is no such subscription", ["body", field], input=value)])
        for item in ended:
            del self._subscriptions[item.id]
        if not self._subscriptions:
            self._feed.leave(self)
        for item in ended:
            await self._send({"action": "unsubscribed", "channel": item.channel, "subscription_id": item.id})

    # --- updates ----------------------------------------------------------------------------------------------------

    def wants(self, channel: str) -> bool:
        """Return whether it has subscribed to a channel."""
        return any(item.channel == channel for item in self._subscriptions.values())

    def add_update(self, update: Update, *versions: Mapping[str, Any] | None) -> None:
        """Have an update sent once, if a subscription wants it."""
        if any(item.accepts(update.channel, *versions) for item in self._subscriptions.values()):
            self._waiting.add(update)
            self._news.set()
            if self._waiting.is_too_slow:
                self._feed.leave(self)
                self._is_too_slow.set()

    async def _send_updates(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while (update := self._waiting.take()) is not None:
                async with self._sending:
                    await self._socket.send(update.frame)


def _write_json(message: Mapping[str, Any]) -> str:
    return dump_json(message).decode()


def to_error_json(problem: StoreError) -> dict[str, Any]:
    """Build the error of a message that cannot be followed."""
    wrong = problem.problems if isinstance(problem, Invalid) else ()
    request_id = f"req_{random.getrandbits(48):012x}"
    return s9s.to_error_json(400, type(problem).__name__, str(problem), wrong, request_id, {}, time.time())
