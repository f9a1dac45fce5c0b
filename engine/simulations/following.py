"""Simulations are moved on: from their document to their run, and back.

The rules are in store/rules/simulations/advance.py.
"""

from __future__ import annotations

import functools
import time

from engine import runs
from engine.server import Server
from engine.simulations import fetching, starting, task_reports
from store.documents import Run, Simulation
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
    run = await runs.find_run(server, simulation.run_id)
    reports = await task_reports.read_task_reports(server, simulation, run) if run is not None else {}
    async with server.locks.hold(Key("simulation", simulation_id)):
        before: Simulation = server.store.simulations.get(simulation_id)
        run = await runs.find_run(server, before.run_id)
        simulation, steps = advance.advance_simulation(before, run, reports, time.time())
        if any(isinstance(step, StartRun) for step in steps):
            simulation = await starting.start_run(server, simulation)
        if simulation != before:
            await server.store.simulations.put(simulation_id, simulation)
    if any(isinstance(step, CancelRun) for step in steps):
        await cancel_run(server, simulation.run_id)
    if run is None or not any(isinstance(step, FetchResults) for step in steps):
        return False
    await fetching.fetch_results(server, simulation, run)
    return True


async def cancel_run(server: Server, run_id: str) -> None:
    """Cancel the simulation's run; its jobs are cancelled when it is moved on."""
    async with server.locks.hold(Key("run", run_id)):
        run: Run = server.store.runs.get(run_id)
        if run.status not in run_rules.ENDED:
            await server.store.runs.put(run_id, run_rules.cancel_run(run, time.time()))
    server.tasks.spawn(Key("run", run_id), functools.partial(runs.advance_run, server, run_id))
