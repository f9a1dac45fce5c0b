"""Simulations from their document to their end, on a cluster that really runs the tasks."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from store.documents import BatchOptions, Simulation
from store.kinds import Key
from store.rules.simulations import advance
from tests.app_client import Client
from tests.engine.servers import written
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
    assert (work_of(client, ended) / "update_key").stat().st_mode & 0o777 == 0o600
    run = client.get(f"/api/workflows/runs/{ended.run_id}").json()
    assert (run["status"], run["workflow_name"]) == ("completed", "simulation")


def test_batch_runs_where_it_was_asked_for(client: Client) -> None:
    name = client.server.cluster.name
    options = BatchOptions(array={"time": "00:10:00", "comment": 'it\'s "mine" # really'}, collect={"time": "00:05:00"})
    given = {"platform": "BATCH", "cluster": name, "options": options}
    ended = await_end(client, begin(client, written.build_simulation(3, **given)))
    assert (ended.state, ended.error) == ("COMPLETED", None)
    run = client.server.store.runs.get(ended.run_id)
    assert run.cluster == name
    comments = [row["comment"] for row in client.server.cluster.snapshot.jobs.values() if row["name"] == "Water_tank"]
    assert comments and any(comment.startswith('it\'s "mine" # really sluice:') for comment in comments)


def test_tasks_are_listed_by_the_title_and_lead_to_the_run(client: Client) -> None:
    ended = await_end(client, begin(client, written.build_simulation(2, title="Proton beam, 60 MeV")))
    jobs = {name: attempt_of(client, ended, name) for name in ("tasks", "collect")}
    rows = client.get("/api/history?limit=-1").json()
    assert {row["job_name"] for row in rows if str(row["job_id"]) in jobs.values()} == {
        "Proton_beam__60_MeV",
        "Proton_beam__60_MeV_collect",
    }
    rows = client.get("/api/jobs?cluster=embedded").json()
    own = [row["name"] for row in rows if str(row.get("array_job_id")) == jobs["tasks"]]
    assert own == ["Proton_beam__60_MeV"] * 2
    rows = client.get("/api/v1/jobs?cluster=embedded&limit=200").json()["jobs"]
    own = [row["job_name"] for row in rows if str(row["job_id"]).startswith(f"{jobs['tasks']}_")]
    assert own == ["Proton_beam__60_MeV"] * 2


def attempt_of(client: Client, simulation: Simulation, name: str) -> str:
    """SLURM's id of a job of its run."""
    run = client.server.store.runs.get(simulation.run_id)
    return str(next(job.attempts[-1].job_id for job in run.jobs if job.name == name))


def test_nothing_of_a_simulation_runs_again_by_itself(client: Client) -> None:
    ended = await_end(client, begin(client, written.build_simulation(2)))
    refused = client.post(f"/api/workflows/runs/{ended.run_id}/rerun", {"only": "all"})
    assert refused.status_code == 409 and ended.id in refused.text
    task = f"{attempt_of(client, ended, 'tasks')}_1"
    refused = client.put(f"/api/v1/jobs/{task}/requeue?cluster=embedded")
    assert refused.status_code == 409 and ended.id in refused.text, refused.text


def test_a_task_that_fails_leaves_a_partial_result(client: Client) -> None:
    ended = await_end(client, begin(client, written.build_simulation(3), failing_seeds=[2]))
    assert (ended.state, ended.results, ended.is_partial) == ("FAILED", "there", True)
    assert [task.state for task in ended.tasks] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert ended.tasks[1].reason and ended.tasks[1].reason.startswith("dummy.py ended with exit code")
    assert ended.error == f"1 of 3 tasks failed: task 2: {ended.tasks[1].reason}"
    assert ended.estimators and written.read_results(client.store, ended)


def test_without_any_result_it_has_failed(client: Client) -> None:
    ended = await_end(client, begin(client, written.build_simulation(2), failing_seeds=[1, 2]))
    assert (ended.state, ended.results, ended.is_partial, ended.estimators) == ("FAILED", "missing", False, [])
    assert ended.error is not None and ended.error.startswith("2 of 2 tasks failed: task 1: dummy.py ended")


def begin_slow(client: Client, count: int = 3, **more: Any) -> Simulation:
    """Begin one whose first task is done at once, and wait until the others run."""
    tasks = written.build_tasks(400, count, 1)
    tasks = [task.model_copy(update={"requested_primaries": 1 if task.task_id == 1 else 399}) for task in tasks]
    simulation = begin(client, written.build_simulation(count, tasks=tasks, **more), pace=2)

    def goes_on() -> bool:
        report = work_of(client, simulation) / "tasks"
        said = [(report / f"{number:04d}.json") for number in range(1, count + 1)]
        return all(path.exists() for path in said) and "COMPLETED" in said[0].read_text()

    eventually(goes_on, 60)
    return simulation


def work_of(client: Client, simulation: Simulation) -> Path:
    """The work folder of its run."""
    return client.store / "work" / simulation.run_id


