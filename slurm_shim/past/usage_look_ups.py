"""Questions about what jobs used, asked together and kept for a while.

However many ask, SLURM has one sacct and one sstat at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from slurm_shim.commands import IDS_A_CALL, Slurm
from slurm_shim.errors import SlurmError
from slurm_shim.parse import FINISHED
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.past.usage import Usage
from slurm_shim.submissions import get_whole_id

# For so long an answer counts: about a job that has ended, about all others.
_ENDED_S, _OPEN_S = 600.0, 10.0
_SETTLED_S = 60.0  # after its end
_MOST_KNOWN = 10_000
Found = tuple[Usage | None, str | None]  # what is known, or why it is not


class UsageLookUps:
    """What jobs used, by id. `call` runs a method of `slurm` in a thread."""

    def __init__(self, slurm: Slurm, call: Callable[..., Awaitable[Any]]) -> None:
        self._slurm, self._call = slurm, call
        self._asked: dict[str, asyncio.Future[Found]] = {}
        self._queued: dict[str, None] = {}
        self._asking: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[float, Found]] = {}

    async def find(self, job_id: str) -> Found:
        """Find what a job used; else why that is not known.

        Then there is only its `submit_line`, or None.
        """
        until, found = self._known.get(job_id, (0.0, (None, None)))
        if time.monotonic() < until:
            return found
        if (answer := self._asked.get(job_id)) is None:
            answer = self._asked[job_id] = asyncio.get_running_loop().create_future()
            self._queued[job_id] = None
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_queued())
        return await asyncio.shield(answer)

    async def _ask_queued(self) -> None:
        try:
            while self._queued:
                ids = list(itertools.islice(self._queued, IDS_A_CALL))
                for job_id in ids:
                    del self._queued[job_id]
                found = await self._ask(ids)
                for job_id in ids:
                    self._asked.pop(job_id).set_result(found[job_id])
        finally:
            self._asking = None
            for answer in self._asked.values():
                answer.cancel()
            self._asked, self._queued = {}, {}

    async def _ask(self, ids: list[str]) -> dict[str, Found]:
        try:
            rows: list[Usage] | None = await self._call(self._fetch, ids)
        except SlurmError as problem:
            return dict.fromkeys(ids, (None, f"accounting does not answer: {problem}"))
        if rows is None:
            return dict.fromkeys(ids, (None, "the cluster has no accounting"))
        by_id = {row["job_id"]: row for row in rows}
        wholes = {get_whole_id(row): {"submit_line": row["submit_line"], "state": "PENDING"} for row in rows}
        found: dict[str, Found] = {}
        for job_id in ids:
            row = by_id.get(job_id)
            # Of an array as a whole, and of tasks that wait, only how they were submitted is the same for all.
            part = wholes.get(get_whole_id({"job_id": job_id}))
            found[job_id] = (row, None) if row else (part, "accounting does not know it yet")
            kept_s = _ENDED_S if row is not None and self._is_settled(row) else _OPEN_S
            store_bounded(self._known, job_id, (time.monotonic() + kept_s, found[job_id]), _MOST_KNOWN)
        return found

    def _is_settled(self, row: Usage) -> bool:
        """Return whether accounting has all of a job: it hears some of it later."""
        now = time.time() + self._slurm.clock_offset_s
        return row["state"] in FINISHED and now - (row["end_time"] or now) > _SETTLED_S

    def _fetch(self, ids: list[str]) -> list[Usage] | None:
        return self._slurm.list_usage(ids) if self._slurm.has_accounting() else None
