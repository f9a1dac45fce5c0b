"""Jobs that the last picture of the queue does not show: asked together, once, and only for who still waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from slurm_shim import look_ups
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmUnreachable
from tests.pretended import Cluster as Pretended
from tests.pretended import asynchronous, job


class Slow(Pretended):
    """Accounting that answers when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.gate_of_accounting = threading.Event(), threading.Event()

    def sacct(self, job_ids: Iterable[str]) -> list[Any]:
        self.began.set()
        assert self.gate_of_accounting.wait(60)
        return super().sacct(job_ids)


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Cluster, Slow]]:
    """A cluster whose accounting is busy with job 1 until its gate opens."""
    slurm = Slow()
    with ThreadPoolExecutor(2) as executor:
        made = Cluster("slurm", slurm, executor)  # type: ignore[arg-type]
        await made.snapshot.refresh()
        first = asyncio.create_task(made.look_up_job("1"))
        assert await asyncio.to_thread(slurm.began.wait, 60)
        try:
            yield made, slurm
        finally:
            slurm.gate_of_accounting.set()
            await asyncio.gather(first, return_exceptions=True)


def start(*questions: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(question) for question in questions]


@asynchronous
async def test_all_that_is_asked_meanwhile_goes_into_one_call() -> None:
    async with held() as (made, slurm):
        slurm.accounted = [job("7", "FAILED"), job("9_4", "COMPLETED", raw_id=12, array_job_id=9, array_task_id="4")]
        ids = ["5", "7", "9_4", "5", "12", "5"]
        asked = start(*(made.look_up_job(job_id) for job_id in ids))
        await asyncio.sleep(0)
        slurm.gate_of_accounting.set()
        found = await asyncio.gather(*asked)
        assert [row and row["job_id"] for row in found] == [None, "7", "9_4", None, "9_4", None]
        assert slurm.asked == [["1"], ["5", "7", "9_4", "12"]], "each job once"


@asynchronous
async def test_who_asks_for_the_same_shares_the_call_under_way() -> None:
    async with held() as (made, slurm):
        asked = start(*(made.look_up_job("1") for _ in range(20)))
        await asyncio.sleep(0)
        slurm.gate_of_accounting.set()
        assert await asyncio.gather(*asked) == [None] * 20
        assert slurm.asked == [["1"]]


@asynchronous
async def test_what_nobody_waits_for_is_not_asked() -> None:
    async with held() as (made, slurm):
        left = start(*(made.look_up_job(str(job_id)) for job_id in range(100, 120)))
        both = start(made.look_up_job("5"), made.look_up_job("5"))
        await asyncio.sleep(0)
        for task in (*left, both[0]):
            task.cancel()
        await asyncio.wait([*left, both[0]])
        slurm.gate_of_accounting.set()
        assert await both[1] is None
        assert slurm.asked == [["1"], ["5"]], "who stays is answered"


@asynchronous
async def test_who_leaves_does_not_end_the_call_of_others() -> None:
    async with held() as (made, slurm):
        leaving, staying = start(made.look_up_job("1"), made.look_up_job("1"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        slurm.accounted = [job("1", "COMPLETED")]
        slurm.gate_of_accounting.set()
        assert (await staying or {})["state"] == "COMPLETED"


@asynchronous
async def test_a_failure_is_told_to_everybody_and_not_remembered() -> None:
    async with held() as (made, slurm):
        asked = start(*(made.look_up_job(job_id) for job_id in ("5", "6")))
        await asyncio.sleep(0)
        slurm.failure = SlurmUnreachable("sacct", "Connection refused")
        slurm.gate_of_accounting.set()
        assert [type(said) for said in await asyncio.gather(*asked, return_exceptions=True)] == [SlurmUnreachable] * 2
        slurm.failure = None
        assert await made.look_up_job("5") is None


@asynchronous
async def test_what_the_queue_knows_is_answered_whatever_accounting_does() -> None:
    async with held() as (made, slurm):
        slurm.rows = [job("7")]
        known, unknown = start(made.look_up_job("7"), made.look_up_job("8"))
        await asyncio.sleep(0)
        slurm.failure = SlurmUnreachable("sacct", "Connection refused")
        slurm.gate_of_accounting.set()
        assert (await known or {})["state"] == "RUNNING"
        with pytest.raises(SlurmUnreachable):
            await unknown


@pytest.mark.parametrize("job_id", ["0", "0_1", "2147483648", "4294967295", "9999999999"])
@asynchronous
async def test_ids_that_no_job_can_have_are_not_asked(job_id: str) -> None:
    async with held() as (made, slurm):
        assert await made.look_up_job(job_id) is None
        slurm.gate_of_accounting.set()
    assert slurm.asked == [["1"]], "squeue would refuse the whole list, and for 0 sacct lists everything"


@asynchronous
async def test_answers_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(look_ups.time, "monotonic", lambda: now)
    async with held() as (made, slurm):
        slurm.gate_of_accounting.set()
        slurm.accounted = [job("2", "COMPLETED")]
        for job_id in ("1", "2", "2", "1"):
            await made.look_up_job(job_id)
        assert slurm.asked == [["1"], ["2"]]
        now += look_ups._UNKNOWN_S
        for job_id in ("1", "2"):
            await made.look_up_job(job_id)
        assert slurm.asked == [["1"], ["2"], ["1"]], "that there is none holds for a shorter time"


@asynchronous
async def test_memory_and_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "IDS_A_CALL", 10)
    monkeypatch.setattr(look_ups, "_MOST_KNOWN", 15)
    async with held() as (made, slurm):
        asked = start(*(made.look_up_job(str(job_id)) for job_id in range(100, 125)))
        await asyncio.sleep(0)
        slurm.gate_of_accounting.set()
        await asyncio.gather(*asked)
        assert [len(ids) for ids in slurm.asked] == [1, 10, 10, 5]
        assert len(made._look_ups._known) == 15 and not made._look_ups._queued and made._look_ups._asking is None
