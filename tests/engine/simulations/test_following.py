"""Simulations follow their runs: whose run changes is looked at, and readers of the feed hear of it."""

from __future__ import annotations

import time
from pathlib import Path

from store.documents import Run, Simulation, SimulationTask
from store.kinds import Key
from tests.engine.servers.pretended import HERE, open_server
from tests.pretended import asynchronous

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
