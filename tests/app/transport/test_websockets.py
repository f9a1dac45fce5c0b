"""WebSockets of a made-up operation, on real connections: who is let in, how they end, what bounds them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import app
from engine.live import sockets
from http_server import websocket
from http_server.serving import Serving
from slurm_shim.errors import SlurmUnreachable
from store import access, errors
from store.config.settings import Settings
from tests.app_client import furnish
from tests.app_server import free_port
from tests.waiting import eventually

MOON = app.Family("moon", ("/moon",), app.write_detail, {"bearer": access.check_bearer})
PATHS: dict[str, Any] = {
    "/moon/talk/{topic}": {
        "parameters": [
            {"name": "topic", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 20}},
            {"name": "count", "in": "query", "schema": {"type": "integer", "default": 1}},
        ],
        "get": {
            "operationId": "moon_find_talk", "x-websocket": "moon_talk", "tags": ["moon"],
            "security": [{"bearer": ["read"]}, {}], "responses": {"101": {}},
        },
    },
    "/moon/other": {
        "get": {"operationId": "moon_get_other", "tags": ["moon"], "security": [{}], "responses": {"200": {}}}
    },
}  # fmt: skip
PROBLEMS: dict[str, Exception] = {
    "missing": errors.NotFound("Talk", "missing"), "away": SlurmUnreachable("squeue", "no answer"),
    "bug": RuntimeError("the secret is in /etc/shadow"), "over": sockets.SocketClosed(4010, "é" * 200),
}  # fmt: skip
ENDED: list[str] = []


def find_talk(topic: str) -> None:
    """Answer a plain request."""
    sockets.require_socket()


def get_other() -> dict[str, Any]:
    """Answer a request for what no WebSocket answers."""
    return {}


async def talk(topic: str, count: int, caller: access.Caller, socket: sockets.Socket) -> None:
    """Say who calls, then the same as the client; do as the topic says."""
    early, _, name = topic.partition("-")
    if early == "early":
        raise PROBLEMS[name]
    await socket.send(json.dumps({"who": caller.name, "count": count}))
    if topic in PROBLEMS:
        raise PROBLEMS[topic]
    try:
        while topic == "flood":
            await socket.send("x" * 10_000)
        while topic == "deaf":
            await asyncio.sleep(3600)
        while (said := await socket.receive()) != "end":
            await socket.send(said.encode() if topic == "bytes" else said)
    finally:
        ENDED.append(topic)


class Served:
    """The made-up family in a thread of its own, under one of the servers that serve the app."""

    def __init__(self, kind: str, folder: Path, always_ask: str) -> None:
        self.kind, self.port, self.tokens = kind, free_port(), dict[str, str]()
        furnish(folder, self.tokens)
        settings = Settings(store=folder, cluster="embedded", port=self.port, always_ask=always_ask)
        functions: dict[str, Any] = {"moon_find_talk": find_talk, "moon_talk": talk, "moon_get_other": get_other}
        self.app = app.App({"components": {}, "paths": PATHS}, [MOON], functions, {}, settings)
        self.loop, self.is_ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),), daemon=True)
        self.thread.start()
        assert self.is_ready.wait(60)

    async def serve(self) -> None:
        self.is_over = asyncio.Event()
        async with self.app.lifespan(None) as state:
            self.server = state["server"]
            await (self.serve_granian(state) if self.kind == "granian" else self.serve_uvicorn(state))

    async def serve_granian(self, state: dict[str, Any]) -> None:
        serving = Serving(self.app, self.app.lifespan, "127.0.0.1", self.port)
        serving.state = self.loop.create_future()
        serving.state.set_result(state)
        granian = serving.make_server(200)
        running = asyncio.ensure_future(granian.serve())
        await self.wait_until_it_listens()
        await self.is_over.wait()
        self.app.end_streams()
        await serving.end(granian, running)

    async def serve_uvicorn(self, state: dict[str, Any]) -> None:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "state": state}, receive, send)

        config = uvicorn.Config(call, port=self.port, ws="auto", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        running = asyncio.ensure_future(server.serve())
        await self.wait_until_it_listens()
        await self.is_over.wait()
        self.app.end_streams()
        server.should_exit = True
        await running

    async def wait_until_it_listens(self) -> None:
        """Let the test go on once there is somebody to connect to."""
        while not self.is_ready.is_set():
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                self.is_ready.set()
            await asyncio.sleep(0.01)

    def connect(self, path: str, token: str | None = None, max_queue: int = 16, **headers: str) -> ClientConnection:
        """A connection, with one of the tokens."""
        more = {"Authorization": f"Bearer {self.tokens.get(token, token)}"} if token else {}
        return connect(
            f"ws://127.0.0.1:{self.port}{path}", additional_headers={**more, **headers}, compression=None,
            max_size=None, max_queue=max_queue,
        )  # fmt: skip

    def begin_to_end(self) -> None:
        """Tell the server to end."""
        self.loop.call_soon_threadsafe(self.is_over.set)

    def end(self) -> None:
        """End the server."""
        if self.thread.is_alive():
            self.begin_to_end()
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serve(kind: str, folder: Path, always_ask: str = "no") -> Iterator[Served]:
    served = Served(kind, folder / "store", always_ask)
    try:
        yield served
    finally:
        served.end()
        served.loop.close()


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def served(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks everybody for a token."""
    with serve(kind, tmp_path_factory.mktemp(kind), "yes") as made:
        yield made


