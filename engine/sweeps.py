"""Sweeps: cells are started in order, ended, and run again.

The rules are in store/rules/sweeps.py.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable

from engine import runs, start, sweep_cells
from engine.server import Server
from store.documents import Sweep
from store.kinds import Key
from store.rules import runs as run_rules
from store.rules import sweeps


async def change_sweep(server: Server, sweep_id: int, change: Callable[[Sweep], Sweep]) -> Sweep:
    """Change the sweep durably; the loop goes on from there."""
    async with server.locks.hold(Key("sweep", str(sweep_id))):
        sweep = server.sweep_index.get_live_sweep(sweep_id)
        changed, _ = sweeps.advance_sweep(change(sweep), server.sweep_index.get_states(sweep), time.time())
        if changed != sweep:
            await server.store.sweeps.put(str(sweep_id), changed)
        return changed


async def rerun_cells(server: Server, sweep_id: int, which: str | list[str]) -> Sweep:
    """Run cells of the sweep again.

    The loop queues those that are too many to be queued at once.
    """
    async with server.locks.hold(Key("sweep", str(sweep_id))):
        sweep = server.sweep_index.get_live_sweep(sweep_id)
        known = server.sweep_index.get_states(sweep)
        chosen = sweeps.choose_cells(sweep, known, which)
        if chosen:
            await server.notifications.queue_target_events("sweep_run", sweep.id)
            sweep = sweeps.rerun_cells(sweep, known, chosen)
            await server.store.sweeps.put(str(sweep_id), sweep)
            sweep = await sweep_cells.requeue_cells(server, sweep, sweeps.list_unqueued_cells(sweep))
    return sweep


async def advance_sweep(server: Server, sweep_id: str) -> None:
    """Start the cells that are next, and cancel those that must end."""
    async with server.locks.hold(Key("sweep", str(sweep_id))):
        sweep = server.store.sweeps.get(sweep_id)
        sweep = await sweep_cells.requeue_cells(server, sweep, sweeps.list_unqueued_cells(sweep))
        advanced, steps = sweeps.advance_sweep(sweep, server.sweep_index.get_states(sweep), time.time())
        if advanced != sweep:
            await server.store.sweeps.put(sweep_id, advanced)
        for step in steps:
            if isinstance(step, sweeps.CancelCells):
                # Together: one that is being submitted must not hold up those that wait for it.
                await asyncio.gather(*(end_cell(server, advanced, index) for index in step.indices))
                continue
            for index in step.indices:
                if not sweeps.is_stopping(advanced, server.sweep_index.get_states(advanced)):
                    await start.start_cell(server, advanced, index)


async def end_cell(server: Server, sweep: Sweep, index: int) -> None:
    """Cancel the cell's run; its jobs are cancelled when it is moved on."""
    run_id = sweeps.make_cell_id(sweep.uid, index)
    async with server.locks.hold(Key("run", run_id)):
        run = server.store.runs.get(run_id)
        if run.status not in run_rules.ENDED:
            run = run_rules.cancel_run(run, time.time())
            await server.store.runs.put(run_id, run)
    if run_rules.is_open(run):
        server.tasks.spawn(Key("run", run_id), functools.partial(runs.advance_run, server, run_id))
