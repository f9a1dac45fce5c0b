"""Simulations behind SSH: their files travel with the submission, the tasks run there, `direct` ones stay here."""

from __future__ import annotations

from functools import partial

import pytest

from store.documents import Simulation
from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.engine.simulations import written
from tests.engine.whole.remote.machines import await_clusters
from tests.waiting import eventually

pytestmark = [pytest.mark.ssh, pytest.mark.long]


def test_a_simulation_over_there_and_one_here(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    name = client.server.cluster.name
    far, near = (
        written.build_simulation(3, **given)
        for given in ({"platform": "BATCH", "cluster": name}, {"platform": "DIRECT"})
    )
    for simulation in (far, near):
        written.write_input(client.store, simulation)
        client.run(client.server.store.simulations.create(simulation.id, simulation))
    ends = [eventually(partial(find_end, client, simulation), 60) for simulation in (far, near)]
    assert [(ended.state, ended.error) for ended in ends] == [("COMPLETED", None)] * 2
    assert written.read_results(client.store, far) == written.read_results(client.store, near) != {}
    runs = [client.server.store.runs.get(simulation.run_id) for simulation in (far, near)]
    assert [run.cluster for run in runs] == [name, "embedded"]
    work = beyond.home / ".sluice" / "work" / far.run_id
    assert runs[0].work_dir == str(work) and "exec python3 " in runs[0].jobs[0].script
    assert (work / "update_key").stat().st_mode & 0o777 == 0o600
    assert not list(work.rglob("*.sh")) and (work / "logs" / "task_0001.log").is_file()


def find_end(client: Client, simulation: Simulation) -> Simulation | None:
    """Find the simulation once the server is done with it."""
    found: Simulation = client.server.store.simulations.get(simulation.id)
    return found if found.settled_at else None
