"""One request to a webhook: where it may go, what comes back, and that nothing holds it up for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from engine.notify.webhooks import Answer, NoAnswer, NotSent, Sender
from store import addresses
from store.rules import endpoints
from tests.pretended import asynchronous
from tests.receiver import Receiver

ALLOWED = ["localhost"]


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that this process trusts."""
    made = Receiver(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    yield made
    made.close()


def post(url: str, allowed: list[str] = ALLOWED, **of_sender: Any) -> tuple[Answer | Exception, list[str]]:
    """What became of a request, and what was told before it left."""
    calls: list[str] = []

    async def handed() -> None:
        calls.append("handed")

    async def go() -> Answer:
        sender = Sender(**{"timeout_s": 1.0, **of_sender})
        try:
            return await sender.post(url, {"Idempotency-Key": "k"}, b'{"a": 1}', allowed, handed)
        finally:
            sender.close()

    try:
        return asyncio.run(go()), calls
    except (NotSent, NoAnswer) as problem:
        return problem, calls


@pytest.mark.parametrize(
    ("why", "path", "status", "wait_s", "said"),
    [
        ("taken", "/ok?a=b", 200, 0, "200"),
        ("any 2xx is taken", "/204", 204, 0, "204"),
        ("what a receiver says is shown to nobody", "/500", 500, 0, "the receiver answered 500"),
        ("Slack's word is", "/slack", 404, 0, "the receiver answered 404 (no_service)"),
        ("redirects lead nowhere", "/redirect", 302, 0, "the receiver answered 302; redirects are not followed"),
        ("a receiver that wants rest gets it", "/busy", 429, 120, "429"),
        ("an answer without end is cut", "/huge", 500, 0, "500"),
    ],
)
def test_what_is_answered(receiver: Receiver, why: str, path: str, status: int, wait_s: float, said: str) -> None:
    answer, calls = post(receiver.url + path)
    assert isinstance(answer, Answer), (why, answer)
    assert (answer.status, answer.wait_s) == (status, wait_s)
    assert said in str(answer) and "secret" not in str(answer)
    assert calls == ["handed"] and len(receiver.got) == 1
    assert receiver.got[0]["path"] == path and receiver.got[0]["body"] == {"a": 1}
    assert receiver.got[0]["headers"]["idempotency-key"] == "k"


@pytest.mark.parametrize(
    ("why", "path"),
    [("never an answer", "/hang"), ("one byte a time", "/drip"), ("the line is cut", "/cut")],
)
def test_when_nobody_knows_whether_it_arrived(receiver: Receiver, why: str, path: str) -> None:
    problem, calls = post(receiver.url + path)
    assert isinstance(problem, NoAnswer), (why, problem)
    assert calls == ["handed"] and len(receiver.got) == 1


def test_what_cannot_be_written_down_first_is_not_sent(receiver: Receiver) -> None:
    async def refuse() -> None:
        raise OSError("the disk is full")

    async def go() -> None:
        sender = Sender()
        try:
            await sender.post(receiver.url + "/ok", {}, b"{}", ALLOWED, refuse)
        finally:
            sender.close()

    with pytest.raises(OSError, match="the disk is full"):
        asyncio.run(go())
    assert receiver.got == []


@pytest.mark.parametrize(
    ("why", "more", "said"),
    [
        ("this machine", {"allowed": []}, "not in the public Internet"),
        ("allowed on another port only", {"allowed": ["localhost:1"]}, "not in the public Internet"),
        ("no such name", {"resolve": lambda *_: (_ for _ in ()).throw(OSError)}, "cannot be resolved"),
        ("no address", {"resolve": lambda *_: []}, "has no address"),
        (
            "metadata of a cloud behind a public name",
            {"allowed": [], "resolve": lambda *_: ["169.254.169.254"]},
            "not in the public Internet",
        ),
        (
            "one private address among public ones",
            {"allowed": [], "resolve": lambda *_: ["8.8.8.8", "10.0.0.1"]},
            "not in the public Internet",
        ),
        ("nobody listens there", {"resolve": lambda *_: ["127.0.0.77"]}, "cannot be reached"),
    ],
)
def test_what_never_leaves(receiver: Receiver, why: str, more: dict[str, Any], said: str) -> None:
    problem, calls = post(receiver.url + "/ok", **more)
    assert isinstance(problem, NotSent), (why, problem)
    assert said in str(problem) and calls == [] and receiver.got == []


def test_a_name_server_that_hangs_is_not_waited_for(receiver: Receiver) -> None:
    answered = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        answered.wait(60)
        return ["127.0.0.1"]

    try:
        problem, calls = post(receiver.url + "/ok", resolve=resolve, timeout_s=0.1)
    finally:
        answered.set()
    assert isinstance(problem, NotSent), problem
    assert "no answer" in str(problem) and calls == [] and receiver.got == []


@asynchronous
async def test_a_handshake_that_is_cut_short_leaves_no_connection() -> None:
    """The receiver sees its end, not when garbage is collected but at once."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # of the handshake
        begun.set()
        await reader.read()  # all that comes to the end
        writer.close()
        ended.set()

    server, sender = await asyncio.start_server(listen, "127.0.0.1"), Sender(timeout_s=600)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    try:
        async with asyncio.timeout(60):
            sending = asyncio.ensure_future(sender.post(url, {}, b"{}", ALLOWED, AsyncMock()))
            await begun.wait()
            sending.cancel()
            await ended.wait()
    finally:
        sender.close()
        server.close()


def test_the_certificate_must_be_the_name_s(receiver: Receiver) -> None:
    at = {"allowed": ["other.test"], "resolve": lambda *_: ["127.0.0.1"]}
    problem, calls = post(receiver.url.replace("localhost", "other.test") + "/ok", **at)
    assert isinstance(problem, NotSent) and "certificate" in str(problem)
    assert calls == [] and receiver.got == []


def test_a_certificate_of_nobody_known_is_refused(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    problem, calls = post(receiver.url + "/ok")
    assert isinstance(problem, NotSent) and "certificate" in str(problem)
    assert calls == [] and receiver.got == []


def test_the_name_is_asked_once_and_the_checked_address_is_used(receiver: Receiver) -> None:
    """A name that means something else a moment later, as a rebinding one does."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.88"]

    answer, _ = post(receiver.url + "/ok", resolve=resolve)
    assert isinstance(answer, Answer) and asked == ["localhost"]


