"""The model of jobs/ID.json: a job submitted or reported outside of a run."""

from __future__ import annotations

from typing import Any

from store.documents.models import VERSION, ServerFileModel
from store.documents.parts import Part
from store.documents.reports import Report


class StateChange(ServerFileModel):
    """A state that a job was seen in, and since when."""

    at: str
    state: str
    reason: str | None = None


class JobRecord(ServerFileModel):
    """One job submitted or reported through us, kept for ever.

    Also when SLURM has forgotten it. A report has a record named after its job id (see store.rules.reports); `job_id`
    is that of a job we submitted, `found_at` when one that was taken for lost turned up. `command` is the command, or
    the path of the script, that was given in place of a script; `environment` has what was given, secrets masked.
    `user` called us; `owner` and `uid` are the job's user in SLURM.
    """

    version: int = VERSION
    id: str
    cluster: str = ""
    name: str
    tag: str | None = None
    job_id: str | None = None
    script: str | None = None
    command: str | None = None
    environment: dict[str, str] = {}
    options: dict[str, Any] = {}
    work_dir: str | None = None
    source: str = ""
    user: str | None = None
    owner: str | None = None
    uid: int | None = None
    request_key: str | None = None
    request_hash: str | None = None
    intended_at: str | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    state: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    partition: str | None = None
    nodes: str | None = None
    node_count: int | None = None
    gpus: int | None = None
    memory_mb: int | None = None
    time_limit: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    error: str | None = None
    found_at: str | None = None
    history: list[StateChange] = []
    parts: dict[str, Part] = {}
    report: Report | None = None
