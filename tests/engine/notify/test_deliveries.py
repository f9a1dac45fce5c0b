"""Deliveries as they are listed, counted and found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.notify import deliveries
from engine.server import Server
from store.errors import NotFound
from store.rules.deliveries import Delivery
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

LONG_AGO, NEVER_YET = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


def build_delivery(number: int, **more: Any) -> Delivery:
    """Build a delivery that has been due for long."""
    given = {
        "event_id": number, "watch_id": 1, "subscription_id": 1, "endpoint_id": 1, "idempotency_key": f"key {number}",
        "body": {}, "next_attempt_at": LONG_AGO, "created_at": LONG_AGO,
    }  # fmt: skip
    return Delivery(id=str(number), **{**given, **more})


def list_ids(server: Server, subscription_id: int | None = None, status: str | None = None, limit: int = 50) -> Any:
    """List the numbers of these deliveries."""
    return [row["id"] for row in deliveries.list_deliveries(server, subscription_id, status, limit)]


@asynchronous
async def test_deliveries_are_listed_newest_first(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for number in (9, 1, 10, 2):
            await server.store.deliveries.create(str(number), build_delivery(number))
        assert list_ids(server) == [10, 9, 2, 1], "by number, not by name"
        assert list_ids(server, limit=2) == [10, 9]
        await server.store.deliveries.delete("9")
        assert list_ids(server) == [10, 2, 1]
    async with open_server(tmp_path / "store") as server:
        assert list_ids(server) == [10, 2, 1], "also after a restart"


@asynchronous
async def test_they_are_listed_by_subscription_and_state(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for number, subscription_id, status in ((1, 1, "delivered"), (2, 2, "pending"), (3, 1, "pending")):
            delivery = build_delivery(number, subscription_id=subscription_id, status=status)
            await server.store.deliveries.create(delivery.id, delivery)
        assert list_ids(server, subscription_id=1) == [3, 1]
        assert list_ids(server, status="pending") == [3, 2]
        assert list_ids(server, 1, "pending", 1) == [3] and list_ids(server, 2, "delivered") == []
        await server.store.deliveries.put("2", build_delivery(2, subscription_id=2, status="delivered"))
        assert list_ids(server, status="pending") == [3]


@asynchronous
async def test_the_limit_counts_those_that_are_asked_for(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        for number in range(1, 7):
            delivery = build_delivery(number, status="delivered" if number < 3 else "abandoned")
            await server.store.deliveries.create(delivery.id, delivery)
        assert list_ids(server, status="delivered", limit=2) == [2, 1]


@asynchronous
async def test_only_what_is_overdue_is_stuck(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("due long ago", {}, 1),
        ("not due yet", {"next_attempt_at": NEVER_YET}, 0),
        ("being sent", {"status": "sending", "leased_until": NEVER_YET}, 0),
        ("its lease has run out", {"status": "sending", "leased_until": LONG_AGO}, 1),
        ("delivered", {"status": "delivered"}, 0),
        ("given up", {"status": "abandoned"}, 0),
    ]
    async with open_server(tmp_path / "store") as server:
        expected = 0
        for number, (why, more, stuck) in enumerate(cases, 1):
            await server.store.deliveries.create(str(number), build_delivery(number, **more))
            expected += stuck
            found = deliveries.count_stuck_deliveries(server, 300)
            assert found == {"count": expected, "older_than_sec": 300}, why
        century_s = 100 * 365 * 86_400
        assert deliveries.count_stuck_deliveries(server, century_s)["count"] == 0
        await server.store.deliveries.put("1", build_delivery(1, status="delivered"))
        assert deliveries.count_stuck_deliveries(server, 300)["count"] == expected - 1
    async with open_server(tmp_path / "store") as server:
        assert deliveries.count_stuck_deliveries(server, 300)["count"] == expected - 1, "also after a restart"


@asynchronous
async def test_one_is_found_by_its_number(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await server.store.deliveries.create("4", build_delivery(4, last_error="the receiver answered 500"))
        found = deliveries.get_delivery(server, 4)
        assert found == deliveries.list_deliveries(server, None, None, 1)[0]
        assert (found["id"], found["status"], found["last_error"]) == (4, "pending", "the receiver answered 500")
        for number in (5, 0):
            with pytest.raises(NotFound, match="delivery not found"):
                deliveries.get_delivery(server, number)


@asynchronous
async def test_a_file_that_is_none_is_no_delivery(tmp_path: Path) -> None:
    write_files(
        tmp_path / "store", {"deliveries/1.json": "{", "deliveries/word.json": build_delivery(2).model_dump_json()}
    )
    async with open_server(tmp_path / "store") as server:
        await server.store.deliveries.create("3", build_delivery(3))
        assert list_ids(server) == [3]
        assert deliveries.count_stuck_deliveries(server, 0)["count"] == 1
        with pytest.raises(NotFound):
            deliveries.get_delivery(server, 1)
        assert {row["path"] for row in server.store.list_problems()} == {"deliveries/1.json", "deliveries/word.json"}
