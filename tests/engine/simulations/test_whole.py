"""Simulations from their document to their end, on a cluster that really runs the tasks."""

from __future__ import annotations

from typing import Any

import pytest

from store.documents import Simulation
from tests.app_client import Client
from tests.engine.simulations import written
from tests.waiting import eventually

pytestmark = pytest.mark.long


def begin(client: Client, simulation: Simulation, **given: Any) -> Simulation:
    """Write the input, then the document, as a submission does."""
    written.write_input(client.store, simulation, **given)
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    return simulation


def find(client: Client, simulation: Simulation) -> Simulation:
    """The simulation as the server has it now."""
    found: Simulation = client.server.store.simulations.get(simulation.id)
    return found


def await_end(client: Client, simulation: Simulation, what: str = "it is settled") -> Simulation:
    """The simulation once the server is done with it."""
    eventually(lambda: find(client, simulation).settled_at, 60, what)
    return find(client, simulation)


def test_a_simulation_completes_with_the_results_of_all_tasks(client: Client) -> None:
    ended = await_end(client, begin(client, written.build_simulation(4)))
    assert (ended.state, ended.error, ended.results, ended.is_partial) == ("COMPLETED", None, "there", False)
    assert [(task.state, task.simulated_primaries) for task in ended.tasks] == [("COMPLETED", 100)] * 4
    assert ended.started_at and ended.merging_at and ended.ended_at
    assert {f"{estimator.name}.json" for estimator in ended.estimators} == set(
        written.read_results(client.store, ended)
    )
    run = client.get(f"/api/workflows/runs/{ended.run_id}").json()
    assert (run["status"], run["workflow_name"]) == ("completed", "simulation")
