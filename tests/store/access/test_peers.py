"""Whose process is at the other end of a local connection."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.access import peers
from store.access.peers import Peers


@contextlib.contextmanager
def connect_pair(bind: str, connect: str, dual: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect a client's socket with the server's end."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as listener:
        if dual:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((bind, 0))
        except OSError:
            pytest.skip(f"this machine has no {bind}")
        listener.listen()
        with socket.create_connection((connect, listener.getsockname()[1])) as client:
            accepted, _ = listener.accept()
            with accepted:
                yield client, accepted


def owner(accepted: socket.socket) -> int | None:
    peer, own = accepted.getpeername(), accepted.getsockname()
    with contextlib.closing(Peers()) as found:
        return found.find_uid(peer, own)


WAYS = [
    ("IPv4", "127.0.0.1", "127.0.0.1", False),
    ("another address of this machine", "127.0.0.2", "127.0.0.2", False),
    ("IPv6", "::1", "::1", False),
    ("IPv4 to a socket of both", "::", "127.0.0.1", True),
    ("IPv6 to a socket of both", "::", "::1", True),
]


def refuse(*_: Any) -> Any:
    raise PermissionError(1, "not allowed")


@pytest.fixture(params=["asked", "listed"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both sources: the kernel's answer for one connection, and the list of all."""
    if request.param == "listed":
        monkeypatch.setattr(peers, "_ask_for_uid", refuse)
    else:
        monkeypatch.setattr(peers, "_find_listed_uid", lambda *_: pytest.fail("the kernel was not asked"))
    return str(request.param)


@pytest.mark.parametrize(("why", "bind", "connect", "dual"), WAYS, ids=[row[0] for row in WAYS])
def test_our_own_connection_is_ours(source: str, why: str, bind: str, connect: str, dual: bool) -> None:
    with connect_pair(bind, connect, dual) as (_, accepted):
        assert owner(accepted) == os.getuid()


AS_ANOTHER = """
import encodings.idna, os, socket, sys
if sys.argv[2] != "-":
    os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
if sys.argv[3] == "half":
    client.shutdown(socket.SHUT_WR)
if sys.argv[3] == "close":
    client.close()
print("sent", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def called_by(uid: str, then: str) -> Iterator[socket.socket]:
    """The server's end of a connection that another process made as this user, and then did this with it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-I", "-c", AS_ANOTHER, str(listener.getsockname()[1]), uid, then]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as process:
            assert process.stdout is not None and process.stdout.readline() == b"sent\n"
            accepted, _ = listener.accept()
            with accepted:
                yield accepted
            process.kill()


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
CALLERS = [
    pytest.param("-", "stay", os.getuid(), id="our own process"),
    pytest.param("-", "half", os.getuid(), id="that will send no more"),
    pytest.param("-", "close", None, id="that has closed: nobody's, though the kernel says root"),
    pytest.param("65534", "stay", 65534, id="another user's", marks=ROOT),
    pytest.param("65534", "half", 65534, id="another user's that will send no more", marks=ROOT),
    pytest.param("65534", "close", None, id="another user's that has closed", marks=ROOT),
]


@pytest.mark.parametrize(("uid", "then", "expected"), CALLERS)
def test_whose_call_it_is(source: str, uid: str, then: str, expected: int | None) -> None:
    with called_by(uid, then) as accepted:
        deadline = time.monotonic() + 120
        while owner(accepted) != expected and time.monotonic() < deadline:
            time.sleep(0.01)  # the kernel closes in its own time
        assert owner(accepted) == expected


def test_what_is_no_connection_is_nobodys(source: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as other:
            free = other.getsockname()[1]
        table = [
            ("nothing there", "127.0.0.1", free, "127.0.0.1", port),
            ("the listening socket itself", "127.0.0.1", port, "127.0.0.1", free),
            ("itself to itself", "127.0.0.1", port, "127.0.0.1", port),
            ("another machine", "192.0.2.7", 40000, "127.0.0.1", port),
            ("a Unix socket's empty address", "", 0, "", 0),
            ("no address at all", "testclient", 50000, "testserver", 80),
            ("two families", "::1", 1, "127.0.0.1", port),
        ]
        with contextlib.closing(Peers()) as found:
            for why, client, client_port, server, server_port in table:
                assert found.find_uid((client, client_port), (server, str(server_port))) is None, why


def test_a_machine_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect_pair("127.0.0.1", "127.0.0.1") as (_, accepted):
        monkeypatch.setattr(peers, "_ask_for_uid", refuse)
        monkeypatch.setattr(Path, "read_text", refuse)
        assert owner(accepted) is None
