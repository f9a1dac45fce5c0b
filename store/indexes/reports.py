"""All jobs that reported, in memory; follows the jobs' folder.

Answers lists, filters, event feeds and the reconcile loop. A row and a few numbers are held of each job and a number of
each event; whole reports are read from the folder, which has them in memory too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from store.disk.entries import FileEntry as File
from store.disk.folders import Folder
from store.disk.kept.kept_files import LoadedFiles
from store.documents import Report
from store.indexes.bodies import Body, BoundedCache
from store.indexes.jobs import JobEntry
from store.indexes.timelines import Timeline
from store.jsons import dump_json
from store.rules import reports
from store.rules.reports import ReportSummary
from store.views import srtslurm

PAGES_BYTES = 4_000_000
# Filters whose matching ids are kept, for paging.
MAX_FILTERS = 20
# Reports read between two yields to the event loop.
REPORTS_PER_STEP = 50


class ReportIndex:
    """The reports of one folder; `clock` gives epoch seconds.

    `reports` has what is held of each, `awaited` those of which SLURM may have something to say, `open_questions` those
    of them of which it is to be asked now, all by job id.
    `stages_version` grows with each change of what lists of SLURM's jobs show.
    """

    def __init__(self, folder: Folder, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self.find_ahead_s: Callable[[], float] = lambda: 0.0  # how far SLURM's clock is ahead of ours
        self.stages_version = 0
        self.reports: dict[str, ReportSummary] = {}
        self.awaited: dict[str, ReportSummary] = {}
        self.open_questions: dict[str, None] = {}
        self._asked_for: object = None  # the version of the queue that was looked at last, and until when that does
        self._asked_until = 0.0
        self._by_submission = Timeline()  # job ids by submission
        self._by_event = Timeline()  # job ids by the number of each event
        self._last_number = 0
        self._reserved: set[int] = set()
        self._matches: dict[tuple[str | None, ...], Sequence[str]] = {}
        self._pages = BoundedCache(PAGES_BYTES)
        for entry in folder.iterate_entries():
            self.follow(entry.name, None, entry)
        folder.add_listener(self.follow, self._load)
        folder.when_loaded += [self._by_submission.sort, self._by_event.sort]

    def _load(self, loaded: LoadedFiles) -> None:
        """Follow records that were not there before."""
        for name, row in zip(loaded.names, loaded.get_column("report"), strict=True):
            if row is not None and name == reports.to_record_name((report := reports.restore_summary(row)).job_id):
                self._add_report(None, report)
        self._matches.clear()
        self._pages.clear()

    def follow(self, _name: str, old: File | None, new: File | None) -> None:
        """Follow a record that was written, read or deleted."""
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

    def _remove_report(self, report: ReportSummary) -> None:
        """Remove a report with its events."""
        self.reports.pop(report.job_id, None)
        self.awaited.pop(report.job_id, None)
        self._by_submission.drop(report.submitted, report.job_id)
        for number in report.events:
            self._by_event.drop(number, report.job_id)
        self.stages_version += 1

    def _add_report(self, before: ReportSummary | None, after: ReportSummary) -> None:
        """Note what changed from `before` to `after`."""
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
        # The numbers of the events are kept in `_by_event` already.
        summary = after._replace(events=())
        if before is None or before.stage != after.stage or before.cluster != after.cluster:
            self.stages_version += 1
        self.reports[after.job_id] = summary
        if reports.is_awaited(after, self._clock()):
            self.awaited[after.job_id] = summary
            self.open_questions[after.job_id] = None
        else:
            self.awaited.pop(after.job_id, None)

    def is_due(self, version: object, pause_s: float) -> bool:
        """Tell whether to look at the open questions.

        The queue has changed, or so long has passed.
        """
        now = self._clock()
        if version == self._asked_for and now < self._asked_until <= now + pause_s:
            return False
        self._asked_for, self._asked_until = version, now + pause_s
        return True

    # Reading.

    def find_for_job(self, job: Mapping[str, Any], cluster: str) -> ReportSummary | None:
        """Return what SLURM's job on this cluster reported; None if nothing.

        A task of an array and a part of a heterogeneous job may have reported under the id of the whole.
        """
        report = self.find(job["job_id"])
        return report if report is not None and reports.is_same_job(report, job, cluster, self.find_ahead_s()) else None

    def find_for_entry(self, entry: JobEntry, cluster: str) -> ReportSummary | None:
        """Return what a job that we remember reported; None if nothing."""
        submitted, ended = (
            None if text is None else reports.parse_reported_time(text) for text in (entry.submitted_at, entry.ended_at)
        )
        fields = {"job_id": entry.job_id, "name": entry.name, "state": entry.state}
        return self.find_for_job({**fields, "submit_time": submitted, "end_time": ended}, cluster)

    def find(self, job_id: str) -> ReportSummary | None:
        """Return what a job of this id, or its whole, reported on any cluster."""
        if not self.reports:
            return None
        return self.reports.get(job_id) or self.reports.get(job_id.partition("_")[0].partition("+")[0])

    def get_report(self, job_id: str) -> Report:
        """Return the job's report. Raises NotFound."""
        name = reports.to_record_name(job_id)
        return reports.get_report(self._folder.get(name) if name in self._folder else None, job_id)

    def build_page(self, status: str | None, cluster: str | None, tag: str | None, page: int, per_page: int) -> Body:
        """Return a page of the jobs, last submitted first, with the total.

        A filter that is None or "" filters nothing.
        """
        filters = (status or None, cluster or None, tag or None)
        body: Body | None = self._pages.get((*filters, page, per_page))
        if body is None:
            matching = self._list_matching(*filters)
            end = max(0, len(matching) - (page - 1) * per_page)
            rows = [orjson.Fragment(self.reports[key].row) for key in reversed(matching[max(0, end - per_page) : end])]
            answer = {"jobs": rows, "total": len(matching), "page": page, "per_page": per_page}
            body = Body(dump_json(answer))
            self._pages.put((*filters, page, per_page), body, len(body.data))
        return body

    def _list_matching(self, status: str | None, cluster: str | None, tag: str | None) -> Sequence[str]:
        """List the ids of the jobs that match, first submitted first."""
        filters = (status, cluster, tag)
        if filters == (None, None, None):
            return self._by_submission.keys
        if filters not in self._matches:
            if len(self._matches) >= MAX_FILTERS:
                self._matches.clear()
            reports = self.reports
            self._matches[filters] = [
                key
                for key in self._by_submission.keys
                for report in [reports[key]]
                if (status is None or report.status == status)
                and (cluster is None or report.cluster == cluster)
                and (tag is None or tag in report.tags)
            ]
        return self._matches[filters]

    # Events.

    @contextlib.contextmanager
    def reserve_number(self) -> Iterator[int]:
        """Reserve the number of an event while it is being written.

        It is larger than all others, also those before the last start. Feeds show no later event until the block is
        left, so that a reader who continues from the last one it saw misses none. It is the time in microseconds, so
        that the number of a deleted event is not given again.
        """
        number = self._last_number = max(self._last_number + 1, int(self._clock() * 1_000_000))
        self._reserved.add(number)
        try:
            yield number
        finally:
            self._reserved.discard(number)

    async def list_events(self, after: int, limit: int, job_id: str | None = None) -> dict[str, Any]:
        """List up to `limit` events numbered above `after`, of one job or all.

        `next_cursor` is where to read on.
        """
        found = []
        if job_id:
            # No id has a blank: it was a plus that the caller did not write as %2B.
            job_id = job_id.replace(" ", "+")
            numbers = self._list_event_numbers(job_id)
            chosen = [(number, job_id) for number in numbers if after < number < self._first_reserved][:limit]
        else:
            first = self._by_event.count_until(after)
            last = min(first + limit, self._by_event.count_before(self._first_reserved))
            events = zip(self._by_event.times[first:last], self._by_event.keys[first:last], strict=True)
            chosen = [(int(number), key) for number, key in events]
        read: dict[str, dict[int, dict[str, Any]]] = {}
        for number, key in chosen:
            if key not in read:
                if len(read) % REPORTS_PER_STEP == REPORTS_PER_STEP - 1:
                    await asyncio.sleep(0)
                read[key] = self._load_events(key)
            if number in read[key]:  # else it was deleted in the meantime
                found.append(read[key][number])
        return {"events": found, "next_cursor": chosen[-1][0] if chosen else after or None}

    @property
    def _first_reserved(self) -> float:
        """The number from which on nothing may be shown yet."""
        return min(self._reserved, default=float("inf"))

    def _load_events(self, job_id: str) -> dict[int, dict[str, Any]]:
        """Return the events of a job's report by number."""
        name = reports.to_record_name(job_id)
        report: Report | None = self._folder.get(name).report if name in self._folder else None
        return {} if report is None else {event.id: srtslurm.to_event_json(report, event) for event in report.events}

    def _list_event_numbers(self, job_id: str) -> list[int]:
        return list(self._load_events(job_id)) if job_id in self.reports else []


def _get_report_facts(file: File | None) -> ReportSummary | None:
    """Return what a record reports; None if it has another id's name.

    That is a copy that somebody made.
    """
    report: ReportSummary | None = file.facts.report if file else None
    return report if report is None or file is None or file.name == reports.to_record_name(report.job_id) else None