def test_a_bare_ipv6_address_is_a_host_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver(tmp_path, "::1")
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.authority))
    try:
        url = f"https://[::1]:{receiver.port}/ok"
        answer, _ = post(url, [f"[::1]:{receiver.port}"], resolve=lambda *_: ["127.0.0.1"])
        assert isinstance(answer, Answer) and answer.is_accepted, answer
        assert receiver.got[0]["headers"]["host"] == f"[::1]:{receiver.port}"
    finally:
        receiver.close()


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    answer, _ = post(receiver.url + "/ok")
    assert isinstance(answer, Answer) and answer.is_accepted


@pytest.mark.parametrize(
    ("why", "address", "public"),
    [
        ("somebody's server", "93.184.216.34", True),
        ("somebody's server", "2606:2800:220:1:248:1893:25c8:1946", True),
        ("loopback", "127.0.0.1", False),
        ("loopback", "127.8.8.8", False),
        ("loopback", "::1", False),
        ("any", "0.0.0.0", False),
        ("any", "::", False),
        ("private", "10.1.2.3", False),
        ("private", "172.16.0.1", False),
        ("private", "192.168.1.1", False),
        ("private", "fd00::1", False),
        ("link-local, metadata", "169.254.169.254", False),
        ("link-local", "fe80::1", False),
        ("link-local with its zone", "fe80::1%eth0", False),
        ("site-local", "fec0::1", False),
        ("shared by providers", "100.64.0.1", False),
        ("multicast", "224.0.0.1", False),
        ("multicast", "ff02::1", False),
        ("everybody here", "255.255.255.255", False),
        ("reserved", "240.0.0.1", False),
        ("documentation", "192.0.2.1", False),
        ("IPv4 in IPv6", "::ffff:127.0.0.1", False),
        ("IPv4 in IPv6", "::ffff:93.184.216.34", True),
        ("6to4", "2002:7f00:1::", False),
        ("6to4", "2002:a9fe:a9fe::1", False),
        ("NAT64", "64:ff9b::7f00:1", False),
        ("NAT64 of the provider's own", "64:ff9b:1::a00:1", False),
        ("Teredo", "2001:0:53aa:64c:0:0:80ff:fffe", False),
        ("no address", "localhost", False),
    ],
)
def test_which_addresses_are_public(why: str, address: str, public: bool) -> None:
    assert addresses.is_public(address) is public, why


