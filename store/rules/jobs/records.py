"""Records of single jobs, written before sbatch is called. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.documents import JobRecord, StateChange
from store.errors import Invalid, make_problem
from store.rules import states
from store.rules.jobs.views import ById, ByTag, adopt_job, find_changes, make_tag
from store.times import to_rfc3339


def check_submission(body: dict[str, Any]) -> None:
    """Check a submission; raise Invalid with everything that is wrong."""
    reasons = []
    if (body.get("script_content") is None) == (body.get("script_path") is None):
        reasons.append(("script_content", "Exactly one of script_content and script_path is needed"))
    if body.get("script_path") is not None and not body.get("mount_name"):
        reasons.append(("mount_name", "script_path needs mount_name"))
    if body["notify"] and body.get("endpoint_id") is None:
        reasons.append(("endpoint_id", "notify needs endpoint_id"))
    if reasons:
        raise Invalid([make_problem(message, ["body", key], input=body.get(key)) for key, message in reasons])


def build_record(record_id: str, body: dict[str, Any], work_dir: Path, given: dict[str, Any], now: float) -> JobRecord:
    """Build the record of a job that is about to be submitted.

    `given` has the cluster, the script's text, the user who asks, and the request's hash. `now` is epoch seconds.
    """
    return JobRecord(
        id=record_id,
        name=body.get("job_name") or body["name"],
        tag=make_tag(),
        work_dir=str(work_dir),
        source="web",
        intended_at=to_rfc3339(now),
        **given,
    )


def find_record_due_time(record: JobRecord, now: float) -> float | None:
    """Find when to look at an open record again if nothing of it changes.

    None for never. At once while it is not known whether SLURM has taken the job.
    """
    is_unknown = record.job_id is None and record.state not in states.TERMINAL
    return now if is_unknown else None


def follow_record(record: JobRecord, by_id: ById, by_tag: ByTag, now: float) -> JobRecord | None:
    """Bring a single job's record up to date; None if it was never submitted.

    A request that was cut off between writing its record and sbatch leaves a record without a job id. Its job is
    adopted when SLURM has it; otherwise nobody was told that there is one. One that is as it was is the same object.
    """
    if record.state in states.TERMINAL:
        return record
    if record.job_id is None:
        record = record.model_copy()
        view = by_tag(record, record)
        if view.knowledge == "absent":
            return None
        adopt_job(record, view, now)
        if record.job_id is None:
            return record
    view = by_id(record, record)
    changes = find_changes(record, view, now)
    if view.job is not None:
        known = {name: view.job.get(name) for name in ("gpus", "node_count", "time_limit")}
        changes |= {name: value for name, value in known.items() if value not in (None, getattr(record, name))}
    if not changes:
        return record
    followed = record.model_copy(update=changes)
    if followed.state is not None and (followed.state, followed.reason) != (record.state, record.reason):
        change = StateChange(at=to_rfc3339(now) or "", state=followed.state, reason=followed.reason)
        followed.history = [*record.history, change]
    return followed


def reopen_record(record: JobRecord, now: float) -> JobRecord:
    """Reopen the record of a job that had ended and is queued anew."""
    ended = {"started_at": None, "ended_at": None, "exit_code": None, "reason": None, "error": None}
    history = [*record.history, StateChange(at=to_rfc3339(now) or "", state="PENDING")]
    return record.model_copy(update={"state": "PENDING", "history": history, **ended})
