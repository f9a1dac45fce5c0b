"""Single cells of a sweep: waiting ones, and those to run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

from engine.server import Server
from store import errors
from store.documents import Sweep
from store.kinds import Key
from store.rules import requests, run_drafts, runs, sweeps


async def rerun_cells(
    server: Server,
    sweep_id: int,
    which: str | list[str],
    request: requests.Rerun,
    whole: bool = False,
    names: Collection[str] = (),
) -> Sweep:
    """Run cells of the sweep again; `whole` also what completed in them.

    `names` are jobs that run again though they completed. A request that is repeated changes nothing.

    The loop queues those that are too many to be queued at once.
    """
    async with server.locks.hold(Key("sweep", str(sweep_id))):
        sweep = server.sweep_index.get_live_sweep(sweep_id)
        if request.is_repeated(sweep):
            return sweep
        known = dict(server.sweep_index.get_states(sweep))  # as of one moment
        chosen = sweeps.choose_cells(sweep, known, which)
        if chosen:
            await server.notifications.queue_target_events("sweep_run", sweep.id)
            sweep = sweeps.rerun_cells(sweep, known, chosen).model_copy(update=request.to_changes())
            await server.store.sweeps.put(str(sweep_id), sweep)
            sweep = await requeue_cells(server, sweep, chosen[: sweeps.AT_ONCE], whole, names)
    return sweep


async def requeue_cells(
    server: Server, sweep: Sweep, indices: Sequence[int], whole: bool = False, names: Collection[str] = ()
) -> Sweep:
    """Queue the runs of these cells for rerun; return the sweep.

    The caller holds the sweep's lock.
    """
    if indices:
        cells = [sweeps.make_cell_id(sweep.uid, index) for index in indices]
        await asyncio.gather(*(requeue_run(server, cell, whole, names) for cell in cells))
        sweep = sweeps.mark_queued(sweep, indices)
        await server.store.sweeps.put(sweep.id, sweep)
    return sweep


async def requeue_cell(server: Server, run_id: str) -> None:
    """Mark the cell's run as queued for rerun."""
    sweep, index = server.sweep_index.find_cell(run_id)
    async with server.locks.hold(Key("sweep", sweep.id)):
        if server.sweep_index.is_rerun_pending(run_id):
            await requeue_cells(server, server.store.sweeps.get(sweep.id), [index])


async def requeue_run(server: Server, run_id: str, whole: bool = False, names: Collection[str] = ()) -> None:
    """Queue the cell's run for rerun.

    One that never had jobs is deleted, so that it is planned anew.
    """
    async with server.locks.hold(Key("run", run_id)):
        run = server.store.runs.get(run_id) if run_id in server.store.runs else None
        if run is not None and not run.jobs:
            await server.store.runs.delete(run_id)
        elif run is not None and run.status in runs.ENDED:
            # Whoever watches it still has to hear how it ended.
            await server.notifications.queue_target_events("workflow_run", run_id)
            await server.store.runs.put(run_id, runs.queue_rerun(run, whole, names))


async def cancel_waiting_cell(server: Server, run_id: str) -> None:
    """Cancel a cell that has no run yet: make it a cancelled run."""
    sweep, index = server.sweep_index.find_cell(run_id)
    async with server.locks.hold(Key("sweep", sweep.id)):
        if run_id not in server.store.runs:
            status = server.sweep_index.build_waiting_run(run_id)["status"]
            if status in runs.ENDED:
                raise errors.Conflict(f"Run is already {status}")
            ended = run_drafts.build_unstarted_run(
                run_id, sweep, server.sweep_index.build_args(sweep, index), None, time.time()
            )
            await server.store.runs.create(run_id, ended)
