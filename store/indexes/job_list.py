"""The list of SLURM's jobs as bytes.

Only rows that changed are made anew, and beside the event loop where many are.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from store.indexes.bodies import Body, join_array
from store.indexes.jobs import JobEntry, JobIndex, JobSource, Source, get_whole_id
from store.indexes.reports import ReportIndex
from store.jsons import dump_json
from store.views import srunx

Row = dict[str, Any]
# Lists of up to so many rows are made at once: some 10 ms if all of them changed.
ROWS_AT_ONCE = 500
# The documents of so many jobs are read before others have their turn.
ENTRIES_AT_ONCE = 50


class Queue(NamedTuple):
    """What a list is made of.

    `version` grows when `jobs` change; changed jobs are told apart by identity. Ours are those that ended at or after
    `since` (RFC 3339).
    """

    cluster: str
    version: int
    jobs: Mapping[str, Row]
    since: str


class Piece(NamedTuple):
    """What the bytes of a row were made from, and its place in the list."""

    job: Row | None
    source: Source | None
    stage: str | None
    place: int


class Made(NamedTuple):
    """A list as bytes, and where each row ends: rows are kept nowhere else."""

    body: Body
    ends: array[int]

    def get_row(self, place: int) -> memoryview:
        """Get the bytes of a row, which are not copied."""
        return memoryview(self.body.data)[self.ends[place - 1] + 1 if place else 1 : self.ends[place]]


NOTHING = Made(Body(b"[]"), array("q"))


@dataclass
class Work:
    """A list that is being made: rows that stay, rows that are to be made.

    `pieces` has the Piece of each id in their order, None for a row that is not made yet.
    """

    cluster: str
    versions: tuple[Any, ...]
    jobs: dict[str, Row]
    ended: list[JobSource]
    kept: dict[str, Piece]
    kept_list: Made
    pieces: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Source] = field(default_factory=dict)  # of the rows to be made that are ours
    entries: dict[str, JobEntry] = field(default_factory=dict)


class JobList:
    """SLURM's jobs in its order, then those of ours that it forgot."""

    def __init__(self, job_index: JobIndex, report_index: ReportIndex) -> None:
        self._job_index, self._report_index = job_index, report_index
        self._lock = asyncio.Lock()
        self._begun = self._done = 0  # how many lists were begun, and which of them was made last
        self._cluster = ""
        self._versions: tuple[Any, ...] | None = None
        self._pieces: dict[str, Piece] = {}
        self._made = NOTHING

    def get_body(self, queue: Queue) -> Body | Coroutine[Any, Any, Body]:
        """Return the list as bytes; at once where it is made, or is short."""
        if self._versions == self._get_versions(queue):
            return self._made.body
        if len(queue.jobs) > ROWS_AT_ONCE:
            return self._make_beside(queue)
        work = self._begin(queue)
        self._compare_rows(work)
        for _ in self._read_entries(work):
            pass
        return self._take(work, self._make_rows(work))

    def find_row(self, cluster: str, job: Row) -> Body | None:
        """Find the row of SLURM's job as the list has it; None if it is not made.

        It is the row of this very version of the job, with what we know of it now.
        """
        piece = self._pieces.get(job["job_id"])
        if piece is None or piece.job is not job or cluster != self._cluster:
            return None
        is_same = piece.source is self._find_source(cluster, job["job_id"]) and piece.stage == self._find_stage(
            cluster, job
        )
        return Body(bytes(self._made.get_row(piece.place))) if is_same else None

    async def _make_beside(self, queue: Queue) -> Body:
        """Make the list in steps, the long ones in a thread; one at a time.

        Whoever waited meanwhile takes one that was begun after it came, even if there are newer versions by now.
        """
        begun = self._begun
        async with self._lock:
            if self._done > begun or self._versions == self._get_versions(queue):
                return self._made.body
            self._begun += 1
            number, work = self._begun, self._begin(queue)
            await asyncio.to_thread(self._compare_rows, work)
            for _ in self._read_entries(work):
                await asyncio.sleep(0)
            body = self._take(work, await asyncio.to_thread(self._make_rows, work))
            self._done = number
            await asyncio.to_thread(_let_go, work.kept)
            return body

    def _get_versions(self, queue: Queue) -> tuple[Any, ...]:
        return queue.cluster, queue.version, self._job_index.version, self._report_index.stages_version

    def _begin(self, queue: Queue) -> Work:
        """Note what the list is made of: it changes while the list is made."""
        ended = self._job_index.list_ended_since(queue.since, queue.cluster)
        kept = self._pieces if queue.cluster == self._cluster else {}
        return Work(queue.cluster, self._get_versions(queue), dict(queue.jobs), ended, kept, self._made)

    def _compare_rows(self, work: Work) -> None:
        """Find the rows that are made already, and those that are ours."""
        cluster, pieces, shown_ids = work.cluster, work.pieces, set(work.jobs)
        for job_id, job in work.jobs.items():
            source, stage = self._find_source(cluster, job_id), self._find_stage(cluster, job)
            kept = work.kept.get(job_id)
            if kept is not None and kept.job is job and kept.source is source and kept.stage == stage:
                pieces[job_id] = kept
                continue
            pieces[job_id] = None
            if source is not None:
                work.own[job_id] = source
        # An array or heterogeneous job is one entry of ours, while SLURM shows its parts.
        if work.ended:
            shown_ids |= {str(job[key]) for job in work.jobs.values() for key in ("array_job_id", "het_job_id")}
        for job_id, source in work.ended:
            if job_id in shown_ids:
                continue
            shown_ids.add(job_id)
            kept = work.kept.get(job_id)
            has_stage = self._report_index.find(job_id) is not None or (kept is not None and kept.stage is not None)
            is_same = kept is not None and kept.job is None and kept.source is source and not has_stage
            pieces[job_id] = kept if is_same else None
            if not is_same:
                work.own[job_id] = source

    def _read_entries(self, work: Work) -> Iterator[None]:
        """Read what we know of our jobs, on the event loop; pause at each step."""
        for count, (job_id, source) in enumerate(work.own.items(), 1):
            whole_id = get_whole_id(job_id) if job_id in work.jobs else job_id
            work.entries[job_id] = self._job_index.build_entry(source, whole_id)
            if count % ENTRIES_AT_ONCE == 0:
                yield

    def _make_rows(self, work: Work) -> Made:
        """Make the rows that are lacking, and join all."""
        if None not in work.pieces.values() and list(work.pieces) == list(work.kept):
            return work.kept_list
        parts: list[bytes | memoryview] = []
        ends, end = array("q"), 0
        for place, (job_id, piece) in enumerate(work.pieces.items()):
            data = self._make_row(work, job_id, place) if piece is None else work.kept_list.get_row(piece.place)
            if piece is not None and piece.place != place:
                work.pieces[job_id] = piece._replace(place=place)
            parts.append(data)
            end += 1 + len(data)
            ends.append(end)
        made = Made(Body(join_array(parts)), ends)
        _ = made.body.etag  # it takes a while as well
        return made

    def _make_row(self, work: Work, job_id: str, place: int) -> bytes:
        """Make the bytes of a row, and note what of."""
        job, source, entry = work.jobs.get(job_id), work.own.get(job_id), work.entries.get(job_id)
        if job is not None:
            stage = self._find_stage(work.cluster, job)
            row = srunx.to_job_json(job, entry, stage, work.cluster)
        else:
            assert entry is not None, "what SLURM does not show is ours"
            report = self._report_index.find_for_entry(entry, work.cluster)
            stage = report.stage if report else None
            row = srunx.to_past_job_json(entry, 0, stage)
        work.pieces[job_id] = Piece(job, source, stage, place)
        return dump_json(row)

    def _take(self, work: Work, made: Made) -> Body:
        """Keep the list that was made."""
        self._cluster, self._versions, self._made = work.cluster, work.versions, made
        self._pieces = work.pieces
        return made.body

    def _find_source(self, cluster: str, job_id: str) -> Source | None:
        return self._job_index.find_source(cluster, get_whole_id(job_id))

    def _find_stage(self, cluster: str, job: Row) -> str | None:
        report = self._report_index.find_for_job(job, cluster)
        return None if report is None else report.stage


def _let_go(pieces: dict[str, Piece]) -> None:
    """Let go of rows one by one: all at once would take long, and others wait."""
    while pieces:
        pieces.popitem()
