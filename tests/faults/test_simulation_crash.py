"""`kill -9` of the server at random moments of a simulation: nothing is lost or runs twice, the result is the same."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from store.documents import Run, Simulation
from tests.app_server import Server
from tests.engine.servers import written
from tests.waiting import eventually

pytestmark = pytest.mark.long

TASKS, KILLS = 10, 20
# How long a server may live before it is killed: from its start, so that opening, starting and adopting are hit too.
LONGEST_LIFE_S = 1.6
# Each task takes some ten seconds; with eight CPUs all of them go on through most of the kills.
PACE, PRIMARIES = 4, 400


def test_kill_at_random_moments_of_a_simulation(tmp_path: Path) -> None:
    seed = int(os.environ.get("SLUICE_CRASH_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    server = Server(tmp_path / "store", "embedded")
    disturbed, calm = (written.build_simulation(TASKS, primaries=PRIMARIES) for _ in range(2))
    written.write_simulator(server.store, prepare=["echo $SLURM_ARRAY_TASK_ID >> ran"])
    written.write_input(server.store, disturbed, pace=PACE)
    written.write_document(server.store, disturbed)
    try:
        for _ in range(KILLS):
            server.start(ready=False)
            assert server.process is not None
            killer = threading.Timer(chance.uniform(0.05, LONGEST_LIFE_S), server.process.send_signal, [signal.SIGKILL])
            killer.start()
            server.process.wait()
            killer.join()
        server.start()
        ended = await_end(server, disturbed, seed)
        run = Run.model_validate_json((server.store / "runs" / f"{ended.run_id}.json").read_bytes())
        assert [len(job.attempts) for job in run.jobs] == [1, 1], (seed, run)
        written.write_input(server.store, calm)
        written.write_document(server.store, calm)
        undisturbed = await_end(server, calm, seed)
        judge(server, ended, undisturbed, seed)
    finally:
        if server.process is None:
            server.start()
        server.close()


def await_end(server: Server, simulation: Simulation, seed: int) -> Simulation:
    """The simulation once the server is done with it."""
    what = f"seed {seed}: {server.log()[-3000:]}"
    eventually(lambda: written.read_document(server.store, simulation).settled_at, 120, what)
    return written.read_document(server.store, simulation)


def judge(server: Server, ended: Simulation, undisturbed: Simulation, seed: int) -> None:
    """Hold the one that was disturbed to the other."""
    for simulation in (ended, undisturbed):
        assert (simulation.state, simulation.is_partial) == ("COMPLETED", False), (seed, simulation)
        assert {task.state for task in simulation.tasks} == {"COMPLETED"}, (seed, simulation)
        ran = (server.store / "work" / simulation.run_id / "ran").read_text().split()
        assert sorted(map(int, ran)) == list(range(1, TASKS + 1)), (seed, ran)
    assert [task.simulated_primaries for task in ended.tasks] == [PRIMARIES // TASKS] * TASKS, seed
    assert ended.estimators == undisturbed.estimators, seed
    results = written.read_results(server.store, ended)
    assert results and results == written.read_results(server.store, undisturbed), seed
