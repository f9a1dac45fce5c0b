"""Watches and subscriptions: asked for, listed, closed and deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.notify import endpoints, watches
from engine.server import Server
from store.documents import JobRecord, Run, Sweep
from store.errors import Conflict, Exists, Invalid, NotFound, WrongKind
from tests.engine.servers.opened import open_server
from tests.pretended import asynchronous

AT = "2027-01-15T08:00:00Z"


async def put_targets(server: Server) -> None:
    """Put two endpoints into the store, two runs that run, and a sweep."""
    for name in ("first", "second"):
        body = {"kind": "webhook", "name": name, "config": {"webhook_url": "https://example.org/"}}
        await endpoints.create_endpoint(server, body)
    for run_id in ("r", "s"):
        run = Run(id=run_id, workflow_name="w", status="running", started_at=AT)
        await server.store.runs.put(run_id, run)
    sweep = Sweep(
        id="7", uid="u", name="s", workflow_name="w", workflow_text="", matrix={}, cell_count=0, status="running",
        started_at=AT,
    )  # fmt: skip
    await server.store.sweeps.put("7", sweep)


async def watch_run(server: Server, run_id: str = "r", endpoint_id: int = 1, preset: str = "all") -> dict[str, Any]:
    """Watch a run; return the answer."""
    body = {"kind": "workflow_run", "run_id": run_id, "endpoint_id": endpoint_id, "preset": preset}
    return await watches.create_watch(server, body)


@asynchronous
async def test_runs_and_sweeps_are_watched_once_for_each_endpoint_and_preset(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        first = await watch_run(server)
        assert first == {"watch_id": 1, "subscription_id": 1, "created": True}
        assert await watch_run(server) == {**first, "created": False}
        assert (await watch_run(server, preset="terminal"))["created"]
        assert (await watch_run(server, endpoint_id=2))["created"]
        body = {"kind": "sweep_run", "sweep_run_id": 7.0, "endpoint_id": 1.0, "preset": "all"}
        sweep = await watches.create_watch(server, body)
        assert sweep["created"] and watches.get_watch(server, sweep["watch_id"])["target_ref"] == "sweep_run:7"


@asynchronous
async def test_the_same_watch_asked_for_by_many_at_once_is_one(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        answers = await asyncio.gather(*(watch_run(server) for _ in range(5)))
        assert [answer["created"] for answer in answers].count(True) == 1
        assert {answer["watch_id"] for answer in answers} == {1} and len(server.store.watches) == 1


@asynchronous
async def test_a_target_is_named_and_exists(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        with pytest.raises(Invalid) as refused:
            await watches.create_watch(server, {"kind": "job", "run_id": "r", "endpoint_id": 1, "preset": "all"})
        assert refused.value.problems[0]["loc"] == ["body", "job_id"]
        with pytest.raises(NotFound, match="Run 'nope' not found"):
            await watch_run(server, "nope")
        with pytest.raises(NotFound, match="Sweep run '8' not found"):
            await watches.create_watch(
                server, {"kind": "sweep_run", "sweep_run_id": 8, "endpoint_id": 1, "preset": "all"}
            )
        with pytest.raises(NotFound, match="endpoint 9 not found"):
            await watch_run(server, endpoint_id=9)
        with pytest.raises(Invalid, match="digest"):
            await watch_run(server, preset="digest")
        await endpoints.disable_endpoint(server, 2)
        with pytest.raises(Invalid, match="endpoint 2 is disabled"):
            await watch_run(server, endpoint_id=2)
        assert len(server.store.watches) == 0


@asynchronous
async def test_what_is_over_is_not_watched(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store", cluster=True) as server:
        await put_targets(server)
        over = server.store.runs.get("s").model_copy(update={"status": "completed", "completed_at": AT})
        await server.store.runs.put("s", over)
        with pytest.raises(Invalid, match="already"):
            await watch_run(server, "s")
        for job_id, state in ((41, "COMPLETED"), (42, "RUNNING")):
            times = {"submitted_at": AT, "started_at": AT, "ended_at": AT if state == "COMPLETED" else None}
            record = JobRecord(id=f"j{job_id}", cluster="embedded", name="n", job_id=str(job_id), state=state, **times)
            await server.store.jobs.put(record.id, record)
        body = {"kind": "job", "endpoint_id": 1, "preset": "all"}
        with pytest.raises(Invalid, match="already COMPLETED"):
            await watches.create_watch(server, {**body, "job_id": 41})
        running = await watches.create_watch(server, {**body, "job_id": 42.0})
        assert watches.get_watch(server, running["watch_id"])["target_ref"] == "job:local:42"
        with pytest.raises(NotFound, match="Job '43' not found"):
            await watches.create_watch(server, {**body, "job_id": 43})


@asynchronous
async def test_watches_are_listed_newest_first(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        for run_id in ("r", "s"):
            await watch_run(server, run_id)
        await watches.create_watch(server, {"kind": "sweep_run", "sweep_run_id": 7, "endpoint_id": 1, "preset": "all"})
        await watches.close_watch(server, 1)

        def list_ids(*filters: Any) -> list[int]:
            return [row["id"] for row in watches.list_watches(server, *filters)]

        assert list_ids(True, None, None) == [3, 2]
        assert list_ids(True, "workflow_run", None) == [2]
        assert list_ids(False, "workflow_run", None) == [2, 1]
        assert list_ids(False, None, "workflow_run:r") == [1] and list_ids(True, None, "workflow_run:r") == []
        with pytest.raises(WrongKind):
            list_ids(False, None, None)


@asynchronous
async def test_a_closed_watch_stays_closed_and_takes_no_more_subscriptions(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        await watch_run(server)
        closed = await watches.close_watch(server, 1)
        assert closed["closed_at"] and await watches.close_watch(server, 1) == closed
        with pytest.raises(Conflict, match="watch 1 is closed"):
            await watches.create_subscription(server, {"watch_id": 1, "endpoint_id": 2, "preset": "all"})
        again = await watch_run(server)
        assert again["created"] and again["watch_id"] == 2, "who asks again is not put off with the closed one"
    async with open_server(tmp_path / "store") as server:
        assert watches.get_watch(server, 1) == closed, "also after a restart"
        with pytest.raises(NotFound, match="watch not found"):
            watches.get_watch(server, 9)
        with pytest.raises(NotFound, match="watch not found"):
            await watches.close_watch(server, 9)


@asynchronous
async def test_subscriptions_are_created_once_for_each_endpoint(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        await watch_run(server)
        body = {"watch_id": 1.0, "endpoint_id": 2.0, "preset": "terminal"}
        created = await watches.create_subscription(server, body)
        assert (created["watch_id"], created["endpoint_id"], created["preset"]) == (1, 2, "terminal")
        with pytest.raises(Exists):
            await watches.create_subscription(server, body)
        for missing, reason in (({"watch_id": 9}, "watch not found"), ({"endpoint_id": 9}, "endpoint not found")):
            with pytest.raises(NotFound, match=reason):
                await watches.create_subscription(server, {**body, **missing})


@asynchronous
async def test_subscriptions_are_listed_newest_first_but_those_of_one_watch_oldest_first(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        await watch_run(server, "r")
        await watch_run(server, "s")
        await watches.create_subscription(server, {"watch_id": 1, "endpoint_id": 2, "preset": "all"})

        def list_ids(watch_id: int | None, endpoint_id: int | None, limit: int = 10) -> list[int]:
            return [row["id"] for row in watches.list_subscriptions(server, watch_id, endpoint_id, limit)]

        assert list_ids(None, None) == [3, 2, 1] and list_ids(None, None, 2) == [3, 2]
        assert list_ids(1, None) == [1, 3] and list_ids(None, 1) == [1, 2] and list_ids(2, 2) == []


@asynchronous
async def test_a_subscription_is_deleted_and_its_number_is_not_given_again(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        await put_targets(server)
        await watch_run(server, "r")
        await watch_run(server, "s")
        await watches.delete_subscription(server, 1)
        assert [row["id"] for row in watches.list_subscriptions(server, None, None, 10)] == [2]
        with pytest.raises(NotFound, match="subscription not found"):
            await watches.delete_subscription(server, 1)
    async with open_server(tmp_path / "store") as server:
        created = await watches.create_subscription(server, {"watch_id": 1, "endpoint_id": 1, "preset": "all"})
        assert created["id"] == 3
