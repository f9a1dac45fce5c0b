"""Sweeps: their cells are started in their turn, told to end, and run again, by the rules in store/rules/sweeps.py."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine import planning, sweep_cells
from engine import runs as driving
from engine.server import Server
from store import errors
from store.documents import Run, Sweep
from store.indexes import sweeps as board
from store.rules import requests, runs, sweeps


async def draft(server: Server, sweep: Sweep, index: int) -> Run:
    """The run of a cell, with the workflow as it was when the sweep was started."""
    body = {**sweep.part, "args_override": server.sweep_index.build_args(sweep, index)}
    given = {"mount": sweep.mount, "cluster": sweep.cluster, "source": sweep.submission_source, "sweep": int(sweep.id)}
    return await planning.plan_run(
        server, board.parse_workflow(sweep.workflow_text), body, sweeps.make_cell_id(sweep.uid, index), given
    )


async def start(server: Server, sweep: Sweep, body: Mapping[str, Any]) -> Sweep:
    """The sweep, durable; for a request that was seen before, the sweep it made then. Whom `body` names hears of it."""
    server.clusters.get(sweep.cluster).check_answering()
    async with server.turn("new sweep"):
        before = await started(server, sweep.request_key or "", sweep.request_hash or "")
        if before is not None:
            await server.notifications.subscribe_requested("sweep_run", before.id, body, before.started_at)
            return before
        sweep.id = str(max(server.sweep_index.get_next_id(), server.store.archive.get_largest_id("sweep") + 1))
        await server.store.sweeps.create(sweep.id, sweep)
        await server.notifications.subscribe_requested("sweep_run", sweep.id, body, sweep.started_at)
    return sweep


async def started(server: Server, request_key: str, request_hash: str) -> Sweep | None:
    """The sweep that a request of this hash has made under this key; None when there is none, Invalid for another."""
    known: Sweep | None = server.sweep_index.find_by_request_key(request_key) or await server.store.archive.find_sweep(
        request_key
    )
    if known is not None:
        requests.refuse_other_request(known, request_hash)
    return known


async def change_sweep(server: Server, sweep_id: int, change: Callable[[Sweep], Sweep]) -> Sweep:
    """The changed sweep, durable; the clockwork goes on from there."""
    async with server.turn(f"sweep {sweep_id}"):
        sweep = server.sweep_index.get_live_sweep(sweep_id)
        changed, _ = sweeps.advance_sweep(change(sweep), server.sweep_index.get_states(sweep), time.time())
        if changed != sweep:
            await server.store.sweeps.put(str(sweep_id), changed)
        return changed


async def rerun_cells(server: Server, sweep_id: int, which: str | list[str]) -> Sweep:
    """The sweep alive again, durable; the clockwork tells those cells of it that could not be told at once."""
    async with server.turn(f"sweep {sweep_id}"):
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
    """Nothing; starts the cells whose turn has come, and tells those to end that must."""
    async with server.turn(f"sweep {sweep_id}"):
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
                    await start_cell(server, advanced, index)
        if advanced.again:
            server.wake.set()


async def start_cell(server: Server, sweep: Sweep, index: int) -> None:
    """Nothing; the cell is a run from now on: one to be driven, or a failed one that says why it cannot be planned."""
    run_id = sweeps.make_cell_id(sweep.uid, index)
    if run_id in server.store.runs:
        async with server.turn(run_id):
            await server.store.runs.put(run_id, runs.begin_run(server.store.runs.get(run_id), time.time()))
        return
    try:
        run = await draft(server, sweep, index)
    except errors.StoreUnavailable:
        raise
    except (errors.StoreError, ValueError) as problem:
        run = runs.build_unstarted_run(
            run_id, sweep, server.sweep_index.build_args(sweep, index), str(problem), time.time()
        )
    with contextlib.suppress(errors.Exists):
        await server.store.runs.create(run.id, run)


async def end_cell(server: Server, sweep: Sweep, index: int) -> None:
    """Nothing; the cell's run is cancelled, its jobs are told to end when it is driven next."""
    run_id = sweeps.make_cell_id(sweep.uid, index)
    async with server.turn(run_id):
        run = server.store.runs.get(run_id)
        if run.status not in runs.ENDED:
            run = runs.cancel_run(run, time.time())
            await server.store.runs.put(run_id, run)
    if runs.is_open(run):
        server.set_going(run_id, driving.advance_run(server, run_id))
