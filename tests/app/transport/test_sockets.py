"""What clients see on real connections: refusals that they can read, old and careless ways to ask."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from app import DISCARD_BYTES
from tests.app_server import Server

TRIES = 5
PLAIN = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of these tests, which leave nothing in it."""
    made = Server(tmp_path_factory.mktemp("sockets") / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


def exchange(server: Server, head: str, body: Iterable[bytes] = (), half: bool = False) -> tuple[int, Any]:
    """Status and JSON of the answer to exactly these bytes; all of them are sent before the answer is read."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(head.replace("HOST", f"127.0.0.1:{server.port}").encode() + b"\r\n")
        for piece in body:
            connection.sendall(piece)
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            length = 0
            while line := answer.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            data = answer.read(length) if not head.startswith("HEAD") else b""
            return status, json.loads(data) if data else None


POST = "POST /api/workflows/validate HTTP/1.1\r\nHost: HOST\r\n"


@pytest.mark.parametrize(
    ("why", "head", "status"),
    [
        ("done after this request", POST + PLAIN + "Connection: close\r\n", 413),
        ("goes on", POST + PLAIN, 413),
        ("an old client", POST.replace("1.1", "1.0") + PLAIN, 413),
        ("the wrong kind", POST + "Content-Type: text/plain\r\nConnection: close\r\n", 415),
        ("encoded", POST + PLAIN + "Content-Encoding: gzip\r\nConnection: close\r\n", 415),
        ("nobody that is known", POST + PLAIN + "Authorization: Bearer no\r\nConnection: close\r\n", 401),
        ("no such path", POST.replace("validate", "x/y") + PLAIN + "Connection: close\r\n", 404),
        ("no such method", POST.replace("POST", "PUT") + PLAIN + "Connection: close\r\n", 405),
        ("no body is wanted", POST.replace("workflows/validate", "endpoints/7/enable") + PLAIN, 404),
    ],
)
@pytest.mark.parametrize("size_bytes", [1_000_001, 8_000_000])
def test_a_refusal_of_a_large_body_can_be_read(
    server: Server, why: str, head: str, status: int, size_bytes: int
) -> None:
    for _ in range(TRIES):
        found, said = exchange(server, f"{head}Content-Length: {size_bytes}\r\n", [b"x" * size_bytes])
        assert found == status and said["detail"], why


def test_a_refusal_of_a_large_body_in_chunks_can_be_read(server: Server) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    for _ in range(TRIES):
        head = POST + PLAIN + "Connection: close\r\nTransfer-Encoding: chunked\r\n"
        assert exchange(server, head, [*[chunk] * 64, b"0\r\n\r\n"])[0] == 413


def test_urllib_reads_the_refusal(server: Server) -> None:
    for _ in range(TRIES):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}/api/workflows/validate", b"x" * 8_000_000, headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=120)
        assert (refused.value.code, json.loads(refused.value.read())["detail"]) == (
            413, "the body is larger than 1000000 bytes",
        )  # fmt: skip
        refused.value.close()


def test_who_never_stops_sending_is_cut_off(server: Server) -> None:
    size_bytes = 8 * DISCARD_BYTES
    with pytest.raises(ConnectionError):
        exchange(server, f"{POST}{PLAIN}Content-Length: {size_bytes}\r\n", (b"x" * 1_000_000 for _ in range(512)))
    assert server.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("why", "head", "status"),
    [
        ("a monitor", "GET /health HTTP/1.0\r\n", 200),
        ("only whether it answers", "HEAD /health HTTP/1.0\r\n", 200),
        ("the other health", "GET /srtslurm/api/health HTTP/1.0\r\n", 200),
        ("a foreign name all the same", "GET /health HTTP/1.0\r\nHost: evil.example\r\n", 403),
        ("HTTP/1.1 demands a Host", "GET /health HTTP/1.1\r\nConnection: close\r\n", 400),
        ("what not everybody may see", "GET /api/jobs HTTP/1.0\r\n", 400),
        ("no such path", "GET /nothing HTTP/1.0\r\n", 400),
        ("blanks behind a value", "GET /api/jobs HTTP/1.0\r\nHost: HOST \t\r\n", 200),
    ],
)
def test_old_ways_to_ask(server: Server, why: str, head: str, status: int) -> None:
    assert exchange(server, head)[0] == status, why
