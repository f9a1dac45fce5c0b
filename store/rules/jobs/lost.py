"""Jobs that were taken for lost and turn up later. Pure.

Accounting may lag longer than anybody waits, and what is gone from the queue may come back with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from store.documents import JobRecord, Run, StateChange
from store.rules import runs, states
from store.rules.jobs.views import REUSED, JobView, Tried, Wanted, adopt_job, apply_view
from store.times import to_rfc3339

# For so long after it was taken for lost a job is looked for.
SOUGHT_S = 7 * 86_400.0

Document = TypeVar("Document", Run, JobRecord)


def list_lost(document: Run | JobRecord) -> list[tuple[Tried, Wanted]]:
    """List the jobs that were taken for lost, each with what was wanted."""
    pairs: list[tuple[Tried, Wanted]] = []
    if isinstance(document, JobRecord):
        pairs = [(document, document)]
    else:
        pairs += [(job.attempts[-1], job) for job in document.jobs if len(job.attempts) > job.attempts_before]
    return [(tried, wanted) for tried, wanted in pairs if tried.state == states.LOST and tried.tag]


def _is_guess(tried: Tried, views: Mapping[str, JobView]) -> bool:
    """Return whether accounting only guesses how the job ended.

    When slurmctld begins anew without its state, whatever ran until then is cancelled there (NODE_FAIL in later
    versions), though it may still run.
    """
    job = views[tried.tag or ""].job
    return tried.reason == REUSED and job is not None and job["state"] in ("CANCELLED", "NODE_FAIL")


def settle_lost_jobs(document: Document, views: Mapping[str, JobView], now: float) -> Document:
    """Write down what has become of jobs that were taken for lost.

    `views` has those that were found, by tag. A run that failed only for that goes on as its jobs say: what was skipped
    is judged again.
    """
    document = document.model_copy(deep=True)
    found = [pair for pair in list_lost(document) if pair[0].tag in views and not _is_guess(pair[0], views)]
    for tried, wanted in found:
        view = views[tried.tag or ""]
        if tried.job_id is None:
            adopt_job(tried, view._replace(knowledge="seen"), now)
        tried.error, tried.ended_at, tried.found_at = None, None, to_rfc3339(now)
        apply_view(tried, view, now)
        if isinstance(wanted, JobRecord):
            wanted.history.append(StateChange(at=to_rfc3339(now) or "", state=tried.state or "", reason=tried.reason))
        else:
            wanted.result_read = wanted.result is not None
    if found and isinstance(document, Run):
        runs.reopen_run(document)
    return document
