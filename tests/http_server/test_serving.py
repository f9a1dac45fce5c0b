"""How the server ends, and callers that leave half of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from http_server import serving
from tests.app_server import Server, free_port
from tests.waiting import eventually

ENDS = [
    ("told to end", signal.SIGTERM, -signal.SIGTERM),
    ("Ctrl-C", signal.SIGINT, 0),
]


@pytest.mark.parametrize(("why", "how", "status"), ENDS, ids=[row[0] for row in ENDS])
def test_it_ends_whatever_callers_do(tmp_path: Path, why: str, how: int, status: int) -> None:
    server = Server(tmp_path / "store", "embedded").start()
    with (
        socket.create_connection(("127.0.0.1", server.port)) as half,
        socket.create_connection(("127.0.0.1", server.port)) as unread,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream,
    ):
        half.sendall(b"GET / HT")
        unread.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000)
        stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert stream.recv(15) == b"HTTP/1.1 200 OK"
        assert server.end(how) == status
    assert "INFO sluice: stopped" in server.log() and "Traceback" not in server.log()
    server.start()  # the port is free at once
    assert server.end() == -signal.SIGTERM
    server.http.close()


def test_callers_that_end_their_half_cost_nothing(tmp_path: Path) -> None:
    """Who ends the sending half before the answer is taken for gone, as by other servers too; others are served."""
    server = Server(tmp_path / "store", "embedded").start()
    try:
        before = count_descriptors(server)
        with contextlib.ExitStack() as opened:
            for path in ("/api/events", "/openapi.json", "/api/jobs", "/health") * 10:
                half = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
                half.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                half.shutdown(socket.SHUT_WR)
                assert server.http.get("/health").status_code == 200
            # None is kept for the callers, who keep theirs.
            eventually(lambda: count_descriptors(server) <= before + 5)
        assert "Traceback" not in server.log()
    finally:
        server.close()


def count_descriptors(server: Server) -> int:
    """Count what the server has open."""
    assert server.process is not None
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_it_ends_while_a_disk_holds_up_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that nobody reads are given up then too."""
    for name in ("GRACE_S", "LAST_WORDS_S"):
        monkeypatch.setattr(serving, name, 0)
    is_back = threading.Event()

    async def end() -> None:
        pool = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(pool)
        pool.submit(is_back.wait)
        given: Any = SimpleNamespace(stop=lambda: None)
        answering = asyncio.create_task(asyncio.Event().wait())
        run: Any = serving.Serving(None, None, "127.0.0.1", free_port())  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            await run.end(given, answering)
        await asyncio.wait({answering})
        assert answering.cancelled()

    try:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(end())
    finally:
        is_back.set()
        loop.close()


def test_an_answer_that_the_end_cuts_off_is_no_failure() -> None:
    async def work() -> None:
        begun = asyncio.Event()

        async def answer(_scope: Any, _receive: Any, _send: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        run: Any = serving.Serving(answer, None, "127.0.0.1", 1)  # type: ignore[arg-type]
        run.state = asyncio.get_running_loop().create_future()
        run.state.set_result({})
        call = asyncio.create_task(run.call({"type": "http", "headers": []}, None, None))
        await begun.wait()
        (task,) = run.calls
        task.cancel()
        await call  # granian logs what it raises

    asyncio.run(work())
