"""Reads that ask SLURM: many strangers' questions cost one call, and none once nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app_client import Client


@pytest.fixture
def gate(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[list[str]]]]:
    """Accounting that answers when the gate opens, and what it was asked."""
    opened, asked = threading.Event(), list[list[str]]()
    slurm = client.server.cluster.slurm
    find_accounted = slurm.find_accounted

    def wait(job_ids: Any) -> Any:
        asked.append(list(job_ids))
        assert opened.wait(60)
        return find_accounted(job_ids)

    monkeypatch.setattr(slurm, "find_accounted", wait)
    yield opened, asked
    opened.set()


async def ask(client: Client, path: str, leave: asyncio.Event | None = None) -> int | None:
    """The status of the answer; None for a client that has left before."""
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await (leave.wait() if leave is not None else asyncio.Future())
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    headers = [(b"host", b"localhost"), (b"authorization", b"Bearer " + client.tokens["read"].encode())]
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "headers": headers, "client": ("127.0.0.1", 4),
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await client.serve(scope, receive, send)
    return said[0]["status"] if said else None


@pytest.mark.parametrize("what", ["", "/logs"])
def test_abandoned_questions_keep_nobody_waiting(
    client: Client, gate: tuple[threading.Event, list[list[str]]], what: str
) -> None:
    opened, asked = gate
    numbers = [str(70_000 + len(what) * 100 + number) for number in range(22)]
    own = client.submit("#!/bin/sh\n")

    async def attack() -> list[int | None]:
        leave = asyncio.Event()
        first = asyncio.ensure_future(ask(client, f"/api/jobs/{numbers[0]}{what}"))
        while not asked:
            await asyncio.sleep(0.01)
        left = [asyncio.ensure_future(ask(client, f"/api/jobs/{number}{what}", leave)) for number in numbers[1:21]]
        stays = asyncio.ensure_future(ask(client, f"/api/jobs/{numbers[21]}{what}"))
        while len(client.server.cluster._look_ups._queued) < 21:
            await asyncio.sleep(0.01)
        assert await ask(client, f"/api/jobs/{own}{what}") == 200, "what is known waits for nobody"
        leave.set()
        assert await asyncio.gather(*left) == [None] * 20
        opened.set()
        return [await first, await stays]

    assert client.run(attack()) == [404, 404]
    assert asked == [[numbers[0]], [numbers[21]]]


def test_strangers_questions_share_a_call(client: Client, gate: tuple[threading.Event, list[list[str]]]) -> None:
    opened, asked = gate
    numbers = [str(80_000 + number) for number in range(30)]

    async def attack() -> set[int | None]:
        asking = [asyncio.ensure_future(ask(client, f"/api/jobs/{number}")) for number in numbers * 2]
        while not asked:
            await asyncio.sleep(0.01)
        opened.set()
        return set(await asyncio.gather(*asking))

    assert client.run(attack()) == {404}
    assert sorted(number for ids in asked for number in ids) == numbers and len(asked) <= 2
    assert {client.get(f"/api/jobs/{number}").status_code for number in numbers} == {404}
    assert len(asked) <= 2, "that there is none is remembered for a while"
