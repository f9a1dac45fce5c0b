"""Tokens, how often a wrong one may be tried, and whose process is at the other end of a local connection."""

from __future__ import annotations

import base64
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

from store import access
from store.access import Access, Failures, find_peer_uid, hash_token, make_token, parse_access
from store.errors import Denied, Invalid

NOW_S = 1_800_000_000.0


def file_with(*entries: str) -> Access:
    return parse_access(("tokens:\n" + "".join(f"  - {entry}\n" for entry in entries)).encode())


def test_a_token_is_known_by_its_hash_only() -> None:
    (token, digest), (other, _) = make_token(), make_token()
    assert token != other and token.startswith("slc_") and len(token) > 40
    assert digest == hash_token(token) and token not in digest
    known = file_with(f"{{name: ci, sha256: {digest}, scopes: [write]}}")
    caller = known.find_caller(token)
    assert caller is not None and caller.name == "ci"
    assert caller.scopes == {"report", "read", "write"}
    for wrong in (other, digest, "", token + "x", token[:-1], token.upper(), "\ud800"):
        assert known.find_caller(wrong) is None, wrong


SCOPES = [
    ("read only reads", "[read]", {"read"}),
    ("report only reports", "[report]", {"report"}),
    ("write also reads and reports", "[write]", {"report", "read", "write"}),
    ("admin does everything", "[admin]", {"report", "read", "write", "admin"}),
    ("several", "[read, report]", {"report", "read"}),
    ("several, one includes the other", "[read, admin]", {"report", "read", "write", "admin"}),
]


@pytest.mark.parametrize(("why", "scopes", "may"), SCOPES, ids=[row[0] for row in SCOPES])
def test_scopes(why: str, scopes: str, may: set[str]) -> None:
    token, digest = make_token()
    caller = file_with(f"{{name: a, sha256: {digest}, scopes: {scopes}}}").find_caller(token)
    assert caller is not None and caller.scopes == may


EXPIRY = [
    ("for ever", None, True),
    ("later", "2027-01-15T08:00:01Z", True),
    ("this very moment", "2027-01-15T08:00:00Z", False),
    ("in another zone", "2027-01-15T09:59:00+02:00", False),
    ("a day in the past", "2027-01-15", False),
    ("a day to come", "2027-01-16", True),
]


@pytest.mark.parametrize(("why", "expires", "good"), EXPIRY, ids=[row[0] for row in EXPIRY])
def test_expiry(why: str, expires: str | None, good: bool) -> None:
    token, digest = make_token()
    end = f", expires: {expires}" if expires else ""
    known = file_with(f"{{name: a, sha256: {digest}, scopes: [read]{end}}}")
    assert (known.find_caller(token, NOW_S) is not None) == good


WRONG = [
    ("the token itself", "{name: a, sha256: slc_abc, scopes: [read]}", "sha256"),
    ("no scope", f"{{name: a, sha256: {'0' * 64}, scopes: []}}", "scopes"),
    ("a scope that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [root]}}", "scopes"),
    ("a date that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [read], expires: soon}}", "expires"),
    ("a key that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [read], scope: x}}", "did you mean 'scopes'"),
]