def list_processes(client: Client, simulation: Simulation) -> list[str]:
    """The command lines of what runs for it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().decode(errors="replace"))
    return [line for line in found if str(work_of(client, simulation)) in line]


def test_whoever_watches_the_run_hears_of_its_end_by_the_title(client: Client) -> None:
    simulation = begin_slow(client)
    config = {"webhook_url": "https://hooks.example.org/x"}
    endpoint = client.post("/api/endpoints", {"kind": "webhook", "name": "lab", "config": config}).json()["id"]
    wanted = {"kind": "workflow_run", "run_id": simulation.run_id, "endpoint_id": endpoint}
    assert client.post("/api/watches", wanted).status_code == 201
    client.post(f"/api/workflows/runs/{simulation.run_id}/cancel")
    await_end(client, simulation)

    def find_message() -> dict[str, Any] | None:
        kept = [entry.document.body for entry in client.server.store.deliveries.iterate_entries()]
        return next((body for body in kept if body["target_ref"].endswith(simulation.run_id)), None)

    message = eventually(find_message)
    assert message is not None and (message["name"], message["status"]) == ("Water tank", "cancelled")


def test_a_cancelled_one_ends_its_tasks_and_keeps_what_finished(client: Client) -> None:
    simulation = begin_slow(client)

    async def cancel() -> None:
        folder = client.server.store.simulations
        async with client.server.locks.hold(Key("simulation", simulation.id)):
            changed = advance.cancel_simulation(folder.get(simulation.id), time.time())
            await folder.put(simulation.id, changed)

    client.run(cancel())
    ended = await_end(client, simulation)
    assert list_processes(client, simulation) == []
    assert ended.state == "CANCELED" and ended.error is None
    assert {task.state for task in ended.tasks[1:]} == {"CANCELED"}
    assert client.server.store.runs.get(ended.run_id).status == "cancelled"
    left = work_of(client, simulation) / "tasks" / "0001" / "pages"
    assert list(left.glob("*.json")), "what a task has left stays"


@pytest.mark.parametrize("how", ["run", "scancel"])
def test_one_that_is_cancelled_elsewhere_ends(client: Client, how: str) -> None:
    simulation = begin_slow(client)
    if how == "run":
        answer = client.post(f"/api/workflows/runs/{simulation.run_id}/cancel")
        assert answer.status_code == 200, answer.text
    else:
        cluster = client.server.clusters.get("embedded")
        client.run(cluster.scancel([attempt_of(client, simulation, "tasks")]))
    ended = await_end(client, simulation)
    assert list_processes(client, simulation) == []
    assert ended.state == "CANCELED"
    assert [task.state for task in ended.tasks] == ["COMPLETED", "CANCELED", "CANCELED"]
    assert ended.error == ("its run was cancelled" if how == "run" else "cancelled outside of Sluice: task 2, 3")
    assert ended.is_partial == (how == "scancel"), "the merge took what was there"


def test_a_task_that_takes_too_long_has_failed_and_says_why(client: Client) -> None:
    simulation = begin_slow(client, options=BatchOptions(array={"time": "00:05:00"}))
    array = attempt_of(client, simulation, "tasks")
    with contextlib.closing(sqlite3.connect(client.store / "cluster" / "state.db", timeout=30)) as db:
        chosen = "array_job_id = ? AND array_task_id = 2"
        with db:
            db.execute(f"UPDATE jobs SET start_time = start_time - 600 WHERE {chosen}", (int(array),))
        (pid,) = db.execute(f"SELECT sup_pid FROM jobs WHERE {chosen}", (int(array),)).fetchone()
    os.kill(pid, signal.SIGUSR1)
    eventually(lambda: find(client, simulation).tasks[1].state == "FAILED", 60)
    client.run(client.server.clusters.get("embedded").scancel([f"{array}_3"]))
    ended = await_end(client, simulation)
    assert ended.state == "FAILED" and ended.is_partial
    assert ended.tasks[1].reason == "TIMEOUT: it reached its time limit"
    assert ended.error == "1 of 3 tasks failed: task 2: TIMEOUT: it reached its time limit"


@pytest.mark.parametrize(
    ("why", "changes", "error"),
    [
        ("SLURM says so", {"options": BatchOptions(array={"partition": "nowhere"})}, "invalid partition"),
        ("its input is gone", {"sim_type": "dummy", "title": "without input"}, "the input of simulation"),
    ],
)
def test_what_is_refused_has_failed_with_all_that_was_said(
    client: Client, why: str, changes: dict[str, Any], error: str
) -> None:
    simulation = written.build_simulation(2, **changes)
    if "options" in changes:
        written.write_input(client.store, simulation)
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    ended = await_end(client, simulation)
    assert ended.state == "FAILED" and ended.error is not None, why
    assert error in ended.error, why
    assert {task.state for task in ended.tasks} <= {"FAILED", "CANCELED"}
