"""Questions about jobs that the snapshot does not have, asked together.

Whoever asks for ids that nobody knows costs SLURM one squeue and one sacct at a time, however many they are.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from slurm_shim.commands import IDS_A_CALL, Slurm
from slurm_shim.ids import split_job_id
from slurm_shim.job_groups import combine_rows, is_part_of
from slurm_shim.parse import Job
from slurm_shim.past.missing_jobs import store_bounded
from slurm_shim.snapshot import Snapshot
from slurm_shim.submissions import ANY, list_last_records

# For so long accounting is not asked again about a job that it knew, and about one that it did not.
_FOUND_S, _UNKNOWN_S = 60.0, 10.0
_MOST_KNOWN = 10_000
# Larger numbers, and 0, are no job's; because of one of them squeue would refuse a whole list.
_LARGEST_ID = 2**31 - 1


class _Question:
    """What is asked about one job, and how many wait for the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self.waiting = 0


class LookUps:
    """Jobs looked up in queue and accounting: one call at a time.

    What is asked meanwhile goes into the next call, each job once; a question that nobody waits for any more is dropped
    before. `call` runs a method of `slurm` in a thread.
    """

    def __init__(self, slurm: Slurm, snapshot: Snapshot, call: Callable[..., Awaitable[Any]]) -> None:
        self._slurm, self._snapshot, self._call = slurm, snapshot, call
        self._queued: dict[str, _Question] = {}
        self._asked: dict[str, _Question] = {}  # in the call that is under way
        self._asking: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[float, Job | None]] = {}  # until when to believe accounting, and what it said

    async def find(self, job_id: str) -> Job | None:
        """Find a job in the queue, else in accounting; None if unknown."""
        until, found = self._known.get(job_id, (0.0, None))
        if time.monotonic() < until:
            return found
        if not 0 < split_job_id(job_id)["job"] <= _LARGEST_ID:
            return None
        question = self._asked.get(job_id) or self._queued.setdefault(job_id, _Question())
        question.waiting += 1
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_queued())
        try:
            return await asyncio.shield(question.answer)
        finally:
            question.waiting -= 1
            if not question.waiting and self._queued.get(job_id) is question:
                del self._queued[job_id]

    async def _ask_queued(self) -> None:
        try:
            while self._queued:
                ids = list(itertools.islice(self._queued, IDS_A_CALL))
                self._asked = {job_id: self._queued.pop(job_id) for job_id in ids}
                try:
                    await self._ask()
                except Exception as problem:
                    for question in self._asked.values():
                        question.answer.set_exception(problem)
                self._asked = {}
        finally:
            self._asking = None
            # Where threads are ended there are no answers any more.
            for question in (*self._asked.values(), *self._queued.values()):
                question.answer.cancel()

    async def _ask(self) -> None:
        if self._snapshot.error is None:
            queued: dict[str, Job] = await self._call(self._find_queued, list(self._asked))
            if queued:
                self._snapshot.wake()
            for job_id, row in queued.items():
                self._asked.pop(job_id).answer.set_result(row)
        if self._asked:
            accounted: dict[str, Job] = await self._call(self._find_accounted, list(self._asked))
            for job_id in list(self._asked):
                row_or_none = accounted.get(job_id)
                self._remember(job_id, row_or_none)
                self._asked.pop(job_id).answer.set_result(row_or_none)

    def _find_queued(self, job_ids: Sequence[str]) -> dict[str, Job]:
        return _combine_each(job_ids, self._slurm.squeue(job_ids))

    def _find_accounted(self, job_ids: Sequence[str]) -> dict[str, Job]:
        return _combine_each(job_ids, list_last_records(self._slurm.find_accounted(job_ids) or [], ANY))

    def _remember(self, job_id: str, row: Job | None) -> None:
        until = time.monotonic() + (_UNKNOWN_S if row is None else _FOUND_S)
        store_bounded(self._known, job_id, (until, row), _MOST_KNOWN)


def _combine_each(job_ids: Iterable[str], rows: Sequence[Job]) -> dict[str, Job]:
    own = {job_id: [row for row in rows if is_part_of(row, job_id)] for job_id in job_ids}
    return {job_id: combine_rows(job_id, parts) for job_id, parts in own.items() if parts}
