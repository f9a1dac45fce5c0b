"""The model of runs/ID.json: a workflow run with its jobs and attempts."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from store.documents.models import VERSION, ServerFileModel
from store.documents.parts import Part

RunStatus = Literal["pending", "syncing", "submitting", "running", "completed", "failed", "cancelled"]
# At what a run failed before its jobs could, and the words that the text of such an error begins with.
ErrorKind = Literal["refused", "unsynced"]
# How SLURM refused a job: as slurm_shim.errors calls its classes.
Refusal = Literal["refused", "invalid", "denied", "conflict"]
ERROR_WORDS: dict[ErrorKind, str] = {"refused": "Submission failed: ", "unsynced": "Mount sync failed: "}


def find_error_kind(error: str) -> ErrorKind | None:
    """Find the kind of a run's error by its words.

    For files of a version that did not write the kind.
    """
    return next((kind for kind, words in ERROR_WORDS.items() if error.startswith(words)), None)


class Attempt(ServerFileModel):
    """One try of one job.

    `intended_at` is written before sbatch is called; `tag` finds the job again. `found_at` is when one that was taken
    for lost turned up. `owner` and `uid` are the job's user in SLURM.
    """

    number: int
    tag: str
    job_id: str | None = None
    state: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    intended_at: str | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    error: str | None = None
    found_at: str | None = None
    nodes: str | None = None
    partition: str | None = None
    owner: str | None = None
    uid: int | None = None
    memory_mb: int | None = None
    parts: dict[str, Part] = {}
    cancel_sent_at: str | None = None
    tries: int = 0
    retry_at: float | None = None


class RunJob(ServerFileModel):
    """One job of a run with all its attempts and what it left behind.

    `secrets` has the place of each secret in its environment, and where the value is: "config" or "workflow".
    """

    name: str
    depends_on: list[str] = []
    script: str | None = None
    script_file: str | None = None
    secrets: dict[str, str] = {}
    options: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    command: list[str] | str | None = None
    work_dir: str | None = None
    log_dir: str | None = None
    retry: int = 0
    retry_delay_s: int = 60
    not_before: float | None = None
    skipped: str | None = None
    attempts: list[Attempt] = []
    result: dict[str, Any] | None = None
    result_path: str | None = None
    result_error: str | None = None
    result_read: bool = False
    attempts_before: int = 0


class Run(ServerFileModel):
    """One workflow run or sweep cell; its jobs in topological order.

    Times are RFC 3339, `not_before` and `retry_at` epoch seconds. `started_at` is the run's last start; attempts up to
    `attempts_before` were made before it. `simulation` is the id of the one that this is the run of.
    """

    version: int = VERSION
    id: str
    workflow_name: str
    workflow_path: str | None = None
    mount: str | None = None
    args: dict[str, Any] = {}
    cluster: str = ""
    status: RunStatus = "syncing"
    syncs: bool = False
    work_dir: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    cancel_requested_at: str | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    refusal: Refusal | None = None
    sweep_run_id: int | None = None
    simulation: str | None = None
    triggered_by: str | None = None
    request_key: str | None = None
    request_hash: str | None = None
    rerun_key: str | None = None  # of the request that had it run again the last time
    rerun_hash: str | None = None
    jobs: list[RunJob] = []

    @model_validator(mode="after")
    def fill_error_kind(self) -> Self:
        """Find the kind by the error's words if an older version wrote none."""
        if self.error_kind is None and self.error:
            self.error_kind = find_error_kind(self.error)
        return self
