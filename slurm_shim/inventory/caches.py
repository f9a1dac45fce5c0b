"""Answers that change seldom, kept for a while and asked for once."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

from slurm_shim.commands import Slurm
from slurm_shim.errors import AccountingOff
from slurm_shim.inventory import questions
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.past.usage import Usage

Value = TypeVar("Value")

RESERVATIONS_S, ACCOUNTS_S = 10.0, 300.0
# The CPU time of a large cluster's users takes long to sum up: an older answer is given while a new one is awaited.
CPU_TIME_S, OLD_CPU_TIME_S = 300.0, 3600.0
CPU_TIME_DAYS = 30
# What jobs used is kept by the hours since when, so many of them.
USAGE_S, MOST_USAGES, HOUR_S = 60.0, 4, 3600

_log = logging.getLogger("sluice.slurm")


class Cached(Generic[Value]):
    """The answer to one question, which many may wait for.

    It is given for `fresh_s`, and for `old_s` while it is asked anew. A failure is never an answer: it reaches those
    who wait, and the question is asked again. `now` is for tests.
    """

    def __init__(
        self,
        ask: Callable[[], Coroutine[Any, Any, Value]],
        fresh_s: float,
        old_s: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._now = ask, now
        self.fresh_s, self.old_s = fresh_s, old_s
        self._answer: tuple[float, Value] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def get(self, old_s: float | None = None) -> Value:
        """Return the answer, asked for now or a while ago.

        `old_s` is how old it may be for this caller while it is asked anew.
        """
        old_s = self.old_s if old_s is None else old_s
        if self._answer is None or self._now() - self._answer[0] > self.fresh_s:
            asking = self._asking = self._asking or self._begin()
            if self._answer is None or self._now() - self._answer[0] > old_s:
                # Who leaves does not end it for the others.
                await asyncio.shield(asking)
        assert self._answer is not None
        return self._answer[1]

    def _begin(self) -> asyncio.Task[None]:
        asking = asyncio.ensure_future(self._renew())
        # Those who waited for a failure may have left.
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return asking

    async def _renew(self) -> None:
        began = self._now()
        try:
            self._answer = began, await self._ask()
        except Exception as problem:
            if self._answer is not None and self._now() - self._answer[0] <= self.old_s:
                _log.info("an older answer stays in use: %s", problem)
                return
            raise
        finally:
            self._asking = None


class Inventory:
    """What a cluster says seldom otherwise: reservations, users, QOS, usage.

    Those of accounting are None where there is no accounting. `call` runs a function in a thread.
    """

    def __init__(self, slurm: Slurm, call: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._slurm, self._call = slurm, call
        self.usages: dict[int, Cached[list[Usage] | None]] = {}
        self._usage_turn = asyncio.Lock()
        self.reservations: Cached[list[dict[str, Any]]] = Cached(
            lambda: call(questions.list_reservations, slurm.ask), RESERVATIONS_S
        )
        self.associations: Cached[list[dict[str, Any]] | None] = Cached(
            lambda: call(self._ask_accounting, self._list_associations), ACCOUNTS_S
        )
        self.qos: Cached[list[dict[str, Any]] | None] = Cached(
            lambda: call(self._ask_accounting, functools.partial(questions.list_qos, slurm.ask)), ACCOUNTS_S
        )
        self.cpu_time: Cached[dict[str, int] | None] = Cached(
            lambda: call(self._ask_accounting, self._sum_cpu_time), CPU_TIME_S, OLD_CPU_TIME_S
        )

    async def list_usage(self, since_s: float) -> list[Usage] | None:
        """List what all jobs of the last `since_s` seconds used.

        Some more may be there. Raises SlurmUnreachable.
        """
        hours = math.ceil(since_s / HOUR_S)
        cached = self.usages.pop(hours, None) or Cached(lambda: self._ask_usage(hours), USAGE_S)
        store_bounded(self.usages, hours, cached, MOST_USAGES)
        return await cached.get()

    async def _ask_usage(self, hours: int) -> list[Usage] | None:
        async with self._usage_turn:  # accounting sums up one period at a time
            ask = functools.partial(self._slurm.list_usage, None, hours * HOUR_S)
            return cast("list[Usage] | None", await self._call(self._ask_accounting, ask))

    def _ask_accounting(self, question: Callable[[], Any]) -> Any:
        try:
            return question() if self._slurm.has_accounting() else None
        except AccountingOff:
            return None

    def _list_associations(self) -> list[dict[str, Any]]:
        """List those of this cluster: one database may serve several."""
        own = self._slurm.get_cluster_name()
        return [row for row in questions.list_associations(self._slurm.ask) if row["cluster"] in (None, own)]

    def _sum_cpu_time(self) -> dict[str, int]:
        return questions.sum_cpu_time(self._slurm.ask, CPU_TIME_DAYS * 86_400)
