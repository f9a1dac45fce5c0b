"""Every job that went through us, whoever started it: which document it belongs to, and how it ended.

The ledger follows the documents of runs and single jobs; it is never stored.
"""

from __future__ import annotations

import shlex
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from store.documents import Attempt, JobRecord, Run, RunJob
from store.errors import Invalid, make_problem
from store.indexes.timelines import Timeline
from store.rules import reports, runs, states
from store.times import to_day_end, to_epoch, to_rfc3339


@dataclass(frozen=True, slots=True)
class JobEntry:
    """One submitted job: an attempt of a run's job, or a single job. Times are RFC 3339."""

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
    gpus: int
    time_limit: str | None
    user: str | None
    run_id: str | None = None
    workflow_name: str | None = None

    @property
    def runtime_s(self) -> float | None:
        """Seconds from start to end; None when it never started or has not ended."""
        start, end = to_epoch(self.started_at), to_epoch(self.ended_at)
        return None if start is None or end is None else max(0.0, end - start)


def list_entries(document: Run | JobRecord | None) -> list[JobEntry]:
    """The submitted jobs of a document; none of none."""
    if document is None:
        return []
    if isinstance(document, Run):
        return [entry for job in document.jobs for entry in _build_run_entries(document, job)]
    return _build_record_entries(document)


def _build_run_entries(run: Run, job: RunJob) -> Iterator[JobEntry]:
    wanted = job.resources
    nodes = int(wanted.get("nodes") or 1)
    for attempt in job.attempts:
        if attempt.job_id is None:
            continue
        yield JobEntry(
            **_build_end_fields(attempt),
            cluster=run.cluster,
            name=job.name,
            command=job.command if isinstance(job.command, str | None) else shlex.join(job.command),
            depends_on=tuple(job.depends_on),
            partition=attempt.partition or wanted.get("partition"),
            nodes=nodes,
            gpus=nodes * int(wanted.get("gpus_per_node") or 0),
            time_limit=wanted.get("time_limit"),
            user=None,
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
            gpus=record.gpus or 0,
            time_limit=None,
            user=record.user,
        )
    ]


def _build_end_fields(attempt: Any) -> dict[str, Any]:
    same = ("job_id", "state", "reason", "exit_code", "started_at", "ended_at", "stdout", "stderr")
    submitted = attempt.submitted_at or attempt.intended_at or to_rfc3339(0)
    return {**{key: getattr(attempt, key) for key in same}, "submitted_at": submitted}


class SubmittedJob(NamedTuple):
    """One submitted job as far as counts and orders need it; times in epoch seconds."""

    job_id: str
    submitted: float
    ended: float | None
    runtime_s: float | None
    outcome: int


class Facts(NamedTuple):
    """The little of a run or a single job that lists, counts and retention need of all of them at once.

    `open` says whether anything of it may still change without a request. Times are epoch seconds, None where the
    document names none.
    """

    open: bool
    status: str
    group: str
    started: float | None
    completed: float | None
    sweep: int | None
    cluster: str
    jobs: tuple[SubmittedJob, ...]
    report: reports.ReportSummary | None = None


def build_facts(document: Run | JobRecord) -> Facts:
    """The facts of a document."""
    sent = tuple(
        SubmittedJob(
            one.job_id,
            _parse_time(one.submitted_at or one.intended_at) or 0.0,
            ended,
            _measure_runtime(one, ended),
            _classify_outcome(one),
        )
        for one in ([document] if isinstance(document, JobRecord) else _list_attempts(document))
        if one.job_id is not None
        for ended in [_parse_time(one.ended_at)]
    )
    if isinstance(document, JobRecord):
        state = document.state or ""
        started, ended = _parse_time(document.submitted_at or document.intended_at), _parse_time(document.ended_at)
        told = None if document.report is None else reports.summarize_report(document.report)
        # What is only reported is never followed by its tag: it may be a job that no SLURM here ever had.
        is_open = state not in states.TERMINAL and (told is None or bool(sent) or document.tag is not None)
        return Facts(is_open, state, "", started, ended, None, document.cluster, sent, told)
    started, ended = _parse_time(document.started_at), _parse_time(document.completed_at)
    group, sweep = document.workflow_name, document.sweep_run_id
    return Facts(runs.is_open(document), document.status, group, started, ended, sweep, document.cluster, sent)


