"""What the change feed says of an event: which rows of which lists are others now, and none that are not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import change_sources, reports
from store.documents import Attempt, JobRecord, Run, RunJob
from store.rules.changes import Filter
from store.rules.watches import Subscription, Watch
from tests.engine.servers.pretended import CALLER, HERE, Slurm, World, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous, job

FIRST, SECOND, THIRD = (to_cell_id(index) for index in range(3))
SUBMITTED = {"job_name": "n", "submitted_at": "2026-01-01T00:00:00Z"}
# What the two profiles of a store may be.
PROFILES = "current: one\nprofiles: {one: {}, two: {%s}}\n"
PARTITION = {"name": "gpu", "nodes": ["n1"], "default": True}
NODE = {"name": "n1", "state": "IDLE", "usable": True, "gpus": 4, "gpus_allocated": 0, "gpus_tracked": True}


def make_run(job_id: str, state: str, status: Any = "running") -> Run:
    ended = "2026-01-01T01:00:00Z" if status != "running" else None
    attempt = Attempt(number=1, tag="t", job_id=job_id, state=state, submitted_at="2026-01-01T00:00:00Z")
    attempt.ended_at = ended
    return Run(id="r", workflow_name="flow", cluster=HERE, status=status, jobs=[RunJob(name="a", attempts=[attempt])])


def take_rows(world: World) -> dict[str, Any]:
    """Take what is new of the feed: rows by kind and id."""
    rows: dict[str, Any] = {}
    while (change := world.reader.take()) is not None:
        rows[f"{change.kind} {change.id}"] = orjson.loads(world.server.changes.get_row(change))
    return rows


# --- documents ------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_run_and_those_of_its_jobs_of_which_it_says_something_else(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7"), job("8"))
        world.read_changes()
        await world.store.runs.put("r", make_run("7", "PENDING"))
        assert world.take_changes() == [("run", "r", "created"), ("job", "7", "updated")]
        await world.store.runs.put("r", make_run("7", "PENDING").model_copy(update={"error": "its own"}))
        assert world.take_changes() == [("run", "r", "updated")], "its job is the same"
        await world.store.runs.delete("r")
        assert world.take_changes() == [("run", "r", "deleted"), ("job", "7", "updated")]


@pytest.mark.parametrize(
    ("why", "status", "expected"),
    [
        ("it may still be queued", "running", []),
        ("SLURM has forgotten it, we have not", "completed", [("job", "9", "updated")]),
    ],
)
@asynchronous
async def test_a_job_that_slurm_does_not_list(
    tmp_path: Path, why: str, status: str, expected: list[tuple[str, str, str]]
) -> None:
    async with open_server(tmp_path) as world:
        world.read_changes("job")
        await world.store.runs.put("r", make_run("9", status.upper(), status))
        assert world.take_changes() == expected, why


@asynchronous
async def test_a_cell_is_told_with_its_sweep_and_a_strangers_number_is_not(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep())
        world.read_changes()
        await world.store.runs.put(FIRST, make_cell(0, status="running"))
        assert world.take_changes() == [
            ("run", FIRST, "created"),
            ("cell", FIRST, "updated"),
            ("sweep", "7", "updated"),
        ]
        # A cell of an earlier sweep, whose number was given again.
        other = FIRST.replace(FIRST[:6], "fedcba")
        await world.store.runs.put(other, make_cell(0, id=other, status="running"))
        assert world.take_changes() == [("run", other, "created"), ("sweep", "7", "updated")]


@pytest.mark.parametrize(
    ("why", "fail_fast", "status", "cells"),
    [
        ("no other will start", True, "failed", [FIRST, SECOND, THIRD]),
        ("it did not fail", True, "completed", [FIRST]),
        ("the others go on", False, "failed", [FIRST]),
    ],
)
@asynchronous
async def test_the_cells_that_another_cells_end_stops(
    tmp_path: Path, why: str, fail_fast: bool, status: str, cells: list[str]
) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep(fail_fast=fail_fast, status="running", waiting="1-2"))
        await world.store.runs.put(FIRST, make_cell(0, status="running"))
        world.read_changes("cell")
        await world.store.runs.put(FIRST, make_cell(0, status=status))
        states = {name.partition(" ")[2]: row["status"] for name, row in take_rows(world).items()}
        assert states == {cell: status if cell == FIRST else "cancelled" for cell in cells}, why


@asynchronous
async def test_cells_that_were_to_run_again_are_stopped_too(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep(fail_fast=True, status="running", waiting="", again="2"))
        for index, status in enumerate(("running", "completed", "failed")):
            await world.store.runs.put(to_cell_id(index), make_cell(index, status=status))
        world.read_changes("cell")
        await world.store.runs.put(FIRST, make_cell(0, status="failed"))
        assert [name for _, name, _ in world.take_changes()] == [FIRST, THIRD]


@asynchronous
async def test_a_sweep_tells_the_cells_whose_state_it_changes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.read_changes()
        await world.store.sweeps.create("7", make_sweep())
        assert world.take_changes() == [("sweep", "7", "created")], "without its cells, however many"
        await world.store.sweeps.put("7", make_sweep(max_parallel=3))
        assert world.take_changes() == [("sweep", "7", "updated")]
        await world.store.sweeps.put("7", make_sweep(max_parallel=3, waiting="1-2"))
        assert world.take_changes() == [("cell", FIRST, "updated"), ("sweep", "7", "updated")]
        await world.store.sweeps.delete("7")
        assert world.take_changes() == [("sweep", "7", "deleted")]


@asynchronous
async def test_a_report_and_its_job_if_the_stage_is_another(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await reports.record_submission(world.server, {"job_id": "5", **SUBMITTED}, CALLER)
        await world.show_queue(job("5_1", name="n", array_job_id=5), job("6", name="n"))
        world.read_changes()
        update = {"status": "running", "stage": "training"}
        await reports.record_update(world.server, "5", update, CALLER)
        rows = take_rows(world)
        assert rows.keys() == {"report 5", "job 5_1"}, "a task shows what its array has reported"
        assert rows["report 5"]["stage"] == rows["job 5_1"]["stage"] == "training"
        await reports.record_update(world.server, "5", {**update, "message": "half way"}, CALLER)
        assert world.take_changes() == [("report", "5", "updated")]
        await reports.delete_report(world.server, "5")
        assert world.take_changes() == [("report", "5", "deleted"), ("job", "5_1", "updated")]


@asynchronous
async def test_subscriptions_come_and_go_with_their_watch(tmp_path: Path) -> None:
    def make_watch(*numbers: int) -> Watch:
        fields = {"endpoint_id": 1, "preset": "all", "created_at": "2026-01-01T00:00:00Z"}
        return Watch(
            id="w",
            kind="workflow_run",
            target="r",
            target_ref="r",
            created_at="2026-01-01T00:00:00Z",
            subscriptions=[Subscription(id=number, **fields) for number in numbers],
        )

    async with open_server(tmp_path) as world:
        world.read_changes()
        await world.store.watches.put("w", make_watch(1, 2))
        created = [("subscription", "1", "created"), ("subscription", "2", "created")]
        first, *others = world.take_changes()
        assert first == ("watch", "w", "created") and sorted(others) == created
        await world.store.watches.put("w", make_watch(2))
        assert world.take_changes() == [("watch", "w", "updated"), ("subscription", "1", "deleted")]
        await world.store.watches.delete("w")
        assert world.take_changes() == [("watch", "w", "deleted"), ("subscription", "2", "deleted")]


# --- jobs -----------------------------------------------------------------------------------------------------------


@asynchronous
async def test_jobs_come_change_and_go(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("6"))
        world.read_changes("job")
        await world.show_queue(job("6"), job("7", "PENDING"), job("8"))
        assert sorted(world.take_changes()) == [("job", "7", "created"), ("job", "8", "created")]
        await world.show_queue(job("6"), job("7", "RUNNING"), job("8"))
        assert world.take_changes() == [("job", "7", "updated")]
        await world.show_queue(job("6"), job("8"))
        assert world.take_changes() == [("job", "7", "deleted")]


@asynchronous
async def test_a_job_of_ours_that_leaves_the_queue_stays_in_the_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "COMPLETED"))
        ended = JobRecord(id="j", cluster=HERE, name="ours", job_id="7", state="COMPLETED", tag="t")
        await world.store.jobs.put("j", ended.model_copy(update={"ended_at": "2026-01-01T01:00:00Z"}))
        world.read_changes("job")
        await world.show_queue()
        row = take_rows(world)["job 7"]
        assert (row["name"], row["slurm_state"]) == ("ours", "COMPLETED"), "as we remember it"


@asynchronous
async def test_an_array_of_ours_is_shown_as_a_whole_once_its_tasks_are_gone(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7_1", array_job_id=7), job("7_2", array_job_id=7))
        ended = JobRecord(id="j", cluster=HERE, name="ours", job_id="7", state="COMPLETED", tag="t")
        await world.store.jobs.put("j", ended.model_copy(update={"ended_at": "2026-01-01T01:00:00Z"}))
        world.read_changes("job")
        await world.show_queue(job("7_2", array_job_id=7))
        assert world.take_changes() == [("job", "7_1", "deleted")]
        await world.show_queue()
        assert sorted(world.take_changes()) == [("job", "7", "updated"), ("job", "7_2", "deleted")]


@pytest.mark.parametrize(
    ("why", "is_read", "action"),
    [("nobody has seen a list without it", False, "updated"), ("somebody may have seen one", True, "created")],
)
@asynchronous
async def test_the_first_answer_of_a_cluster(tmp_path: Path, why: str, is_read: bool, action: str) -> None:
    async with open_server(tmp_path) as world:
        wanted = Filter(frozenset({"job"}))
        if is_read:
            async with world.server.changes.read(wanted):
                await world.show_queue(job("7"))
        else:
            await world.show_queue(job("7"))
        assert world.take_changes() == [("job", "7", action)], why


# --- partitions -----------------------------------------------------------------------------------------------------


def make_slurm(*partitions: dict[str, Any]) -> Slurm:
    """Make a cluster of one node and these partitions of it."""
    slurm = Slurm()
    slurm.node_rows, slurm.partition_rows = [NODE], list(partitions)
    return slurm


RESOURCES = Filter(frozenset({"resource"}))


@asynchronous
async def test_the_use_of_partitions_is_counted_only_for_those_who_read_it(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm(PARTITION)) as world:
        world.read_changes("resource")
        await world.show_queue(job("7", partition="gpu"))
        assert world.take_changes() == [] and not world.server.changes.planned_resources
        for queue in ([], [job("8", partition="gpu")]):
            async with world.server.changes.read(RESOURCES):
                assert world.take_changes() == [("resource", "gpu", "updated")], "the use at present, to begin with"
            await world.show_queue(*queue)


@asynchronous
async def test_many_changes_of_jobs_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[Any] = []
    is_counted = asyncio.Event()

    def count_use(_server: Any, cluster: Any, _found: Any) -> None:
        counts.append(cluster)
        is_counted.set()

    monkeypatch.setattr(change_sources, "RESOURCES_PAUSE_S", 0)
    async with open_server(tmp_path, slurm=make_slurm(PARTITION)) as world, world.server.changes.read(RESOURCES):
        monkeypatch.setattr(change_sources, "add_resources", count_use)
        for job_id in ("7", "8", "9"):
            change_sources.add_jobs(world.server, world.cluster, [job_id])
        await is_counted.wait()
        assert counts == [world.cluster]


@asynchronous
async def test_a_partition_is_told_when_its_use_changes_and_when_it_is_gone(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm(PARTITION, PARTITION | {"name": "cpu"})) as world:
        snapshot = world.cluster.snapshot
        async with world.server.changes.read(RESOURCES):
            assert sorted(world.take_changes()) == [("resource", "cpu", "updated"), ("resource", "gpu", "updated")]
            world.read_changes("resource")
            await world.show_queue(job("7", partition="gpu"))
            change_sources.add_resources(world.server, world.cluster, world.cluster.list_resources(None))
            (row,) = take_rows(world).values()
            assert (row["partition"], row["jobs_running"]) == ("gpu", 1), "the other is as it was"
            snapshot.partitions, snapshot.version = [PARTITION], snapshot.version + 1
            change_sources.add_resources(world.server, world.cluster, world.cluster.list_resources(None))
            assert world.take_changes() == [("resource", "cpu", "deleted")]


# --- configuration and problems -------------------------------------------------------------------------------------


@asynchronous
async def test_of_profiles_those_that_changed(tmp_path: Path) -> None:
    async with open_server(tmp_path, {"store/profiles.yaml": PROFILES % ""}) as world:
        folder = world.store.single["profiles"]
        world.read_changes("profile")
        await folder.put("profiles", (PROFILES % "description: new").encode())
        assert world.take_changes() == [("profile", "two", "updated")]
        await folder.put("profiles", b"current: two\nprofiles: {two: {description: new}}\n")
        rows = take_rows(world)
        assert rows.keys() == {"profile one", "profile two"} and rows["profile one"] is None
        assert rows["profile two"]["is_current"] is True


@asynchronous
async def test_a_problem_is_told_when_it_comes_changes_and_goes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        path = tmp_path / "store" / "workflows" / "bad.yaml"
        world.read_changes("problem")
        path.write_text("name: [\n")
        await world.store.workflows.refresh([path.name])
        rows = take_rows(world)
        ((name, found),) = rows.items()
        assert name.endswith("bad.yaml") and found and found[0]["path"] == name.partition(" ")[2]
        path.unlink()
        await world.store.workflows.refresh([path.name])
        assert world.take_changes() == [("problem", name.partition(" ")[2], "deleted")]


@asynchronous
async def test_problems_outside_of_the_store_are_compared_with_those_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        problem = {"path": "/etc/sluice.json", "error": "no JSON"}
        pretend_problems(world, [problem])
        change_sources.add_outside(world.server)
        assert world.take_changes() == [("config", "config", "updated"), ("problem", "/etc/sluice.json", "updated")]
        change_sources.add_outside_problems(world.server)
        assert world.take_changes() == [], "it is the same"
        pretend_problems(world, [])
        change_sources.add_outside_problems(world.server)
        assert world.take_changes() == [("problem", "/etc/sluice.json", "deleted")]
        change_sources.add_outside_problems(world.server)
        assert world.take_changes() == [], "it is gone once"


def pretend_problems(world: World, problems: list[dict[str, Any]]) -> None:
    world.store.list_problems = lambda: problems  # type: ignore[method-assign]
