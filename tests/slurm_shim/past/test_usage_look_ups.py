"""Questions about what jobs used: asked together, kept for a while, and answered also where nothing is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from slurm_shim.errors import SlurmUnreachable
from slurm_shim.past import usage_look_ups
from slurm_shim.past.usage_look_ups import UsageLookUps
from tests.pretended import Cluster, asynchronous


def make_usage(job_id: str, state: str = "COMPLETED") -> dict[str, Any]:
    return {"job_id": job_id, "raw_id": job_id, "state": state, "end_time": 100, "submit_line": f"sbatch {job_id}"}


async def call(command: Callable[..., Any], *arguments: Any) -> Any:
    await asyncio.sleep(0)
    return command(*arguments)


def make_look_ups(*rows: dict[str, Any]) -> tuple[Cluster, UsageLookUps]:
    slurm = Cluster()
    slurm.used = list(rows)
    return slurm, UsageLookUps(slurm, call)  # type: ignore[arg-type]


@asynchronous
async def test_what_is_asked_meanwhile_goes_into_the_next_call() -> None:
    slurm, look_ups = make_look_ups(*(make_usage(job_id) for job_id in "123"))
    first = asyncio.ensure_future(look_ups.find("1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found = await asyncio.gather(first, look_ups.find("2"), look_ups.find("3"), look_ups.find("3"))
    assert [usage["job_id"] for usage, _why in found if usage] == ["1", "2", "3", "3"]
    assert [job_id for ids in slurm.usage_asked for job_id in ids] == ["1", "2", "3"] and len(slurm.usage_asked) == 2
    await look_ups.find("2")
    assert len(slurm.usage_asked) == 2, "what a job used that has ended stays known"


@asynchronous
async def test_what_an_open_job_uses_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_look_ups, "_OPEN_S", 0.0)
    slurm, look_ups = make_look_ups(make_usage("1", "RUNNING"))
    await look_ups.find("1")
    await look_ups.find("1")
    assert len(slurm.usage_asked) == 2


@asynchronous
async def test_what_is_not_known_is_explained() -> None:
    slurm, look_ups = make_look_ups(make_usage("8_1"))
    assert await look_ups.find("7") == (None, "accounting does not know it yet")
    part, why = await look_ups.find("8_[2-3]")
    assert part == {"submit_line": "sbatch 8_1", "state": "PENDING"} and why
    slurm.database_failure = SlurmUnreachable("sacct", "away")
    assert await look_ups.find("9") == (None, "accounting does not answer: sacct: away")
    slurm.accounting = False
    assert await look_ups.find("9") == (None, "the cluster has no accounting")


@asynchronous
async def test_who_leaves_disturbs_nobody() -> None:
    slurm, look_ups = make_look_ups(make_usage("1"))
    leaving, staying = (asyncio.ensure_future(look_ups.find("1")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    usage, _why = await staying
    assert usage is not None and len(slurm.usage_asked) == 1
