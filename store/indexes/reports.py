"""All jobs that reported, in memory: what lists, filters, event feeds and the clockwork need; follows the jobs' folder.

A row and a few numbers are held of each job and a number of each event; whole reports are read from the folder, which
has them in memory too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from store.disk.folders import Entry as File
from store.disk.folders import Folder
from store.documents import Report
from store.indexes.bodies import Body, Bounded
from store.indexes.jobs import Entry
from store.indexes.timelines import Timeline
from store.rules import reports
from store.rules.reports import Told

KEPT_BYTES = 4_000_000
# So many lists of keys stay found for paging through them.
KEPT_FILTERS = 20
# So many reports are read before others have their turn.
FEW = 50


class Collector:
    """The reports of one folder; `clock` gives epoch seconds.

    `told` has what is held of each, `alive` those of which SLURM may have something to say, both by job id.
    `stages_version` grows with each change of what lists of SLURM's jobs show.
    """

    def __init__(self, folder: Folder, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self.stages_version = 0
        self.told: dict[str, Told] = {}
        self.alive: dict[str, Told] = {}
        self.listeners: list[Callable[[str], None]] = []
        self._order = Timeline()  # job ids by submission
        self._feed = Timeline()  # job ids by the number of each event
        self._last = 0
        self._in_hand: set[int] = set()
        self._found: dict[tuple[str | None, ...], Sequence[str]] = {}
        self._pages = Bounded(KEPT_BYTES)
        for entry in folder.entries():
            self.follow(entry.name, None, entry)
        folder.listeners.append(self.follow)

    def follow(self, _name: str, old: File | None, new: File | None) -> None:
        """Nothing; a record was written, read or deleted."""
        before, after = _told(old), _told(new)
        if before == after:
            return
        if before is not None and (after is None or after.job_id != before.job_id):
            self._forget(before)
            before = None
        if after is not None:
            self._learn(before, after)
        self._found.clear()
        self._pages.clear()

    def _forget(self, one: Told) -> None:
        self.told.pop(one.job_id, None)
        self.alive.pop(one.job_id, None)
        self._order.drop(one.submitted, one.job_id)
        for number in one.events:
            self._feed.drop(number, one.job_id)
        self.stages_version += 1

    def _learn(self, before: Told | None, after: Told) -> None:
        if before is None or before.submitted != after.submitted:
            if before is not None:
                self._order.drop(before.submitted, before.job_id)
            self._order.add(after.submitted, after.job_id)
        seen = set(before.events) if before else set()
        for number in after.events:
            if number not in seen:
                self._feed.add(number, after.job_id)
        for number in seen.difference(after.events):
            self._feed.drop(number, after.job_id)
        self._last = max(self._last, *after.events, 0)
        # The numbers of the events stand in the feed, once is enough.
        held = after._replace(events=())
        if before is None or before.stage != after.stage or before.cluster != after.cluster:
            self.stages_version += 1
        self.told[after.job_id] = held
        if reports.is_awaited(after, self._clock()):
            self.alive[after.job_id] = held
            for listener in self.listeners:
                listener(after.job_id)
        else:
            self.alive.pop(after.job_id, None)

    # Reading.

    def of(self, job: Mapping[str, Any], cluster: str) -> Told | None:
        """What SLURM's job, on the cluster of this name, has reported of itself; None when it did not.

        A task of an array and a part of a heterogeneous job may have reported under the id of the whole.
        """
        one = self.about(job["job_id"])
        return one if one is not None and reports.is_same(one, job, cluster) else None

    def of_entry(self, entry: Entry, cluster: str) -> Told | None:
        """The same for a job that we remember."""
        begun, over = (None if one is None else reports.moment(one) for one in (entry.submitted_at, entry.ended_at))
        same = {"job_id": entry.job_id, "name": entry.name, "state": entry.state}
        return self.of({**same, "submit_time": begun, "end_time": over}, cluster)

    def about(self, job_id: str) -> Told | None:
        """What a job of this id, or the whole that it is a part of, has reported, on whichever cluster."""
        if not self.told:
            return None
        return self.told.get(job_id) or self.told.get(job_id.partition("_")[0].partition("+")[0])

    def report(self, job_id: str) -> Report:
        """What the job reported; NotFound."""
        name = reports.name_of(job_id)
        return reports.report_of(self._folder.get(name) if name in self._folder else None, job_id)

    def page(self, status: str | None, cluster: str | None, tag: str | None, page: int, per_page: int) -> Body:
        """A page of the jobs, last submitted first, with how many there are in all; nothing or "" filters nothing."""
        asked = (status or None, cluster or None, tag or None)
        body: Body | None = self._pages.get((*asked, page, per_page))
        if body is None:
            found = self._matching(*asked)
            end = max(0, len(found) - (page - 1) * per_page)
            rows = [orjson.Fragment(self.told[key].row) for key in reversed(found[max(0, end - per_page) : end])]
            shown = {"jobs": rows, "total": len(found), "page": page, "per_page": per_page}
            body = Body(orjson.dumps(shown))
            self._pages.put((*asked, page, per_page), body, len(body.data))
        return body

    def _matching(self, status: str | None, cluster: str | None, tag: str | None) -> Sequence[str]:
        """The ids of the jobs that match, first submitted first."""
        asked = (status, cluster, tag)
        if asked == (None, None, None):
            return self._order.keys
        if asked not in self._found:
            if len(self._found) >= KEPT_FILTERS:
                self._found.clear()
            told = self.told
            self._found[asked] = [
                key
                for key in self._order.keys
                for one in [told[key]]
                if (status is None or one.status == status)
                and (cluster is None or one.cluster == cluster)
                and (tag is None or tag in one.tags)
            ]
        return self._found[asked]

    # Events.

    @contextlib.contextmanager
    def numbered(self) -> Iterator[int]:
        """The number of an event that is being written: above all that were given, also before the last start.

        Feeds show no later event until the block is left: who reads on from the last one it saw must miss none. It
        is the time in microseconds, so that a number whose event was deleted is not given again.
        """
        number = self._last = max(self._last + 1, int(self._clock() * 1_000_000))
        self._in_hand.add(number)
        try:
            yield number
        finally:
            self._in_hand.discard(number)

    async def events(self, after: int, limit: int, job_id: str | None = None) -> dict[str, Any]:
        """At most `limit` events with numbers above `after`, of one job or of all, and where to read on."""
        found = []
        if job_id:
            # No id has a blank in it: that is what a plus comes to that was not written as %2B.
            job_id = job_id.replace(" ", "+")
            numbers = self._numbers_of(job_id)
            chosen = [(number, job_id) for number in numbers if after < number < self._end][:limit]
        else:
            first = self._feed.until(after)
            last = min(first + limit, self._feed.since(self._end))
            shown = zip(self._feed.times[first:last], self._feed.keys[first:last], strict=True)
            chosen = [(int(number), key) for number, key in shown]
        read: dict[str, dict[int, dict[str, Any]]] = {}
        for number, key in chosen:
            if key not in read:
                if len(read) % FEW == FEW - 1:
                    await asyncio.sleep(0)
                read[key] = self._events_of(key)
            if number in read[key]:  # else it was deleted meanwhile
                found.append(read[key][number])
        return {"events": found, "next_cursor": chosen[-1][0] if chosen else after or None}

    @property
    def _end(self) -> float:
        """The number from which on nothing may be shown yet."""
        return min(self._in_hand, default=float("inf"))

    def _events_of(self, job_id: str) -> dict[int, dict[str, Any]]:
        name = reports.name_of(job_id)
        report: Report | None = self._folder.get(name).report if name in self._folder else None
        return {} if report is None else {one.id: reports.event(report, one) for one in report.events}

    def _numbers_of(self, job_id: str) -> list[int]:
        return list(self._events_of(job_id)) if job_id in self.told else []


def _told(file: File | None) -> Told | None:
    """What a record tells; nothing when it has another id's name, as a copy that somebody made."""
    told: Told | None = file.facts.told if file else None
    return told if told is None or file is None or file.name == reports.name_of(told.job_id) else None
