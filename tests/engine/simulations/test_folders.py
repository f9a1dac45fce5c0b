"""Where the files of a simulation lie."""

from __future__ import annotations

from pathlib import Path

from engine.simulations.folders import INPUT, find_folder
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID


@asynchronous
async def test_a_folder_lies_beside_its_document(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        folder = find_folder(world.server, ID)
        assert folder == world.store.simulations.path / ID
        assert find_folder(world.server, ID, INPUT, "a") == folder / "input" / "a"
