"""Simulations are moved on: from their document to their run, and back.

The rules are in store/rules/simulations/advance.py.
"""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path

from engine import runs
from engine.server import Server
from engine.simulations import starting, task_reports
from store.documents import Run, Simulation
from store.jsons import load_json
from store.kinds import Key
from store.rules import runs as run_rules
from store.rules.simulations import advance
from store.rules.simulations.advance import CancelRun, FetchResults, StartRun


async def advance_simulation(server: Server, simulation_id: str) -> None:
    """Take the simulation as far as it can go now.

    What asks the cluster is done without its lock, so that it can be cancelled meanwhile. Raises NotFound for one that
    was deleted, StoreError and SlurmError for what is to be tried again.
    """
    while await take_steps(server, simulation_id):
        continue


async def take_steps(server: Server, simulation_id: str) -> bool:
    """Take the next steps; return whether the rules are to be asked again."""
    simulation = server.store.simulations.get(simulation_id)
    run = await find_run(server, simulation)
    reports = await task_reports.read_task_reports(server, simulation, run) if run is not None else {}
    async with server.locks.hold(Key("simulation", simulation_id)):
        before: Simulation = server.store.simulations.get(simulation_id)
        run = await find_run(server, before)
        simulation, steps = advance.advance_simulation(before, run, reports, time.time())
        if any(isinstance(step, StartRun) for step in steps):
            simulation = await starting.start_run(server, simulation)
        if simulation != before:
            await server.store.simulations.put(simulation_id, simulation)
    if any(isinstance(step, CancelRun) for step in steps):
        await cancel_run(server, simulation.run_id)
    if run is None or not any(isinstance(step, FetchResults) for step in steps):
        return False
    await fetch_results(server, simulation, run)
    return True


async def find_run(server: Server, simulation: Simulation) -> Run | None:
    """Find the run of a simulation; None while there is none."""
    run: Run | None = None
    if simulation.run_id in server.store.runs:
        run = server.store.runs.get(simulation.run_id)
    elif ("run", simulation.run_id) in server.store.archive:
        run = await server.store.archive.get("run", simulation.run_id)
    return run


async def cancel_run(server: Server, run_id: str) -> None:
    """Cancel the simulation's run; its jobs are cancelled when it is moved on."""
    async with server.locks.hold(Key("run", run_id)):
        run: Run = server.store.runs.get(run_id)
        if run.status not in run_rules.ENDED:
            await server.store.runs.put(run_id, run_rules.cancel_run(run, time.time()))
    server.tasks.spawn(Key("run", run_id), functools.partial(runs.advance_run, server, run_id))


async def fetch_results(server: Server, simulation: Simulation, run: Run) -> None:
    """Bring results and logs here, and record what was brought."""
    summary, error = await _fetch(server, simulation, run)
    async with server.locks.hold(Key("simulation", simulation.id)):
        before: Simulation = server.store.simulations.get(simulation.id)
        after = advance.record_results(before, summary, error)
        if after != before:
            await server.store.simulations.put(simulation.id, after)


# Until fetching.py is there: what works for the clusters of this machine.


async def _fetch(server: Server, simulation: Simulation, run: Run) -> tuple[advance.Summary | None, str | None]:
    work = Path(run.work_dir or "")
    try:
        summary = advance.parse_summary(load_json((work / "summary.json").read_bytes()))
    except FileNotFoundError:
        return None, None
    target = server.store.join_path("simulations", simulation.id, "results")
    for estimator in summary.estimators:
        data = (work / "results" / estimator.file).read_bytes()
        await asyncio.to_thread(server.store.files.write_all_now, {target / estimator.file: data})
    return summary, None
