"""Simulations follow their runs: whose run changes is looked at, and readers of the feed hear of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.simulations import following
from store.documents import Run, Simulation, SimulationTask
from store.kinds import Key
from tests.engine.servers import written
from tests.engine.servers.pretended import HERE, open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations import samples

UNIQUE = "0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6f"
ID = f"20261121-163917-{UNIQUE}DIRECT"
KEY = Key("simulation", ID)


def make_simulation(**more: object) -> Simulation:
    given: dict[str, object] = {
        "id": ID, "owner": "ann", "title": "Water", "platform": "DIRECT", "cluster": HERE, "sim_type": "dummy",
        "input_type": "FILES", "run_id": UNIQUE, "created_at": "2026-11-21T16:39:17Z",
        "tasks": [SimulationTask(task_id=1, seed=1, requested_primaries=10)],
    }  # fmt: skip
    return Simulation.model_validate(given | more)


@asynchronous
async def test_a_simulation_is_looked_at_when_its_run_changes_until_it_is_settled(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        opened, run = world.server.open_documents, Run(id=UNIQUE, workflow_name="simulation", cluster=HERE)
        await world.store.simulations.create(ID, make_simulation())
        assert KEY in opened.take([None, HERE], time.monotonic())
        assert world.server.simulation_index.find_by_run(UNIQUE) == ID
        await world.store.runs.create(UNIQUE, run)
        assert KEY in opened.take([None, HERE], time.monotonic())
        await world.store.simulations.put(ID, make_simulation(state="COMPLETED", settled_at="2026-11-21T17:00:00Z"))
        await world.store.runs.put(UNIQUE, run.model_copy(update={"status": "completed"}))
        assert KEY not in opened.take([None, HERE], time.monotonic())


@asynchronous
async def test_readers_of_the_feed_hear_of_simulations_but_not_whose_they_are(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.read_changes("simulation")
        await world.store.simulations.create(ID, make_simulation())
        change = world.reader.take()
        assert change is not None
        assert (change.kind, change.id, change.action) == ("simulation", ID, "created")
        row = change.make_row() if change.make_row else {}
        assert row["job_id"] == ID and row["job_state"] == "PENDING" and "ann" not in str(row)
        await world.store.simulations.delete(ID)
        assert world.take_changes() == [("simulation", ID, "deleted")]


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("OUT_OF_MEMORY", "it used more memory than it had asked for"),
        ("NODE_FAIL", "its node failed"),
        ("TIMEOUT", "it reached its time limit"),
        ("PREEMPTED", "another job took its place"),
    ],
)
@asynchronous
async def test_a_task_that_slurm_ended_fails_the_simulation_and_says_how(
    tmp_path: Path, state: str, meaning: str
) -> None:
    async with open_server(tmp_path) as world:
        await world.store.simulations.create(ID, make_simulation(tasks=written.build_tasks(10, 2, 1)))
        tasks, merge = samples.array(state, t1="COMPLETED", t2=state), samples.merge("FAILED")
        given = {"id": UNIQUE, "cluster": HERE, "work_dir": str(tmp_path / "store" / "work" / UNIQUE)}
        run = samples.make_run(tasks, merge, status="failed").model_copy(update=given)
        await world.store.runs.create(UNIQUE, run)
        await following.advance_simulation(world.server, ID)
        ended: Simulation = world.store.simulations.get(ID)
        assert (ended.state, ended.results) == ("FAILED", "missing") and ended.settled_at
        assert [task.state for task in ended.tasks] == ["COMPLETED", "FAILED"]
        assert ended.error == f"1 of 2 tasks failed: task 2: {state}: {meaning}"


@asynchronous
async def test_one_that_was_cancelled_before_it_began_is_over_and_one_whose_run_is_gone_has_failed(
    tmp_path: Path,
) -> None:
    async with open_server(tmp_path) as world:
        cancelled = make_simulation(state="CANCELED", cancel_requested_at="2026-11-21T17:00:00Z")
        await world.store.simulations.create(ID, cancelled)
        await following.advance_simulation(world.server, ID)
        assert world.store.simulations.get(ID).settled_at and UNIQUE not in world.store.runs
        await world.store.simulations.put(ID, make_simulation(is_begun=True))
        await following.advance_simulation(world.server, ID)
        ended: Simulation = world.store.simulations.get(ID)
        assert (ended.state, ended.error) == ("FAILED", "its run is not there any more")
