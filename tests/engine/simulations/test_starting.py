"""A simulation becomes a run of two jobs, or says why it cannot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engine.simulations import starting
from slurm_shim.directives import read_options
from store.documents import BatchOptions, Run
from tests import ROOT
from tests.engine.servers import written
from tests.engine.servers.pretended import HERE, World, open_server
from tests.pretended import asynchronous

SIMULATOR = (ROOT / "store/examples/simulators/dummy.yaml").read_text()
FILES = {"store/simulators/dummy.yaml": SIMULATOR}
OPTIONS = BatchOptions(
    array={"time": "00:10:00", "partition": "gpu", "comment": 'a "b" # c', "hold": True},
    collect={"time": "00:05:00"},
    array_lines=["module load x"],
)


async def start(world: World, **more: Any) -> Run:
    simulation = written.build_simulation(3, **{"platform": "BATCH", "cluster": HERE, "options": OPTIONS, **more})
    await world.show_queue()
    started = await starting.start_run(world.server, simulation)
    assert started == simulation, started.error
    run: Run = world.store.runs.get(simulation.run_id)
    return run


@asynchronous
async def test_a_run_has_an_array_and_a_merge_that_waits_for_its_end(tmp_path: Path) -> None:
    async with open_server(tmp_path, FILES) as world:
        run = await start(world)
        assert (run.workflow_name, run.cluster, run.status) == ("simulation", HERE, "submitting")
        assert run.simulation is not None and run.simulation.endswith("BATCH")
        tasks, collect = run.jobs
        assert (tasks.name, collect.name, collect.depends_on) == ("tasks", "collect", ["afterany:tasks"])
        assert (tasks.options["job_name"], collect.options["job_name"]) == ("Water_tank", "Water_tank_collect")
        work = str(tmp_path / "store" / "work" / run.id)
        common = {"chdir": work, "comment": 'a "b" # c', "hold": None, "partition": "gpu"}
        expected = {**common, "time": "00:10:00", "array": "1-3", "output": f"{work}/logs/task_%4a.log"}
        assert dict(read_options(tasks.script or "")) == expected
        assert tasks.script is not None and tasks.script.startswith("#!/bin/bash -l\n")
        lines = tasks.script.splitlines()[-2:]
        assert lines[0].endswith("; module load x")
        assert lines[1] == f'exec python3 {work}/programs/run_task.py {work} "$SLURM_ARRAY_TASK_ID"'
        assert collect.script is not None and collect.script.startswith("#!/bin/bash\n")
        assert collect.script.endswith(f"exec python3 {work}/programs/merge.py {work}\n")
        assert read_options(collect.script)["time"] == "00:05:00"


@asynchronous
async def test_a_run_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    async with open_server(tmp_path, FILES) as world:
        run = await start(world)
        await world.store.runs.put(run.id, run.model_copy(update={"status": "running"}))
        simulation = written.build_simulation(3, id=run.simulation, run_id=run.id, cluster=HERE, platform="BATCH")
        await starting.start_run(world.server, simulation)
        assert world.store.runs.get(run.id).status == "running"


@asynchronous
async def test_it_waits_for_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    async with open_server(tmp_path, FILES) as world:
        await world.lose_cluster()
        simulation = written.build_simulation(3, platform="BATCH", cluster=HERE)
        waiting = await starting.start_run(world.server, simulation)
        assert (waiting.state, waiting.error) == ("PENDING", "waits for cluster here: squeue: nobody there")
        assert simulation.run_id not in world.store.runs
        await world.show_queue()
        assert (await starting.start_run(world.server, waiting)).error is None
        assert simulation.run_id in world.store.runs


@pytest.mark.parametrize(
    ("why", "changes", "error"),
    [
        ("no profile leads there", {"cluster": "ssh:gone:far"}, "Cluster .*ssh:gone:far.* not found"),
        ("nobody knows the simulator any more", {"sim_type": "mcnp"}, "Simulator .*mcnp.* not found"),
        ("a value that no script can hold", {"options": BatchOptions(array={"time": "1\n2"})}, "time: line breaks"),
    ],
)
@asynchronous
async def test_what_cannot_be_planned_has_failed(tmp_path: Path, why: str, changes: dict[str, Any], error: str) -> None:
    async with open_server(tmp_path, FILES) as world:
        await world.show_queue()
        given = {"platform": "BATCH", "cluster": HERE, **changes}
        failed = await starting.start_run(world.server, written.build_simulation(3, **given))
        assert failed.state == "FAILED" and failed.settled_at and failed.error is not None, why
        with pytest.raises(AssertionError, match=error):
            raise AssertionError(failed.error)


@asynchronous
async def test_direct_is_the_embedded_cluster_of_this_machine_beside_a_real_slurm(tmp_path: Path) -> None:
    async with open_server(tmp_path, FILES) as world:
        assert world.server.clusters.find_label("embedded") is None
        simulation = written.build_simulation(3)
        await starting.start_run(world.server, simulation)
        assert (tmp_path / "store" / "cluster" / "slurm.conf").exists()
        cluster = await world.server.clusters.require_embedded()
        await cluster.snapshot.refresh()
        await starting.start_run(world.server, simulation)
        run = world.store.runs.get(simulation.run_id)
        assert run.cluster == "embedded" and f"exec {sys.executable} " in run.jobs[0].script
        # Somebody has removed it.
        (tmp_path / "store" / "cluster" / "slurm.conf").unlink()
        await world.server.clusters.restore_conf()
        assert world.server.clusters.find_label("embedded") == "embedded"
