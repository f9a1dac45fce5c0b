"""Bodies that two parsers would read differently are refused, and those that take too much time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app import DISCARD_BYTES, DISCARD_LEAST_BYTES, SMALL_BYTES, SMALL_PIECES, Call, Checker
from store.config.layers import parse_layer
from store.errors import TOLD_PROBLEMS, Invalid
from store.jsons import find_nul_problems
from tests.app_client import Client

JSON = {"content-type": "application/json"}
TWICE = [  # why, body, the key that is named
    ("at the top", b'{"yaml": "a", "yaml": "b"}', "yaml"),
    ("the same value", b'{"yaml": "a", "yaml": "a"}', "yaml"),
    ("spelled in another way", b'{"yaml": "a", "\\u0079aml": "b"}', "yaml"),
    ("deep inside", b'{"yaml": "a", "x": [{"y": {"z": 1, "z": 2}}]}', "z"),
    ("empty", b'{"": 1, "": 2}', ""),
    ("beside a number beyond 64 bits", b'{"x": 99999999999999999999, "y": 1, "y": 2}', "y"),
]


@pytest.mark.parametrize(("why", "body", "key"), TWICE, ids=[row[0] for row in TWICE])
def test_a_key_that_stands_twice_is_named(client: Client, why: str, body: bytes, key: str) -> None:
    for path in ("/api/workflows/validate", "/srtslurm/api/jobs", "/api/jobs"):
        answer = client.request("POST", path, content=body, headers=JSON)
        assert (answer.status_code, f"The key '{key}' stands twice" in answer.text) == (400, True), answer.text


def test_the_same_key_in_two_objects_is_fine(client: Client) -> None:
    body = b'{"yaml": "name: a\\njobs: [{name: a, command: x}, {name: b, command: y}]"}'
    assert client.request("POST", "/api/workflows/validate", content=body, headers=JSON).status_code == 200
    body = b'{"stage": "a", "metadata": {"stage": [{"stage": 1}, {"stage": 2}]}}'
    answer = client.request("PUT", "/srtslurm/api/jobs/1", content=body, headers=JSON)
    assert "stands twice" not in answer.text


def test_a_json_file_of_people_is_a_problem_that_names_the_key() -> None:
    with pytest.raises(Invalid, match="the key 'nodes' stands twice"):
        parse_layer(b'{"resources": {"nodes": 1, "nodes": 2}}')


PIECES = [  # why, the text that is sent in pieces, how large each is, the status
    ("tiny ones, as many as there may be", SMALL_PIECES - 100, 1, 200),
    ("too many tiny ones", SMALL_PIECES + 100, 1, 400),
    ("lines", 900_000, SMALL_BYTES, 200),
]


@pytest.mark.parametrize(("why", "count", "size", "status"), PIECES, ids=[row[0] for row in PIECES])
def test_a_body_in_many_pieces(client: Client, why: str, count: int, size: int, status: int) -> None:
    body = b'{"yaml": "jobs: [{name: a, command: x}] #' + b"x" * count + b'"}'
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    answer = client.request("POST", "/api/workflows/validate", chunks=chunks, headers=JSON)
    assert (answer.status_code, "pieces of the body" in answer.text) == (status, status == 400), why


def test_of_a_refused_body_in_tiny_pieces_little_is_read() -> None:
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(_message: dict[str, Any]) -> None:
        pass

    headers = [(b"transfer-encoding", b"chunked")]
    call = Call({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
    asyncio.run(call.finish())
    assert received <= DISCARD_BYTES // DISCARD_LEAST_BYTES + 1


NAMES = dict.fromkeys(map(str, range(5000)), 1)
MANY = [  # why, path, body, the field that is named
    ("wrong items", "/v1/jobs/bulk", {"action": "cancel", "job_ids": [1] * 5000}, "job_ids"),
    ("wrong values", "/v1/jobs", {"script": "x", "environment": NAMES}, "environment"),
    ("unknown fields", "/v1/jobs", {"script": "x", **NAMES}, "0"),
]


@pytest.mark.parametrize(("why", "path", "body", "field"), MANY, ids=[row[0] for row in MANY])
def test_of_thousands_of_wrong_parts_the_first_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, why: str, path: str, body: dict[str, Any], field: str
) -> None:
    """All of them at once would take seconds, in which nobody else is served."""
    calls: list[Any] = []

    def find_first(checker: Checker, value: Any) -> list[Any]:
        found = find(checker, value)
        calls.extend(found)
        return found

    find = Checker.find_first_error
    monkeypatch.setattr(Checker, "find_first_error", find_first)
    answer = client.post(path, body)
    assert answer.status_code == 400 and len(calls) == 1, why
    assert next(iter(answer.json()["error"]["details"]["fields"])).startswith(field), answer.text


def test_no_more_texts_with_nul_are_told_than_problems() -> None:
    assert len(find_nul_problems({"a": ["\0"] * 5000}, "body")) == TOLD_PROBLEMS
