"""Simulations behind SSH: their files travel with the submission, the tasks run there, `direct` ones stay here."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from engine.simulations import fetching
from store.documents import Simulation
from tests.app.operations.yaptide.calls import OWNER
from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.engine.servers import written
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


def begin(client: Client, pace: float = 0, primaries: int = 400) -> Simulation:
    """Begin a simulation of two tasks over there."""
    await_clusters(client)
    more = {"cluster": client.server.cluster.name, "owner": OWNER}
    simulation = written.build_simulation(2, "BATCH", primaries, **more)
    written.write_input(client.store, simulation, pace=pace)
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    return simulation


def count_simulated(client: Client, simulation: Simulation) -> list[int]:
    """Look as the client of YAPTIDE does; how many primaries each task has simulated."""
    answer = client.get(f"/jobs/batch?job_id={simulation.id}")
    assert answer.status_code == 200, answer.text
    return [task["simulated_primaries"] for task in answer.json()["job_tasks_status"]]


def test_progress_is_seen_from_here_and_a_lost_connection_loses_no_result(client: Client, beyond: Beyond) -> None:
    simulation = begin(client, pace=20)
    eventually(lambda: all(count_simulated(client, simulation)), 60, "the tasks' files are read over there")
    assert find_end(client, simulation) is None
    beyond.sshd.kill()
    eventually(lambda: client.get("/api/config/ssh/status").json()["error"], 30)
    work = beyond.home / ".sluice" / "work" / simulation.run_id
    eventually((work / "summary.json").exists, 60, "they go on, and are merged, with nobody to see it")
    assert find_end(client, simulation) is None
    beyond.sshd.start()
    client.post("/api/config/ssh/profiles/lab/connect")
    ended = eventually(partial(find_end, client, simulation), 90)
    assert ended is not None and (ended.state, ended.error, ended.results) == ("COMPLETED", None, "there")
    assert [task.simulated_primaries for task in ended.tasks] == [200, 200]
    there = {path.name: path.read_bytes() for path in (work / "results").iterdir()}
    assert written.read_results(client.store, ended) == there != {}
    logs = client.get(f"/logfiles?job_id={ended.id}").json()["logfiles"]
    own = {f"task_000{number}_shieldhit_000{number}.log" for number in (1, 2)}
    assert set(logs) == {"collect.log", *own}, "what is empty is no log"


def test_a_connection_lost_while_results_come_begins_again(
    client: Client, beyond: Beyond, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = fetching.copy_file, []

    async def copy_file(*given: Any) -> int:
        seen.append(given[2])
        if len(seen) == 2:
            beyond.sshd.kill()
        return await before(*given)

    monkeypatch.setattr(fetching, "copy_file", copy_file)
    simulation = begin(client)
    eventually(lambda: len(seen) >= 2, 60)
    eventually(lambda: client.get("/api/config/ssh/status").json()["error"], 30)
    assert find_end(client, simulation) is None and written.read_results(client.store, simulation) == {}
    beyond.sshd.start()
    client.post("/api/config/ssh/profiles/lab/connect")
    ended = eventually(partial(find_end, client, simulation), 90)
    assert ended is not None and (ended.state, ended.error) == ("COMPLETED", None)
    assert len(written.read_results(client.store, ended)) == len(ended.estimators) > 1


def test_what_is_cancelled_and_removed_here_ends_and_goes_there(client: Client, beyond: Beyond) -> None:
    simulation = begin(client, pace=2)
    eventually(lambda: all(count_simulated(client, simulation)), 60)
    work = beyond.home / ".sluice" / "work" / simulation.run_id
    assert client.delete(f"/jobs/batch?job_id={simulation.id}").status_code == 200
    ended = eventually(partial(find_end, client, simulation), 60)
    assert ended is not None and ended.state == "CANCELED" and work.is_dir()
    (work / "link").symlink_to(beyond.home / "ml", target_is_directory=True)
    (beyond.home / "ml").mkdir(exist_ok=True)
    assert client.delete(f"/user/simulations?job_id={simulation.id}").status_code == 200
    eventually(lambda: not work.exists(), 30)
    eventually(lambda: not (client.store / "simulations" / simulation.id).exists())
    assert (beyond.home / "ml").is_dir() and work.parent.is_dir()


def test_results_that_are_too_large_fail_with_the_reason(client: Client, beyond: Beyond) -> None:
    (client.store / "config.yaml").write_text("yaptide: {results_mb: 1}\n")
    eventually(lambda: client.server.store.config.yaptide.results_mb == 1)
    simulation = begin(client, pace=20)
    eventually(lambda: all(count_simulated(client, simulation)), 60)
    # As if the merge left more than that.
    work = beyond.home / ".sluice" / "work" / simulation.run_id
    merge = work / "programs" / "merge.py"
    text = merge.read_text().replace("    messenger.close()\n", "    messenger.close()\n    swell(work)\n", 1)
    swell = "def swell(work):\n    [path.write_bytes(bytes(1500000)) for path in (work / 'results').iterdir()]\n\n\n"
    merge.write_text(text.replace("if __name__", f"{swell}if __name__"))
    ended = eventually(partial(find_end, client, simulation), 90)
    assert ended is not None and (ended.state, ended.results) == ("FAILED", "missing")
    assert ended.error == "the results have more than 1 MB in all (yaptide.results_mb in config.yaml)"
