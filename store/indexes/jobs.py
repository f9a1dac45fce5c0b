"""Every job that went through us, however it was started.

Which document a job belongs to, and how it ended. The index follows the documents of runs and single jobs; it is never
stored.
"""

from __future__ import annotations

import asyncio
import operator
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import Any, NamedTuple, Protocol

from store.disk.entries import Place
from store.disk.kept.kept_files import LoadedFiles
from store.documents import Attempt, JobRecord, Run, RunJob
from store.errors import Invalid, make_problem
from store.indexes.bodies import ITEM_BYTES, BoundedCache
from store.indexes.timelines import Timeline
from store.rules import reports, runs, states
from store.rules.jobs import lost
from store.times import to_day_end, to_epoch, to_rfc3339
from store.views import srtslurm


@dataclass(frozen=True, slots=True)
class JobEntry:
    """One submitted job: an attempt of a run's job, or a single job.

    Times are RFC 3339.
    """

    job_id: str
    cluster: str
    name: str
    command: str | None
    depends_on: tuple[str, ...]
    state: str | None
    reason: str | None
    exit_code: int | None
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    stdout: str | None
    stderr: str | None
    partition: str | None
    nodes: int | None
    gpus: int | None
    memory_mb: int | None
    time_limit: str | None
    user: str | None
    uid: int | None
    run_id: str | None = None
    workflow_name: str | None = None
    raw_id: int | None = None  # of a task or component, its own number

    @property
    def runtime_s(self) -> float | None:
        """Seconds from start to end; None if it has not started and ended."""
        start, end = to_epoch(self.started_at), to_epoch(self.ended_at)
        return None if start is None or end is None else max(0.0, end - start)


def list_entries(document: Run | JobRecord | None) -> list[JobEntry]:
    """List the submitted jobs of a document."""
    if document is None:
        return []
    if isinstance(document, Run):
        return [entry for job in document.jobs for entry in _build_run_entries(document, job)]
    return _build_record_entries(document)


def list_changed_entries(
    before: Run | JobRecord | None, after: Run | JobRecord | None
) -> tuple[list[JobEntry], list[JobEntry]]:
    """List the submitted jobs of two versions of a document.

    Without those jobs of a run that are the same in both.
    """
    if isinstance(before, Run) and isinstance(after, Run):
        kept = {job.name: job for job in before.jobs}
        same = {job.name for job in after.jobs if (old := kept.get(job.name)) is job or old == job}
        before, after = (
            run.model_copy(update={"jobs": [job for job in run.jobs if job.name not in same]})
            for run in (before, after)
        )
    return list_entries(before), list_entries(after)


def _build_run_entries(run: Run, job: RunJob) -> Iterator[JobEntry]:
    """Yield an entry for each submitted attempt of a run's job."""
    resources = job.resources
    nodes = int(resources.get("nodes") or 1)
    for attempt in job.attempts:
        if attempt.job_id is None:
            continue
        yield JobEntry(
            **_build_end_fields(attempt),
            cluster=run.cluster,
            # Jobs of simulations are called as SLURM calls them, by the title.
            name=job.name if run.simulation is None else str(job.options.get("job_name") or job.name),
            command=job.command if isinstance(job.command, str | None) else shlex.join(job.command),
            depends_on=tuple(job.depends_on),
            partition=attempt.partition or resources.get("partition"),
            nodes=nodes,
            gpus=nodes * int(resources.get("gpus_per_node") or 0),
            time_limit=resources.get("time_limit"),
            run_id=run.id,
            workflow_name=run.workflow_name,
        )


def _build_record_entries(record: JobRecord) -> list[JobEntry]:
    if record.job_id is None:
        return []
    return [
        JobEntry(
            **_build_end_fields(record),
            cluster=record.cluster,
            name=record.name,
            command=None,
            depends_on=(),
            partition=record.partition,
            nodes=record.node_count,
            gpus=record.gpus,
            time_limit=record.time_limit,
        )
    ]


