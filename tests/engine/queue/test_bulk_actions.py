"""The same done to many jobs: one call, one answer for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.queue import bulk_actions
from slurm_shim.programs import Answer
from store import access
from store.errors import Denied, Invalid
from tests.engine.servers.pretended import CALLER, World, open_server
from tests.pretended import asynchronous, job

WRITER = access.Caller("bob", access.INCLUDED["write"])


async def change(
    world: World, action: str, ids: list[str] | None = None, caller: access.Caller = CALLER, **options: Any
) -> list[tuple[str, str, str]]:
    """Change many jobs; return id, status and message of each."""
    given = {} if ids is None else {"job_ids": ids}
    answer = await bulk_actions.change_jobs(world.server, {"action": action, **given, "options": options}, caller)
    return [tuple(row.values()) for row in answer["results"]]


@asynchronous
async def test_a_thousand_jobs_are_cancelled_by_one_scancel(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        ids = [str(number) for number in range(1, 1001)]
        await world.show_queue(*(job(name, "PENDING") for name in ids))
        polls = world.slurm.polls
        rows = await change(world, "cancel", ids)
        assert len(rows) == 1000 and {row[1:] for row in rows} == {("success", "Job cancelled")}
        assert world.slurm.changes == [["scancel", "--", *ids]] and world.slurm.polls == polls
        assert {row["state"] for row in world.cluster.snapshot.jobs.values()} == {"CANCELLED"}, "seen at once"


@asynchronous
async def test_what_is_refused_is_told_of_each_job(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "RUNNING"), job("2", "RUNNING"), job("3", "RUNNING", user="eve"))
        world.slurm.said = Answer(1, "", "Requested operation is presently disabled for job 2\n")
        assert await change(world, "requeue", ["2", "3", "1"], WRITER) == [
            ("2", "error", "Requested operation is presently disabled"),
            ("3", "error", "This needs the scope admin: the job belongs to user eve"),
            ("1", "success", "Job requeued"),
        ]
        assert world.slurm.changes == [["scontrol", "requeue", "2", "1"]]


@asynchronous
async def test_jobs_that_began_meanwhile_were_not_held(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "PENDING"), job("2", "PENDING"))
        world.slurm.rows = [job("1", "RUNNING"), job("2", "PENDING", reason="JobHeldUser")]
        rows = await change(world, "hold", ["1", "2"], reason="why")
        assert [row[1] for row in rows] == ["error", "success"]
        (kept,) = [world.store.holds.get(name) for name in world.store.holds.list_names()]
        assert (kept.job_ids, kept.reason, kept.user) == (["2"], "why", "ann")


@asynchronous
async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "PENDING"), job("2", "COMPLETED"))
        assert await change(world, "cancel", ["1", "2"], dry_run=True) == [
            ("1", "success", "Job would be cancelled"), ("2", "error", "Job already completed"),
        ]  # fmt: skip
        assert world.slurm.changes == []


@asynchronous
async def test_only_own_jobs_are_selected(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "PENDING", user="ann"), job("2", "PENDING", user="eve"), job("3", user="ann"))
        rows = await change(world, "cancel", select={"states": ["pending"]})
        assert [row[0] for row in rows] == ["1"]
        await world.show_queue(*(job(str(number), "PENDING", user="ann") for number in range(1, 1002)))
        with pytest.raises(Invalid, match="1001 jobs are selected"):
            await change(world, "cancel", select={"states": ["PENDING"]})


@asynchronous
async def test_a_hold_for_the_operator_needs_the_scope(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(Denied):
            await change(world, "hold", ["1"], WRITER, admin=True)