@pytest.mark.parametrize(
    ("why", "url"),
    [
        ("http", "http://example.org/"),
        ("another scheme", "file:///etc/passwd"),
        ("a user", "https://me@example.org/"),
        ("a user and a password", "https://a:b@example.org/"),
        ("a fragment", "https://example.org/#x"),
        ("a blank", "https://example.org/a b"),
        ("a line break", "https://example.org/\r\nHost: x"),
        ("a backslash for a host", "https://example.org\\@127.0.0.1/"),
        ("no host", "https:///x"),
        ("a query right after the host", "https://example.org?x"),
        ("port 0", "https://example.org:0/"),
        ("a port too large", "https://example.org:70000/"),
        ("a bad IPv6", "https://[::1/"),
        ("not ASCII", "https://exämple.org/"),
        ("a percent in the host", "https://%6c/"),
        ("the mask", "https://example.org/***"),
    ],
)
def test_addresses_that_cannot_be(why: str, url: str) -> None:
    assert endpoints.find_url_problem("webhook", url), why


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://example.org", "example.org", 443, "/"),
        ("https://EXAMPLE.org:8443/a/b?c=d", "example.org", 8443, "/a/b?c=d"),
        ("https://[2001:db8::1]:9/x", "2001:db8::1", 9, "/x"),
        ("https://example.org/?", "example.org", 443, "/"),
    ],
)
def test_addresses_are_taken_apart_once(url: str, host: str, port: int, target: str) -> None:
    assert endpoints.find_url_problem("webhook", url) is None
    assert endpoints.parse_host(url) == (host, port) and endpoints.parse_request_target(url) == target


# --- what config.yaml names is asked ---------------------------------------------------------------------------------


def get(url: str, limit_bytes: int = 100, **of_sender: Any) -> bytes | str:
    """What is there, or why it is not known."""

    async def go() -> bytes:
        sender = Sender(**{"timeout_s": 1.0, **of_sender})
        try:
            return await sender.get(url, limit_bytes)
        finally:
            sender.close()

    try:
        return asyncio.run(go())
    except (NotSent, NoAnswer) as problem:
        return str(problem)


@pytest.mark.parametrize(
    ("why", "body", "limit_bytes", "said"),
    [
        ("a document", b"{}", 100, b"{}"),
        ("as large as may be", b"x" * 100, 100, b"x" * 100),
        ("too large", b"x" * 101, 100, "the answer has more than 100 bytes"),
        ("empty", b"", 100, b""),
    ],
)
def test_a_document_is_bounded(why: str, body: bytes, limit_bytes: int, said: bytes | str) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def go() -> bytes | str:
        listener = await asyncio.start_server(answer, "127.0.0.1")
        port = listener.sockets[0].getsockname()[1]
        async with listener:
            return await asyncio.to_thread(get, f"http://127.0.0.1:{port}/certs?a=b", limit_bytes)

    assert asyncio.run(go()) == said, why
    (head,) = heads
    assert head.startswith(b"GET /certs?a=b HTTP/1.1\r\n") and b"\r\nHost: 127.0.0.1:" in head


def test_over_tls_a_document_is_checked_too(receiver: Receiver) -> None:
    assert get("http://127.0.0.1:1/") == "the receiver cannot be reached"
    assert get(f"https://localhost:{receiver.port}/hang", resolve=lambda *_: []) == "localhost has no address"
