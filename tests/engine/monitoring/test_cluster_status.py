"""State and health while SLURM or the disk is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.monitoring import cluster_status
from slurm_shim.errors import SlurmUnreachable
from store.errors import StoreUnavailable
from tests.engine.servers.pretended import CALLER, open_server
from tests.pretended import asynchronous


@asynchronous
async def test_a_cluster_that_is_away_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        assert cluster_status.check_health(world.server)["status"] == "healthy"
        await world.lose_cluster()
        found = cluster_status.get_status(world.server, CALLER)
        assert (found["status"], found["slurm"]["controller"]) == ("degraded", "DOWN") and found["slurm"]["error"]
        with pytest.raises(SlurmUnreachable, match="does not answer"):
            cluster_status.check_health(world.server)


@asynchronous
async def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.store.files.failures[world.store.root] = "No space left on device"
        with pytest.raises(StoreUnavailable, match="No space left"):
            cluster_status.check_health(world.server)


@asynchronous
async def test_accounting_is_told_as_it_answered_when_it_was_asked(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        slurm = world.cluster.slurm
        assert cluster_status.describe_database(slurm) is None, "nobody has asked"
        slurm.calls.note_call("sacct", False)
        assert cluster_status.describe_database(slurm) == "UP"
        slurm.database.leave(SlurmUnreachable("sacct", "connection refused"))
        assert cluster_status.describe_database(slurm) == "DOWN"
