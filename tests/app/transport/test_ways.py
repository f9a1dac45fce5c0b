"""Heads that come again: what they lead to is remembered, and everything else is asked each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from http_server.ways import HEAD_BYTES, MOST_WAYS
from tests.app_client import Client
from tests.waiting import eventually

HOST = (b"host", b"localhost")
PATH = "/api/workflows"


@pytest.fixture(autouse=True)
def nothing_known(client: Client) -> Iterator[None]:
    """Nothing is remembered yet, and wrong tokens of one test do not count in the next."""
    client.server.ways.clear()
    yield
    client.server.callers.failures.spent.clear()


def ask(client: Client, *headers: tuple[bytes, bytes], path: str = PATH, **scope: Any) -> httpx.Response:
    """The answer to a head that is always the same."""
    token = (b"authorization", b"Bearer " + client.tokens["read"].encode())
    return client.bare("GET", path, [HOST, token, *headers], **scope)


def test_the_same_head_leads_to_the_same(client: Client) -> None:
    first, second = ask(client), ask(client)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content and len(client.server.ways) == 1
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert {**first.headers, "x-request-id": ""} == {**second.headers, "x-request-id": ""}


@pytest.mark.parametrize(
    ("why", "path", "query", "headers", "status"),
    [
        ("another path", "/api/nothing", b"", [], 404),
        ("another query", PATH, b"nothing=1", [], 422),
        ("one header more", PATH, b"", [(b"origin", b"https://evil.example")], 403),
        ("a second Host", PATH, b"", [(b"host", b"evil.example")], 400),
        ("a second token", PATH, b"", [(b"authorization", b"Bearer x")], 400),
    ],
)
def test_another_head_is_another(
    client: Client, why: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    for _ in range(2):
        assert ask(client).status_code == 200
        assert ask(client, *headers, path=path, query_string=query).status_code == status, why


def test_another_method_is_another(client: Client) -> None:
    token = (b"authorization", b"Bearer " + client.tokens["read"].encode())
    for _ in range(2):
        assert ask(client).content
        head = client.bare("HEAD", PATH, [HOST, token])
        assert head.status_code == 200 and not head.content
        assert client.bare("DELETE", PATH, [HOST, token]).status_code == 405


def test_who_calls_is_asked_each_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    call = lambda: client.bare("GET", PATH, [HOST]).status_code  # noqa: E731
    uids = iter([os.getuid(), os.getuid(), os.getuid() + 1, None, os.getuid()])
    monkeypatch.setattr(client.server.callers.peers, "find_uid", lambda *_ends: next(uids))
    assert [call() for _ in range(5)] == [200, 200, 401, 401, 200]
    assert len(client.server.ways) == 1


def test_a_token_counts_as_access_yaml_says_now(client: Client) -> None:
    path = client.store / "access.yaml"
    before = path.read_text()
    assert [ask(client).status_code for _ in range(3)] == [200, 200, 200]
    try:
        path.write_text(before.replace("scopes: [read]", "scopes: [report]"))
        eventually(lambda: ask(client).status_code == 403)
    finally:
        path.write_text(before)
    eventually(lambda: ask(client).status_code == 200)


@pytest.mark.parametrize(
    ("why", "name", "more", "headers", "refused"),
    [
        ("a host", "access", "allowed_hosts: [cluster.example]\n", [(b"host", b"cluster.example")], 403),
        (
            "an origin that reads",
            "access",
            "cors: {sluice: ['https://a.example']}\n",
            [HOST, (b"origin", b"https://a.example")],
            403,
        ),
        (
            "a partner",
            "config",
            "yaptide: {origins: ['https://b.example']}\n",
            [HOST, (b"origin", b"https://b.example")],
            403,
        ),
    ],
)
def test_leave_that_is_taken_back(
    client: Client, why: str, name: str, more: str, headers: list[tuple[bytes, bytes]], refused: int
) -> None:
    path = client.store / f"{name}.yaml"
    before, url = path.read_text(), "/" if why == "a partner" else "/health"
    call = lambda: client.bare("GET", url, headers).status_code  # noqa: E731
    assert call() == refused, why
    try:
        path.write_text(before + more)
        eventually(lambda: call() == 200)
        assert call() == 200, why
    finally:
        path.write_text(before)
    eventually(lambda: call() == refused)


def test_rates_are_counted_each_time(client: Client) -> None:
    left = [int(ask(client, path="/api/v1/status").headers["x-ratelimit-remaining"]) for _ in range(3)]
    assert left == [left[0], left[0] - 1, left[0] - 2]


def test_what_will_not_come_again_or_is_long_is_not_remembered(client: Client) -> None:
    rows = [
        ((b"x-request-id", b"mine"),),
        ((b"content-length", b"2"),),
        ((b"transfer-encoding", b"chunked"),),
        ((b"x-long", b"x" * HEAD_BYTES),),
    ]
    for headers in rows:
        assert ask(client, *headers).status_code == 200, headers
        assert not client.server.ways, headers
    assert ask(client, (b"x-request-id", b"mine")).headers["x-request-id"] == "mine"


def test_what_is_refused_is_not_remembered(client: Client) -> None:
    assert client.bare("GET", PATH, [(b"host", b"evil.example")]).status_code == 403
    assert ask(client, path="/api/nothing").status_code == 404
    assert not client.server.ways


def test_only_so_many_are_remembered(client: Client) -> None:
    client.server.ways.update({(number,): (None, None, {}) for number in range(MOST_WAYS)})
    assert ask(client).status_code == 200
    assert len(client.server.ways) == 1


def test_headers_that_cannot_be_looked_up(client: Client) -> None:
    token = b"Bearer " + client.tokens["read"].encode()
    headers: list[Any] = [[b"host", b"localhost"], [b"authorization", token]]
    for _ in range(2):
        assert client.bare("GET", PATH, headers).status_code == 200
    assert not client.server.ways
