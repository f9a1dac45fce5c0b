"""The models of what a job reports of itself; kept within its record."""

from __future__ import annotations

from typing import Any, Literal

from store.documents.models import ServerFileModel


class ReportEvent(ServerFileModel):
    """A change that a job reported, or that SLURM showed.

    `id` grows over all jobs.
    """

    id: int
    status: str
    stage: str | None = None
    message: str | None = None
    created_at: str
    source: Literal["report", "slurm"] = "report"


class Report(ServerFileModel):
    """What a job has reported of itself.

    Times are as the job wrote them, except `heard_at`, when it was last heard. `placeholder` says that its submission
    was never reported; `slurm_state` how SLURM says that it ended.
    """

    job_id: str
    job_name: str
    status: str
    stage: str | None = None
    message: str | None = None
    cluster: str | None = None
    recipe: str | None = None
    submitted_at: str
    updated_at: str
    started_at: str | None = None
    completed_at: str | None = None
    exit_code: int | None = None
    logs_url: str | None = None
    benchmark_results: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    artifacts: dict[str, Any] | None = None
    slurm_state: str | None = None
    placeholder: bool = False
    heard_at: str
    events: list[ReportEvent] = []
