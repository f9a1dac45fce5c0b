"""Single cells of a sweep: what becomes of the run of one that is to run again, and of one that never ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import sweep_cells
from store.documents import RunJob
from store.errors import Conflict, NotFound
from tests.engine.servers.pretended import make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous

JOBS = [RunJob(name="a")]


@pytest.mark.parametrize(
    ("why", "run", "status"),
    [
        ("it failed", {"status": "failed", "jobs": JOBS}, "pending"),
        ("it was completed, and somebody named it", {"status": "completed", "jobs": JOBS}, "pending"),
        ("it runs again already", {"status": "running", "jobs": JOBS}, "running"),
        ("it was never planned: it is planned anew", {"status": "failed", "jobs": []}, None),
    ],
)
@asynchronous
async def test_the_run_of_a_cell_that_is_to_run_again(
    tmp_path: Path, why: str, run: dict[str, Any], status: str | None
) -> None:
    async with open_server(tmp_path) as world:
        folder = world.store.runs
        await folder.put(to_cell_id(0), make_cell(0, **run))
        await sweep_cells.requeue_run(world.server, to_cell_id(0))
        assert (folder.get(to_cell_id(0)).status if to_cell_id(0) in folder else None) == status, why


@asynchronous
async def test_a_sweep_remembers_which_cells_are_still_to_be_queued(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        sweep = make_sweep(again="0-2", waiting="0-2", status="running")
        await world.store.sweeps.create("7", sweep)
        for index in range(3):
            await world.store.runs.put(to_cell_id(index), make_cell(index, status="failed", jobs=JOBS))
        sweep = await sweep_cells.requeue_cells(world.server, sweep, [0, 2])
        assert sweep.again == "1" and world.store.sweeps.get("7") == sweep
        assert [world.store.runs.get(to_cell_id(i)).status for i in range(3)] == ["pending", "failed", "pending"]
        await sweep_cells.requeue_cell(world.server, to_cell_id(1))
        assert world.store.sweeps.get("7").again == ""
        etag = world.store.sweeps.get_entry("7").etag
        await sweep_cells.requeue_cell(world.server, to_cell_id(1))
        assert world.store.sweeps.get_entry("7").etag == etag, "once"


@asynchronous
async def test_a_waiting_cell_is_cancelled_as_a_run(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep())
        await sweep_cells.cancel_waiting_cell(world.server, to_cell_id(1))
        run = world.store.runs.get(to_cell_id(1))
        assert (run.status, run.error, run.args, run.jobs) == ("cancelled", None, {"n": 1}, [])
        assert world.server.sweep_index.get_states(make_sweep()) == {1: "cancelled"}


@pytest.mark.parametrize(
    ("why", "waiting", "index", "error"),
    [("it was cancelled while it waited", "0-1", 2, Conflict), ("the sweep has no such cell", "0-2", 3, NotFound)],
)
@asynchronous
async def test_a_cell_that_cannot_be_cancelled(
    tmp_path: Path, why: str, waiting: str, index: int, error: type[Exception]
) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep(waiting=waiting))
        with pytest.raises(error):
            await sweep_cells.cancel_waiting_cell(world.server, to_cell_id(index))
        assert len(world.store.runs) == 0, why


@asynchronous
async def test_a_cell_that_began_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep())
        await world.store.runs.put(to_cell_id(1), make_cell(1, status="running", jobs=JOBS))
        await sweep_cells.cancel_waiting_cell(world.server, to_cell_id(1))
        assert world.store.runs.get(to_cell_id(1)).status == "running"
