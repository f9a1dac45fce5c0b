"""Reservations as SLURM tells them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.nodes import reservations
from slurm_shim.inventory.reservations import parse_reservations
from store.errors import NotFound
from tests import ROOT
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous

RECORDED = (ROOT / "tests/data/slurm/22.05/reservations").read_text()


@asynchronous
async def test_recorded_reservations(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        inventory = world.cluster.inventory

        async def answer() -> object:
            return parse_reservations(RECORDED)

        inventory.reservations._ask = answer  # type: ignore[method-assign,assignment]
        found = orjson.loads((await reservations.list_reservations(world.server, None, 0)).value.data)
        assert [row["name"] for row in found["reservations"]] == ["maint1", "grp", "cores"] and found["total"] == 3
        row = orjson.loads((await reservations.get_reservation(world.server, "maint1")).data)
        assert row == found["reservations"][0]
        assert (row["duration"], row["start_time"], row["nodes"]) == ("1:00:00", "2026-11-29T19:45:42Z", ["node04"])
        with pytest.raises(NotFound):
            await reservations.get_reservation(world.server, "nope")
