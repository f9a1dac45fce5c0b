"""How the parts of a server are connected: what follows the folders, and what is found where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from store.documents import Attempt, JobRecord, Run, RunJob
from store.errors import NotFound
from store.kinds import Key
from tests.engine.pretended_server import HERE, make_cell, make_sweep, opened
from tests.pretended import asynchronous, job

PROFILES = "current: own\nprofiles: {own: {mounts: [{name: ml, local: %s, remote: /r}]}}\n"


def run_with(job_id: str, status: Any, state: str) -> Run:
    attempt = Attempt(number=1, tag="t", job_id=job_id, state=state, submitted_at="2026-01-01T00:00:00Z")
    return Run(id="r", workflow_name="flow", cluster=HERE, status=status, jobs=[RunJob(name="a", attempts=[attempt])])


@asynchronous
async def test_indexes_and_open_documents_follow_the_folders(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        server = world.server
        await server.store.runs.put("r", run_with("7", "running", "RUNNING"))
        assert server.job_index.get(HERE, "7") is not None
        assert list(server.open_documents.get_job_ids(HERE)) == ["7"]
        await server.store.runs.put("r", run_with("7", "completed", "COMPLETED"))
        assert list(server.open_documents.get_job_ids(HERE)) == [], "an ended run waits for nothing"
        await server.store.runs.delete("r")
        assert server.job_index.get(HERE, "7") is None


@asynchronous
async def test_the_end_of_a_cell_has_its_sweep_looked_at(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        server, sweep = world.server, make_sweep()
        await server.store.sweeps.create("7", sweep)
        await server.store.runs.put(make_cell(1).id, make_cell(1, status="running"))
        server.open_documents.take([HERE], time.time())
        assert server.sweep_index.get_states(sweep) == {1: "running"}
        await server.store.runs.put(make_cell(1).id, make_cell(1, status="completed"))
        assert server.sweep_index.get_states(sweep) == {1: "completed"}
        assert server.open_documents.take([HERE], time.time()) == [Key("sweep", "7")]


@pytest.mark.parametrize(
    ("why", "cluster", "job_id", "knowledge"),
    [
        ("in the queue", HERE, "7", "seen"),
        ("not in the queue, and accounting was not asked", HERE, "8", "unknown"),
        ("the same id on a cluster that is not in view", "elsewhere", "7", "unknown"),
    ],
)
@asynchronous
async def test_what_a_cluster_knows_of_a_job(
    tmp_path: Path, why: str, cluster: str, job_id: str, knowledge: str
) -> None:
    async with opened(tmp_path) as world:
        await world.show(job("7"))
        assert world.server.view_job(cluster, job_id).knowledge == knowledge, why


@asynchronous
async def test_a_job_whose_id_is_not_known_is_found_by_its_tag(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.show(job("7", comment="sluice:x"))
        record = JobRecord(id="j", name="n", tag="sluice:x")
        for cluster, knowledge in ((HERE, "seen"), ("elsewhere", "unknown")):
            assert world.server.make_lookups(cluster)[1](record).knowledge == knowledge


@asynchronous
async def test_the_workflows_of_a_mount(tmp_path: Path) -> None:
    mount = tmp_path / "ml"
    async with opened(tmp_path, {"store/profiles.yaml": PROFILES % mount}) as world:
        server = world.server
        assert server.find_shelf(None) is server.own_shelf
        with pytest.raises(NotFound, match="its folder is not there"):
            server.find_shelf("ml")
        mount.mkdir()
        shelf = server.find_shelf("ml")
        assert shelf.root == mount and server.find_shelf("ml") is shelf
        world.follow_feed("workflow")
        await shelf.folder.put("flow", b"name: flow\njobs: [{name: a, command: x}]\n")
        assert world.take_changes() == [("workflow", "flow", "created")]


@asynchronous
async def test_the_age_of_what_is_known_of_a_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        server, snapshot = world.server, world.cluster.snapshot
        server.began = time.monotonic() - 1000
        snapshot._now = lambda: (snapshot.taken_at or 0.0) + 5.0
        for cluster, status, least, most in [
            (HERE, "completed", 0.0, 0.0),
            (HERE, "running", 5.0, 5.0),
            ("elsewhere", "running", 1000.0, float("inf")),
        ]:
            await server.store.runs.put(
                "r", run_with("7", status, status.upper()).model_copy(update={"cluster": cluster})
            )
            assert least <= server.get_age_s("r") <= most, (cluster, status)


@asynchronous
async def test_names_of_this_server(tmp_path: Path) -> None:
    access = {"store/access.yaml": "allowed_hosts: [from-the-file.example]\n"}
    async with opened(tmp_path, access, allowed_hosts=("from-the-environment.example",)) as world:
        assert "from-the-file.example" not in world.server.hosts
        world.server.update_hosts()
        assert world.server.hosts >= {"from-the-file.example", "from-the-environment.example", "localhost"}
