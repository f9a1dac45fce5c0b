"""Sweeps: their cells are started in their turn, told to end, and run again, by the rules in store/rules/sweeps.py."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine import planning, sweep_cells
from engine import runs as driving
from engine.server import Here
from store import errors
from store.documents import Run, Sweep
from store.indexes import sweeps as board
from store.rules import requests, runs, sweeps


async def draft(server: Here, sweep: Sweep, index: int) -> Run:
    """The run of a cell, with the workflow as it was when the sweep was started."""
    body = {**sweep.part, "args_override": server.board.args(sweep, index)}
    given = {"mount": sweep.mount, "cluster": sweep.cluster, "source": sweep.submission_source, "sweep": int(sweep.id)}
    return await planning.drafted(
        server, board.workflow_of(sweep.workflow_text), body, sweeps.cell_id(sweep.uid, index), given
    )


async def start(server: Here, sweep: Sweep, body: Mapping[str, Any]) -> Sweep:
    """The sweep, durable; for a request that was seen before, the sweep it made then. Whom `body` names hears of it."""
    server.clusters.of(sweep.cluster).must_answer()
    async with server.turn("new sweep"):
        before = await started(server, sweep.request_key or "", sweep.request_hash or "")
        if before is not None:
            await server.notices.requested("sweep_run", before.id, body, before.started_at)
            return before
        sweep.id = str(max(server.board.next_id(), server.store.archive.largest("sweep") + 1))
        await server.store.sweeps.create(sweep.id, sweep)
        await server.notices.requested("sweep_run", sweep.id, body, sweep.started_at)
    return sweep


async def started(server: Here, request_key: str, request_hash: str) -> Sweep | None:
    """The sweep that a request of this hash has made under this key; None when there is none, Invalid for another."""
    known: Sweep | None = server.board.asked_before(request_key) or await server.store.archive.sweep_of(request_key)
    if known is not None:
        requests.refuse_other(known, request_hash)
    return known


async def change(server: Here, sweep_id: int, change: Callable[[Sweep], Sweep]) -> Sweep:
    """The changed sweep, durable; the clockwork goes on from there."""
    async with server.turn(f"sweep {sweep_id}"):
        sweep = server.board.living(sweep_id)
        changed, _ = sweeps.advance(change(sweep), server.board.states(sweep), time.time())
        if changed != sweep:
            await server.store.sweeps.put(str(sweep_id), changed)
        return changed


async def rerun(server: Here, sweep_id: int, which: str | list[str]) -> Sweep:
    """The sweep alive again, durable; the clockwork tells those cells of it that could not be told at once."""
    async with server.turn(f"sweep {sweep_id}"):
        sweep = server.board.living(sweep_id)
        known = server.board.states(sweep)
        chosen = sweeps.chosen(sweep, known, which)
        if chosen:
            await server.notices.settle("sweep_run", sweep.id)
            sweep = sweeps.again(sweep, known, chosen)
            await server.store.sweeps.put(str(sweep_id), sweep)
            sweep = await sweep_cells.tell(server, sweep, sweeps.untold(sweep))
    return sweep


async def drive(server: Here, sweep_id: str) -> None:
    """Nothing; starts the cells whose turn has come, and tells those to end that must."""
    async with server.turn(f"sweep {sweep_id}"):
        sweep = server.store.sweeps.get(sweep_id)
        sweep = await sweep_cells.tell(server, sweep, sweeps.untold(sweep))
        advanced, steps = sweeps.advance(sweep, server.board.states(sweep), time.time())
        if advanced != sweep:
            await server.store.sweeps.put(sweep_id, advanced)
        for step in steps:
            if isinstance(step, sweeps.CancelCells):
                # Together: one that is being submitted must not hold up those that wait for it.
                await asyncio.gather(*(end_cell(server, advanced, index) for index in step.indices))
                continue
            for index in step.indices:
                if not sweeps.stopping(advanced, server.board.states(advanced)):
                    await start_cell(server, advanced, index)
        if advanced.again:
            server.turned.set()


async def start_cell(server: Here, sweep: Sweep, index: int) -> None:
    """Nothing; the cell is a run from now on: one to be driven, or a failed one that says why it cannot be planned."""
    run_id = sweeps.cell_id(sweep.uid, index)
    if run_id in server.store.runs:
        async with server.turn(run_id):
            await server.store.runs.put(run_id, runs.begun(server.store.runs.get(run_id), time.time()))
        return
    try:
        run = await draft(server, sweep, index)
    except errors.StoreUnavailable:
        raise
    except (errors.StoreError, ValueError) as problem:
        run = runs.stillborn(run_id, sweep, server.board.args(sweep, index), str(problem), time.time())
    with contextlib.suppress(errors.Exists):
        await server.store.runs.create(run.id, run)


async def end_cell(server: Here, sweep: Sweep, index: int) -> None:
    """Nothing; the cell's run is cancelled, its jobs are told to end when it is driven next."""
    run_id = sweeps.cell_id(sweep.uid, index)
    async with server.turn(run_id):
        run = server.store.runs.get(run_id)
        if run.status not in runs.ENDED:
            run = runs.cancelled(run, time.time())
            await server.store.runs.put(run_id, run)
    if runs.is_open(run):
        server.set_going(run_id, driving.drive(server, run_id))
