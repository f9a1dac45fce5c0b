"""Runs of many jobs: answered before the last of them is submitted, and what is left goes on whatever happens."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import runs, start
from slurm_shim.commands import Needs
from slurm_shim.errors import SlurmRefused
from store.documents import Run
from store.rules.runs import AT_ONCE, READ_AT_ONCE
from tests.app_server import Server
from tests.engine.servers.pretended import CALLER, Slurm, World, open_server
from tests.pretended import asynchronous
from tests.store.rules.run_samples import UNKNOWN, view_of
from tests.waiting import eventually
from tests.watched_cluster import Watched

COUNT = 30


def write_flow(shape: str, count: int = COUNT, command: str = "true") -> str:
    """Write a workflow of so many jobs, each after the one before it or all side by side."""
    jobs = [
        {"name": f"j{number}", "command": command.format(number=number)}
        | ({"depends_on": [f"j{number - 1}"]} if shape == "chain" and number else {})
        for number in range(count)
    ]
    return json.dumps({"name": "long", "jobs": jobs})


class GatedSlurm(Slurm):
    """A cluster that takes so many jobs, and the others when the gate is opened."""

    def __init__(self, taken_before: int) -> None:
        super().__init__()
        self.taken_before, self.is_open = taken_before, threading.Event()
        self.refused_from = COUNT

    def sbatch(self, script: str, options: Mapping[str, Any], words: Sequence[str], needs: Needs) -> str:
        if len(self.submitted) >= self.taken_before:
            assert self.is_open.wait(180)
        if len(self.submitted) >= self.refused_from:
            raise SlurmRefused("sbatch", 1, "sbatch: error: no such partition")
        return super().sbatch(script, options, words, needs)


async def begin(world: World) -> str:
    """Begin the run; it must be answered while the gate is closed."""
    async with asyncio.timeout(180):
        answer = await start.start_workflow(world.server, "long", None, {}, "key", CALLER)
    return str(answer["id"])


async def finish(world: World) -> None:
    """Open the gate, and wait until nothing goes on any more."""
    slurm: Any = world.slurm
    slurm.is_open.set()
    while world.server.tasks.running:
        await asyncio.gather(*world.server.tasks.running.values())


@pytest.fixture(autouse=True)
def answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ANSWER_S", 0)


SHAPES = pytest.mark.parametrize("shape", ["chain", "fan"])


@SHAPES
@asynchronous
async def test_the_answer_comes_with_the_first_jobs_and_the_rest_goes_on(tmp_path: Path, shape: str) -> None:
    async with open_server(tmp_path, {"store/workflows/long.json": write_flow(shape)}, GatedSlurm(2)) as world:
        run_id = await begin(world)
        run: Run = world.store.runs.get(run_id)
        submitted = [job.attempts[-1].job_id for job in run.jobs if job.attempts]
        assert submitted[0] == "101" and len(world.slurm.submitted) <= 2 and run.status == "submitting"
        assert len(submitted) <= 2 + AT_ONCE, "only what is submitted next is intended"
        assert await begin(world) == run_id, "the same request meanwhile"
        await finish(world)
        run = world.store.runs.get(run_id)
        assert [len(job.attempts) for job in run.jobs] == [1] * COUNT and run.status == "running"
        assert len({options["comment"] for _, options in world.slurm.submitted}) == COUNT, "each once"


@SHAPES
@asynchronous
async def test_a_run_is_written_once_for_several_jobs(tmp_path: Path, shape: str) -> None:
    async with open_server(tmp_path, {"store/workflows/long.json": write_flow(shape)}, GatedSlurm(COUNT)) as world:
        run_id = await begin(world)
        await finish(world)
        writings = world.store.runs.version
        assert len(world.slurm.submitted) == COUNT and writings <= 2 * COUNT / AT_ONCE + 5, "as intended, as submitted"
        given = [options["dependency"] for _, options in world.slurm.submitted]
        run: Run = world.store.runs.get(run_id)
        ids = [job.attempts[-1].job_id for job in run.jobs]
        assert given == ([None, *[f"afterok:{job_id}" for job_id in ids[:-1]]] if shape == "chain" else [None] * COUNT)


@asynchronous
async def test_many_ends_seen_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server(tmp_path, {"store/workflows/long.json": write_flow("fan")}, GatedSlurm(COUNT)) as world:
        run_id = await begin(world)
        await finish(world)
        run: Run = world.store.runs.get(run_id)
        left = [Path((job.result_path or "").replace("%j", job.attempts[-1].job_id or "")) for job in run.jobs]
        for number, path in enumerate(left):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"number": number}))
        ended = (lambda attempt, _job: view_of(attempt.job_id, "COMPLETED")), (lambda *_job: UNKNOWN)
        monkeypatch.setattr(world.server.clusters, "make_lookups", lambda _name: ended)
        writings = world.store.runs.version
        assert await runs.advance_run(world.server, run_id) == []
        run = world.store.runs.get(run_id)
        assert run.status == "completed"
        assert [job.result for job in run.jobs] == [{"number": number} for number in range(COUNT)]
        assert world.store.runs.version - writings <= 2 + -(-COUNT // READ_AT_ONCE), "the ends, their results, the run"
        assert not left[0].parent.exists(), "what was read is removed"


@SHAPES
@asynchronous
async def test_a_run_is_cancelled_while_it_is_submitted(tmp_path: Path, shape: str) -> None:
    async with open_server(tmp_path, {"store/workflows/long.json": write_flow(shape)}, GatedSlurm(2)) as world:
        run_id = await begin(world)
        cancelling = asyncio.create_task(runs.cancel_run(world.server, run_id))
        await asyncio.sleep(0)  # it waits for what is being submitted
        await finish(world)
        assert (await cancelling)["status"] == "cancelled"
        assert len(world.slurm.submitted) <= 2 + AT_ONCE
        ids = [str(101 + number) for number in range(len(world.slurm.submitted))]
        assert sorted(world.slurm.cancelled) == ids, "nothing that was submitted is left"


@SHAPES
@asynchronous
async def test_a_later_job_that_is_refused_is_told_by_the_run(tmp_path: Path, shape: str) -> None:
    slurm = GatedSlurm(2)
    slurm.refused_from = 5
    async with open_server(tmp_path, {"store/workflows/long.json": write_flow(shape)}, slurm) as world:
        run_id = await begin(world)
        await finish(world)
        run: Run = world.store.runs.get(run_id)
        assert (run.status, run.error_kind) == ("failed", "refused") and "no such partition" in (run.error or "")
        assert len(world.slurm.submitted) == 5 and sorted(world.slurm.cancelled) == ["101", "102", "103", "104", "105"]


# From the fourth on, sbatch waits for the gate.
GATED = """\
n=0; while ! mkdir {folder}/try-$n 2>/dev/null; do n=$((n + 1)); done
if [ $n -ge 3 ]; then until [ -e {folder}/gate ]; do sleep 0.1; done; fi
"""
WORKFLOW = "echo {{number}} >> {place}/ran"


@pytest.mark.long
@SHAPES
def test_what_is_left_goes_on_after_a_kill(tmp_path: Path, shape: str) -> None:
    watched = Watched(tmp_path, GATED)
    server = Server(tmp_path / "store", "slurm", **watched.environment)
    check_after_kill(server, tmp_path, shape, 12)


@pytest.mark.long
def test_what_is_left_goes_on_after_a_kill_on_any_cluster(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    check_after_kill(Server(tmp_path / "store", cluster), tmp_path, "chain", 12)


def check_after_kill(server: Server, place: Path, shape: str, count: int) -> None:
    """Check that each job runs once although the server is killed after its answer."""
    text = write_flow(shape, count, WORKFLOW.format(place=place))
    (server.store / "workflows" / "long.json").write_text(text)
    try:
        server.start()
        answer = server.http.post("/api/workflows/long/run")
        assert answer.status_code == 202, answer.text
        server.end(signal.SIGKILL)
        (place / "gate").touch()
        server.start()
        path = f"/api/workflows/runs/{answer.json()['id']}"
        ended = eventually(lambda: (now := server.http.get(path).json())["status"] == "completed" and now, 120)
        assert [len(job["attempts"]) for job in ended["jobs"]] == [1] * count
        assert Counter((place / "ran").read_text().split()) == Counter(map(str, range(count))), "each once"
    finally:
        server.close()
