"""Batch simulations on a real SLURM, where nodes fail, time runs out and people cancel."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.documents import BatchOptions, Simulation
from tests.app.operations.yaptide.calls import OWNER
from tests.app_client import Client
from tests.engine.servers import written
from tests.waiting import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.long]


@pytest.fixture(scope="module", params=["slurm"])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """Only a real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(request.getfixturevalue("real_slurm").conf))
        yield request.param


def ask(*words: str) -> str:
    """Ask SLURM as somebody else does."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def begin(client: Client, count: int = 3, pace: float = 0, failing: Any = (), **more: Any) -> Simulation:
    """Begin a batch simulation whose first task is done at once; the others take long where they have a pace."""
    tasks = written.build_tasks(400, count, 1)
    if pace:
        tasks = [task.model_copy(update={"requested_primaries": 1 if task.task_id == 1 else 399}) for task in tasks]
    name = eventually(lambda: client.server.cluster.is_answering and client.server.cluster.name)
    simulation = written.build_simulation(count, "BATCH", tasks=tasks, cluster=name, owner=OWNER, **more)
    written.write_input(client.store, simulation, pace=pace, failing_seeds=list(failing))
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    return simulation


def find(client: Client, simulation: Simulation) -> Simulation:
    """The simulation as the server has it now."""
    found: Simulation = client.server.store.simulations.get(simulation.id)
    return found


def await_end(client: Client, simulation: Simulation) -> Simulation:
    """The simulation once the server is done with it."""
    eventually(lambda: find(client, simulation).settled_at, 120, "it is settled")
    return find(client, simulation)


def await_running(client: Client, simulation: Simulation) -> str:
    """Wait until the first task is done and the others run; return the array's id.

    Somebody looks at it as the client of YAPTIDE does.
    """

    def is_so() -> bool:
        answer = client.get(f"/jobs/batch?job_id={simulation.id}")
        assert answer.status_code == 200, answer.text
        tasks = answer.json()["job_tasks_status"]
        done = [task["simulated_primaries"] > 0 for task in tasks[1:]]
        return tasks[0]["task_state"] == "COMPLETED" and all(done)

    eventually(is_so, 90, "the tasks report how far they are")
    run = client.server.store.runs.get(simulation.run_id)
    return str(run.jobs[0].attempts[-1].job_id)


def test_results_of_all_tasks_are_merged(client: Client) -> None:
    ended = await_end(client, begin(client, 4))
    assert (ended.state, ended.error, ended.results, ended.is_partial) == ("COMPLETED", None, "there", False)
    assert [(task.state, task.simulated_primaries) for task in ended.tasks] == [("COMPLETED", 100)] * 4
    logs = client.get(f"/logfiles?job_id={ended.id}").json()["logfiles"]
    assert set(logs) == {"collect.log", *(f"task_{number:04d}_shieldhit_{number:04d}.log" for number in range(1, 5))}
    assert "merged 4 of 4 tasks" in logs["collect.log"] and "Run time" in logs["task_0004_shieldhit_0004.log"]
    names = [estimator["name"] for estimator in client.get(f"/results?job_id={ended.id}").json()["estimators"]]
    assert names == [estimator.name for estimator in ended.estimators] != []


def test_a_task_that_fails_leaves_a_partial_result_and_its_log(client: Client) -> None:
    ended = await_end(client, begin(client, failing=[2]))
    assert (ended.state, ended.results, ended.is_partial) == ("FAILED", "there", True)
    assert [task.state for task in ended.tasks] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert "task 2: dummy.py ended with exit code" in (ended.error or "")
    logs = client.get(f"/logfiles?job_id={ended.id}").json()["logfiles"]
    assert ended.tasks[1].reason in logs["task_0002.log"]
    status = client.get(f"/jobs?job_id={ended.id}").json()
    assert (status["partial"], status["missing_tasks"]) == (True, [2])


@contextlib.contextmanager
def node_down(job: str) -> Iterator[str]:
    """Take the node of this job down, and bring it back in the end."""
    node = ask("squeue", "-h", "-o", "%N", "-j", job)
    ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        yield node
    finally:
        # Its slurmd may have brought it back already.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], capture_output=True, check=False)


def spread(**more: Any) -> BatchOptions:
    """Options with which each task has a node of its own."""
    return BatchOptions(array={"exclusive": True, **more})


def test_a_node_that_fails_takes_its_task_along(client: Client) -> None:
    simulation = begin(client, pace=30, options=spread(**{"no-requeue": True}))
    array = await_running(client, simulation)
    with node_down(f"{array}_2"):
        eventually(lambda: find(client, simulation).tasks[1].state == "FAILED", 90)
        ended = await_end(client, simulation)
    assert [task.state for task in ended.tasks] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert ended.tasks[1].reason == "NODE_FAIL: its node failed"
    assert (ended.state, ended.is_partial, ended.results) == ("FAILED", True, "there")
    assert ended.error == "1 of 3 tasks failed: task 2: NODE_FAIL: its node failed"


def test_a_task_that_slurm_begins_anew_counts_in_the_end(client: Client) -> None:
    simulation = begin(client, pace=30, options=spread(requeue=True))
    array = await_running(client, simulation)
    with node_down(f"{array}_2"):
        ended = await_end(client, simulation)
    assert [task.state for task in ended.tasks] == ["COMPLETED"] * 3
    assert (ended.state, ended.is_partial, ended.error) == ("COMPLETED", False, None)


def test_a_task_that_takes_too_long_has_failed(client: Client) -> None:
    # SLURM counts in minutes, and looks at them twice in one.
    simulation = begin(client, pace=4, options=BatchOptions(array={"time": "00:01:00"}))
    await_running(client, simulation)
    eventually(lambda: find(client, simulation).settled_at, 240, "its time has run out")
    ended = find(client, simulation)
    assert [task.state for task in ended.tasks] == ["COMPLETED", "FAILED", "FAILED"]
    assert ended.tasks[1].reason == "TIMEOUT: it reached its time limit"
    assert 0 < ended.tasks[1].simulated_primaries < 399, "how far it came is known"
    assert (ended.state, ended.is_partial, ended.results) == ("FAILED", True, "there")


def test_a_cancelled_one_ends_within_seconds_and_keeps_what_finished(client: Client) -> None:
    simulation = begin(client, pace=2)
    array = await_running(client, simulation)
    answer = client.delete(f"/jobs/batch?job_id={simulation.id}")
    assert answer.status_code == 200, answer.text
    eventually(lambda: not ask("squeue", "-h", "-t", "running,completing", "-j", array), 30)
    ended = await_end(client, simulation)
    assert ended.state == "CANCELED"
    assert [task.state for task in ended.tasks] == ["COMPLETED", "CANCELED", "CANCELED"]
    work = Path(client.server.store.runs.get(ended.run_id).work_dir)
    assert list((work / "tasks" / "0001" / "pages").glob("*.json")), "what a task has left stays"
    assert client.get(f"/jobs/batch?job_id={ended.id}").json()["job_state"] == "CANCELED"


@pytest.mark.parametrize("tasks", ["_2", ""])
def test_what_somebody_cancels_in_slurm_is_cancelled(client: Client, tasks: str) -> None:
    simulation = begin(client, pace=30 if tasks else 2)
    array = await_running(client, simulation)
    ask("scancel", f"{array}{tasks}")
    ended = await_end(client, simulation)
    third = "COMPLETED" if tasks else "CANCELED"
    assert [task.state for task in ended.tasks] == ["COMPLETED", "CANCELED", third]
    assert (ended.state, ended.is_partial, ended.results) == ("CANCELED", True, "there")
    assert ended.error == f"cancelled outside of Sluice: task 2{'' if tasks else ', 3'}"


def test_a_removed_one_leaves_nothing_on_the_disk(client: Client) -> None:
    ended = await_end(client, begin(client, 2))
    work = Path(client.server.store.runs.get(ended.run_id).work_dir)
    assert work.is_dir()
    answer = client.delete(f"/user/simulations?job_id={ended.id}")
    assert answer.status_code == 200, answer.text
    eventually(lambda: not work.exists())
    eventually(lambda: not (client.store / "simulations" / ended.id).exists())
