"""How the parts of a server are connected: what follows the folders, what wakes the loop, which names it answers to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import jobs, runs
from engine.loop import apply_access
from store.documents import Attempt, JobRecord, Run, RunJob
from store.kinds import Key
from tests.engine.servers.pretended import HERE, World, make_cell, make_sweep, open_server
from tests.pretended import asynchronous, job


def make_run(job_id: str, status: Any, state: str) -> Run:
    attempt = Attempt(number=1, tag="t", job_id=job_id, state=state, submitted_at="2026-01-01T00:00:00Z")
    return Run(id="r", workflow_name="flow", cluster=HERE, status=status, jobs=[RunJob(name="a", attempts=[attempt])])


def take_marked(world: World) -> list[Key]:
    """Take what the next pass of the loop would look at, and let the loop sleep."""
    world.server.wake.clear()
    return world.server.open_documents.take([None, HERE], time.time())


@pytest.mark.parametrize(
    ("why", "folder", "document", "key"),
    [
        ("an open run", "runs", make_run("7", "running", "RUNNING"), Key("run", "r")),
        ("an open job", "jobs", JobRecord(id="r", cluster=HERE, name="n", job_id="7", tag="t"), Key("job", "r")),
        ("a sweep that has not ended", "sweeps", make_sweep(id="r"), Key("sweep", "r")),
        ("a run that has ended", "runs", make_run("7", "completed", "COMPLETED"), None),
        ("a template has nothing to be done", "templates", {"name": "r", "content": "#!/bin/bash\n"}, None),
    ],
)
@asynchronous
async def test_what_is_written_wakes_the_loop_if_it_is_open(
    tmp_path: Path, why: str, folder: str, document: Any, key: Key | None
) -> None:
    async with open_server(tmp_path) as world:
        take_marked(world)
        await getattr(world.store, folder).put("r", document)
        assert world.server.wake.is_set() is (key is not None), why
        assert take_marked(world) == ([key] if key else [])


@asynchronous
async def test_a_changed_job_wakes_the_loop_for_its_run_alone(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING"), job("8", "PENDING"))
        await world.store.runs.put("r", make_run("7", "running", "PENDING"))
        await world.store.runs.put("other", make_run("8", "running", "PENDING").model_copy(update={"id": "other"}))
        take_marked(world)
        await world.show_queue(job("7", "RUNNING"), job("8", "PENDING"))
        assert world.server.wake.is_set() and take_marked(world) == [Key("run", "r")]


@asynchronous
async def test_a_file_in_the_inbox_wakes_the_loop(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        take_marked(world)
        (tmp_path / "store" / "inbox" / "request.yaml").write_text("workflow: flow\n")
        await world.store.inbox.refresh(["request.yaml"])
        assert world.server.wake.is_set()


@asynchronous
async def test_the_end_of_a_cell_has_its_sweep_looked_at(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.create("7", make_sweep())
        await world.store.runs.put(make_cell(1).id, make_cell(1, status="running"))
        take_marked(world)
        await world.store.runs.put(make_cell(1).id, make_cell(1, status="completed"))
        assert take_marked(world) == [Key("sweep", "7")], "its place is free for the next cell"


@asynchronous
async def test_lists_follow_the_folders(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        server = world.server
        assert (await runs.list_runs(server, None, 10, 0)).total == 0 and await jobs.list_history(server, 10) == []
        await world.store.runs.put("r", make_run("7", "running", "RUNNING"))
        assert (await runs.list_runs(server, None, 10, 0)).total == 1
        assert [row["job_id"] for row in await jobs.list_history(server, 10)] == [7]
        await world.store.runs.delete("r")
        assert (await runs.list_runs(server, None, 10, 0)).total == 0 and await jobs.list_history(server, 10) == []


@asynchronous
async def test_what_lay_in_the_store_at_the_start_is_listed_and_looked_at(tmp_path: Path) -> None:
    files = {"store/runs/r.json": make_run("7", "running", "RUNNING").model_dump_json()}
    async with open_server(tmp_path, files) as world:
        assert take_marked(world) == [Key("run", "r")]
        assert (await runs.list_runs(world.server, None, 10, 0)).total == 1
        assert [row["job_id"] for row in await jobs.list_history(world.server, 10)] == [7]


@asynchronous
async def test_the_names_of_this_server_are_learned_from_settings_and_file(tmp_path: Path) -> None:
    files = {"store/access.yaml": "allowed_hosts: [from-the-file.example]\n"}
    async with open_server(tmp_path, files, allowed_hosts=("from-the-environment.example",)) as world:
        assert "from-the-file.example" not in world.server.callers.hosts
        apply_access(world.server)
        assert world.server.callers.hosts >= {"from-the-file.example", "from-the-environment.example", "localhost"}
