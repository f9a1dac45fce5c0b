"""Answers that are kept for a while: asked for once, however many wait; a failure is never an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from slurm_shim.errors import AccountingOff, SlurmUnreachable
from slurm_shim.inventory.caches import Cached, Inventory
from tests.pretended import asynchronous


class Source:
    """Something to ask, which counts how often it was, and waits until it may answer."""

    def __init__(self) -> None:
        self.asked, self.time_s = 0, 0.0
        self.failure: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return number

    def now(self) -> float:
        return self.time_s


@asynchronous
async def test_many_who_wait_ask_once() -> None:
    source = Source()
    cached = Cached(source.ask, 10, now=source.now)
    source.may_answer.clear()
    waiting = [asyncio.ensure_future(cached.get()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1, 1, 1] and waiting[0].cancelled()


@asynchronous
async def test_an_answer_is_kept_for_its_time() -> None:
    source = Source()
    cached = Cached(source.ask, 10, now=source.now)
    assert await cached.get() == 1
    source.time_s = 10
    assert await cached.get() == 1
    source.time_s = 11
    assert await cached.get() == 2


@asynchronous
async def test_an_older_answer_is_given_while_it_is_asked_anew() -> None:
    source = Source()
    cached = Cached(source.ask, 10, 100, now=source.now)
    assert await cached.get() == 1
    source.time_s = 50
    source.may_answer.clear()
    assert [await cached.get(), await cached.get(), source.asked] == [1, 1, 1]
    source.may_answer.set()
    while source.asked < 2 or await cached.get() == 1:
        await asyncio.sleep(0)
    source.time_s, source.failure = 100, SlurmUnreachable("sacctmgr", "gone")
    assert await cached.get() == 2, "nobody waits for a failure"
    source.time_s = 300
    with pytest.raises(SlurmUnreachable):
        await cached.get()


@asynchronous
async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    source = Source()
    cached = Cached(source.ask, 10, now=source.now)
    source.failure = SlurmUnreachable("sacctmgr", "gone")
    found = await asyncio.gather(cached.get(), cached.get(), return_exceptions=True)
    assert [type(problem) for problem in found] == [SlurmUnreachable] * 2 and source.asked == 1
    source.failure = None
    assert await cached.get() == 2


class Slurm:
    """Pretended commands: one association of this cluster and one of another."""

    def __init__(self, accounting: bool = True) -> None:
        self.accounting, self.asked = accounting, 0
        self.periods_s: list[float] = []
        self.failure: Exception | None = None

    def has_accounting(self) -> bool:
        return self.accounting

    def get_cluster_name(self) -> str:
        return "here"

    def ask(self, _argv: list[str]) -> str:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return "ann|a|None|here|a||normal|||||\nann|a|None|there|b||normal|||||\n"

    def list_usage(self, _ids: None, since_s: float) -> list[dict[str, Any]]:
        self.periods_s.append(since_s)
        return [{"job_id": "1"}]


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@asynchronous
async def test_associations_are_those_of_this_cluster() -> None:
    rows = await Inventory(Slurm(), call).associations.get()  # type: ignore[arg-type]
    assert [row["account"] for row in rows or []] == ["a"]


@asynchronous
async def test_without_accounting_nobody_is_asked() -> None:
    slurm = Slurm(accounting=False)
    inventory = Inventory(slurm, call)  # type: ignore[arg-type]
    assert [await inventory.associations.get(), await inventory.qos.get(), await inventory.cpu_time.get()] == [None] * 3
    assert await inventory.list_usage(60) is None
    assert slurm.asked == 0


@asynchronous
async def test_usage_is_asked_for_once_by_period() -> None:
    slurm = Slurm()
    inventory = Inventory(slurm, call)  # type: ignore[arg-type]
    asking = (inventory.list_usage(seconds) for seconds in (86_400, 86_390.5, 86_400))
    assert await asyncio.gather(*asking) == [[{"job_id": "1"}]] * 3
    for hours in (25, 26, 27, 24, 28, 24, 25):
        await inventory.list_usage(hours * 3600)
    assert [seconds // 3600 for seconds in slurm.periods_s] == [24, 25, 26, 27, 28, 25], "the four that were asked last"


@asynchronous
async def test_accounting_that_was_switched_off_is_none() -> None:
    slurm = Slurm()
    slurm.failure = AccountingOff("sacct", 1, "Slurm accounting storage is disabled")
    assert await Inventory(slurm, call).cpu_time.get() is None  # type: ignore[arg-type]


@asynchronous
async def test_a_database_that_is_down_is_no_empty_list() -> None:
    slurm = Slurm()
    slurm.failure = SlurmUnreachable("sacctmgr", "Connection refused")
    with pytest.raises(SlurmUnreachable):
        await Inventory(slurm, call).associations.get()  # type: ignore[arg-type]