@pytest.fixture(autouse=True)
def forgive_failures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wrong tokens of one test do not count in the next."""
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("served").server.callers.failures.spent.clear()


def hear(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(timeout=60))


def read_close(connection: ClientConnection) -> tuple[int, str]:
    """Code and reason that the server closes with, after whatever it still says."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            connection.recv(timeout=60)
    frame = closed.value.rcvd
    assert frame is not None
    return frame.code, frame.reason


# --- who is let in ---------------------------------------------------------------------------------------------------


def test_a_token_in_the_header(served: Served) -> None:
    with served.connect("/moon/talk/any?count=7", "read") as connection:
        assert hear(connection) == {"who": "read", "count": 7}
        for text in ("a", "", "é\0𝄞", "x" * websocket.MESSAGE_BYTES):
            connection.send(text)
            assert connection.recv(timeout=60) == text
        connection.send(b"\xff\0")
        assert connection.recv(timeout=60) == "�\0"
        connection.ping().wait(60)
        connection.send("end")
        assert read_close(connection) == (1000, "")


def test_bytes_are_sent_as_such(served: Served) -> None:
    with served.connect("/moon/talk/bytes", "read") as connection:
        hear(connection)
        connection.send("é")
        assert connection.recv(timeout=60) == "é".encode()


@pytest.mark.parametrize(
    ("why", "path", "token", "headers", "status"),
    [
        ("a wrong token", "/moon/talk/a", "wrong", {}, 401),
        ("an expired one", "/moon/talk/a", "expired", {}, 401),
        ("may only report", "/moon/talk/a", "report", {}, 403),
        ("a page of another site", "/moon/talk/a", "read", {"Origin": "https://evil.example"}, 403),
        ("its browser says so", "/moon/talk/a", "read", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("a wrong parameter", "/moon/talk/012345678901234567890", "read", {}, 422),
        ("an unknown one", "/moon/talk/a?more=1", "read", {}, 422),
        ("nothing there", "/moon/nothing", "read", {}, 404),
        ("nothing there, nobody", "/moon/nothing", None, {}, 401),
        ("no operation that speaks", "/moon/other", "read", {}, 404),
        ("the function fails", "/moon/talk/early-bug", "read", {}, 500),
    ],
)
def test_refusals_are_answers_of_the_family(
    served: Served, why: str, path: str, token: str | None, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        served.connect(path, token, **headers)
    answer = refused.value.response
    assert answer.status_code == status, why
    assert json.loads(answer.body)["detail"] and answer.headers["x-request-id"]
    assert b"shadow" not in answer.body


def test_its_own_page_is_let_in(served: Served) -> None:
    with served.connect("/moon/talk/a", "read", Origin=f"http://127.0.0.1:{served.port}") as connection:
        assert hear(connection)["who"] == "read"


def test_the_first_message_may_say_who_it_is(served: Served) -> None:
    with served.connect("/moon/talk/a") as connection:
        connection.send(json.dumps({"action": "auth", "token": served.tokens["write"]}))
        assert hear(connection) == {"action": "authenticated", "user": "write"}
        assert hear(connection)["who"] == "write"


@pytest.mark.parametrize(
    ("why", "message", "code"),
    [
        ("a wrong token", '{"action": "auth", "token": "wrong"}', 4401),
        ("no token", '{"action": "auth"}', 4401),
        ("a number", '{"action": "auth", "token": 7}', 4401),
        ("line ends", '{"action": "auth", "token": "a\\r\\nb"}', 4401),
        ("not ASCII", '{"action": "auth", "token": "é"}', 4401),
        ("something else first", '{"action": "ping"}', 4401),
        ("no object", "[1]", 4401),
        ("no JSON", "hello", 4401),
        ("nested", "[" * 60_000, 4401),
        ("binary", b"\xff\xfe", 4401),
        ("may only report", "report", 1008),
    ],
)
def test_who_does_not_say_it_is_sent_away(served: Served, why: str, message: Any, code: int) -> None:
    if message == "report":
        message = json.dumps({"action": "auth", "token": served.tokens["report"]})
    with served.connect("/moon/talk/a") as connection:
        connection.send(message)
        assert read_close(connection)[0] == code, why


def test_who_says_nothing_is_sent_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "AUTHENTICATION_S", 0.01)
    with served.connect("/moon/talk/a") as connection:
        assert read_close(connection)[0] == 4401


def test_the_servers_own_user_needs_no_token(kind: str, tmp_path: Path) -> None:
    with serve(kind, tmp_path) as made:
        with made.connect("/moon/talk/a") as connection:
            assert hear(connection)["who"] == made.server.callers.own.name
        with made.connect("/moon/talk/a", **{"X-Forwarded-For": "192.0.2.1"}) as connection:
            connection.send("hello")
            assert read_close(connection)[0] == 4401, "a proxy may pass on what anybody sends"


# --- how they end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "code", "reason"),
    [
        ("missing", 1008, "Talk 'missing' not found"),
        ("away", 1011, "squeue: no answer"),
        ("bug", 1011, "Internal Server Error (req_"),
        ("over", 4010, "é" * 61),
    ],
)
def test_what_goes_wrong_later_closes_it(served: Served, topic: str, code: int, reason: str) -> None:
    with served.connect(f"/moon/talk/{topic}", "read") as connection:
        found, said = read_close(connection)
        assert found == code and said.startswith(reason)
        assert len(said.encode()) <= websocket.REASON_BYTES


