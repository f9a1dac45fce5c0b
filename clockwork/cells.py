"""Single cells of a sweep: those that have not started, and those that are to run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clockwork.here import Here
from store import errors, runs, sweeps
from store.documents import Sweep


async def tell(here: Here, sweep: Sweep, places: Sequence[int]) -> Sweep:
    """The sweep after the runs of these cells have been told that they run again; for who has the sweep's turn."""
    if places:
        await asyncio.gather(*(run_again(here, sweeps.cell_id(sweep.uid, index)) for index in places))
        sweep = sweeps.told(sweep, places)
        await here.store.sweeps.put(sweep.id, sweep)
    return sweep


async def tell_one(here: Here, run_id: str) -> None:
    """Nothing; the run of a cell that is to run again says so itself from now on."""
    sweep, index = here.board.cell(run_id)
    async with here.turn(f"sweep {sweep.id}"):
        if here.board.untold(run_id):
            await tell(here, here.store.sweeps.get(sweep.id), [index])


async def run_again(here: Here, run_id: str) -> None:
    """Nothing; the cell waits for its turn; one that never got as far as having jobs will be planned anew."""
    async with here.turn(run_id):
        run = here.store.runs.get(run_id) if run_id in here.store.runs else None
        if run is not None and not run.jobs:
            await here.store.runs.delete(run_id)
        elif run is not None and run.status in runs.ENDED:
            # How it ended is news still, before it has no end any more.
            await here.notices.settle("workflow_run", run_id)
            await here.store.runs.put(run_id, runs.again(run))


async def cancel_waiting(here: Here, run_id: str) -> None:
    """Nothing; a cell that has no run yet gets one that is cancelled."""
    sweep, index = here.board.cell(run_id)
    async with here.turn(f"sweep {sweep.id}"):
        if run_id not in here.store.runs:
            shown = here.board.waiting_run(run_id)
            if shown["status"] in runs.ENDED:
                raise errors.Conflict(f"Run is already {shown['status']}")
            ended = runs.stillborn(run_id, sweep, here.board.args(sweep, index), None, time.time())
            await here.store.runs.create(run_id, ended)
