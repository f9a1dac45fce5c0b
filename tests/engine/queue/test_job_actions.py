"""What is done to single jobs: the words that SLURM is given, and what became of the job meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.queue import bulk_actions, job_actions
from slurm_shim.errors import JobFinished, SlurmDenied
from slurm_shim.programs import Answer
from store import access
from store.documents import Attempt, Run, RunJob
from store.errors import Conflict, Denied, Invalid
from tests.engine.servers.pretended import CALLER, HERE, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job

WRITER = access.Caller("bob", access.INCLUDED["write"])


@asynchronous
async def test_a_job_of_ours_that_ended_is_not_cancelled(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue()
        await world.store.jobs.put("j", record("7", "COMPLETED"))
        with pytest.raises(JobFinished, match="already finished"):
            await job_actions.cancel_job(world.server, "7", None, False, CALLER)


@pytest.mark.parametrize(
    ("why", "signal", "force", "expected"),
    [
        ("nothing said", None, False, ["scancel", "--", "7"]),
        ("what scancel does by itself", "SIGTERM", False, ["scancel", "--", "7"]),
        ("its number", "15", False, ["scancel", "--", "7"]),
        ("force", None, True, ["scancel", "--full", "--signal=KILL", "--", "7"]),
        ("KILL is force", "kill", False, ["scancel", "--full", "--signal=KILL", "--", "7"]),
        ("another one", "SIGUSR1", False, ["scancel", "--full", "--signal=USR1", "--", "7"]),
    ],
)
@asynchronous
async def test_how_a_job_is_cancelled(
    tmp_path: Path, why: str, signal: str | None, force: bool, expected: list[str]
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "RUNNING"))
        answer = await job_actions.cancel_job(world.server, "7", signal, force, CALLER)
        assert world.slurm.changes == [expected], why
        assert answer["state"] == ("RUNNING" if "USR1" in expected[2] else "CANCELLED")


@asynchronous
async def test_a_signal_and_force_contradict_each_other(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(Invalid, match="force sends KILL"):
            await job_actions.cancel_job(world.server, "7", "USR1", True, CALLER)


@asynchronous
async def test_the_job_of_another_user_needs_admin(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING", user="eve"))
        # SLURM does not show this one now.
        await world.store.jobs.put("j", record("8", "PENDING", owner="eve"))
        for job_id in ("7", "8"):
            with pytest.raises(Denied, match="belongs to user eve"):
                await job_actions.release_job(world.server, job_id, WRITER)
        await job_actions.release_job(world.server, "7", CALLER)
        assert world.slurm.changes == [["scontrol", "release", "7"]]


@asynchronous
async def test_a_hold_for_the_operator_takes_the_scope_and_another_word(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING", comment="mine"))
        with pytest.raises(Denied):
            await job_actions.hold_job(world.server, "7", {"admin": True}, WRITER)
        for is_admin, word in ((True, "hold"), (False, "uhold")):
            await job_actions.hold_job(world.server, "7", {"admin": is_admin}, CALLER)
            assert world.slurm.changes.pop() == ["scontrol", word, "7"]
        await job_actions.hold_job(world.server, "7", {"admin": False, "reason": "why"}, CALLER)
        assert world.slurm.changes[-1] == ["scontrol", "update", "jobid=7", "comment=mine (held: why)"]


@asynchronous
async def test_a_job_that_began_meanwhile_was_not_held(tmp_path: Path) -> None:
    """SLURM says nothing about a hold that comes too late."""
    async with open_server(tmp_path) as world:
        for state, kind in (("RUNNING", Conflict), ("COMPLETED", JobFinished)):
            await world.show_queue(job("7", "PENDING"))
            world.slurm.rows = [job("7", state)]
            with pytest.raises(kind):
                await job_actions.hold_job(world.server, "7", {"admin": False, "reason": "why"}, CALLER)
            assert len(world.store.holds) == 0


@asynchronous
async def test_what_the_snapshot_forbids_is_asked_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING"))
        world.slurm.rows = [job("7", "RUNNING")]
        answer = await job_actions.suspend_job(world.server, "7", CALLER)
        assert answer["state"] == "RUNNING" and world.slurm.changes == [["scontrol", "suspend", "7"]]
        with pytest.raises(Conflict, match="not suspended"):
            await job_actions.resume_job(world.server, "7", CALLER)


@asynchronous
async def test_what_slurm_refuses_is_raised(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "PENDING"))
        world.slurm.said = Answer(1, "", "Access/permission denied for job 7\n")
        with pytest.raises(SlurmDenied):
            await job_actions.set_priority(world.server, "7", {"priority": 5}, CALLER)


@asynchronous
async def test_a_record_is_followed_again_when_its_job_is_queued_anew(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        ended: dict[str, Any] = {
            "exit_code": 1,
            "ended_at": "2026-01-01T00:00:00Z",
            "submitted_at": "2026-01-01T00:00:00Z",
        }
        await world.store.jobs.put("j", record("7", "FAILED", **ended))
        await world.show_queue(job("7", "FAILED", comment="sluice:j"))
        await job_actions.requeue_job(world.server, "7", CALLER)
        found = world.store.jobs.get("j")
        assert (found.state, found.exit_code, found.ended_at, found.history[-1].state) == (
            "PENDING",
            None,
            None,
            "PENDING",
        )


@asynchronous
async def test_a_run_that_has_counted_the_end_of_its_job_does_not_follow_it_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        attempt = Attempt(number=1, tag="t", job_id="7", state="FAILED", submitted_at="2026-01-01T00:00:00Z")
        run = Run(
            id="r", workflow_name="flow", cluster=HERE, status="failed", jobs=[RunJob(name="a", attempts=[attempt])]
        )
        await world.store.runs.put("r", run)
        await world.show_queue(job("7", "FAILED", comment="t"))
        answer = await job_actions.requeue_job(world.server, "7", CALLER)
        message = "Job requeued successfully; run r has counted its end and does not follow it any more"
        assert answer["message"] == message and world.store.runs.get("r").status == "failed"
        body = {"action": "requeue", "job_ids": ["7"]}
        (row,) = (await bulk_actions.change_jobs(world.server, body, CALLER))["results"]
        assert row["message"] == "Job requeued; run r has counted its end and does not follow it any more"


@asynchronous
async def test_a_task_that_is_queued_anew_reopens_the_record_of_its_array(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.jobs.put("j", record("7", "FAILED", submitted_at="2026-01-01T00:00:00Z"))
        await world.show_queue(job("7_2", "FAILED", raw_id=9, array_job_id=7, array_task_id="2", comment="sluice:j"))
        await job_actions.requeue_job(world.server, "9", CALLER)
        assert world.store.jobs.get("j").state == "PENDING"
