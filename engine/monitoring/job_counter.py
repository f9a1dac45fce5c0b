"""Jobs counted as they are submitted, begin and end.

Each event counts once in the life of a server. What happened before it, or while no server ran, is told from what is
counted already by SLURM's own times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slurm_shim.ids import count_tasks
from slurm_shim.parse import FINISHED, WAITING, Job


class Events(NamedTuple):
    """What jobs did since the last sample; see Sample."""

    submitted: int = 0
    started: int = 0
    ended: int = 0
    waited_s: float = 0.0
    longest_wait_s: float = 0.0


class _Known(NamedTuple):
    """What was counted of a row."""

    started: bool
    ended: bool


# One of each, for all rows of which the same was counted.
_SHARED: dict[_Known, _Known] = {}


class JobCounter:
    """The counts of one cluster.

    Events from before `since` (epoch seconds of SLURM's clock) are counted already. Without counts of an earlier life
    all ends that SLURM remembers count into `finished`, but not as events. `has_followed` says whether anything was
    counted yet: the first time all jobs are to be told.
    """

    def __init__(self, since: float, finished: Mapping[str, int] | None = None) -> None:
        self.since, self.has_history = since, finished is not None
        self.finished: Counter[str] = Counter(finished or {})
        self.events = Events()
        self._known: dict[str, _Known] = {}
        self._groups: set[int] = set()
        self.has_followed = False

    def follow_jobs(self, changed: Iterable[str], jobs: Mapping[str, Job], *, goes_on: bool = False) -> None:
        """Count what these jobs did; `jobs` are all rows by id.

        Where it goes on, others are to be told the first time as well.
        """
        rows = [jobs[job_id] for job_id in changed if job_id in jobs]
        fresh = {_get_whole(row) for row in rows} - self._groups
        for row in rows:
            self._follow_row(row, _get_whole(row) in fresh)
        self._groups |= fresh
        self.has_followed = self.has_followed or not goes_on

    def _is_news(self, at: float) -> bool:
        """Return whether what happened at this time is not counted yet.

        SLURM's times are whole seconds: what nobody saw before may be of the second in which counting began.
        """
        return at >= math.floor(self.since) if self.has_followed else at > self.since

    def _follow_row(self, row: Job, is_fresh: bool) -> None:
        was_seen = row["job_id"] in self._known
        known = self._known.get(row["job_id"], _Known(False, False))
        state, start, end, submit = row["state"], row["start_time"], row["end_time"], row["submit_time"] or 0
        number, events = count_tasks(row["array_task_id"]), self.events
        if is_fresh and self._is_news(submit):
            events = events._replace(submitted=events.submitted + number)
        if state in WAITING:
            known = _Known(False, False)  # also one that was requeued
        elif start is not None and not known.started:
            known = known._replace(started=True)
            if was_seen or self._is_news(start):
                wait_s = max(0.0, start - submit)
                events = events._replace(
                    started=events.started + 1,
                    waited_s=events.waited_s + wait_s,
                    longest_wait_s=max(events.longest_wait_s, wait_s),
                )
        # One that we cancelled is shown as over before it is: without an end.
        if state in FINISHED and end is not None and not known.ended:
            known = known._replace(ended=True)
            is_news = was_seen or self._is_news(end)
            if is_news:
                events = events._replace(ended=events.ended + number)
            if is_news or not self.has_history:
                self.finished[state] += number
        self._known[row["job_id"]], self.events = _SHARED.setdefault(known, known), events

    def take_events(self, jobs: Mapping[str, Job]) -> Events:
        """Return the events since the last time, and forget jobs that have gone."""
        taken, self.events = self.events, Events()
        if gone := self._known.keys() - jobs.keys():
            for job_id in gone:
                del self._known[job_id]
            self._groups &= {_get_whole(row) for row in jobs.values()}
        return taken


def _get_whole(row: Job) -> int:
    """Return the number of the array that a row belongs to, or its own."""
    return int(row["array_job_id"] if row["array_job_id"] is not None else row["raw_id"])
