"""Answers that change seldom, kept for a while and asked for once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from slurm_shim.commands import Slurm
from slurm_shim.errors import AccountingOff
from slurm_shim.inventory import questions

Value = TypeVar("Value")

RESERVATIONS_S, ACCOUNTS_S = 10.0, 300.0
# The CPU time of a large cluster's users takes long to sum up: an older answer is given while a new one is awaited.
CPU_TIME_S, OLD_CPU_TIME_S = 300.0, 3600.0
CPU_TIME_DAYS = 30

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
    """What a cluster says seldom otherwise: reservations, users, QOS.

    Those of accounting are None where there is no accounting. `call` runs a function in a thread.
    """

    def __init__(self, slurm: Slurm, call: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._slurm = slurm
        self.reservations: Cached[list[dict[str, Any]]] = Cached(
            lambda: call(questions.list_reservations, slurm.ask), RESERVATIONS_S
        )
        self.associations: Cached[list[dict[str, Any]] | None] = Cached(
            lambda: call(self._ask_accounting, self._list_associations), ACCOUNTS_S
        )
        self.qos: Cached[list[dict[str, Any]] | None] = Cached(
            lambda: call(self._ask_accounting, questions.list_qos), ACCOUNTS_S
        )
        self.cpu_time: Cached[dict[str, int] | None] = Cached(
            lambda: call(self._ask_accounting, self._sum_cpu_time), CPU_TIME_S, OLD_CPU_TIME_S
        )

    def _ask_accounting(self, question: Callable[[questions.Run], Any]) -> Any:
        try:
            return question(self._slurm.ask) if self._slurm.has_accounting() else None
        except AccountingOff:
            return None

    def _list_associations(self, run: questions.Run) -> list[dict[str, Any]]:
        """List those of this cluster: one database may serve several."""
        own = self._slurm.get_cluster_name()
        return [row for row in questions.list_associations(run) if row["cluster"] in (None, own)]

    def _sum_cpu_time(self, run: questions.Run) -> dict[str, int]:
        return questions.sum_cpu_time(run, CPU_TIME_DAYS * 86_400)
