"""What jobs report of themselves (the srtslurm Status API): how a report changes a record, and what SLURM adds. Pure.

Reports may be lost, doubled or late, since nobody repeats them, so nothing is refused for coming in the wrong order: a
first word that is no submission makes a placeholder, a second submission takes nothing back, and an end is not the end
of what a job may tell. Nothing is deleted by a null.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from store.documents import JobRecord, Report, ReportEvent
from store.errors import NotFound, TooLarge
from store.rules import states
from store.times import to_epoch, to_rfc3339

ENDED = frozenset({"completed", "failed", "timeout"})
# A text longer than this is cut off: the last word of a job must not be lost because it is long.
MESSAGE_CHARS = 2000
# So many events stay in a record, the first one and the last ones.
EVENTS = 1000
# What a job may tell in metadata, artifacts and results together.
MAX_REPORT_BYTES = 2_000_000
# The clocks of a cluster differ a little; and a job's last words may come when it is over.
SLACK_S = 60.0
LATE_S = 600.0
# Of a job that told its end so long ago SLURM is not asked any more how it saw that.
RECENT_S = 3600.0

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")
OUR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SLURM_ID = re.compile(r"[1-9][0-9]{0,9}([_+][0-9]{1,9})?")
SUMMARY = (
    "job_id", "job_name", "status", "stage", "cluster", "submitted_at", "updated_at", "message", "completed_at",
    "exit_code",
)  # fmt: skip
DETAIL = (
    "job_id", "job_name", "status", "stage", "cluster", "recipe", "submitted_at", "updated_at", "message", "started_at",
    "completed_at", "exit_code", "logs_url", "benchmark_results", "metadata", "artifacts", "slurm_state",
)  # fmt: skip


def to_record_name(job_id: str) -> str:
    """The name of the record for a reported job id: the id itself, unless that cannot be a file's name of its own.

    >>> name_of("123_4"), name_of("123+0"), name_of("a:b")
    ('123_4', '123+0', '_6783a31eabf68ccc0660f935c0826282')
    """
    if FILE_NAME.fullmatch(job_id) and not OUR_ID.fullmatch(job_id):
        return job_id
    return "_" + hashlib.sha256(job_id.encode()).hexdigest()[:32]


def is_slurm_id(job_id: str) -> bool:
    """Whether SLURM may be asked about a job of this id.

    >>> is_slurms("123_4"), is_slurms("123+0"), is_slurms("local-1")
    (True, True, False)
    """
    return SLURM_ID.fullmatch(job_id) is not None


# --- what a request changes ------------------------------------------------------------------------------------------


def apply_submission(
    record: JobRecord | None, body: Mapping[str, Any], number: int, now: float, user: str
) -> JobRecord:
    """The record after a job's submission was told; the same object when there is nothing new in it.

    `number` is the id of an event that may be needed, `now` epoch seconds.
    """
    heard = to_rfc3339(now) or ""
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
            heard_at=heard,
            events=[ReportEvent(id=number, status="submitted", created_at=body["submitted_at"])],
        )
        return _put_report(record, report, user)
    before = record.report
    changed: dict[str, Any] = {key: getattr(before, key) or body.get(key) for key in ("cluster", "recipe")}
    changed["metadata"] = merge_values(before.metadata, body.get("metadata"))
    if before.placeholder:
        changed |= {"job_name": body["job_name"], "placeholder": False}
    if (parse_reported_time(body["submitted_at"]) or now) < (parse_reported_time(before.submitted_at) or now):
        changed["submitted_at"] = body["submitted_at"]
    after = before.model_copy(update=changed)
    # That it was heard once more is no news by itself.
    return record if after == before else _put_report(record, after.model_copy(update={"heard_at": heard}), user)


def apply_update(
    record: JobRecord | None, job_id: str, body: Mapping[str, Any], number: int, now: float, user: str
) -> JobRecord:
    """The record after a job has told how it is; a placeholder when its submission was never told.

    What is absent or null in `body` stays as it was; metadata and artifacts are merged.
    """
    told = {key: value for key, value in body.items() if value is not None}
    at = told.get("updated_at") or to_rfc3339(now) or ""
    message = shorten_message(told.get("message"))
    metadata = told.get("metadata") or {}
    if record is None or record.report is None:
        before = Report(
            job_id=job_id,
            job_name=_find_name(metadata) or f"job-{job_id}",
            cluster=metadata["cluster"] if isinstance(metadata.get("cluster"), str) else None,
            status=told["status"],
            submitted_at=told.get("started_at") or at,
            updated_at=at,
            heard_at="",
            placeholder=True,
        )
    else:
        before = record.report
    changed: dict[str, Any] = {key: told.get(key, getattr(before, key)) for key in UPDATED_FIELDS}
    changed |= {
        "message": before.message if message is None else message,
        "updated_at": at,
        "heard_at": to_rfc3339(now) or "",
    }
    changed |= {key: merge_values(getattr(before, key), told.get(key)) for key in ("metadata", "artifacts")}
    if told["status"] not in ENDED:
        changed["slurm_state"] = None  # it lives, as after a requeue; if it does not, SLURM will say so again
    if before.placeholder and before.job_name == f"job-{job_id}":
        changed["job_name"] = _find_name(metadata) or before.job_name
    event = ReportEvent(id=number, status=told["status"], stage=told.get("stage"), message=message, created_at=at)
    return _put_report(record, _add_event(before.model_copy(update=changed), event), user)


UPDATED_FIELDS = ("status", "stage", "started_at", "completed_at", "exit_code", "logs_url", "benchmark_results")


def apply_end(record: JobRecord, job: Mapping[str, Any], number: int, now: float) -> JobRecord:
    """The record after SLURM has said how the job ended; where its own last word is missing, an event says who said so.

    What a job told of its end stands beside what SLURM says.
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
    after = before.model_copy(update=changed)
    event = ReportEvent(
        id=number, status=after.status, stage=after.stage, message=message, created_at=at, source="slurm"
    )
    return record.model_copy(update={"report": _add_event(after, event)})


