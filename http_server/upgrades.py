"""WebSockets over connections that are taken from granian.

granian's own keep 128 KiB for each client, and gather up to 64 MB of a message before the app hears of it; neither can
be set. So granian gets a plain request and its answer 101, after which it closes its descriptor and has no more to do
with the connection. A copy of the descriptor is served here. The frames are read and made by the library websockets,
which refuses a message that is too large by the head of its frame; the app gets the messages of ASGI.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from operator import itemgetter
from typing import Any, cast

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from http_server.connections import Ends, list_connections, read_ends

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Address = tuple[str, int]

# Of one message, in however many frames it comes.
MESSAGE_BYTES = 65_536
# So many messages wait for the app. What came in beyond them is looked at later, and the rest stays with the client.
WAITING_MESSAGES, PIECE_BYTES = 4, 4096
# Proxies end what is silent for long. A client that answers none of so many pings has gone.
PING_S, UNANSWERED_PINGS = 20.0, 6
# After the last frame a client has so long to end the connection.
CLOSING_S = 1.0
# granian writes its answer and closes in a thread of its own: we look so often at first, and for so long in all.
LOOK_S, LOOK_SELDOM_S, TAKING_S = 0.001, 0.1, 10.0
# What many are sent is put into a frame once.
FRAMES_KEPT = 16
GET_NAME = itemgetter(0)
REFUSED: Message = {"type": "http.response.start", "status": 403, "headers": []}


def make_answer(scope: Message) -> Message | None:
    """Make the answer that grants a request its WebSocket.

    None for one that does not ask well for it (RFC 6455, 4.2.1): that stays a plain request.
    """
    if b"upgrade" not in map(GET_NAME, scope["headers"]):
        return None
    names = dict(scope["headers"]).keys()
    if names & {b"content-length", b"transfer-encoding"} or scope["http_version"] != "1.1":
        return None
    given = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    answer = ServerProtocol().accept(Request(scope["path"], given))
    if scope["method"] != "GET" or answer.status_code != 101:
        return None
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.raw_items()]
    return {"type": "http.response.start", "status": 101, "headers": headers}


class Upgraded(asyncio.Protocol):
    """One WebSocket, with `receive` and `send` as ASGI has them.

    `send_plain` answers the request that asks for it. `taken` has the descriptors of all of them. `ends` are the
    client's address and port, and ours.
    """

    def __init__(self, answer: Message, send_plain: Send, ends: Ends, taken: set[int]) -> None:
        self.answer, self.send_plain = answer, send_plain
        self.ends, self.taken = ends, taken
        loop = asyncio.get_running_loop()
        self.answered, self.lost = loop.create_future(), loop.create_future()
        self.frames = ServerProtocol(state=State.OPEN, max_size=MESSAGE_BYTES)
        self.transport: asyncio.Transport | None = None
        self.descriptor = -1
        self.messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self.arrived, self.may_write = asyncio.Event(), asyncio.Event()
        self.may_write.set()
        self.unread, self.parts, self.is_text = b"", bytearray(), True
        self.is_over = self.is_paused = self.is_ending = False
        self.unanswered = 0
        self.timer: asyncio.TimerHandle | None = None

    # --- as the app sees it -----------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Receive the next message, in the end that the client has left."""
        while not self.messages:
            if self.is_over:
                last = self.frames.close_rcvd
                code = CloseCode.ABNORMAL_CLOSURE if last is None else last.code
                return {"type": "websocket.disconnect", "code": int(code)}
            self.arrived.clear()
            await self.arrived.wait()
        message = self.messages.popleft()
        self.read_on()
        return message

    async def send(self, message: Message) -> None:
        """Send a message.

        Returns once the connection has room for more. Raises OSError when the client has left.
        """
        kind = message["type"]
        if kind == "websocket.accept":
            await self.take_over()
        elif kind == "websocket.close":
            await self.close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
        elif kind != "websocket.send":
            await self.answer_plainly({**message, "type": kind.removeprefix("websocket.")})
        elif self.transport is None or self.frames.state is not State.OPEN:
            raise ConnectionResetError("the client has left")
        else:
            text = message.get("text")
            self.transport.write(make_frame(message["bytes"] if text is None else text))
            await self.may_write.wait()

    async def take_over(self) -> None:
        """Take the connection, once granian has granted the request and closed it."""
        number, copy = copy_connection(self.ends, self.taken)
        self.descriptor = copy.fileno()
        self.taken.add(self.descriptor)
        try:
            await self.answer_plainly(self.answer)
            await self.answer_plainly({"type": "http.response.body", "body": b""})
            async with asyncio.timeout(TAKING_S):
                await wait_for_closing(number, self.descriptor)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self, copy)
        except BaseException:
            self.taken.discard(self.descriptor)
            copy.close()
            raise

    async def answer_plainly(self, message: Message) -> None:
        """Send a part of the answer to the request."""
        await self.send_plain(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.answered.set_result(None)

    async def close(self, code: int, reason: str) -> None:
        """Close it, and wait until the client has, for CLOSING_S at most."""
        if self.transport is None:
            await self.answer_plainly(REFUSED)
            await self.answer_plainly({"type": "http.response.body", "body": b""})
        elif self.frames.state is State.OPEN:
            self.frames.send_close(code, reason)
            self.write()
        self.end_soon()
        await asyncio.wait({self.lost}, timeout=CLOSING_S)

    def end_soon(self) -> None:
        """End the connection, unless the client does so in time.

        Whatever it still says, it gets no more time.
        """
        if self.transport is not None and not self.transport.is_closing() and not self.is_ending:
            self.is_ending = True
            self.set_timer(CLOSING_S, self.transport.abort)

    # --- as the connection sees it ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note how to write, and ping from now on."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self.set_timer(PING_S, self.ping)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self.unanswered = 0
        self.unread += data
        self.read_on()

    def eof_received(self) -> None:
        """Note that the client says no more: the connection ends."""
        self.frames.receive_eof()
        self.write()

    def connection_lost(self, _problem: Exception | None) -> None:
        """Note that the connection has ended."""
        self.taken.discard(self.descriptor)
        self.is_over, self.unread = True, b""
        self.arrived.set()
        self.may_write.set()
        self.lost.set_result(None)
        if self.timer is not None:
            self.timer.cancel()

    def pause_writing(self) -> None:
        """Have senders wait: much is yet to be read by the client."""
        self.may_write.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self.may_write.set()
        self.read_on()

    def read_on(self) -> None:
        """Read frames, while there is room for messages and answers."""
        while self.unread and len(self.messages) < WAITING_MESSAGES and self.may_write.is_set():
            piece, self.unread = self.unread[:PIECE_BYTES], self.unread[PIECE_BYTES:]
            self.frames.receive_data(piece)
            for frame in self.frames.events_received():
                assert isinstance(frame, Frame)
                self.read_frame(frame)
            self.write()
        must_pause = bool(self.unread) or not self.may_write.is_set()
        if self.transport is not None and must_pause != self.is_paused and not self.transport.is_closing():
            self.is_paused = must_pause
            self.transport.pause_reading() if must_pause else self.transport.resume_reading()

    def read_frame(self, frame: Frame) -> None:
        """Add a frame to the message that it is of."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self.is_text = frame.opcode is Opcode.TEXT
        self.parts += frame.data
        if not frame.fin:
            return
        data, self.parts = bytes(self.parts), bytearray()
        try:
            message = {"text": data.decode()} if self.is_text else {"bytes": data}
        except UnicodeDecodeError:
            self.frames.fail(CloseCode.INVALID_DATA, "text must be UTF-8")
            return
        self.messages.append({"type": "websocket.receive", **message})
        self.arrived.set()

    def write(self) -> None:
        """Write what the library has to say."""
        assert self.transport is not None
        if (data := b"".join(pieces := self.frames.data_to_send())) and not self.transport.is_closing():
            self.transport.write(data)
        if self.frames.state is not State.OPEN:
            self.is_over = True
            self.arrived.set()
            if b"" in pieces and not self.transport.is_closing():  # it says no more
                self.transport.write_eof()
            self.end_soon()

    def ping(self) -> None:
        """Ask whether the client is there."""
        assert self.transport is not None
        self.unanswered += not self.is_paused  # what is not read may be an answer
        if self.unanswered > UNANSWERED_PINGS:
            self.transport.abort()
        elif self.frames.state is State.OPEN:
            self.frames.send_ping(b"")
            self.write()
            self.set_timer(PING_S, self.ping)

    def set_timer(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function later, instead of what was to be called."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(seconds, function)


@functools.lru_cache(FRAMES_KEPT)
def make_frame(message: str | bytes) -> bytes:
    """Make the frame of a message."""
    opcode, data = (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
    return Frame(opcode, data).serialize(mask=False)


def copy_connection(ends: Ends, taken: set[int]) -> tuple[int, socket.socket]:
    """Find the descriptor of the connection between these ends, and copy it.

    It is none of those that are taken. Our end may be the one that is listened on, which stands for all addresses of
    this machine. Raises OSError where the client has left, or has several connections that are meant by it.
    """
    client, own = (normalize_end(end) for end in ends)
    ours = None if ipaddress.ip_address(own[0]).is_unspecified else own
    found = {
        number: known for number, known in list_connections(own[1], taken)
        if normalize_end(known[0]) == client and ours in (None, normalize_end(known[1]))
    }  # fmt: skip
    if len(found) == 1:
        ((number, known),) = found.items()
        copy = socket.socket(fileno=os.dup(number))
        # granian's threads may have closed it since, and the number may be another client's by now.
        if read_ends(copy.fileno(), own[1]) == known:
            return number, copy
        copy.close()
    raise ConnectionResetError("the client has left")


def normalize_end(end: Address) -> Address:
    """Return address and port without what some programs write beside it.

    >>> normalize_end(("::ffff:127.0.0.1", 80)), normalize_end(("fe80::1%eth0", 80))
    (('127.0.0.1', 80), ('fe80::1', 80))
    """
    return end[0].partition("%")[0].removeprefix("::ffff:"), end[1]


async def wait_for_closing(number: int, other: int) -> None:
    """Wait until the first descriptor no longer stands for the second's file."""
    pause_s = LOOK_S
    while is_same_file(number, other):
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_SELDOM_S)


def is_same_file(number: int, other: int) -> bool:
    """Return whether two descriptors stand for the same file.

    The first may have been closed.
    """
    try:
        return os.path.samestat(os.fstat(number), os.fstat(other))
    except OSError:
        return False