def _build_end_fields(attempt: Any) -> dict[str, Any]:
    """Return the fields of an entry that attempts and records share."""
    names = ("job_id", "state", "reason", "exit_code", "started_at", "ended_at", "stdout", "stderr", "memory_mb", "uid")
    submitted = attempt.submitted_at or attempt.intended_at or to_rfc3339(0)
    own = {"submitted_at": submitted, "user": attempt.owner}
    return {**{key: getattr(attempt, key) for key in names}, **own}


class SubmittedJob(NamedTuple):
    """One submitted job as far as counts and orders need it.

    Times are epoch seconds, `outcome` is a position in OUTCOMES, `numbers` are SLURM's of its ended parts.
    """

    job_id: str
    submitted: float
    ended: float | None
    runtime_s: float | None
    outcome: int
    numbers: tuple[int, ...] = ()


class Facts(NamedTuple):
    """What lists, counts and retention need of every document.

    `open` says whether anything of the document may still change without a request, `lost` whether a
    job of it was taken for lost. Times are epoch seconds, None where the document names none.
    """

    open: bool
    status: str
    group: str
    started: float | None
    completed: float | None
    sweep: int | None
    cluster: str
    lost: bool
    jobs: tuple[SubmittedJob, ...]
    report: reports.ReportSummary | None = None


def build_facts(document: Run | JobRecord) -> Facts:
    """Return the facts of a document."""
    submitted_jobs = tuple(
        SubmittedJob(
            job.job_id,
            _parse_time(job.submitted_at or job.intended_at) or 0.0,
            ended,
            _measure_runtime(job, ended),
            _classify_outcome(job),
            tuple(part.raw_id for part in job.parts.values() if str(part.raw_id) != job.job_id),
        )
        for job in ([document] if isinstance(document, JobRecord) else _list_attempts(document))
        if job.job_id is not None
        for ended in [_parse_time(job.ended_at)]
    )
    is_lost = bool(lost.list_lost(document))
    if isinstance(document, JobRecord):
        state = document.state or ""
        started, ended = _parse_time(document.submitted_at or document.intended_at), _parse_time(document.ended_at)
        report = (
            None
            if document.report is None
            else reports.summarize_report(document.report, srtslurm.to_row_text(document.report))
        )
        # A record with nothing but a report is not followed: no SLURM here may ever have had the job.
        is_open = state not in states.TERMINAL and (report is None or bool(submitted_jobs) or document.tag is not None)
        return Facts(is_open, state, "", started, ended, None, document.cluster, is_lost, submitted_jobs, report)
    started, ended = _parse_time(document.started_at), _parse_time(document.completed_at)
    group, sweep = document.workflow_name, document.sweep_run_id
    is_open = runs.is_open(document)
    return Facts(is_open, document.status, group, started, ended, sweep, document.cluster, is_lost, submitted_jobs)


def restore_facts(row: list[Any]) -> Facts:
    """Return the facts that were turned to JSON in the meantime."""
    *fields, jobs, report = row
    restored = None if report is None else reports.restore_summary(report)
    return Facts._make((*fields, tuple(map(restore_job, jobs)), restored))


def restore_job(row: list[Any]) -> SubmittedJob:
    """Return the job that was turned to JSON in the meantime."""
    *fields, numbers = row
    return SubmittedJob._make((*fields, tuple(numbers)))


def _list_attempts(run: Run) -> list[Attempt]:
    return [attempt for job in run.jobs for attempt in job.attempts]


def _parse_time(text: str | None) -> float | None:
    """Return epoch seconds; None also for text that is not a time.

    People may have edited the file.
    """
    try:
        return to_epoch(text)
    except (ValueError, OverflowError):
        return None


def _measure_runtime(job: Attempt | JobRecord, ended: float | None) -> float | None:
    started = _parse_time(job.started_at)
    return None if started is None or ended is None else max(0.0, ended - started)


OUTCOMES = ("other", "completed", "failed", "cancelled")
# Ended jobs that are listed: as many as SLURM itself remembers. Each takes some kilobytes in the lists.
MOST_ENDED = 10_000


def _classify_outcome(job: Attempt | JobRecord) -> int:
    """Return the position in OUTCOMES that the statistics count a job under."""
    return {"COMPLETED": 1, "FAILED": 2, "TIMEOUT": 2, "CANCELLED": 3}.get(states.to_status(job.state), 0)


