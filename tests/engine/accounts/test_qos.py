"""QOS as accounting tells them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.accounts import qos
from slurm_shim.inventory.accounts import parse_qos
from store.errors import NotFound
from tests import ROOT
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous, job

RECORDED = parse_qos((ROOT / "tests/data/slurm/22.05/qos").read_text())


@asynchronous
async def test_recorded_qos(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:

        async def answer() -> object:
            return RECORDED

        world.cluster.inventory.qos._ask = answer  # type: ignore[method-assign,assignment]
        await world.show_queue(job("1", "RUNNING", qos="high"), job("2", "PENDING", qos="high"))
        found = orjson.loads((await qos.list_qos(world.server, None, 0)).value.data)
        assert [row["name"] for row in found["qos"]] == ["normal", "high"]
        high = orjson.loads((await qos.get_qos(world.server, "high")).data)
        assert (high["jobs_running"], high["jobs_pending"], high["preempt"]) == (1, 1, ["normal"])
        assert (high["limits"]["max_wall"], high["limits"]["max_jobs_per_user"]) == ("1-00:00:00", 5)
        with pytest.raises(NotFound):
            await qos.get_qos(world.server, "nope")
