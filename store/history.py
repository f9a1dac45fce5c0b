"""Every job that went through us, whoever started it: which document it belongs to, and how it ended.

The ledger follows the documents of runs and single jobs; it is never stored.
"""

from __future__ import annotations

import bisect
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from store import states
from store.documents import JobRecord, Run, RunJob
from store.errors import Invalid, problem
from store.times import day_end, epoch, rfc3339


@dataclass(frozen=True, slots=True)
class Entry:
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
        start, end = epoch(self.started_at), epoch(self.ended_at)
        return None if start is None or end is None else max(0.0, end - start)


def entries(document: Run | JobRecord | None) -> list[Entry]:
    """The submitted jobs of a document; none of none."""
    if document is None:
        return []
    if isinstance(document, Run):
        return [entry for job in document.jobs for entry in _attempts(document, job)]
    return _record(document)


def _attempts(run: Run, job: RunJob) -> Iterator[Entry]:
    wanted = job.resources
    nodes = int(wanted.get("nodes") or 1)
    for attempt in job.attempts:
        if attempt.job_id is None:
            continue
        yield Entry(
            **_end(attempt),
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


def _record(record: JobRecord) -> list[Entry]:
    if record.job_id is None:
        return []
    return [
        Entry(
            **_end(record),
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


def _end(attempt: Any) -> dict[str, Any]:
    same = ("job_id", "state", "reason", "exit_code", "started_at", "ended_at", "stdout", "stderr")
    submitted = attempt.submitted_at or attempt.intended_at or rfc3339(0)
    return {**{key: getattr(attempt, key) for key in same}, "submitted_at": submitted}


class Ledger:
    """The entries by cluster and job id, and in the order of their submission."""

    def __init__(self) -> None:
        self.version = 0
        self._by_id: dict[tuple[str, str], Entry] = {}
        self._order: list[tuple[str, str, str]] = []  # (submitted_at, cluster, job id), oldest first
        self._ends: list[tuple[str, str, str]] = []  # (ended_at, cluster, job id) of those that ended

    def changed(self, old: Run | JobRecord | None, new: Run | JobRecord | None) -> None:
        """Follow a document that was written, read or deleted."""
        before, after = entries(old), entries(new)
        if before == after:
            return
        self.version += 1
        for entry in before:
            self._by_id.pop((entry.cluster, entry.job_id), None)
            _drop(self._order, (entry.submitted_at, entry.cluster, entry.job_id))
            _drop(self._ends, (entry.ended_at or "", entry.cluster, entry.job_id))
        for entry in after:
            self._by_id[entry.cluster, entry.job_id] = entry
            bisect.insort(self._order, (entry.submitted_at, entry.cluster, entry.job_id))
            if entry.ended_at:
                bisect.insort(self._ends, (entry.ended_at, entry.cluster, entry.job_id))

    def get(self, cluster: str, job_id: str) -> Entry | None:
        """The job with this id on this cluster, if it went through us."""
        return self._by_id.get((cluster, job_id))

    def newest(self, limit: int | None = None) -> list[Entry]:
        """The jobs, last submitted first; at most `limit`."""
        chosen = self._order if limit is None else self._order[len(self._order) - min(limit, len(self._order)) :]
        return [self._by_id[cluster, job_id] for _, cluster, job_id in reversed(chosen)]

    def ended_since(self, since: str, cluster: str) -> list[Entry]:
        """The cluster's jobs that ended at or after this time, last ended first."""
        late = self._ends[bisect.bisect_left(self._ends, (since, "", "")) :]
        return [self._by_id[where, job_id] for _, where, job_id in reversed(late) if where == cluster]

    def stats(self, since: str | None, until: str | None) -> dict[str, Any]:
        """Counts by outcome and the mean running time of the jobs submitted between the two times, both included.

        Raises Invalid for a day that no month has.
        """
        first = rfc3339(_asked(since, "from", epoch)) or ""
        last = _asked(until, "to", day_end)
        counts = {"total": 0, "completed": 0, "failed": 0, "cancelled": 0}
        runtimes = []
        for submitted_at, cluster, job_id in self._order[bisect.bisect_left(self._order, (first, "", "")) :]:
            if last is not None and (epoch(submitted_at) or 0) > last:
                break
            entry = self._by_id[cluster, job_id]
            counts["total"] += 1
            for key, among in (
                ("completed", ("COMPLETED",)),
                ("failed", ("FAILED", "TIMEOUT")),
                ("cancelled", ("CANCELLED",)),
            ):
                counts[key] += states.word(entry.state) in among
            if entry.runtime_s is not None:
                runtimes.append(entry.runtime_s)
        return {**counts, "avg_runtime_seconds": sum(runtimes) / len(runtimes) if runtimes else None}


def _asked(text: str | None, parameter: str, read: Callable[[str], float | None]) -> float | None:
    try:
        return None if text is None else read(text)
    except (ValueError, OverflowError):
        message = "there is no such day or time"
        raise Invalid([problem(message, ["query", parameter], type="datetime_parsing", input=text)]) from None


def _drop(places: list[tuple[str, str, str]], place: tuple[str, str, str]) -> None:
    at = bisect.bisect_left(places, place)
    if at < len(places) and places[at] == place:
        del places[at]