class Source(Protocol):
    """Where the index reads a document when it is asked about its jobs."""

    @property
    def place(self) -> Any:
        """The Place where it is found, in all its versions."""

    @property
    def document(self) -> Any:
        """The run or single job."""

    @property
    def facts(self) -> Any:
        """Its facts."""

    def parse(self) -> Any:
        """Return a document of the caller's own; safe in any thread."""


class JobSource(NamedTuple):
    """A job and the source that knows it.

    After each change of its document the source is another one.
    """

    job_id: str
    source: Source


class JobIndex:
    """The submitted jobs by cluster and id, by submission and by end.

    Holds some ten numbers of each; an entry is made from its document when it is asked for.
    """

    def __init__(self) -> None:
        self.version = 0
        self._jobs: dict[str, Place] = {}
        self._whole_ids: dict[str, str] = {}  # by the key of a part's own number
        self._by_submission = Timeline("BdO")  # columns: outcome, running time (-1 for none), place
        self._by_end = Timeline("O")  # column: place
        self._recent_entries = BoundedCache(RECENT_BYTES)  # by source: entries by job id

    def follow(self, old: Source | None, new: Source | None) -> None:
        """Follow the source of a document that was written, read or deleted."""
        before: Facts | None = old.facts if old else None
        after: Facts | None = new.facts if new else None
        if not (before and before.jobs) and not (after and after.jobs):
            return
        if old is None or new is None or operator.ne(*list_changed_entries(old.document, new.document)):
            self.version += 1
        was, now = _list_jobs(before), _list_jobs(after)
        place = (new or old).place  # type: ignore[union-attr]
        self._recent_entries.drop(old)
        self._remove_jobs(place, was - now)
        self._add_jobs(place, now - was)

    def load(self, loaded: LoadedFiles) -> None:
        """Follow documents that were not there before."""
        columns = loaded.get_column("jobs"), loaded.get_column("cluster"), loaded.names
        jobs = list(chain.from_iterable(columns[0]))
        keys = [f"{cluster} {job[0]}" for own, cluster, _ in zip(*columns, strict=True) for job in own]
        single = [Place(loaded.folder, name) for name in loaded.names]
        places = [place for place, own in zip(single, columns[0], strict=True) for _ in own]
        if not jobs:
            return
        self.version += 1
        _, submitted, ended, runtimes_s, outcomes, numbers = zip(*jobs, strict=True)
        runtimes_s = tuple([-1.0 if runtime_s is None else runtime_s for runtime_s in runtimes_s])
        self._by_submission.extend(submitted, keys, outcomes, runtimes_s, places)
        have_ended = [at is not None for at in ended]
        self._by_end.extend(*(compress(column, have_ended) for column in (ended, keys, places)))
        newest = dict(zip(keys, places, strict=True))
        if len(newest) == len(keys) and not any(numbers) and self._jobs.keys().isdisjoint(newest):
            self._jobs.update(newest)
            return
        # Ids that came more than once, the newest job last, or parts with numbers of their own.
        rows = list(zip(keys, map(restore_job, jobs), places, strict=True))
        rows.sort(key=lambda row: row[1].submitted)
        for key, job, _ in rows:
            self._note_parts(key, job)
        for key, job, place in {row[0]: row for row in rows}.values():
            self._note_job(key, job, place)

    def sort(self) -> None:
        """Sort what was loaded, before anybody asks."""
        self._by_submission.sort()
        self._by_end.sort()

    def _remove_jobs(self, place: Place, jobs: set[tuple[str, SubmittedJob]]) -> None:
        """Remove jobs as they were, by key."""
        for key, job in jobs:
            if self._jobs.get(key) == place:
                del self._jobs[key]
            for number in job.numbers:
                self._whole_ids.pop(_join_key(_split_cluster(key), str(number)), None)
            self._by_submission.drop(job.submitted, key)
            if job.ended is not None:
                self._by_end.drop(job.ended, key)

    def _add_jobs(self, place: Place, jobs: set[tuple[str, SubmittedJob]]) -> None:
        """Add jobs by key."""
        for key, job in jobs:
            self._note_job(key, job, place)
            self._note_parts(key, job)
            self._by_submission.add(job.submitted, key, *_pick_columns(job), place)
            if job.ended is not None:
                self._by_end.add(job.ended, key, place)

    def _note_job(self, key: str, job: SubmittedJob, place: Place) -> None:
        """Note where the newest job with this key is."""
        known = self._jobs.get(key)
        if known is None or self._is_later(job, known):
            self._jobs[key] = place

    def _note_parts(self, key: str, job: SubmittedJob) -> None:
        """Note the numbers of the parts of a job with this key."""
        for number in job.numbers:
            self._whole_ids[_join_key(_split_cluster(key), str(number))] = job.job_id

    @staticmethod
    def _is_later(sent: SubmittedJob, other: Place) -> bool:
        """Tell whether this is the newest job with its id.

        A cluster that was set up anew counts from 1 again.
        """
        submissions = (job.submitted for job in other.source.facts.jobs if job.job_id == sent.job_id)
        return sent.submitted >= next(iter(submissions), sent.submitted)

    def find_source(self, cluster: str, job_id: str) -> Source | None:
        """Return the source of the cluster's job with this id; None if unknown."""
        place = self._jobs.get(_join_key(cluster, job_id))
        return None if place is None else place.source

    def get(self, cluster: str, job_id: str) -> JobEntry | None:
        """Return the cluster's job with this id; None if not from here."""
        source = self.find_source(cluster, job_id)
        return None if source is None else self.build_entry(source, job_id)

    def find_submission(self, cluster: str, job_id: str) -> JobRecord | RunJob | None:
        """Return what was submitted as this job, or as its whole.

        None if it is not from here.
        """
        whole_id = get_whole_id(job_id)
        source = self.find_source(cluster, whole_id)
        document: Run | JobRecord | None = None if source is None else source.document
        if not isinstance(document, Run):
            return document
        return next(job for job in document.jobs if any(attempt.job_id == whole_id for attempt in job.attempts))

    def get_part(self, cluster: str, job_id: str) -> JobEntry | None:
        """Return an ended part of a job from here; None if unknown.

        By its id, or by its own number.
        """
        whole_id = self._whole_ids.get(_join_key(cluster, job_id)) or get_whole_id(job_id)
        source = self.find_source(cluster, whole_id)
        if source is None:
            return None
        document = source.document
        submitted = [document] if isinstance(document, JobRecord) else _list_attempts(document)
        parts = [item for sent in submitted if sent.job_id == whole_id for item in sent.parts.items()]
        found = next((item for item in parts if job_id in (item[0], str(item[1].raw_id))), None)
        if found is None:
            return None
        part_id, part = found
        names = ("raw_id", "state", "reason", "exit_code", "started_at", "ended_at", "stdout", "stderr")
        own = {name: getattr(part, name) for name in names}
        return replace(self.build_entry(source, whole_id), job_id=part_id, **own)

    def build_entry(self, source: Source, job_id: str) -> JobEntry:
        """Return the job with this id from the source's document, which has it."""
        return self._load_entries(source)[job_id]

    async def list_newest(self, limit: int | None = None) -> list[JobEntry]:
        """List at most `limit` jobs, last submitted first.

        Their documents are read and parsed in a thread, some at a time.
        """
        last = len(self._by_submission)
        first = 0 if limit is None else last - min(limit, last)
        rows = zip(self._by_submission.keys[first:], self._by_submission.get_column(2)[first:], strict=True)
        chosen = [(_split_job_id(key), place.source) for key, place in reversed(list(rows))]
        found: dict[Source, Any] = {source: self._recent_entries.get(source) for _, source in chosen}
        missing = [source for source, entries in found.items() if entries is None]
        for at in range(0, len(missing), SOURCES_PER_STEP):
            some = missing[at : at + SOURCES_PER_STEP]
            read = await asyncio.to_thread(_read_entries, some)
            found |= {source: self._keep_entries(source, made) for source, made in zip(some, read, strict=True)}
        return [found[source][job_id] for job_id, source in chosen]

    def list_ended_since(self, since: str, cluster: str, most: int = MOST_ENDED) -> list[JobSource]:
        """List the cluster's jobs that ended at or after this time.

        Last ended first, so many at most of all clusters.
        """
        first = max(self._by_end.count_before(_parse_time(since or None) or 0.0), len(self._by_end) - most)
        late = zip(self._by_end.keys[first:], self._by_end.get_column(0)[first:], strict=True)
        return [
            JobSource(_split_job_id(key), place.source)
            for key, place in reversed(list(late))
            if key == _join_key(cluster, _split_job_id(key))
        ]

    def compute_stats(self, since: str | None, until: str | None) -> dict[str, Any]:
        """Count the jobs submitted in a period by outcome; average their runtime.

        Both times are included. Raises Invalid for a day that no month has.
        """
        first, last = _parse_bound(since, "from", to_epoch), _parse_bound(until, "to", to_day_end)
        part = slice(
            0 if first is None else self._by_submission.count_before(first),
            None if last is None else self._by_submission.count_until(last),
        )
        outcomes, runtimes = (
            self._by_submission.get_column(0)[part],
            [runtime_s for runtime_s in self._by_submission.get_column(1)[part] if runtime_s >= 0],
        )
        counts = {word: outcomes.count(at) for at, word in enumerate(OUTCOMES) if at}
        mean = sum(runtimes) / len(runtimes) if runtimes else None
        return {"total": len(outcomes), **counts, "avg_runtime_seconds": mean}

    def _load_entries(self, source: Source) -> dict[str, JobEntry]:
        """Return a document's entries by job id; recent ones stay made."""
        entries: dict[str, JobEntry] | None = self._recent_entries.get(source)
        if entries is None:
            entries = self._keep_entries(source, list_entries(source.document))
        return entries

    def _keep_entries(self, source: Source, made: Iterable[JobEntry]) -> dict[str, JobEntry]:
        """Keep the entries of a document, by job id."""
        entries = {entry.job_id: entry for entry in made}
        size_bytes = sum(ENTRY_BYTES + len(entry.command or "") for entry in entries.values())
        self._recent_entries.put(source, entries, min(size_bytes, RECENT_BYTES - ITEM_BYTES))
        return entries


