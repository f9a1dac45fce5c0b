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

from store.disk.folders import FileEntry as File
from store.disk.folders import Folder
from store.documents import Report
from store.indexes.bodies import Body, BoundedCache
from store.indexes.jobs import JobEntry
from store.indexes.timelines import Timeline
from store.rules import reports
from store.rules.reports import ReportSummary

PAGES_BYTES = 4_000_000
# So many lists of keys stay found for paging through them.
MAX_FILTERS = 20
# So many reports are read before others have their turn.
REPORTS_PER_STEP = 50


class ReportIndex:
    """The reports of one folder; `clock` gives epoch seconds.

    `told` has what is held of each, `alive` those of which SLURM may have something to say, both by job id.
    `stages_version` grows with each change of what lists of SLURM's jobs show.
    """

    def __init__(self, folder: Folder, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self.stages_version = 0
        self.reports: dict[str, ReportSummary] = {}
        self.awaited: dict[str, ReportSummary] = {}
        self.listeners: list[Callable[[str], None]] = []
        self._by_submission = Timeline()  # job ids by submission
        self._by_event = Timeline()  # job ids by the number of each event
        self._last_number = 0
        self._reserved: set[int] = set()
        self._matches: dict[tuple[str | None, ...], Sequence[str]] = {}
        self._pages = BoundedCache(PAGES_BYTES)
        for entry in folder.iterate_entries():
            self.follow(entry.name, None, entry)
        folder.listeners.append(self.follow)

    def follow(self, _name: str, old: File | None, new: File | None) -> None:
        """Nothing; a record was written, read or deleted."""
        before, after = _get_report_facts(old), _get_report_facts(new)
        if before == after:
            return
        if before is not None and (after is None or after.job_id != before.job_id):
            self._remove_report(before)
            before = None
        if after is not None:
            self._add_report(before, after)
        self._matches.clear()
        self._pages.clear()

    def _remove_report(self, one: ReportSummary) -> None:
        self.reports.pop(one.job_id, None)
        self.awaited.pop(one.job_id, None)
        self._by_submission.drop(one.submitted, one.job_id)
        for number in one.events:
            self._by_event.drop(number, one.job_id)
        self.stages_version += 1

    def _add_report(self, before: ReportSummary | None, after: ReportSummary) -> None:
        if before is None or before.submitted != after.submitted:
            if before is not None:
                self._by_submission.drop(before.submitted, before.job_id)
            self._by_submission.add(after.submitted, after.job_id)
        seen = set(before.events) if before else set()
        for number in after.events:
            if number not in seen:
                self._by_event.add(number, after.job_id)
        for number in seen.difference(after.events):
            self._by_event.drop(number, after.job_id)
        self._last_number = max(self._last_number, *after.events, 0)
        # The numbers of the events stand in the feed, once is enough.
        held = after._replace(events=())
        if before is None or before.stage != after.stage or before.cluster != after.cluster:
            self.stages_version += 1
        self.reports[after.job_id] = held
        if reports.is_awaited(after, self._clock()):
            self.awaited[after.job_id] = held
            for listener in self.listeners:
                listener(after.job_id)
        else:
            self.awaited.pop(after.job_id, None)

    # Reading.

    def find_for_job(self, job: Mapping[str, Any], cluster: str) -> ReportSummary | None:
        """What SLURM's job, on the cluster of this name, has reported of itself; None when it did not.

        A task of an array and a part of a heterogeneous job may have reported under the id of the whole.
        """
        one = self.find(job["job_id"])
        return one if one is not None and reports.is_same_job(one, job, cluster) else None

    def find_for_entry(self, entry: JobEntry, cluster: str) -> ReportSummary | None:
        """The same for a job that we remember."""
        begun, over = (
            None if one is None else reports.parse_reported_time(one) for one in (entry.submitted_at, entry.ended_at)
        )
        same = {"job_id": entry.job_id, "name": entry.name, "state": entry.state}
        return self.find_for_job({**same, "submit_time": begun, "end_time": over}, cluster)

    def find(self, job_id: str) -> ReportSummary | None:
        """What a job of this id, or the whole that it is a part of, has reported, on whichever cluster."""
        if not self.reports:
            return None
        return self.reports.get(job_id) or self.reports.get(job_id.partition("_")[0].partition("+")[0])

    def get_report(self, job_id: str) -> Report:
        """What the job reported; NotFound."""
        name = reports.to_record_name(job_id)
        return reports.get_report(self._folder.get(name) if name in self._folder else None, job_id)

    def build_page(self, status: str | None, cluster: str | None, tag: str | None, page: int, per_page: int) -> Body:
        """A page of the jobs, last submitted first, with how many there are in all; nothing or "" filters nothing."""
        asked = (status or None, cluster or None, tag or None)
        body: Body | None = self._pages.get((*asked, page, per_page))
        if body is None:
            found = self._list_matching(*asked)
            end = max(0, len(found) - (page - 1) * per_page)
            rows = [orjson.Fragment(self.reports[key].row) for key in reversed(found[max(0, end - per_page) : end])]
            shown = {"jobs": rows, "total": len(found), "page": page, "per_page": per_page}
            body = Body(orjson.dumps(shown))
            self._pages.put((*asked, page, per_page), body, len(body.data))
        return body

    def _list_matching(self, status: str | None, cluster: str | None, tag: str | None) -> Sequence[str]:
        """The ids of the jobs that match, first submitted first."""
        asked = (status, cluster, tag)
        if asked == (None, None, None):
            return self._by_submission.keys
        if asked not in self._matches:
            if len(self._matches) >= MAX_FILTERS:
                self._matches.clear()
            told = self.reports
            self._matches[asked] = [
                key
                for key in self._by_submission.keys
                for one in [told[key]]
                if (status is None or one.status == status)
                and (cluster is None or one.cluster == cluster)
                and (tag is None or tag in one.tags)
            ]
        return self._matches[asked]

    # Events.

    @contextlib.contextmanager
    def reserve_number(self) -> Iterator[int]:
        """The number of an event that is being written: above all that were given, also before the last start.

        Feeds show no later event until the block is left: who reads on from the last one it saw must miss none. It
        is the time in microseconds, so that a number whose event was deleted is not given again.
        """
        number = self._last_number = max(self._last_number + 1, int(self._clock() * 1_000_000))
        self._reserved.add(number)
        try:
            yield number
        finally:
            self._reserved.discard(number)

    async def list_events(self, after: int, limit: int, job_id: str | None = None) -> dict[str, Any]:
        """At most `limit` events with numbers above `after`, of one job or of all, and where to read on."""
        found = []
        if job_id:
            # No id has a blank in it: that is what a plus comes to that was not written as %2B.
            job_id = job_id.replace(" ", "+")
            numbers = self._list_event_numbers(job_id)
            chosen = [(number, job_id) for number in numbers if after < number < self._first_reserved][:limit]
        else:
            first = self._by_event.count_until(after)
            last = min(first + limit, self._by_event.count_before(self._first_reserved))
            shown = zip(self._by_event.times[first:last], self._by_event.keys[first:last], strict=True)
            chosen = [(int(number), key) for number, key in shown]
        read: dict[str, dict[int, dict[str, Any]]] = {}
        for number, key in chosen:
            if key not in read:
                if len(read) % REPORTS_PER_STEP == REPORTS_PER_STEP - 1:
                    await asyncio.sleep(0)
                read[key] = self._load_events(key)
            if number in read[key]:  # else it was deleted meanwhile
                found.append(read[key][number])
        return {"events": found, "next_cursor": chosen[-1][0] if chosen else after or None}

    @property
    def _first_reserved(self) -> float:
        """The number from which on nothing may be shown yet."""
        return min(self._reserved, default=float("inf"))

    def _load_events(self, job_id: str) -> dict[int, dict[str, Any]]:
        name = reports.to_record_name(job_id)
        report: Report | None = self._folder.get(name).report if name in self._folder else None
        return {} if report is None else {one.id: reports.to_event_json(report, one) for one in report.events}

    def _list_event_numbers(self, job_id: str) -> list[int]:
        return list(self._load_events(job_id)) if job_id in self.reports else []


def _get_report_facts(file: File | None) -> ReportSummary | None:
    """What a record tells; nothing when it has another id's name, as a copy that somebody made."""
    told: ReportSummary | None = file.facts.told if file else None
    return told if told is None or file is None or file.name == reports.to_record_name(told.job_id) else None