@pytest.mark.parametrize("message", ["x" * (websocket.MESSAGE_BYTES + 1), b"\0" * (websocket.MESSAGE_BYTES + 1)])
def test_a_message_that_is_too_large_closes_it(served: Served, message: Any) -> None:
    with served.connect("/moon/talk/a", "read") as connection:
        connection.send(message)
        assert read_close(connection)[0] == websocket.TOO_BIG


@pytest.mark.parametrize("topic", ["any", "deaf", "flood"])
@pytest.mark.parametrize(
    "leave",
    [lambda made: made.close(4000), lambda made: made.socket.shutdown(socket.SHUT_RDWR)],
    ids=["close", "break off"],
)
def test_the_function_ends_when_the_client_leaves(
    served: Served, topic: str, leave: Callable[[ClientConnection], None]
) -> None:
    ENDED.clear()
    with served.connect(f"/moon/talk/{topic}", "read") as connection:
        hear(connection)
        leave(connection)
        eventually(lambda: topic in ENDED, 60, "the function has ended")


def test_a_client_that_says_much_to_nobody_leaves_too(served: Served) -> None:
    ENDED.clear()
    with served.connect("/moon/talk/deaf", "read") as connection:
        for _ in range(10 * websocket.WAITING_MESSAGES):
            connection.send("x" * 1000)
    eventually(lambda: "deaf" in ENDED, 60, "the function has ended")


@pytest.mark.parametrize("topic", ["any", "deaf", "flood"])
def test_the_end_of_the_server_closes_it(kind: str, tmp_path: Path, topic: str) -> None:
    with serve(kind, tmp_path) as made, made.connect(f"/moon/talk/{topic}") as connection:
        hear(connection)
        made.begin_to_end()
        code = read_close(connection)[0]
        assert code == 1001 or (kind == "uvicorn" and code == 1012), "uvicorn closes what the app has yet to close"


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serve("granian", tmp_path) as made, made.connect("/moon/talk/flood", max_queue=1) as unread:
        made.end()
        with contextlib.suppress(OSError):  # it was ended
            unread.socket.shutdown(socket.SHUT_RDWR)


# --- plain requests --------------------------------------------------------------------------------------------------


def test_a_plain_request_is_told_to_upgrade(served: Served) -> None:
    bearer = {"authorization": f"Bearer {served.tokens['read']}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers=bearer) as http:
        answer = http.get("/moon/talk/a")
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert "upgrade" in answer.headers["connection"].lower()
        assert http.get("/moon/other").status_code == 200
        assert http.get("/moon/talk/a", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_contract_and_functions_must_agree() -> None:
    functions: dict[str, Any] = {"moon_find_talk": find_talk, "moon_talk": talk, "moon_get_other": get_other}
    contract = {"components": {}, "paths": PATHS}
    app.compile_paths(contract, [MOON], functions)
    with pytest.raises(RuntimeError, match=r"promises moon_talk, which app.py does not have"):
        app.compile_paths(contract, [MOON], {key: functions[key] for key in functions if key != "moon_talk"})
    with pytest.raises(RuntimeError, match=r"moon_talk asks for \['other'\]"):
        app.compile_paths(contract, [MOON], functions | {"moon_talk": lambda other, socket: None})
    with pytest.raises(RuntimeError, match=r"app.py has \['moon_more'\]"):
        app.compile_paths(contract, [MOON], functions | {"moon_more": talk})
