"""Sweeps: cells begin as places become free, end when the sweep does, and run again when somebody wants it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import sweeps
from store import access
from store.documents import RunJob
from store.errors import Conflict, NotFound
from store.indexes.bodies import Answer
from tests.engine.servers.pretended import World, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous

JOBS = [RunJob(name="a")]
CALLER = access.Caller("ci", access.INCLUDED["write"])


async def begin(world: World, states: dict[int, Any], **more: Any) -> None:
    """Sweep 7 with runs in these states."""
    waiting = ",".join(str(index) for index in range(more.pop("cells", 3)) if index not in states)
    await world.store.sweeps.create("7", make_sweep(**{"waiting": waiting, "status": "running", **more}))
    for index, state in states.items():
        await world.store.runs.put(to_cell_id(index), make_cell(index, status=state, jobs=JOBS))


def states_of(world: World) -> dict[int, str]:
    return world.server.sweep_index.get_states(world.store.sweeps.get("7"))


@pytest.mark.parametrize(
    ("why", "states", "more", "after"),
    [
        ("as many as may run at once", {}, {}, {0: "running", 1: "running"}),
        ("one place is free", {0: "running"}, {}, {0: "running", 1: "running"}),
        ("no place is free", {0: "running", 1: "running"}, {}, {0: "running", 1: "running"}),
        ("a failure stops those that wait", {0: "failed"}, {"fail_fast": True}, {0: "failed"}),
        ("unless it may go on", {0: "failed"}, {}, {0: "failed", 1: "running", 2: "running"}),
    ],
)
@asynchronous
async def test_which_cells_begin(
    tmp_path: Path, why: str, states: dict[int, str], more: dict[str, Any], after: dict[int, str]
) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, states, **more)
        await sweeps.advance_sweep(world.server, "7")
        assert states_of(world) == after, why


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ({0: "completed", 1: "completed", 2: "completed"}, "completed"),
        ({0: "completed", 1: "failed", 2: "cancelled"}, "failed"),
        ({0: "completed", 1: "completed", 2: "cancelled"}, "cancelled"),
    ],
)
@asynchronous
async def test_how_a_sweep_ends(tmp_path: Path, states: dict[int, str], status: str) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, states)
        await sweeps.advance_sweep(world.server, "7")
        assert world.store.sweeps.get("7").status == status


@asynchronous
async def test_a_cancelled_sweep_ends_its_cells(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, {0: "completed", 1: "running"})
        assert (await sweeps.cancel_sweep(world.server, 7))["status"] == "draining"
        await sweeps.advance_sweep(world.server, "7")
        await asyncio.gather(*world.server.tasks.running.values())
        assert states_of(world) == {0: "completed", 1: "cancelled"}
        await sweeps.advance_sweep(world.server, "7")
        before = orjson.loads((await sweeps.get_sweep(world.server, 7)).data)
        assert before["status"] == "cancelled" and await sweeps.cancel_sweep(world.server, 7) == before


@asynchronous
async def test_more_at_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, {0: "running", 1: "running"})
        await sweeps.set_max_parallel(world.server, 7, {"max_parallel": 3})
        await sweeps.advance_sweep(world.server, "7")
        assert states_of(world) == {0: "running", 1: "running", 2: "running"}
        with pytest.raises(NotFound):
            await sweeps.set_max_parallel(world.server, 8, {"max_parallel": 3})


@pytest.mark.parametrize(
    ("why", "cells", "again"),
    [
        ("those that failed", "failed", {1}),
        ("those that were cancelled", "cancelled", {2}),
        ("all that are not done", "unfinished", {1, 2}),
        ("one by its id, though it is done", [to_cell_id(0)], {0}),
    ],
)
@asynchronous
async def test_which_cells_run_again(tmp_path: Path, why: str, cells: Any, again: set[int]) -> None:
    async with open_server(tmp_path) as world:
        before = {0: "completed", 1: "failed", 2: "cancelled"}
        await begin(world, before, status="failed", completed_at="2026-01-01T01:00:00Z")
        assert (await sweeps.rerun_sweep(world.server, 7, {"cells": cells}, None, CALLER))["status"] == "running"
        assert states_of(world) == {**before, **dict.fromkeys(again, "pending")}, why
        await sweeps.advance_sweep(world.server, "7")
        assert states_of(world) == {**before, **dict.fromkeys(again, "running")}


@asynchronous
async def test_a_cell_that_has_not_ended_does_not_run_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, {0: "running"})
        etag = world.store.sweeps.get_entry("7").etag
        with pytest.raises(Conflict, match="has not ended"):
            await sweeps.rerun_sweep(world.server, 7, {"cells": [to_cell_id(0)]}, None, CALLER)
        assert world.store.sweeps.get_entry("7").etag == etag


@asynchronous
async def test_cells_and_results_are_listed(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await begin(world, {1: "completed"})
        cells = await sweeps.list_cells(world.server, 7)
        assert (cells[0]["id"], cells[0]["status"]) == (to_cell_id(1), "completed") and len(cells) == 3
        rows = await sweeps.list_results(world.server, 7, "application/json")
        assert [row["args"] for row in rows] == [{"n": 0}, {"n": 1}, {"n": 2}]
        table = await sweeps.list_results(world.server, 7, "text/csv")
        assert isinstance(table, Answer) and len(table.value.splitlines()) == 4
        assert [row["id"] for row in sweeps.list_sweeps(world.server)] == [7]