def restore_facts(row: list[Any]) -> Facts:
    """The facts that were JSON in the meantime."""
    *same, jobs, told = row
    again = None if told is None else reports.restore_summary(told)
    return Facts._make([*same, tuple(SubmittedJob._make(one) for one in jobs), again])


def _list_attempts(run: Run) -> list[Attempt]:
    return [attempt for job in run.jobs for attempt in job.attempts]


def _parse_time(text: str | None) -> float | None:
    """Epoch seconds; None also for what somebody wrote into a file that is no time."""
    try:
        return to_epoch(text)
    except (ValueError, OverflowError):
        return None


def _measure_runtime(one: Attempt | JobRecord, ended: float | None) -> float | None:
    started = _parse_time(one.started_at)
    return None if started is None or ended is None else max(0.0, ended - started)


OUTCOMES = ("other", "completed", "failed", "cancelled")


def _classify_outcome(one: Attempt | JobRecord) -> int:
    """The place in OUTCOMES of what the statistics count a job as."""
    return {"COMPLETED": 1, "FAILED": 2, "TIMEOUT": 2, "CANCELLED": 3}.get(states.to_status(one.state), 0)


class Source(Protocol):
    """Where the ledger reads a document when it is asked about a job of it."""

    @property
    def document(self) -> Any:
        """The run or single job."""

    @property
    def facts(self) -> Any:
        """Its facts."""


class GivenDocument:
    """A document as its own source."""

    def __init__(self, document: Run | JobRecord) -> None:
        self.document = document
        self.facts = build_facts(document)
        self._identity = (type(document), document.cluster, document.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenDocument) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash(self._identity)


class JobSource(NamedTuple):
    """A job and the source that knows it, which is another one after each change of its document."""

    job_id: str
    source: Source


