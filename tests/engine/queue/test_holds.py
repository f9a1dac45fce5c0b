"""Reasons of holds: kept over a restart, forgotten once nobody holds the jobs any more."""

from __future__ import annotations

from pathlib import Path

from engine.queue import holds
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous, job


@asynchronous
async def test_a_reason_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(*(job(name, "PENDING", reason="JobHeldUser") for name in ("1", "2")))
        await holds.keep_reason(world.server, world.cluster, ["1", "2"], "first", "ann")
        await holds.keep_reason(world.server, world.cluster, ["2"], "second", "ann")
        await holds.keep_reason(world.server, world.cluster, [], "of nothing", "ann")
    async with open_server(tmp_path) as world:
        reasons = [holds.find_reason(world.server, world.cluster, name) for name in ("1", "2", "3")]
        assert reasons == ["first", "second", None]
        await holds.forget_reasons(world.server, world.cluster, ["1"])
        await holds.forget_reasons(world.server, world.cluster, ["1"])
        assert holds.find_reason(world.server, world.cluster, "1") is None
        assert len(world.store.holds) == 1, "without jobs it is deleted"


@asynchronous
async def test_what_somebody_else_released_is_forgotten_with_the_next_hold(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "PENDING", reason="JobHeldUser"))
        await holds.keep_reason(world.server, world.cluster, ["1"], "first", "ann")
        await world.lose_cluster()
        assert holds.list_free_jobs(world.server, world.cluster) == [], "nobody can say"
        await world.show_queue(job("1", "RUNNING"), job("2", "PENDING", reason="JobHeldUser"))
        assert holds.list_free_jobs(world.server, world.cluster) == ["1"]
        await holds.keep_reason(world.server, world.cluster, ["2"], "second", "ann")
        assert holds.find_reason(world.server, world.cluster, "1") is None
