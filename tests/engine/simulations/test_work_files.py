"""What is written into the work folder before the tasks are submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.simulations.work_files import load_work_files
from store.documents import Run
from store.errors import Conflict
from tests.engine.servers import written
from tests.engine.servers.pretended import HERE, open_server
from tests.engine.simulations.test_starting import FILES
from tests.pretended import asynchronous


@asynchronous
async def test_programs_find_all_that_they_need(tmp_path: Path) -> None:
    async with open_server(tmp_path, FILES) as world:
        simulation = written.build_simulation(3, primaries=10, outputs=["dose"])
        run = Run(id=simulation.run_id, workflow_name="simulation", cluster=HERE, simulation=simulation.id)
        written.write_input(world.store.root, simulation)
        await world.store.simulations.create(simulation.id, simulation)
        files = await load_work_files(world.server, run, "tasks")
        about = json.loads(files["simulation.json"])
        assert about == {
            "id": simulation.id, "sim_type": "dummy", "platform": "direct", "outputs": ["dose"], "report_url": None,
            "tasks": [{"task_id": at, "primaries": count, "seed": at} for at, count in ((1, 4), (2, 3), (3, 3))],
        }  # fmt: skip
        assert json.loads(files["simulator.json"])["seed"]["argument"] is True
        assert {"programs/run_task.py", "programs/merge.py", "input/dummy.json"} <= files.keys()
        assert files["update_key"].count(b".") == 2
        assert files == await load_work_files(world.server, run, "tasks"), "a repeated submission writes the same"
        assert await load_work_files(world.server, run, "collect") == {}, "its files are there already"
        other = run.model_copy(update={"simulation": None})
        assert await load_work_files(world.server, other, "tasks") == {}
        (world.store.root / "simulations" / simulation.id / "input" / "dummy.json").unlink()
        with pytest.raises(Conflict, match="input"):
            await load_work_files(world.server, run, "tasks")