@pytest.mark.parametrize(("why", "entry", "reason"), WRONG, ids=[row[0] for row in WRONG])
def test_entries_that_are_refused(why: str, entry: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as refused:
        file_with(entry)
    assert refused.value.problems[0]["line"] == 2


CORS = [
    ("one of the families", "cors: {srtslurm: ['http://localhost:3000']}", None),
    ("nobody", "cors: {}", None),
    ("a family that is none", "tokens: []\ncors:\n  srtslum: ['http://localhost:3000']", "did you mean 'srtslurm'"),
    ("no origin", "cors: {srtslurm: ['localhost:3000']}", "cors"),
    ("every origin", "cors: {srtslurm: ['*']}", None),
    ("every origin of a domain", "cors: {srtslurm: ['https://*.example']}", "cors"),
    ("a path", "cors: {srtslurm: ['http://localhost:3000/x']}", "cors"),
]


@pytest.mark.parametrize(("why", "text", "reason"), CORS, ids=[row[0] for row in CORS])
def test_origins_that_may_read(why: str, text: str, reason: str | None) -> None:
    if reason is None:
        assert parse_access(text.encode(), families=["srunx", "srtslurm"]).tokens == []
        return
    with pytest.raises(Invalid, match=reason) as refused:
        parse_access(text.encode(), families=["srunx", "srtslurm"])
    assert refused.value.problems[0]["line"]


# --- who calls, and whether they may ---------------------------------------------------------------------------------


SCHEMES = {"bearer": access.check_bearer, "basic": access.check_basic}
SECURITY = [
    ("nothing is said", None, "does not say who may call it"),
    ("nobody", [], "does not say who may call it"),
    ("another scheme", [{"baerer": ["read"]}], "unknown scheme baerer; did you mean 'bearer'"),
    ("another scope", [{"bearer": ["reed"]}], "unknown scope reed"),
    ("no scope", [{"bearer": []}, {}], "unknown scope none"),
    ("two scopes", [{"bearer": ["read", "write"]}], "unknown scope read, write"),
    ("schemes that differ", [{"bearer": ["read"]}, {"basic": ["write"]}], "different scopes: read, write"),
    ("both at once", [{"bearer": ["read"], "basic": ["read"]}], "several schemes at once"),
]


@pytest.mark.parametrize(("why", "security", "reason"), SECURITY, ids=[row[0] for row in SECURITY])
def test_security_that_is_not_clear(why: str, security: Any, reason: str) -> None:
    with pytest.raises(RuntimeError, match=f"^get_thing .*{reason}"):
        access.compile_security("get_thing", security, SCHEMES)


def test_security_is_compiled() -> None:
    compiled = access.compile_security("get_thing", [{}, {"basic": ["read"]}, {"bearer": ["read"]}], SCHEMES)
    assert compiled == ((access.check_basic, access.check_bearer, access.check_own_user), "read"), "own user last"
    assert access.compile_security("get_thing", [{}], SCHEMES) is access.OPEN
    assert access.admit_caller(access.OPEN, access.Facts({}, None, Access(), access.Caller("me", frozenset()))) is None


def basic(token: str, user: str = "u") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{token}".encode())


OWN, OTHER = os.getuid(), os.getuid() + 1
GOOD, DIGEST = make_token()
ADMITTED = [  # why, schemes, headers, uid of the other end, who is let in or what is raised
    ("a right token", ["bearer"], {b"authorization": b"Bearer " + GOOD.encode()}, OTHER, "ci"),
    ("as a password", ["basic"], {b"authorization": basic(GOOD)}, OTHER, "ci"),
    ("as a user", ["basic"], {b"authorization": basic("", GOOD)}, OTHER, "ci"),
    ("a password where none is taken", ["bearer"], {b"authorization": basic(GOOD)}, OWN, access.WrongCredentials),
    ("a wrong token", ["bearer"], {b"authorization": b"Bearer no"}, OTHER, access.WrongCredentials),
    ("a wrong token of the own user", ["bearer"], {b"authorization": b"Bearer no"}, OWN, access.WrongCredentials),
    ("a wrong token, then another way", ["bearer", "basic"], {b"authorization": b"Bearer no"}, OWN,
     access.WrongCredentials),
    ("an unknown scheme", ["bearer"], {b"authorization": b"Digest x"}, OWN, access.WrongCredentials),
    ("the own user", ["bearer"], {}, OWN, "me"),
    ("another user", ["bearer"], {}, OTHER, access.Unauthenticated),
    ("from another machine", ["bearer"], {}, None, access.Unauthenticated),
    ("through a proxy", ["bearer"], {b"x-forwarded-for": b"127.0.0.1"}, OWN, access.Unauthenticated),
]  # fmt: skip


@pytest.mark.parametrize(("why", "schemes", "headers", "uid", "result"), ADMITTED, ids=[row[0] for row in ADMITTED])
def test_who_is_let_in(why: str, schemes: list[str], headers: dict[bytes, bytes], uid: int | None, result: Any) -> None:
    known = file_with(f"{{name: ci, sha256: {DIGEST}, scopes: [read]}}")
    own = access.Caller("me", access.INCLUDED["admin"])
    needed = access.compile_security("get_thing", [*({scheme: ["read"]} for scheme in schemes), {}], SCHEMES)
    facts = access.Facts(headers, uid, known, own)
    if isinstance(result, str):
        caller = access.admit_caller(needed, facts)
        assert caller is not None and caller.name == result
        return
    with pytest.raises(result) as refused:
        access.admit_caller(needed, facts)
    assert refused.type is result


@pytest.mark.parametrize("given", ["report", "read", "write", "admin"])
@pytest.mark.parametrize("needed", ["report", "read", "write", "admin"])
def test_a_scope_is_enough_or_not(given: str, needed: str) -> None:
    facts = access.Facts({}, OWN, Access(), access.Caller("me", access.INCLUDED[given]))
    requirement = access.compile_security("get_thing", [{"bearer": [needed]}, {}], SCHEMES)
    if needed in access.INCLUDED[given]:
        assert access.admit_caller(requirement, facts) == facts.own
        return
    with pytest.raises(Denied, match=f"scope {needed}$"):
        access.admit_caller(requirement, facts)


NEW_TOKENS = [
    ("one scope", "ci:read", '{name: "ci", sha256: "HASH", scopes: [read]}'),
    ("several", "ci:report,read", '{name: "ci", sha256: "HASH", scopes: [report, read]}'),
    ("none", "ci", '{name: "ci", sha256: "HASH", scopes: [write]}'),
    ("a name like a number", "123:read", '{name: "123", sha256: "HASH", scopes: [read]}'),
    ("a name like a truth value", "true:read", '{name: "true", sha256: "HASH", scopes: [read]}'),
    ("a name like nothing", "null:read", '{name: "null", sha256: "HASH", scopes: [read]}'),
    ("an unknown one", "ci:read,wirte", "unknown scope 'wirte'; did you mean 'write'"),
    ("an empty one", "ci:read,", "unknown scope ''"),
    ("no name", ":read", "the name '' is not one"),
    ("a name with a blank", "a b:read", "the name 'a b' is not one"),
]


@pytest.mark.parametrize(("why", "text", "result"), NEW_TOKENS, ids=[row[0] for row in NEW_TOKENS])
def test_new_tokens(why: str, text: str, result: str) -> None:
    if result.startswith("{"):
        token, entry = access.describe_token(text)
        assert entry.replace(hash_token(token), "HASH") == f"  - {result}"
        assert parse_access(f"tokens:\n{entry}\n".encode()).find_caller(token) is not None
        return
    with pytest.raises(ValueError, match=result):
        access.describe_token(text)


def test_every_entry_is_compared_whatever_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [make_token() for _ in range(5)]
    known = file_with(*(f"{{name: n{i}, sha256: {pair[1]}, scopes: [read]}}" for i, pair in enumerate(pairs)))
    compared: list[str] = []
    compare = access.hmac.compare_digest
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append(b) or compare(a, b))
    for token, _ in (pairs[0], pairs[4], make_token()):
        del compared[:]
        known.find_caller(token)
        assert compared == [digest for _, digest in pairs]


