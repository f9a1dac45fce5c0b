"""What SLURM knows of one job, and how that is written down. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from store.documents import Attempt, JobRecord, Part, RunJob
from store.rules import states
from store.times import to_rfc3339

REUSED = "JobIdReused"
GONE = "SLURM no longer knows this job, and accounting does not say how it ended"
REPLACED = "lost by the cluster: it counts its job ids anew, and {job_id} is another job now"
UNSURE = (
    "whether SLURM took this job cannot be found out: it was away for longer than SLURM remembers, and there is no "
    "accounting; look for a job with {tag} in its comment, and run this again if there is none"
)


class JobView(NamedTuple):
    """What SLURM knows of one job.

    `knowledge` is "seen" (then `job` is SLURM's row), "absent" (`job` is how it ended, None if it is nowhere),
    "replaced" (another job has its id), "unknown" (nobody can say yet) or "lost". Only the look-up by tag gives "lost":
    SLURM may have had the job and forgotten it, and there is no accounting to ask.
    """

    knowledge: str
    job: dict[str, Any] | None = None


Tried = Attempt | JobRecord
Wanted = RunJob | JobRecord  # what was to be submitted
ById = Callable[[Tried, Wanted], JobView]  # by job id
ByTag = Callable[[Tried, Wanted], JobView]  # by tag, for what has no job id yet


def make_tag() -> str:
    """Make a unique tag for an attempt; it travels in the job's comment."""
    return f"sluice:{uuid.uuid4().hex}"


def adopt_job(attempt: Attempt | JobRecord, view: JobView, now: float) -> None:
    """Write the job found by its tag into the attempt or record.

    A job that is lost ends the attempt with state LOST.
    """
    if view.knowledge == "seen" and view.job is not None:
        attempt.job_id, attempt.error = view.job["job_id"], None
        attempt.submitted_at = to_rfc3339(view.job["submit_time"]) or to_rfc3339(now)
    elif view.knowledge == "lost":
        attempt.state, attempt.ended_at = states.LOST, to_rfc3339(now)
        attempt.error = UNSURE.format(tag=attempt.tag)


def apply_view(attempt: Attempt | JobRecord, view: JobView, now: float) -> None:
    """Write what SLURM says of the job into the attempt or record.

    A view that is unknown changes nothing.
    """
    row = view.job
    if row is not None and view.knowledge != "unknown":
        attempt.state, attempt.reason, attempt.exit_code = row["state"], row["reason"], row["exit_code"]
        attempt.started_at, attempt.ended_at = to_rfc3339(row["start_time"]), to_rfc3339(row["end_time"])
        attempt.stdout = row["stdout"] or attempt.stdout
        attempt.stderr = row["stderr"] or attempt.stderr
        attempt.nodes = row["nodes"] or attempt.nodes
        attempt.partition = row["partition"] or attempt.partition
        # What was asked for is known best at first: where memory is not counted, the queue shows that of one CPU later.
        attempt.memory_mb = attempt.memory_mb or row.get("memory_mb")
        for part_id, part in row.get("ended_parts", {}).items():
            known = attempt.parts.get(part_id)
            if known is None or (known.state, known.ended_at) != (part["state"], to_rfc3339(part["end_time"])):
                attempt.parts[part_id] = _build_part(part, known)
        if attempt.state in states.TERMINAL and attempt.ended_at is None:
            attempt.ended_at = to_rfc3339(now)
    elif view.knowledge in ("absent", "replaced") and attempt.state not in states.TERMINAL:
        attempt.state, attempt.ended_at = states.LOST, to_rfc3339(now)
        attempt.error = GONE
        if view.knowledge == "replaced":
            attempt.reason, attempt.error = REUSED, REPLACED.format(job_id=attempt.job_id)


def _build_part(row: dict[str, Any], known: Part | None) -> Part:
    """Build what is remembered of an ended task of an array."""
    fields: dict[str, Any] = {key: row[key] for key in ("raw_id", "state", "reason", "exit_code")}
    for key in ("stdout", "stderr", "nodes"):  # accounting does not know files
        fields[key] = row[key] or getattr(known, key, None)
    return Part(**fields, started_at=to_rfc3339(row["start_time"]), ended_at=to_rfc3339(row["end_time"]))
