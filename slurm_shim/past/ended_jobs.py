"""Ended jobs that the queue has forgotten, as accounting has them.

Accounting is asked only where somebody wants such jobs: once for all who ask meanwhile, and its answer is kept for a
while.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from slurm_shim.commands import Slurm
from slurm_shim.errors import AccountingOff, SlurmRefused
from slurm_shim.parse import Job
from slurm_shim.past.history import iterate_ended

# A period begins at a whole multiple of this, so that those who ask for "since yesterday" share one answer.
STEP_S = 600.0
DAY_S = 86_400.0  # what is asked for at first, since a day is what most want
FRESH_S = 30.0  # for so long an answer is kept
SETTLED_S = 600.0  # and one about a period that was over so long ago
MOST_ROWS = 50_000
_MOST_PERIODS = 4
Period = tuple[float, float | None]


class TooMuchHistory(SlurmRefused):
    """More jobs ended in a period than are listed at once."""

    def __init__(self) -> None:
        text = f"more than {MOST_ROWS} jobs ended in that time: ask for a shorter one, or for an export"
        super().__init__("sacct", 0, "", text)


class EndedJobs:
    """The ended jobs of accounting by period.

    `call` runs a function in a thread. `now` is epoch seconds, for tests.
    """

    def __init__(self, slurm: Slurm, call: Callable[..., Awaitable[Any]], now: Callable[[], float] = time.time) -> None:
        self._slurm, self._call, self._now = slurm, call, now
        self._kept: OrderedDict[Period, tuple[float, list[Job]]] = OrderedDict()
        self._asking: dict[Period, asyncio.Task[list[Job]]] = {}

    async def list_period(self, since: float, until: float | None) -> list[Job]:
        """List the jobs that ended in a period, and a little before it.

        Both are epoch seconds. The list is the same object until accounting is asked again; [] where the cluster has
        none. Raises SlurmError, TooMuchHistory.
        """
        period = (since // STEP_S * STEP_S, None if until is None or until >= self._now() else until)
        kept = self._kept.get(period)
        if kept is not None and self._now() < kept[0]:
            self._kept.move_to_end(period)
            return kept[1]
        asking = self._asking.get(period)
        if asking is None:
            asking = self._asking[period] = asyncio.ensure_future(self._ask(period))
            asking.add_done_callback(lambda task: self._forget_question(period, task))
        return await asyncio.shield(asking)

    def _forget_question(self, period: Period, task: asyncio.Task[list[Job]]) -> None:
        del self._asking[period]
        if not task.cancelled():
            task.exception()  # those who asked may all have left

    async def _ask(self, period: Period) -> list[Job]:
        since, until = period
        began = self._now()
        rows: list[Job] = await self._call(self._fetch, since, began + 1 if until is None else until)
        is_settled = until is not None and began - until > SETTLED_S
        self._kept[period] = began + (SETTLED_S if is_settled else FRESH_S), rows
        self._kept.move_to_end(period)
        while len(self._kept) > 1 and (
            len(self._kept) > _MOST_PERIODS or sum(len(rows) for _until, rows in self._kept.values()) > MOST_ROWS
        ):
            self._kept.popitem(last=False)
        return rows

    def _fetch(self, since: float, until: float) -> list[Job]:
        rows: list[Job] = []
        try:
            if not self._slurm.has_accounting():
                return []
            for lot in iterate_ended(self._slurm, since, until, first_length_s=DAY_S):
                rows += lot
                if len(rows) > MOST_ROWS:
                    raise TooMuchHistory
        except AccountingOff:
            return []
        return rows
