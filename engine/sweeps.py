"""Sweeps: listed, changed; cells are started in order, ended, rerun.

The rules are in store/rules/sweeps.py.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

from engine import runs, start, sweep_cells
from engine.server import Server
from store import access
from store.documents import Sweep
from store.indexes.bodies import Answer, Body
from store.indexes.sweeps import to_csv
from store.jsons import dump_json
from store.kinds import Key
from store.operations import prefers_csv
from store.rules import requests, results, sweeps
from store.rules import runs as run_rules
from store.rules.changes import Filter


def list_sweeps(server: Server) -> list[dict[str, Any]]:
    """List the latest sweeps, newest first."""
    return server.sweep_index.list_newest()


async def get_sweep(server: Server, sweep_id: int, wait: int = 0) -> Body:
    """Get one sweep with its matrix and counters; raise NotFound."""
    wanted = Filter(frozenset(["sweep"]), frozenset([str(sweep_id)]))
    row = await server.changes.wait_until(
        wanted, wait, lambda: find_row(server, sweep_id), lambda row: row["status"] in sweeps.ENDED
    )
    return Body(dump_json(row))


async def find_row(server: Server, sweep_id: int) -> dict[str, Any]:
    """Find a sweep, as answers show it; raise NotFound."""
    index, sweep = await server.sweep_index.find(sweep_id)
    row = index.build_row(sweep)
    return row | {"archived": True} if server.sweep_index.is_archived(sweep_id) else row


async def list_cells(server: Server, sweep_id: int) -> list[dict[str, Any]]:
    """List the cells of a sweep by status, start and id."""
    index, sweep = await server.sweep_index.find(sweep_id, whole=True)
    return await index.list_cells(sweep)


async def list_results(
    server: Server, sweep_id: int, accept: str, order_by: str | None = None, limit: int | None = None
) -> Any:
    """List the results of a sweep's cells, in matrix order or by a value.

    As CSV where the header Accept prefers it.
    """
    index, sweep = await server.sweep_index.find(sweep_id, whole=True)
    rows = await index.list_results(sweep)
    if order_by is not None:
        rows = results.order_rows(rows, order_by)
    rows = rows[:limit]
    return Answer(to_csv(rows), media_type="text/csv; charset=utf-8") if prefers_csv(accept) else rows


async def set_max_parallel(server: Server, sweep_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """Change how many cells of a sweep run at once; return the sweep."""
    return server.sweep_index.build_row(
        await change_sweep(server, sweep_id, lambda sweep: sweeps.set_max_parallel(sweep, body["max_parallel"]))
    )


async def cancel_sweep(server: Server, sweep_id: int) -> dict[str, Any]:
    """Cancel a sweep; return it.

    One in the archive has ended and stays as it is.
    """
    if server.sweep_index.is_archived(sweep_id):
        return await find_row(server, sweep_id)
    return server.sweep_index.build_row(
        await change_sweep(server, sweep_id, lambda sweep: sweeps.cancel_sweep(sweep, time.time()))
    )


async def rerun_sweep(
    server: Server, sweep_id: int, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller
) -> dict[str, Any]:
    """Rerun ended cells of a sweep, once for each key; return the sweep."""
    request = requests.make_rerun(caller.name, f"sweep {sweep_id}", idempotency_key, body)
    return server.sweep_index.build_row(await sweep_cells.rerun_cells(server, sweep_id, body["cells"], request))


async def change_sweep(server: Server, sweep_id: int, change: Callable[[Sweep], Sweep]) -> Sweep:
    """Change the sweep durably; the loop goes on from there."""
    async with server.locks.hold(Key("sweep", str(sweep_id))):
        sweep = server.sweep_index.get_live_sweep(sweep_id)
        changed, _ = sweeps.advance_sweep(change(sweep), server.sweep_index.get_states(sweep), time.time())
        if changed != sweep:
            await server.store.sweeps.put(str(sweep_id), changed)
        return changed


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
            await start.start_cells(server, advanced, step.indices)


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