class JobIndex:
    """The submitted jobs by cluster and id, in the order of their submission, and in that of their ends.

    Holds some ten numbers of each; an entry is made from its document when it is asked for.
    """

    def __init__(self) -> None:
        self.version = 0
        self._sources: dict[str, Source] = {}
        self._by_submission = Timeline("BdO")  # by submission: outcome, running time (-1 for none), source
        self._by_end = Timeline("O")  # by end: source
        self._recent_entries: OrderedDict[Source, dict[str, JobEntry]] = OrderedDict()

    def follow_document(self, old: Run | JobRecord | None, new: Run | JobRecord | None) -> None:
        """Follow a document that was written, read or deleted."""
        self.follow(None if old is None else GivenDocument(old), None if new is None else GivenDocument(new))

    def follow(self, old: Source | None, new: Source | None) -> None:
        """Follow the source of a document that was written, read or deleted."""
        before: Facts | None = old.facts if old else None
        after: Facts | None = new.facts if new else None
        if not (before and before.jobs) and not (after and after.jobs):
            return
        if old is None or new is None or list_entries(old.document) != list_entries(new.document):
            self.version += 1
        if old is not None and before is not None:
            self._remove_jobs(old, before)
        if new is not None and after is not None:
            self._add_jobs(new, after)

    def _remove_jobs(self, old: Source, facts: Facts) -> None:
        self._recent_entries.pop(old, None)
        for one in facts.jobs:
            key = _join_key(facts.cluster, one.job_id)
            if self._sources.get(key) == old:
                del self._sources[key]
            self._by_submission.drop(one.submitted, key)
            if one.ended is not None:
                self._by_end.drop(one.ended, key)

    def _add_jobs(self, new: Source, facts: Facts) -> None:
        for one in facts.jobs:
            key = _join_key(facts.cluster, one.job_id)
            if self._is_later(one, self._sources.get(key)):
                self._sources[key] = new
            self._by_submission.add(
                one.submitted, key, one.outcome, -1.0 if one.runtime_s is None else one.runtime_s, new
            )
            if one.ended is not None:
                self._by_end.add(one.ended, key, new)

    @staticmethod
    def _is_later(sent: SubmittedJob, other: Source | None) -> bool:
        """Whether this is the job that its id means now: a cluster that was set up anew counts from 1 again."""
        same = (one.submitted for one in other.facts.jobs if one.job_id == sent.job_id) if other else ()
        return sent.submitted >= next(iter(same), sent.submitted)

    def find_source(self, cluster: str, job_id: str) -> Source | None:
        """What knows the job with this id on this cluster, if it went through us."""
        return self._sources.get(_join_key(cluster, job_id))

    def get(self, cluster: str, job_id: str) -> JobEntry | None:
        """The job with this id on this cluster, if it went through us."""
        source = self.find_source(cluster, job_id)
        return None if source is None else self.build_entry(source, job_id)

    def build_entry(self, source: Source, job_id: str) -> JobEntry:
        """The job with this id in the source's document, which has it."""
        return self._load_entries(source)[job_id]

    def list_newest(self, limit: int | None = None) -> list[JobEntry]:
        """The jobs, last submitted first; at most `limit`."""
        last = len(self._by_submission)
        first = 0 if limit is None else last - min(limit, last)
        chosen = zip(self._by_submission.keys[first:], self._by_submission.get_column(2)[first:], strict=True)
        return [self.build_entry(source, _split_job_id(key)) for key, source in reversed(list(chosen))]

    def list_ended_since(self, since: str, cluster: str) -> list[JobSource]:
        """The cluster's jobs that ended at or after this time, last ended first."""
        first = self._by_end.count_before(_parse_time(since or None) or 0.0)
        late = zip(self._by_end.keys[first:], self._by_end.get_column(0)[first:], strict=True)
        return [
            JobSource(_split_job_id(key), source)
            for key, source in reversed(list(late))
            if key == _join_key(cluster, _split_job_id(key))
        ]

    def compute_stats(self, since: str | None, until: str | None) -> dict[str, Any]:
        """Counts by outcome and the mean running time of the jobs submitted between the two times, both included.

        Raises Invalid for a day that no month has.
        """
        first, last = _parse_bound(since, "from", to_epoch), _parse_bound(until, "to", to_day_end)
        part = slice(
            0 if first is None else self._by_submission.count_before(first),
            None if last is None else self._by_submission.count_until(last),
        )
        outcomes, runtimes = (
            self._by_submission.get_column(0)[part],
            [one for one in self._by_submission.get_column(1)[part] if one >= 0],
        )
        counts = {word: outcomes.count(at) for at, word in enumerate(OUTCOMES) if at}
        mean = sum(runtimes) / len(runtimes) if runtimes else None
        return {"total": len(outcomes), **counts, "avg_runtime_seconds": mean}

    def _load_entries(self, source: Source) -> dict[str, JobEntry]:
        """The entries of a document by job id; those asked for lately are still there."""
        found = self._recent_entries.get(source)
        if found is not None:
            self._recent_entries.move_to_end(source)
            return found
        made = self._recent_entries[source] = {entry.job_id: entry for entry in list_entries(source.document)}
        if len(self._recent_entries) > RECENT_DOCUMENTS:
            self._recent_entries.popitem(last=False)
        return made


# Documents whose entries stay made.
RECENT_DOCUMENTS = 2000


def _join_key(cluster: str, job_id: str) -> str:
    """The name of a job among all: a job id has no blank in it.

    >>> _key("embedded", "8_3"), _job_id("embedded 8_3")
    ('embedded 8_3', '8_3')
    """
    return f"{cluster} {job_id}"


def _split_job_id(key: str) -> str:
    return key[key.rindex(" ") + 1 :]


def _parse_bound(text: str | None, parameter: str, read: Callable[[str], float | None]) -> float | None:
    try:
        return None if text is None else read(text)
    except (ValueError, OverflowError):
        message = "there is no such day or time"
        raise Invalid([make_problem(message, ["query", parameter], type="datetime_parsing", input=text)]) from None
