"""Which jobs something may be done to."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.queue.targets import JobChange, carry_out, find_target, find_targets
from slurm_shim.errors import JobFinished
from store.errors import Conflict, NotFound
from tests.engine.servers.pretended import CALLER, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job


@asynchronous
async def test_each_job_is_judged_by_itself(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "PENDING"), job("2", "RUNNING"), job("3", "COMPLETED"))
        found = await find_targets(world.server, world.cluster, JobChange("hold"), ["1", "2", "3", "4"], CALLER)
        assert [type(item).__name__ for item in found.values()] == ["Target", "Obstacle", "JobFinished", "NotFound"]


@asynchronous
async def test_a_job_that_has_ended_can_only_be_queued_anew(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("3", "COMPLETED"))
        with pytest.raises(JobFinished):
            await find_target(world.server, world.cluster, JobChange("cancel"), "3", CALLER)
        assert (await find_target(world.server, world.cluster, JobChange("requeue"), "3", CALLER)).job_id == "3"


@asynchronous
async def test_a_job_that_is_remembered_only(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.jobs.put("j", record("7", "FAILED"))
        await world.show_queue()
        with pytest.raises(JobFinished):
            await find_target(world.server, world.cluster, JobChange("requeue"), "7", CALLER)
        with pytest.raises(NotFound):
            await find_target(world.server, world.cluster, JobChange("requeue"), "8", CALLER)


@asynchronous
async def test_another_job_with_the_id_of_ours_is_left_alone(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        own = record("7", "RUNNING", submitted_at="2026-01-01T00:00:00Z")
        await world.store.jobs.put("j", own)
        await world.show_queue(job("7", "PENDING", comment=f"sluice:{'0' * 32}"))
        with pytest.raises(Conflict, match="another job now"):
            await find_target(world.server, world.cluster, JobChange("hold"), "7", CALLER)


@pytest.mark.parametrize(
    ("why", "change", "expected"),
    [
        ("a signal", JobChange("signal", "USR1"), ["scancel", "--full", "--signal=USR1", "--", "1", "2"]),
        ("a priority", JobChange("priority", priority=5), ["scontrol", "update", "jobid=1,2", "priority=5"]),
        ("a hold", JobChange("hold"), ["scontrol", "uhold", "1", "2"]),
        ("a hold by the operator", JobChange("hold", by_admin=True), ["scontrol", "hold", "1", "2"]),
        ("a verb", JobChange("requeue"), ["scontrol", "requeue", "1", "2"]),
    ],
)
@asynchronous
async def test_one_call_for_all(tmp_path: Path, why: str, change: JobChange, expected: list[str]) -> None:
    async with open_server(tmp_path) as world:
        assert await carry_out(world.cluster, change, ["1", "2"]) == {}
        assert world.slurm.changes == [expected], why
        await carry_out(world.cluster, change, [])
        assert len(world.slurm.changes) == 1, "for no jobs there is no call"
