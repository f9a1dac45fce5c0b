"""What the first view of the page tells."""

from __future__ import annotations

from pathlib import Path

from engine.monitoring import overview
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous


@asynchronous
async def test_the_disk_and_the_way_to_the_cluster_are_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        found = await overview.get_overview(world.server)
        assert found["error"] is None and found["age_seconds"] is not None and found["profile"] is None
        (disk,) = found["disks"]
        assert disk["path"] == str(world.store.root) and 0 < disk["free_bytes"] < disk["total_bytes"]
        await world.lose_cluster()
        assert (await overview.get_overview(world.server))["error"]


@asynchronous
async def test_a_folder_that_is_away_has_no_sizes(tmp_path: Path) -> None:
    assert (await overview.measure_disk(tmp_path / "away"))["free_bytes"] is None
