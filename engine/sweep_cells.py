"""Single cells of a sweep: those that have not started, and those that are to run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from engine.server import Here
from store import errors
from store.documents import Sweep
from store.rules import runs, sweeps


async def tell(server: Here, sweep: Sweep, places: Sequence[int]) -> Sweep:
    """The sweep after the runs of these cells have been told that they run again; for who has the sweep's turn."""
    if places:
        await asyncio.gather(*(run_again(server, sweeps.cell_id(sweep.uid, index)) for index in places))
        sweep = sweeps.told(sweep, places)
        await server.store.sweeps.put(sweep.id, sweep)
    return sweep


async def tell_one(server: Here, run_id: str) -> None:
    """Nothing; the run of a cell that is to run again says so itself from now on."""
    sweep, index = server.board.cell(run_id)
    async with server.turn(f"sweep {sweep.id}"):
        if server.board.untold(run_id):
            await tell(server, server.store.sweeps.get(sweep.id), [index])


async def run_again(server: Here, run_id: str) -> None:
    """Nothing; the cell waits for its turn; one that never got as far as having jobs will be planned anew."""
    async with server.turn(run_id):
        run = server.store.runs.get(run_id) if run_id in server.store.runs else None
        if run is not None and not run.jobs:
            await server.store.runs.delete(run_id)
        elif run is not None and run.status in runs.ENDED:
            # How it ended is news still, before it has no end any more.
            await server.notices.settle("workflow_run", run_id)
            await server.store.runs.put(run_id, runs.again(run))


async def cancel_waiting(server: Here, run_id: str) -> None:
    """Nothing; a cell that has no run yet gets one that is cancelled."""
    sweep, index = server.board.cell(run_id)
    async with server.turn(f"sweep {sweep.id}"):
        if run_id not in server.store.runs:
            shown = server.board.waiting_run(run_id)
            if shown["status"] in runs.ENDED:
                raise errors.Conflict(f"Run is already {shown['status']}")
            ended = runs.stillborn(run_id, sweep, server.board.args(sweep, index), None, time.time())
            await server.store.runs.create(run_id, ended)
