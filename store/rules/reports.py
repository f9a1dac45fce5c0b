"""The rules of the srtslurm Status API: reports change records. Pure.

Reports may be lost, doubled or late, since nobody repeats them, so nothing is refused for coming in the wrong order: an
update without a submission makes a placeholder, a second submission takes nothing back, and a job may go on reporting
after its end. Nothing is deleted by a null.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from store.documents import JobRecord, Report, ReportEvent
from store.errors import NotFound, TooLarge
from store.jsons import dump_json
from store.rules import states
from store.times import to_epoch, to_rfc3339

ENDED = frozenset({"completed", "failed", "timeout"})
# Longer messages are shortened, not refused: the last report of a job must not be lost.
MESSAGE_CHARS = 2000
# A record keeps so many events: the first one and the last ones.
EVENTS = 1000
# Limit for metadata, artifacts and results of one job together.
MAX_REPORT_BYTES = 2_000_000
# Clocks of a cluster differ by up to SLACK_S; a job's last report may come LATE_S after its end.
SLACK_S = 60.0
LATE_S = 600.0
# SLURM is asked about a job for so long after the job reported its end.
RECENT_S = 3600.0

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")
OUR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SLURM_ID = re.compile(r"[1-9][0-9]{0,9}([_+][0-9]{1,9})?")


def to_record_name(job_id: str) -> str:
    """Return the name of the record for a reported job id.

    It is the id itself, unless that cannot be a file's name or looks like an id of ours.

    >>> to_record_name("123_4"), to_record_name("123+0"), to_record_name("a:b")
    ('123_4', '123+0', '_6783a31eabf68ccc0660f935c0826282')
    """
    if FILE_NAME.fullmatch(job_id) and not OUR_ID.fullmatch(job_id):
        return job_id
    return "_" + hashlib.sha256(job_id.encode()).hexdigest()[:32]


def is_slurm_id(job_id: str) -> bool:
    """Return whether SLURM may be asked about a job of this id.

    >>> is_slurm_id("123_4"), is_slurm_id("123+0"), is_slurm_id("local-1")
    (True, True, False)
    """
    return SLURM_ID.fullmatch(job_id) is not None


# --- requests that change a record -----------------------------------------------------------------------------------


def apply_submission(
    record: JobRecord | None, body: Mapping[str, Any], number: int, now: float, user: str
) -> JobRecord:
    """Apply a reported submission; return the same object if nothing changed.

    `number` is the id of an event that may be needed, `now` is epoch seconds.
    """
    heard_at = to_rfc3339(now) or ""
    if record is None or record.report is None:
        report = Report(
            job_id=body["job_id"],
            job_name=body["job_name"],
            submitted_at=body["submitted_at"],
            cluster=body.get("cluster"),
            recipe=body.get("recipe"),
            metadata=body.get("metadata"),
            status="submitted",
            updated_at=body["submitted_at"],
            heard_at=heard_at,
            events=[ReportEvent(id=number, status="submitted", created_at=body["submitted_at"])],
        )
        return _put_report(record, report, user)
    before = record.report
    changed: dict[str, Any] = {key: getattr(before, key) or body.get(key) for key in ("cluster", "recipe")}
    changed["metadata"] = merge_values(before.metadata, body.get("metadata"))
    changed["placeholder"] = False
    if before.placeholder and before.job_name == f"job-{before.job_id}":  # it has not said its name
        changed["job_name"] = body["job_name"]
    if (parse_reported_time(body["submitted_at"]) or now) < (parse_reported_time(before.submitted_at) or now):
        changed["submitted_at"] = body["submitted_at"]
    after = before.model_copy(update=changed)
    # A report that only repeats what is known changes nothing, not even heard_at.
    return record if after == before else _put_report(record, after.model_copy(update={"heard_at": heard_at}), user)


def apply_update(
    record: JobRecord | None, job_id: str, body: Mapping[str, Any], number: int, now: float, user: str
) -> JobRecord:
    """Apply a status update of a job.

    Without a known submission the record is a placeholder. What is absent or null in `body` stays as it was; metadata
    and artifacts are merged.
    """
    values = {key: value for key, value in body.items() if value is not None}
    if "exit_code" in values:
        values["exit_code"] = int(values["exit_code"])  # 1.0 is an integer in JSON
    at = values.get("updated_at") or to_rfc3339(now) or ""
    message = shorten_message(values.get("message"))
    metadata = values.get("metadata") or {}
    if record is None or record.report is None:
        before = Report(
            job_id=job_id,
            job_name=_find_name(metadata) or f"job-{job_id}",
            cluster=metadata["cluster"] if isinstance(metadata.get("cluster"), str) else None,
            status=values["status"],
            submitted_at=values.get("started_at") or at,
            updated_at=at,
            heard_at="",
            placeholder=True,
        )
    else:
        before = record.report
    changed: dict[str, Any] = {key: values.get(key, getattr(before, key)) for key in UPDATED_FIELDS}
    changed |= {
        "message": before.message if message is None else message,
        "updated_at": at,
        "heard_at": to_rfc3339(now) or "",
    }
    changed |= {key: merge_values(getattr(before, key), values.get(key)) for key in ("metadata", "artifacts")}
    if values["status"] not in ENDED:
        changed["slurm_state"] = None  # the job runs, as after a requeue; otherwise SLURM will report its end again
    if before.placeholder and before.job_name == f"job-{job_id}":
        changed["job_name"] = _find_name(metadata) or before.job_name
    event = ReportEvent(id=number, status=values["status"], stage=values.get("stage"), message=message, created_at=at)
    changed["events"] = _add_event(before.events, event)
    return _put_report(record, before.model_copy(update=changed), user)


UPDATED_FIELDS = ("status", "stage", "started_at", "completed_at", "exit_code", "logs_url", "benchmark_results")


def apply_end(record: JobRecord, job: Mapping[str, Any], number: int, now: float) -> JobRecord:
    """Apply what SLURM says about the job's end.

    If the job did not report its end, an event says that SLURM did. Otherwise SLURM's state stands beside the report.
    """
    before = record.report
    if before is None:
        return record
    state, at = job["state"], to_rfc3339(now) or ""
    if before.status in ENDED:
        return record.model_copy(update={"report": before.model_copy(update={"slurm_state": state})})
    message = f"SLURM says {state}; the job ended without reporting it"
    changed = {
        "status": STATUS.get(states.to_status(state), "failed"),
        "slurm_state": state,
        "message": message,
        "updated_at": at,
        "completed_at": to_rfc3339(job["end_time"]) or at,
        "exit_code": job["exit_code"] if before.exit_code is None else before.exit_code,
    }
    event = ReportEvent(
        id=number, status=changed["status"], stage=before.stage, message=message, created_at=at, source="slurm"
    )
    changed["events"] = _add_event(before.events, event)
    return record.model_copy(update={"report": before.model_copy(update=changed)})


# Status API words for SLURM's end states; all others are "failed".
STATUS = {"COMPLETED": "completed", "TIMEOUT": "timeout"}


def merge_values(old: Any, new: Any) -> Any:
    """Merge two objects deeply; new values win, but null removes nothing.

    >>> merge_values({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": None, "z": 4}, "c": None})
    {'a': {'x': 1, 'y': 2, 'z': 4}, 'b': 3, 'c': None}
    """
    if new is None:
        return old
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: merge_values(old.get(key), value) for key, value in new.items()}}


def shorten_message(message: str | None) -> str | None:
    """Shorten a very long message."""
    return message if message is None or len(message) <= MESSAGE_CHARS else message[: MESSAGE_CHARS - 1] + "…"


def parse_reported_time(text: str) -> float | None:
    """Convert a time as a job wrote it to epoch seconds.

    None for a date that does not exist.
    """
    try:
        return to_epoch(text)
    except (ValueError, OverflowError):
        return None


def _find_name(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("job_name")
    return name if isinstance(name, str) and name else None


def _add_event(events: list[ReportEvent], event: ReportEvent) -> list[ReportEvent]:
    """Add the event to the history, unless it repeats the last one."""
    if events and _summarize_event(events[-1]) == _summarize_event(event):
        return events
    return [*events[:1], *events[2 - EVENTS :], event] if len(events) >= EVENTS else [*events, event]


def _summarize_event(event: ReportEvent) -> tuple[str, str | None, str | None]:
    return event.status, event.stage, event.message


def _put_report(record: JobRecord | None, report: Report, user: str) -> JobRecord:
    """Put the report into the record; TooLarge when it is too long."""
    size = sum(len(dump_json(part)) for part in (report.metadata, report.artifacts, report.benchmark_results) if part)
    if size > MAX_REPORT_BYTES:
        raise TooLarge(MAX_REPORT_BYTES, "what the job has told in all")
    if record is not None:
        return record.model_copy(update={"report": report})
    return JobRecord(
        id=to_record_name(report.job_id), name=report.job_name, source="srtslurm", user=user, report=report
    )


# --- summaries for lists and rules ------------------------------------------------------------------------------------


class ReportSummary(NamedTuple):
    """The part of a report that is kept in memory for every job.

    `row` is its row in lists as JSON text; times are epoch seconds.
    """

    job_id: str
    job_name: str
    status: str
    stage: str | None
    cluster: str | None
    slurm_state: str | None
    submitted: float
    heard: float
    tags: tuple[str, ...]
    row: str
    events: tuple[int, ...]


def summarize_report(report: Report, row: str) -> ReportSummary:
    """Extract what is kept in memory of a report; `row` is its row in lists."""
    tags = (report.metadata or {}).get("tags")
    heard_s = parse_reported_time(report.heard_at) or 0.0
    return ReportSummary(
        job_id=report.job_id,
        job_name=report.job_name,
        status=report.status,
        stage=report.stage,
        cluster=report.cluster,
        slurm_state=report.slurm_state,
        submitted=parse_reported_time(report.submitted_at) or heard_s,
        heard=heard_s,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        row=row,
        events=tuple(event.id for event in report.events),
    )


def restore_summary(row: list[Any]) -> ReportSummary:
    """Rebuild a summary from the list that JSON made of it."""
    *same, tags, row_text, events = row
    return ReportSummary._make([*same, tuple(tags), row_text, tuple(events)])


def is_same_job(summary: ReportSummary, job: Mapping[str, Any], cluster: str, ahead_s: float = 0.0) -> bool:
    """Return whether SLURM's job of this id is the one that reported.

    A cluster that is set up anew counts ids anew, and other clusters use the same ids. So a report from before the
    job's submission or from long after its end belongs to another job. So does a report that names another cluster than
    `cluster`, unless the job's name is the same. SLURM's clock is `ahead_s` ahead of ours, by which we heard.
    """
    if summary.cluster not in (None, "", cluster) and summary.job_name != job["name"]:
        return False
    submitted, ended = job["submit_time"], job["end_time"] if job["state"] in states.TERMINAL else None
    heard = summary.heard + ahead_s
    return (submitted is None or heard >= submitted - SLACK_S) and (ended is None or heard <= ended + LATE_S)


def is_job_over(summary: ReportSummary, job: Mapping[str, Any] | None, cluster: str, ahead_s: float = 0.0) -> bool:
    """Return whether SLURM says that this very job has ended.

    `job` is SLURM's row.
    """
    return job is not None and job["state"] in states.TERMINAL and is_same_job(summary, job, cluster, ahead_s)


def is_awaited(summary: ReportSummary, now: float) -> bool:
    """Return whether SLURM may know more of the job than the report says."""
    if summary.slurm_state is not None or not is_slurm_id(summary.job_id):
        return False
    return summary.status not in ENDED or now - summary.heard < RECENT_S


def get_report(record: JobRecord | None, job_id: str) -> Report:
    """Return the report in the record; NotFound if it has none."""
    if record is None or record.report is None or record.report.job_id != job_id:
        raise NotFound("Job", job_id)
    return record.report
