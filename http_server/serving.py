"""granian in this process, from listening to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from http_server.connections import end_connections, watch_connections
from http_server.descriptors import raise_limit
from http_server.memory import bound_memory, give_back_rest
from http_server.tls import INNER_ADDRESS, Front, Tls, make_context
from http_server.upgrades import Upgraded, make_answer
from store.collecting import keep_collections_short
from store.errors import StoreError

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Lifespan = Callable[[None], AbstractAsyncContextManager[dict[str, Any]]]

log = logging.getLogger("sluice")

# To the end of the headers; also how long a connection may be idle between two requests.
HEAD_TIMEOUT_S = 10
# Of one connection, before the app sees a request. Heads of up to 64 KB are taken; the app says so of those between.
BUFFER_BYTES = 96 * 1024
# Of all connections, so much may be WebSockets.
SOCKETS_SHARE = 2
# The loop and threads that write, read and pack take turns as often as that. Python's 5 ms are as long as a fsync, and
# a thread may wait for them after each call of the system.
TURN_S = 0.001
# Connections that wait to be accepted.
BACKLOG = 2048
# A request that waits for a long transfer does not keep the server from ending.
GRACE_S = 5
# WebSockets are closed before granian stops, which knows nothing of them then.
SOCKETS_S = 2
# What is cancelled then may still be answered.
LAST_WORDS_S = 1


def serve_app(app: App, lifespan: Lifespan, address: str, port: int, tls: Tls | None = None) -> None:
    """Serve the app until told to end, and end the process.

    That is as programs do: by the signal SIGTERM, or well after Ctrl-C; with status 3 when the app does not start.
    """
    bound_memory()
    sys.setswitchinterval(TURN_S)
    serving = Serving(app, lifespan, address, port, tls)
    try:
        uvloop.run(serving.run())
    except StoreError as problem:
        log.error("%s", problem)
        sys.exit(3)
    except Exception:
        log.exception("the server failed")
        sys.exit(3)


class Serving:
    """One run of the server, from listening to its end."""

    def __init__(self, app: App, lifespan: Lifespan, address: str, port: int, tls: Tls | None = None) -> None:
        self.app, self.lifespan, self.address, self.port, self.tls = app, lifespan, address, port, tls
        self.front: Front | None = None
        self.calls: set[asyncio.Task[Any]] = set()
        self.sockets: set[asyncio.Task[Any]] = set()  # those of the calls that are WebSockets
        self.most_sockets = 0
        self.taken: set[int] = set()  # descriptors of the WebSockets, which are not granian's any more
        self.signals: list[int] = []  # the signals that told it to end
        self.is_told, self.is_urgent = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Serve; callers that are early wait until the app has started."""
        most = raise_limit()
        server = self.make_server(most)
        with self.listen_to_signals():
            self.state: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(server.serve())
            if self.front is not None:
                await self.front.start(BACKLOG)
            is_over = threading.Event()
            threading.Thread(target=watch_connections, args=(self.port, most, is_over), daemon=True).start()
            try:
                async with self.lifespan(None) as state:
                    with keep_collections_short():
                        give_back_rest()
                        self.state.set_result(state)
                        waiting = asyncio.create_task(self.is_told.wait())
                        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    await self.end(server, serving)
            finally:
                is_over.set()
                if not self.state.done():  # the app has not started: granian's threads end before Python does
                    self.state.cancel()
                    await self.end(server, serving)
        if not self.signals:
            raise RuntimeError("granian has ended")
        if signal.SIGTERM in self.signals:  # at once: a thread that a disk holds up would be waited for
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def make_server(self, most: int) -> Server:
        """Make the server; behind a front that ends TLS where there is TLS.

        Such a connection takes three descriptors instead of one.
        """
        address, port = self.address, self.port
        if self.tls is not None:
            most //= 3
            address, port = find_address(INNER_ADDRESS, 0)
            self.front = Front(make_context(self.tls), self.address, self.port, port, most)
        self.most_sockets = most // SOCKETS_SHARE
        return make_granian(self.call, address, port, most - self.most_sockets)

    async def call(self, scope: Scope, receive: Any, send: Any) -> None:
        """Have the app answer one request, once it has started."""
        task = asyncio.current_task()
        assert task is not None
        self.calls.add(task)
        try:
            answer = make_answer(scope)
            if answer is not None:
                await self.upgrade(scope, answer, send)
            else:
                state = self.state.result() if self.state.done() else await self.state
                await self.app(self.complete_scope(scope, state), receive, send)
        except asyncio.CancelledError:
            pass  # at the end, amid an answer: there is nobody to tell
        finally:
            self.calls.discard(task)

    def complete_scope(self, scope: Scope, state: dict[str, Any]) -> Scope:
        """Return the scope with all that the app is told of a request."""
        # Files are sent by the app: it has looked at what it opens. A WebSocket is refused with an answer.
        scope["extensions"] = {"websocket.http.response": {}} if scope["type"] == "websocket" else {}
        scope["state"] = state
        if self.front is not None:
            more = self.front.describe_client(scope)
            scope["extensions"] |= more.pop("extensions", {})
            scope.update(more)
        return scope

    async def upgrade(self, scope: Scope, answer: Scope, send: Any) -> None:
        """Have the app speak over a WebSocket.

        Returns once the request for it is answered.
        """
        if max(len(self.taken), len(self.sockets)) >= self.most_sockets:  # some are yet to be taken, some yet to close
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"5")]})
            await send({"type": "http.response.body", "body": b""})
            return
        client, own = ((end[0], int(end[1])) for end in (scope["client"], scope["server"]))
        socket = Upgraded(answer, send, (client, own), self.taken)
        asked = {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}
        self.complete_scope(asked, await self.state)
        del asked["method"]
        task = asyncio.ensure_future(self.app(asked, socket.receive, socket.send))
        for tasks in (self.calls, self.sockets):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: socket.end_soon())
        await asyncio.wait({task, socket.answered}, return_when=asyncio.FIRST_COMPLETED)

    async def end(self, server: Server, serving: asyncio.Task[None]) -> None:
        """End well: answer what is under way, for GRACE_S at most.

        What is left then, or when a second signal comes, is cancelled.
        """
        if self.front is not None:
            self.front.stop()
        urgent = asyncio.create_task(self.is_urgent.wait())
        if self.sockets:  # the app closes them, now that it is told to end
            closing = asyncio.create_task(asyncio.wait(list(self.sockets), timeout=SOCKETS_S))
            await asyncio.wait({closing, urgent}, return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
        server.stop()
        await asyncio.wait({serving, urgent}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        urgent.cancel()
        if not serving.done():
            for task in self.calls:
                task.cancel()
            await asyncio.wait({serving}, timeout=LAST_WORDS_S)
            with contextlib.suppress(OSError):  # no descriptor is left to look with
                end_connections(self.port)  # not in a thread: a disk may hold up all that there are
            await asyncio.wait({serving}, timeout=GRACE_S)
        if self.front is not None:
            await self.front.end()
        if not serving.done():
            serving.cancel()
        elif (problem := serving.exception()) is not None:
            raise problem

    @contextlib.contextmanager
    def listen_to_signals(self) -> Iterator[None]:
        """Note that the process is told to end, and when it is told again."""
        loop = asyncio.get_running_loop()

        def handle(number: int, _frame: Any) -> None:
            event = self.is_urgent if self.signals else self.is_told
            self.signals.append(number)
            loop.call_soon_threadsafe(event.set)

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_granian(app: App, address: str, port: int, most: int) -> Server:
    """Make the server, with at most so many connections at once.

    HTTP/1.1 only: over HTTP/2 one connection could have hundreds of requests under way.
    """
    return Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGINL,  # without a lifespan: it is run here, which tells apart why a start failed
        http=HTTPModes.http1,
        backlog=BACKLOG,
        backpressure=most,
        websockets=False,  # they are served here
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_S * 1000, max_buffer_size=BUFFER_BYTES),
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},
    )


def find_address(host: str, port: int) -> tuple[str, int]:
    """Find the address and the port to listen on; for port 0 one that is free.

    Where nobody can listen there, the program ends with one clear line.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server((host, port), family=family) as listener:
            return str(address[0]), int(listener.getsockname()[1])
    except OSError as problem:
        hints = {
            errno.EADDRINUSE: f"something else listens there; --port {port + 1} is another",
            errno.EACCES: "ports below 1024 are root's; --port 8000 is not",
        }
        reason = hints.get(problem.errno or 0, problem.strerror or str(problem))
        sys.exit(f"Cannot listen on {host} port {port}: {reason}")
