"""What callers may cost before anybody knows who they are; and that one request is never taken for two."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_server import Server
from tests.bench.processes import memory_bytes
from tests.waiting import eventually

SOFT, HARD = 512, 1024
GROWTH_BYTES = 64_000_000
NOBODY = 65534


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may have few descriptors."""
    made = Server(tmp_path_factory.mktemp("bounds") / "store", "embedded")
    made.prefix = ["prlimit", f"--nofile={SOFT}:{HARD}"]
    try:
        yield made.start()
    finally:
        made.close()


def connect(server: Server) -> socket.socket:
    """Connect as anybody can."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=120)


def ask(server: Server, data: bytes) -> bytes:
    """Send these bytes; return all that comes until the server closes."""
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):  # it may close before all is sent
            connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


# --- memory ----------------------------------------------------------------------------------------------------------

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HOST
CHUNKS = b"POST /api/jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = [
    ("tiny headers", GET, b"a:b\r\n" * 10_000),
    ("a long header", GET + b"a: ", b"x" * 50_000),
    ("a request line", b"GET /", b"x" * 50_000),
    ("a chunk's extension", CHUNKS + b"2;", b"x" * 50_000),
    ("trailers", CHUNKS + b"0\r\n", b"a:b\r\n" * 10_000),
]


@pytest.mark.parametrize(("why", "head", "piece"), ENDLESS, ids=[row[0] for row in ENDLESS])
def test_what_has_no_end_is_cut_off(server: Server, why: str, head: bytes, piece: bytes) -> None:
    assert server.process is not None
    before = memory_bytes(server.process.pid)
    with connect(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(head)
        for _ in range(100_000_000 // len(piece)):
            connection.sendall(piece)
    assert memory_bytes(server.process.pid) - before < GROWTH_BYTES
    assert server.http.get("/health").status_code == 200


def test_requests_are_not_read_while_answers_are_not(server: Server) -> None:
    assert server.process is not None
    before = memory_bytes(server.process.pid)
    piece = (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 1000
    with connect(server) as connection, pytest.raises(TimeoutError):
        connection.settimeout(5)
        for _ in range(33_000_000 // len(piece)):
            connection.sendall(piece)
    assert memory_bytes(server.process.pid) - before < GROWTH_BYTES
    assert server.http.get("/health").status_code == 200


LARGE_HEADS = [
    ("as many headers as there may be", b"".join(b"a%d: b\r\n" % number for number in range(98)), 200),
    ("too many", b"".join(b"a%d: b\r\n" % number for number in range(100)), 431),
    ("large", b"a: " + b"x" * 60_000 + b"\r\n", 200),
    ("too large", b"a: " + b"x" * 70_000 + b"\r\n", 431),
    ("far too large", b"a: " + b"x" * 200_000 + b"\r\n", 431),
]


@pytest.mark.parametrize(("why", "more", "status"), LARGE_HEADS, ids=[row[0] for row in LARGE_HEADS])
def test_large_heads(server: Server, why: str, more: bytes, status: int) -> None:
    answer = ask(server, b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HOST + more + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status), why
    assert (b'{"detail":"The head of the request is larger' in answer) is (why == "too large")


def test_a_url_that_is_too_long(server: Server) -> None:
    answer = ask(server, b"GET /health?" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")


# --- time ------------------------------------------------------------------------------------------------------------

POST = b"POST /api/workflows/validate HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"


def test_who_takes_his_time_is_not_waited_for(server: Server) -> None:
    silent, half, slow_body, in_chunks = (connect(server) for _ in range(4))
    half.sendall(b"GET /health HTTP/1.1\r\nHo")
    slow_body.sendall(POST + b"Content-Length: 10\r\n\r\n{")
    in_chunks.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    with connect(server) as dripping:
        dripping.sendall(b"GET /health HTTP/1.1\r\n")
        dripping.settimeout(0.5)
        with contextlib.suppress(ConnectionError):
            while True:  # a header now and then
                with contextlib.suppress(TimeoutError):
                    if not dripping.recv(1):
                        break
                dripping.sendall(b"a: b\r\n")
    for connection in (silent, half):
        with connection:
            assert connection.recv(1) == b""
    for connection in (slow_body, in_chunks):
        with connection:
            answer = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))  # type: ignore[misc]
            assert answer.startswith(b"HTTP/1.1 408 ") and b"Nothing of the body came" in answer


# --- connections -----------------------------------------------------------------------------------------------------

FLOOD = """
import resource, socket, os, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
held = []
for _ in range(1100):
    held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60))
    held[-1].sendall(b"GET / HTTP/1.1\\r\\nHo")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_leaves_the_owner_connections(server: Server) -> None:
    assert server.process is not None
    command = [sys.executable, "-I", "-c", "import encodings.idna\n" + FLOOD, str(server.port), str(NOBODY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as flood:
        assert flood.stdout is not None and flood.stdout.readline() == b"open\n"
        for _ in range(10):
            with connect(server) as connection:  # a new one each time
                connection.sendall(b"GET /api/workflows HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
        share = (HARD - 256) // 4
        count = Path(f"/proc/{server.process.pid}/fd")
        eventually(lambda: len(list(count.iterdir())) < share + 100, 20)
        flood.kill()
    assert f"too many connections of uid {NOBODY}" in server.log()


def test_programs_start_among_more_connections_than_they_may_have(server: Server) -> None:
    assert server.process is not None
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(HARD), str(HARD)]
    body = {"name": "limit", "script_content": "#!/bin/bash\nulimit -Sn\n"}
    with contextlib.ExitStack() as held:
        for _ in range(SOFT):
            held.enter_context(connect(server))
        answer = server.http.post("/api/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["job_id"]
    eventually(lambda: str(SOFT) in server.http.get(f"/api/jobs/{job_id}/logs").text, 30)


def test_who_serves_as_root_is_warned(server: Server) -> None:
    assert ("running as root: every job runs as root too" in server.log()) is (os.geteuid() == 0)


# --- smuggling -------------------------------------------------------------------------------------------------------

SECOND = b"GET /srtslurm/api/health HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"
ODD = [
    ("two lengths", POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SECOND) + SECOND),
    ("a list of lengths", POST + b"Content-Length: 0, %d\r\n\r\n" % len(SECOND) + SECOND),
    ("a length with a sign", POST + b"Content-Length: +0\r\n\r\n" + SECOND),
    ("a blank before the colon", POST + b"Content-Length : 0\r\n\r\n" + SECOND),
    ("a length and chunks", POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SECOND),
    ("chunks and a length", POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SECOND),
    ("chunks of an old client", POST.replace(b"1.1", b"1.0", 1) + CHUNKED + b"\r\n0\r\n\r\n" + SECOND),
    ("another coding", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND),
    ("chunked is not last", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND),
    ("chunks that are none", POST + CHUNKED + b"\r\nzz\r\n\r\n" + SECOND),
    ("chunks with bare line feeds", POST + CHUNKED + b"\r\n0\n\n" + SECOND),
    ("a folded header", b"GET /health HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n" + SECOND),
    ("NUL in a header", b"GET /health HTTP/1.1\r\n" + HOST + b"A: b\0\r\n\r\n" + SECOND),
    ("a bare carriage return", b"GET /health HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n" + SECOND),
    ("NUL in the path", b"GET /health\0 HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND),
    ("another version", b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n" + SECOND),
    ("HTTP/2 unasked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("two hosts", b"GET /health HTTP/1.1\r\nHost: evil\r\n" + HOST + CLOSE + b"\r\n" + SECOND),
    ("a method in small letters", b"get /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n" + SECOND),
    ("bare line feeds, and a second request in the body", POST.replace(b"\r\n", b"\n") + b"Connection: close\n"
     b"Content-Length: %d\n\n" % len(SECOND) + SECOND),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data"), ODD, ids=[row[0] for row in ODD])
def test_an_odd_request_is_refused_and_never_two(server: Server, why: str, data: bytes) -> None:
    answer = ask(server, data)
    assert answer.count(b"HTTP/1.") <= 1, answer
    assert not answer or answer.split(b" ", 2)[1][:1] == b"4", answer
