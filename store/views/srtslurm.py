"""Jobs that report of themselves, as the srtslurm Status API shows them."""

from __future__ import annotations

from typing import Any

from store.documents import Report, ReportEvent
from store.jsons import dump_json

SUMMARY = (
    "job_id", "job_name", "status", "stage", "cluster", "submitted_at", "updated_at", "message", "completed_at",
    "exit_code",
)  # fmt: skip
DETAIL = (
    "job_id", "job_name", "status", "stage", "cluster", "recipe", "submitted_at", "updated_at", "message", "started_at",
    "completed_at", "exit_code", "logs_url", "benchmark_results", "metadata", "artifacts", "slurm_state",
)  # fmt: skip


def to_job_json(report: Report) -> dict[str, Any]:
    """Build a job as it reported itself, with its events.

    What SLURM says of it now is added by the caller.
    """
    return {
        **{key: getattr(report, key) for key in DETAIL},
        "events": [to_event_json(report, event) for event in report.events],
    }


def to_event_json(report: Report, event: ReportEvent) -> dict[str, Any]:
    """Build one event of a job."""
    facts = {key: getattr(event, key) for key in ("status", "stage", "message", "created_at", "source")}
    return {"id": event.id, "job_id": report.job_id, **facts}


def to_row_text(report: Report) -> str:
    """Build the job's row in lists, as JSON text."""
    return dump_json({key: getattr(report, key) for key in SUMMARY}).decode()
