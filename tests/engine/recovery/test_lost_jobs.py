"""Jobs that were taken for lost are looked for, and everything that stood on that is put right."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import loop, runs, sweeps
from engine.recovery import lost_jobs
from slurm_shim.parse import Job
from store.documents import Attempt, JobRecord, RunJob
from tests.engine.servers.pretended import HERE, World, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous, job

TAG = f"sluice:{'a' * 32}"


async def search(world: World) -> None:
    """Look for lost jobs, and wait until that is done."""
    lost_jobs.begin_search(world.server)
    for task in list(world.server.tasks.running.values()):
        await task


@pytest.mark.parametrize(
    ("why", "job_id", "queued", "accounted", "state"),
    [
        ("it is nowhere", "5", [], [], "LOST"),
        ("the queue has it again", "5", [job("5", comment=TAG)], [], "RUNNING"),
        ("accounting knows its end by now", "5", [], [job("5", "COMPLETED", comment=TAG)], "COMPLETED"),
        ("accounting knows another job by its id", "5", [], [job("5", "COMPLETED", user="bob", uid=2)], "LOST"),
        ("it has not ended, as far as accounting knows", "5", [], [job("5", comment=TAG)], "LOST"),
        ("its id was never heard, and the queue has it", None, [job("5", comment=TAG)], [], "RUNNING"),
        ("another job has its id in the queue", "5", [job("5", user="bob", uid=2)], [], "LOST"),
    ],
)
@asynchronous
async def test_what_becomes_of_a_lost_job(
    tmp_path: Path, why: str, job_id: str | None, queued: list[Job], accounted: list[Job], state: str
) -> None:
    async with open_server(tmp_path) as world:
        record = JobRecord(id="j", cluster=HERE, name="ours", job_id=job_id, state="LOST", tag=TAG)
        await world.store.jobs.put("j", record.model_copy(update={"ended_at": "2999-01-01T00:00:00Z"}))
        world.slurm.accounted = accounted
        await world.show_queue(*queued)
        await search(world)
        assert world.store.jobs.get("j").state == state, why


@asynchronous
async def test_a_job_that_slurm_may_have_taken_is_a_problem_until_it_turns_up(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        record = JobRecord(id="j", cluster=HERE, name="ours", state="LOST", tag=TAG, error="look for it")
        await world.store.jobs.put("j", record.model_copy(update={"ended_at": "2999-01-01T00:00:00Z"}))
        for _ in range(2):
            await loop.reconcile(world.server)
            assert [row["path"] for row in world.store.list_problems()] == ["jobs/j.json"]
        await world.show_queue(job("5", comment=TAG))
        world.server.lost_documents.search_at.clear()  # the pause is over
        await search(world)
        await loop.reconcile(world.server)
        assert world.store.list_problems() == []


@asynchronous
async def test_a_sweep_whose_lost_cell_turns_up_ends_anew(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        lost = Attempt(number=1, tag=TAG, job_id="5", state="LOST", ended_at="2999-01-01T00:00:00Z")
        cell = make_cell(0, status="failed", jobs=[RunJob(name="a", attempts=[lost])], completed_at=lost.ended_at)
        await world.store.sweeps.create("7", make_sweep(1, waiting="", status="failed"))
        await world.store.runs.put(to_cell_id(0), cell)
        world.slurm.accounted = [job("5", "COMPLETED", comment=TAG)]
        await world.show_queue()
        await search(world)
        assert world.store.sweeps.get("7").status == "running"
        await runs.advance_run(world.server, to_cell_id(0))
        await sweeps.advance_sweep(world.server, "7")
        assert world.store.runs.get(to_cell_id(0)).status == world.store.sweeps.get("7").status == "completed"
