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
    for name, value in find_changes(attempt, view, now).items():
        setattr(attempt, name, value)


def find_changes(attempt: Attempt | JobRecord, view: JobView, now: float) -> dict[str, Any]:
    """Find the fields of the attempt or record that the view changes."""
    row, fields = view.job, dict[str, Any]()
    if row is not None and view.knowledge != "unknown":
        fields = {name: row[name] for name in ("state", "reason", "exit_code")}
        fields |= {name: row[name] or getattr(attempt, name) for name in ("stdout", "stderr", "nodes", "partition")}
        fields |= {"owner": row.get("user") or attempt.owner, "uid": row.get("uid", attempt.uid)}
        # What was asked for is known best at first: where memory is not counted, the queue shows that of one CPU later.
        fields["memory_mb"] = attempt.memory_mb or row.get("memory_mb")
        fields["started_at"], fields["ended_at"] = to_rfc3339(row["start_time"]), to_rfc3339(row["end_time"])
        if fields["state"] in states.TERMINAL and fields["ended_at"] is None:
            fields["ended_at"] = to_rfc3339(now)
        fields["parts"] = attempt.parts | _build_new_parts(attempt, row.get("ended_parts", {}))
    elif view.knowledge in ("absent", "replaced") and attempt.state not in states.TERMINAL:
        fields = {"state": states.LOST, "ended_at": to_rfc3339(now), "error": GONE}
        if view.knowledge == "replaced":
            fields |= {"reason": REUSED, "error": REPLACED.format(job_id=attempt.job_id)}
    return {name: value for name, value in fields.items() if value != getattr(attempt, name)}


def _build_new_parts(attempt: Attempt | JobRecord, rows: dict[str, dict[str, Any]]) -> dict[str, Part]:
    """Build the ended parts that are not known, or not as they are now."""
    known = attempt.parts
    return {
        part_id: _build_part(row, known.get(part_id))
        for part_id, row in rows.items()
        if part_id not in known
        or (known[part_id].state, known[part_id].ended_at) != (row["state"], to_rfc3339(row["end_time"]))
    }


def _build_part(row: dict[str, Any], known: Part | None) -> Part:
    """Build what is remembered of an ended task of an array."""
    fields: dict[str, Any] = {key: row[key] for key in ("raw_id", "state", "reason", "exit_code")}
    for key in ("stdout", "stderr", "nodes"):  # accounting does not know files
        fields[key] = row[key] or getattr(known, key, None)
    return Part(**fields, started_at=to_rfc3339(row["start_time"]), ended_at=to_rfc3339(row["end_time"]))
