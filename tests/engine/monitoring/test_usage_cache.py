"""Accounting is asked once for everybody."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from engine.monitoring.usage_cache import KEPT_S, UsageCache
from slurm_shim.errors import AccountingOff
from tests.pretended import asynchronous


class Slurm:
    """Accounting that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.failure: Exception | None = None

    def list_usage(self, _ids: None, since_s: float) -> list[dict[str, Any]]:
        self.asked.append(since_s)
        if self.failure is not None:
            raise self.failure
        return [{"job_id": "1"}]


@asynchronous
async def test_a_period_is_asked_for_once_in_a_while() -> None:
    slurm, clock = Slurm(), [0.0]
    cluster: Any = SimpleNamespace(label="here", slurm=slurm)
    with ThreadPoolExecutor(2) as executor:
        cache = UsageCache(executor, lambda: clock[0])
        asking = (cache.list_usage(cluster, seconds) for seconds in (86_400, 86_390.5, 86_400))
        assert await asyncio.gather(*asking) == [[{"job_id": "1"}]] * 3
        await cache.list_usage(cluster, 90_000)
        clock[0] += KEPT_S
        await cache.list_usage(cluster, 86_400)
        assert slurm.asked == [86_400, 90_000, 86_400]


@asynchronous
async def test_without_accounting_nothing_is_known() -> None:
    slurm = Slurm()
    slurm.failure = AccountingOff("sacct", 1, "Slurm accounting storage is disabled")
    with ThreadPoolExecutor(2) as executor:
        assert await UsageCache(executor).list_usage(SimpleNamespace(label="here", slurm=slurm), 60) == []  # type: ignore[arg-type]
