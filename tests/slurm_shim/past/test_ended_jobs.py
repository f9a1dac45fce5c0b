"""Ended jobs of accounting: asked once for many, kept for a while, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from slurm_shim.errors import SlurmUnreachable
from slurm_shim.past import ended_jobs
from slurm_shim.past.ended_jobs import FRESH_S, SETTLED_S, STEP_S, EndedJobs, TooMuchHistory
from tests.pretended import Cluster, asynchronous, job

NOW = 1_800_000_000.0
DAY_S = 86_400


class Accounting:
    """Ended jobs of a pretended cluster; calls run at once, at the test's time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm, self.now = Cluster(), NOW
        self.slurm.accounted = [job("1", "COMPLETED", end_time=int(NOW) - 100)]
        self.ended: Any = EndedJobs(self.slurm, self.call, lambda: self.now)  # type: ignore[arg-type]
        monkeypatch.setattr("slurm_shim.past.history.time.time", lambda: self.now)

    async def call(self, command: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(0)
        return command(*arguments)

    async def list_ids(self, since: float, until: float | None = None) -> list[str]:
        return [row["job_id"] for row in await self.ended.list_period(since, until)]


@asynchronous
async def test_those_who_ask_at_the_same_time_share_a_call() -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = Accounting(patch)
        asked = (world.list_ids(NOW - DAY_S + STEP_S + more) for more in range(5))
        assert await asyncio.gather(*asked) == [["1"]] * 5 and len(world.slurm.windows) == 1
        world.now += FRESH_S / 2
        rows = await world.ended.list_period(NOW - DAY_S + STEP_S, None)
        assert rows is await world.ended.list_period(NOW - DAY_S + STEP_S, None) and len(world.slurm.windows) == 1
        world.now += FRESH_S
        await world.list_ids(NOW - DAY_S + STEP_S)
        assert len(world.slurm.windows) == 2, "an answer grows old"


@asynchronous
async def test_a_period_that_is_long_over_stays_known() -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = Accounting(patch)
        period = (NOW - 2 * DAY_S, NOW - 2 * DAY_S + 100)
        assert await world.list_ids(*period) == []
        world.now += SETTLED_S / 2
        await world.list_ids(*period)
        assert len(world.slurm.windows) == 1


@asynchronous
async def test_a_failure_is_told_and_not_kept() -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = Accounting(patch)
        world.slurm.database_failure = SlurmUnreachable("sacct", "away")
        with pytest.raises(SlurmUnreachable):
            await world.list_ids(NOW - 600)
        world.slurm.database_failure = None
        assert await world.list_ids(NOW - 600) == ["1"]


@asynchronous
async def test_without_accounting_there_are_none() -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = Accounting(patch)
        world.slurm.accounting = False
        assert await world.list_ids(NOW - 600) == [] and not world.slurm.windows


@asynchronous
async def test_what_is_kept_is_bounded() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ended_jobs, "MOST_ROWS", 3)
        world = Accounting(patch)
        for number in range(9):
            await world.list_ids(NOW - 700 - number * STEP_S)
        assert len(world.ended._kept) <= 3
        world.slurm.accounted = [job(str(number), "FAILED", end_time=int(NOW) - 50) for number in range(1, 5)]
        with pytest.raises(TooMuchHistory, match="more than 3 jobs"):
            await world.list_ids(NOW - 100 * STEP_S)