# The words of the Status API for the ends that SLURM tells; all others failed.
STATUS = {"COMPLETED": "completed", "TIMEOUT": "timeout"}


def merge_values(old: Any, new: Any) -> Any:
    """Both objects in one, deeply; what is new wins, but a null takes nothing away.

    >>> merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": None, "z": 4}, "c": None})
    {'a': {'x': 1, 'y': 2, 'z': 4}, 'b': 3, 'c': None}
    """
    if new is None:
        return old
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: merge_values(old.get(key), value) for key, value in new.items()}}


def shorten_message(message: str | None) -> str | None:
    """The message, or its beginning when it is very long."""
    return message if message is None or len(message) <= MESSAGE_CHARS else message[: MESSAGE_CHARS - 1] + "…"


def parse_reported_time(text: str) -> float | None:
    """Epoch seconds of a time as a job wrote it; None for a day that no month has."""
    try:
        return to_epoch(text)
    except (ValueError, OverflowError):
        return None


def _find_name(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("job_name")
    return name if isinstance(name, str) and name else None


def _add_event(report: Report, event: ReportEvent) -> Report:
    """The report with the event in its history, unless that says what the last one said."""
    events = report.events
    if events and _summarize_event(events[-1]) == _summarize_event(event):
        return report
    kept = [*events[:1], *events[2 - EVENTS :], event] if len(events) >= EVENTS else [*events, event]
    return report.model_copy(update={"events": kept})


def _summarize_event(event: ReportEvent) -> tuple[str, str | None, str | None]:
    return event.status, event.stage, event.message


def _put_report(record: JobRecord | None, report: Report, user: str) -> JobRecord:
    """The record with this report in it; TooLarge when it tells more than a record holds."""
    size = sum(len(orjson.dumps(one)) for one in (report.metadata, report.artifacts, report.benchmark_results) if one)
    if size > MAX_REPORT_BYTES:
        raise TooLarge(MAX_REPORT_BYTES, "what the job has told in all")
    if record is not None:
        return record.model_copy(update={"report": report})
    return JobRecord(
        id=to_record_name(report.job_id), name=report.job_name, source="srtslurm", user=user, report=report
    )


# --- what of it lists and rules need ---------------------------------------------------------------------------------


class ReportSummary(NamedTuple):
    """The little of a report that is held of all; `row` is its row in lists as JSON, times are epoch seconds."""

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


def summarize_report(report: Report) -> ReportSummary:
    """The little of a report."""
    tags = (report.metadata or {}).get("tags")
    heard = parse_reported_time(report.heard_at) or 0.0
    return ReportSummary(
        job_id=report.job_id,
        job_name=report.job_name,
        status=report.status,
        stage=report.stage,
        cluster=report.cluster,
        slurm_state=report.slurm_state,
        submitted=parse_reported_time(report.submitted_at) or heard,
        heard=heard,
        tags=tuple(one for one in tags if isinstance(one, str)) if isinstance(tags, list) else (),
        row=orjson.dumps({key: getattr(report, key) for key in SUMMARY}).decode(),
        events=tuple(one.id for one in report.events),
    )


def restore_summary(row: list[Any]) -> ReportSummary:
    """The little of a report that was JSON in the meantime."""
    *same, tags, shown, events = row
    return ReportSummary._make([*same, tuple(tags), shown, tuple(events)])


def is_same_job(one: ReportSummary, job: Mapping[str, Any], cluster: str) -> bool:
    """Whether SLURM's job of this id, on the cluster of this name, is the one that reported.

    Ids are counted anew by a cluster that was set up anew, and other clusters have the same ones: a report from before
    the job's submission or from long after its end is another job's, and so is one from a cluster of another name,
    unless the job is called the same.
    """
    if one.cluster not in (None, "", cluster) and one.job_name != job["name"]:
        return False
    begun, over = job["submit_time"], job["end_time"] if job["state"] in states.TERMINAL else None
    return (begun is None or one.heard >= begun - SLACK_S) and (over is None or one.heard <= over + LATE_S)


def is_job_over(one: ReportSummary, job: Mapping[str, Any] | None, cluster: str) -> bool:
    """Whether SLURM says that this very job is over; `job` is SLURM's row."""
    return job is not None and job["state"] in states.TERMINAL and is_same_job(one, job, cluster)


def is_awaited(one: ReportSummary, now: float) -> bool:
    """Whether SLURM may have something to say of the job that the report does not have."""
    if one.slurm_state is not None or not is_slurm_id(one.job_id):
        return False
    return one.status not in ENDED or now - one.heard < RECENT_S


# --- what is shown ---------------------------------------------------------------------------------------------------


def to_job_json(report: Report) -> dict[str, Any]:
    """A job as reported, with its history; without what SLURM says of it now."""
    return {
        **{key: getattr(report, key) for key in DETAIL},
        "events": [to_event_json(report, one) for one in report.events],
    }


def to_event_json(report: Report, one: ReportEvent) -> dict[str, Any]:
    """An event of the job."""
    told = {key: getattr(one, key) for key in ("status", "stage", "message", "created_at", "source")}
    return {"id": one.id, "job_id": report.job_id, **told}


def get_report(record: JobRecord | None, job_id: str) -> Report:
    """What the record says of the job; NotFound when that is nothing."""
    if record is None or record.report is None or record.report.job_id != job_id:
        raise NotFound("Job", job_id)
    return record.report
