"""Alerts of a server: written down, told to readers, kept over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.monitoring import alerts
from store.errors import Conflict, NotFound
from tests.engine.monitoring.test_sampler import NODE, begin_sampling, make_slurm
from tests.engine.servers.pretended import CALLER, World, open_server
from tests.pretended import asynchronous

NOON = 1_702_641_600.0


async def check(world: World) -> list[dict[str, Any]]:
    """Look for what is wrong; return all alerts."""
    await alerts.check_alerts(world.server)
    asked = {"severity": None, "type": None, "acknowledged": None, "resolved": None, "limit": 100, "offset": 0}
    found: list[dict[str, Any]] = orjson.loads(alerts.list_alerts(world.server, **asked).value.data)["alerts"]
    return found


@asynchronous
async def test_an_alert_lives_on_after_a_restart_and_ends_with_its_cause(tmp_path: Path) -> None:
    slurm = make_slurm()
    slurm.node_rows = [NODE, NODE | {"name": "n2", "state": "DOWN", "usable": False}]
    async with open_server(tmp_path, slurm=slurm) as world:
        await begin_sampling(world, NOON)
        await world.show_queue()
        world.read_changes("alert")
        (alert,) = await check(world)
        assert (alert["severity"], alert["type"], alert["component"], alert["resolved"]) == (
            "critical",
            "node",
            "nodes",
            False,
        )
        assert alert["message"].startswith("1 of 2 nodes")
        await alerts.acknowledge_alert(world.server, alert["alert_id"], CALLER)
        assert await check(world) == await check(world)
        kinds = [(kind, action) for kind, _id, action in world.take_changes()]
        assert kinds == [("alert", "updated")], "made and seen: only the newest change of an alert is told"
    async with open_server(tmp_path, slurm=slurm) as world:
        await begin_sampling(world, NOON + 60)
        (again,) = await check(world)
        assert (again["alert_id"], again["acknowledged_by"]) == (alert["alert_id"], "ann")
        slurm.node_rows = [NODE]
        world.cluster.snapshot._nodes_began_at = float("-inf")
        await world.show_queue()
        (over,) = await check(world)
        assert (over["resolved"], over["resolved_by"]) == (True, None)
        with pytest.raises(Conflict):
            await alerts.acknowledge_alert(world.server, alert["alert_id"], CALLER)
        with pytest.raises(NotFound):
            await alerts.resolve_alert(world.server, "alert_0", CALLER)


@asynchronous
async def test_a_cluster_that_is_away_is_an_alert_and_resolves_none(tmp_path: Path) -> None:
    slurm = make_slurm()
    slurm.node_rows = [NODE | {"usable": False}]
    async with open_server(tmp_path, slurm=slurm) as world:
        await begin_sampling(world, NOON)
        await world.show_queue()
        await check(world)
        await world.lose_cluster()
        assert {(row["component"], row["resolved"]) for row in await check(world)} == {
            ("slurmctld", False),
            ("nodes", False),
        }


@asynchronous
async def test_accounting_is_asked_whether_it_answers(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        asked = list[float]()
        world.slurm.list_submitted = lambda since_s: asked.append(since_s) or []  # type: ignore[method-assign,func-returns-value]
        await alerts.ask_database(world.server)
        await world.lose_cluster()
        await alerts.ask_database(world.server)
        assert asked == [alerts.PROBE_S]


def test_use_is_a_mean_over_minutes() -> None:
    assert alerts.compute_use((8, 8), [50.0, None, 60.0]) == 70.0
    assert (alerts.compute_use((0, 0), []), alerts.compute_use(None, [1.0])) == (None, None)
