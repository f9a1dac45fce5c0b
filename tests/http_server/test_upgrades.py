"""WebSockets over connections taken from granian: every kind of bytes on the wire, and what bounds a message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.sync.client import connect

from http_server import upgrades
from http_server.serving import Serving
from tests.app_server import free_port
from tests.waiting import eventually

FEW = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


class Echo:
    """A server that says what it hears, in a thread of its own."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port, self.loop, self.is_ready = free_port(), asyncio.new_event_loop(), threading.Event()
        self.serving = Serving(self.answer, None, address, self.port)  # type: ignore[arg-type] # no lifespan runs
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),), daemon=True)
        self.thread.start()
        assert self.is_ready.wait(60)

    async def serve(self) -> None:
        self.is_over = asyncio.Event()
        self.serving.state = self.loop.create_future()
        self.serving.state.set_result({})
        granian = self.serving.make_server(200)
        running = asyncio.ensure_future(granian.serve())
        while not self.is_ready.is_set():
            with contextlib.suppress(ConnectionRefusedError):
                (await asyncio.open_connection(self.address, self.port))[1].close()
                self.is_ready.set()
            await asyncio.sleep(0.01)
        await self.is_over.wait()
        await self.serving.end(granian, running)
        if left := asyncio.all_tasks() - {asyncio.current_task()}:  # they would be warned of in another test
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 426, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        with contextlib.suppress(OSError):  # it has left
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})

    def ask(self, **changed: str | None) -> tuple[socket.socket, bytes]:
        """A connection that has asked for a WebSocket, and the head of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        headers: dict[str, str | None] = {
            "Host": "a", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key, **{name.replace("_", "-"): value for name, value in changed.items()},
        }  # fmt: skip
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        made = socket.create_connection((self.address, self.port), timeout=60)
        made.sendall("\r\n".join(["GET /x HTTP/1.1", *lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = made.recv(1)
            assert piece, head
            head += piece
        return made, head


@contextlib.contextmanager
def echoing(address: str = "127.0.0.1") -> Iterator[Echo]:
    made = Echo(address)
    yield made
    made.loop.call_soon_threadsafe(made.is_over.set)
    made.thread.join(60)
    assert not made.thread.is_alive()
    made.loop.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with echoing() as made:
        yield made


@pytest.mark.parametrize("address", ["::1", "0.0.0.0", "::"])
def test_it_works_at_every_kind_of_address(address: str) -> None:
    with echoing(address) as made:
        asking, head = made.ask()
        asking.close()
        assert head.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    ("why", "changed", "status"),
    [
        ("a good one", {}, 101),
        ("in other letters", {"Upgrade": "WebSocket", "Connection": "keep-alive, upgrade"}, 101),
        ("another version", {"Sec_WebSocket_Version": "8"}, 426),
        ("no key", {"Sec_WebSocket_Key": None}, 426),
        ("a key that is none", {"Sec_WebSocket_Key": "short"}, 426),
        ("another protocol", {"Upgrade": "h2c"}, 426),
        ("no upgrade of the connection", {"Connection": "close"}, 426),
        ("a body", {"Content_Length": "0"}, 426),
    ],
)
def test_only_a_good_handshake_is_granted(echo: Echo, why: str, changed: dict[str, str | None], status: int) -> None:
    made, head = echo.ask(**changed)
    made.close()
    assert head.startswith(b"HTTP/1.1 %d" % status), why


def read_to_end(made: socket.socket) -> tuple[list[Frame], int | None]:
    """All frames of the server until it closes, and the code that it closes with."""
    frames = ClientProtocol(None, state=State.OPEN)  # type: ignore[arg-type] # no handshake
    found: list[Frame] = []
    with made, contextlib.suppress(ConnectionResetError):
        while piece := made.recv(65_536):
            frames.receive_data(piece)
            found += [frame for frame in frames.events_received() if isinstance(frame, Frame)]
    assert frames.parser_exc is None or isinstance(frames.parser_exc, EOFError), "what it sends is well-formed"
    return found, None if frames.close_rcvd is None else int(frames.close_rcvd.code)


def write_frame(opcode: int, data: bytes, fin: bool = True, mask: bool = True, bits: int = 0) -> bytes:
    """A frame, whatever is wrong with it."""
    head = bytes([(0x80 if fin else 0) | bits | opcode])
    size = len(data)
    flag = 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65_536:
        head += bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + data
    return head + b"\1\2\3\4" + bytes(byte ^ (1, 2, 3, 4)[place % 4] for place, byte in enumerate(data))


CLOSE = write_frame(Opcode.CLOSE, b"\x03\xe8")
FRAMES = st.one_of(
    st.builds(write_frame, st.integers(0, 15), st.binary(max_size=300), st.booleans(), st.booleans()),
    st.builds(write_frame, st.sampled_from([0, 1, 2, 9, 10]), st.binary(max_size=130), st.booleans()),
    st.builds(write_frame, st.just(1), st.text(max_size=80).map(str.encode)),
    st.builds(write_frame, st.just(8), st.binary(max_size=130)),
    st.builds(write_frame, st.just(1), st.just(b"a"), bits=st.sampled_from([0, 0x10, 0x20, 0x40])),
    st.just(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"),  # more than there can be
    st.binary(max_size=50),
)


@FEW
@given(st.lists(FRAMES, max_size=12), st.integers(1, 200))
def test_whatever_comes_it_ends_well(echo: Echo, frames: list[bytes], piece_bytes: int) -> None:
    made, _ = echo.ask()
    data = b"".join(frames) + CLOSE
    with contextlib.suppress(OSError):  # it has closed meanwhile
        for first in range(0, len(data), piece_bytes):
            made.sendall(data[first : first + piece_bytes])
        made.shutdown(socket.SHUT_WR)
    read_to_end(made)
    eventually(lambda: not echo.serving.taken, 60, "nothing is left of it")
    with connect(f"ws://127.0.0.1:{echo.port}/x", compression=None) as other:
        other.send("still there")
        assert other.recv(timeout=60) == "still there"


BIG = upgrades.MESSAGE_BYTES
WRONG = [
    ("bytes that are no text", write_frame(1, b"\xff"), 1007),
    ("half a character at the end of all pieces", write_frame(1, b"\xc3", fin=False) + write_frame(0, b""), 1007),
    ("no mask", write_frame(1, b"a", mask=False), 1002),
    ("a reserved bit", write_frame(1, b"a", bits=0x40), 1002),
    ("an opcode that there is not", write_frame(3, b"a"), 1002),
    ("a piece of nothing", write_frame(0, b"a"), 1002),
    ("a message amid another", write_frame(1, b"a", fin=False) + write_frame(1, b"b"), 1002),
    ("a long ping", write_frame(9, b"a" * 126), 1002),
    ("a ping in pieces", write_frame(9, b"a", fin=False), 1002),
    ("a code that there is not", write_frame(8, b"\0\1"), 1002),
    ("one byte too many", write_frame(2, bytes(BIG + 1))[:14], 1009),
    ("one byte too many in pieces", write_frame(2, bytes(BIG), fin=False) + write_frame(0, b"a")[:6], 1009),
]


@pytest.mark.parametrize(("why", "data", "code"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_frame_is_told_by_its_code(echo: Echo, why: str, data: bytes, code: int) -> None:
    made, _ = echo.ask()
    made.sendall(data)
    assert read_to_end(made)[1] == code, why


def test_a_character_may_be_in_two_pieces_with_a_ping_between(echo: Echo) -> None:
    made, _ = echo.ask()
    made.sendall(write_frame(1, b"\xc3", fin=False) + write_frame(9, b"p") + write_frame(0, b"\xa9"))
    with made, made.makefile("rb") as answers:
        assert answers.read(7) == b"\x8a\x01p" + b"\x81\x02\xc3\xa9"


def test_who_answers_no_ping_has_gone(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "PING_S", 0.02)
    made, _ = echo.ask()
    found, code = read_to_end(made)
    assert {frame.opcode for frame in found} == {Opcode.PING} and code is None


def test_who_answers_pings_stays(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "PING_S", 0.05)
    with connect(f"ws://127.0.0.1:{echo.port}/x", compression=None, ping_interval=None) as made:
        with pytest.raises(TimeoutError):
            made.recv(timeout=1)
        made.send("here")
        assert made.recv(timeout=60) == "here"


def test_pings_without_end_are_read_no_faster_than_their_answers(echo: Echo) -> None:
    made, _ = echo.ask()
    made.settimeout(2)
    with made, pytest.raises(TimeoutError):
        for _ in range(2000):  # far more than the kernel keeps for both
            made.sendall(write_frame(9, b"x" * 125) * 100)
    eventually(lambda: not echo.serving.taken, 60, "it has gone")


def test_who_says_on_after_the_end_gets_no_more_time(echo: Echo) -> None:
    made, _ = echo.ask()
    made.sendall(CLOSE)
    with made, pytest.raises(OSError):
        while True:  # until the server has ended it
            made.sendall(b"x")
            time.sleep(upgrades.CLOSING_S / 20)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, upgrades.Ends]]]:
    """What was accepted of one client port at two addresses of ours, each with its ends."""
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.create_server(("0.0.0.0", 0)))
        port, found, client = listener.getsockname()[1], [], ("127.0.0.1", 0)
        for address in ("127.0.0.1", "127.0.0.2"):
            asking = undo.enter_context(socket.socket())
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            asking.bind(client)
            asking.connect((address, port))
            client = asking.getsockname()
            found.append((undo.enter_context(listener.accept()[0]), (client, (address, port))))
        yield found


def test_one_client_port_may_have_connections_to_several_addresses(
    pairs: list[tuple[socket.socket, upgrades.Ends]],
) -> None:
    for accepted, ends in pairs:
        number, copy = upgrades.copy_connection(ends, set())
        copy.close()
        assert number == accepted.fileno()
        with pytest.raises(ConnectionResetError):
            upgrades.copy_connection(ends, {number})
        unclear = ends[0], ("0.0.0.0", ends[1][1])
        with pytest.raises(ConnectionResetError):
            upgrades.copy_connection(unclear, set())
    number, copy = upgrades.copy_connection(unclear, {pairs[0][0].fileno()})
    copy.close()
    assert number == pairs[1][0].fileno()


def test_a_descriptor_that_is_another_clients_by_now_is_not_taken(
    pairs: list[tuple[socket.socket, upgrades.Ends]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, ends), (other, _) = pairs
    monkeypatch.setattr(upgrades, "list_connections", lambda *_: [(other.fileno(), ends)])
    with pytest.raises(ConnectionResetError):
        upgrades.copy_connection(ends, set())


def test_what_is_never_closed_is_given_up(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "TAKING_S", 0.05)
    monkeypatch.setattr(upgrades, "is_same_file", lambda *_: True)
    made, _ = echo.ask()
    with made:
        assert made.recv(1) == b""
    eventually(lambda: not (echo.serving.taken or echo.serving.sockets), 60, "nothing is left of it")


def test_no_more_sockets_than_their_share(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo.serving, "most_sockets", 1)
    with connect(f"ws://127.0.0.1:{echo.port}/x", compression=None) as made:
        other, head = echo.ask()
        other.close()
        assert head.startswith(b"HTTP/1.1 503")
        with pytest.raises(ConnectionClosed):
            made.close()
            made.recv()