def test_failures_are_limited_for_each_client() -> None:
    now = 0.0
    failures = Failures(burst=3, refill_s=10.0, clock=lambda: now, clients=2)
    for _ in range(3):
        assert failures.wait_s("a") == 0
        failures.count_failure("a")
    assert failures.wait_s("a") == 10
    assert failures.wait_s("b") == 0, "others are not concerned"
    for _ in range(100):
        failures.count_failure("a")
    assert failures.wait_s("a") == 10, "trying on does not lengthen the wait"
    now = 10.0
    assert failures.wait_s("a") == 0
    failures.count_failure("a")
    assert failures.wait_s("a") == 10
    now = 1000.0
    for _ in range(3):
        assert failures.wait_s("a") == 0
        failures.count_failure("a")
    for client in ("b", "c"):
        failures.count_failure(client)
    assert set(failures.spent) == {"b", "c"}, "memory is bounded; the oldest is forgotten"


# --- whose connection ------------------------------------------------------------------------------------------------


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
    return find_peer_uid(peer[0], peer[1], own[0], own[1])


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
        monkeypatch.setattr(access, "_ask_kernel", refuse)
    else:
        monkeypatch.setattr(access, "_find_listed_uid", lambda *_: pytest.fail("the kernel was not asked"))
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
        for why, client, client_port, server, server_port in table:
            assert find_peer_uid(client, client_port, server, server_port) is None, why


def test_a_machine_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect_pair("127.0.0.1", "127.0.0.1") as (_, accepted):
        monkeypatch.setattr(access, "_ask_kernel", refuse)
        monkeypatch.setattr(Path, "read_text", refuse)
        assert owner(accepted) is None
