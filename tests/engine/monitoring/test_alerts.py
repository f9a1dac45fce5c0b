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


ASKED = ["alerts: warning", "alerts: critical", "alerts: none", ""]
ASKED.append('alerts: warning\ndisabled_at: "2026-01-01T00:00:00Z"')
ENDPOINTS = {
    f"store/endpoints/{number}.yaml": f"kind: webhook\nname: e{number}\nwebhook_url: https://example.org/\n{more}"
    for number, more in enumerate(ASKED, 1)
}


def list_deliveries(world: World) -> list[tuple[int, str]]:
    """List endpoint and status of all deliveries, the oldest first."""
    rows = world.server.notifications.outbox.list_deliveries(None, None, 100)
    return [(row["endpoint_id"], row["event"]["status"]) for row in reversed(rows)]


@asynchronous
async def test_endpoints_are_told_once_that_it_came_and_that_it_went(tmp_path: Path) -> None:
    async with open_server(tmp_path, ENDPOINTS) as world:
        world.store.note_problems("jobs", {"jobs/x.json": "it is wrong"})
        (alert,) = await check(world)
        await check(world)
        assert list_deliveries(world) == [(1, "warning")], "not who wants none, only critical ones, or is disabled"
        (row,) = world.server.notifications.outbox.list_deliveries(None, None, 100)
        assert (row["event"]["event"], row["event"]["target_ref"]) == ("alert.raised", f"alert:{alert['alert_id']}")
        assert row["event"]["message"].startswith("1 file has a problem")
        # Killed before it remembered: what is in the outbox is known there.
        kept = world.store.alerts.get(alert["alert_id"])
        await world.store.alerts.put(kept.id, kept.model_copy(update={"told": []}))
    async with open_server(tmp_path) as world:
        world.store.note_problems("jobs", {"jobs/x.json": "it is wrong"})
        await check(world)
        assert list_deliveries(world) == [(1, "warning")]
        await alerts.resolve_alert(world.server, alert["alert_id"], CALLER)
        world.store.note_problems("jobs", {})
        for _ in range(2):
            await check(world)
        assert list_deliveries(world) == [(1, "warning"), (1, "resolved")]


def test_use_is_a_mean_over_minutes() -> None:
    assert alerts.compute_use((8, 8), [50.0, None, 60.0]) == 70.0
    assert (alerts.compute_use((0, 0), []), alerts.compute_use(None, [1.0])) == (None, None)
