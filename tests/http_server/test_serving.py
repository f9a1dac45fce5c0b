"""How the server ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.app_server import Server

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