def _read_entries(sources: Iterable[Source]) -> list[list[JobEntry]]:
    """Read the documents of these sources and list the entries of each."""
    return [list_entries(source.parse()) for source in sources]


# Entries are kept up to so many bytes; one takes some ENTRY_BYTES beside its command.
RECENT_BYTES = 4_000_000
ENTRY_BYTES = 600
# Documents that are read in a thread in one go: some 3 ms.
SOURCES_PER_STEP = 50


def _join_key(cluster: str, job_id: str) -> str:
    """Return the key of a job among all clusters; no job id has a blank.

    >>> _join_key("embedded", "8_3"), _split_job_id("embedded 8_3")
    ('embedded 8_3', '8_3')
    """
    return f"{cluster} {job_id}"


def get_whole_id(job_id: str) -> str:
    """Return the id of the array or heterogeneous job that a part belongs to."""
    return job_id.partition("_")[0].partition("+")[0]


def _split_job_id(key: str) -> str:
    return key[key.rindex(" ") + 1 :]


def _split_cluster(key: str) -> str:
    return key[: key.rindex(" ")]


def _pick_columns(job: SubmittedJob) -> tuple[int, float]:
    """Return outcome and running time of a job, -1 for none."""
    return job.outcome, -1.0 if job.runtime_s is None else job.runtime_s


def _list_jobs(facts: Facts | None) -> set[tuple[str, SubmittedJob]]:
    """Return the jobs of a document, each with its key."""
    return {(_join_key(facts.cluster, job.job_id), job) for job in facts.jobs} if facts else set()


def _parse_bound(text: str | None, parameter: str, read: Callable[[str], float | None]) -> float | None:
    """Return the bound of a period in epoch seconds. Raises Invalid."""
    try:
        return None if text is None else read(text)
    except (ValueError, OverflowError):
        message = "there is no such day or time"
        raise Invalid([make_problem(message, ["query", parameter], type="datetime_parsing", input=text)]) from None
