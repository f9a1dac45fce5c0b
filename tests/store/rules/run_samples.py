"""Runs, jobs and looks at SLURM made by hand, for tests of the rules of a run."""

from __future__ import annotations

from typing import Any

from store.documents import Attempt, Run, RunJob
from store.rules import runs, states
from store.rules.jobs.views import JobView
from store.times import to_rfc3339

NOW = 1_800_000_000.0


UNKNOWN = JobView("unknown")


def row(job_id: str, state: str, **more: Any) -> dict[str, Any]:
    """A row as SLURM's words give it, with what the rules read."""
    started = state not in ("PENDING",)
    return {
        "job_id": job_id, "state": state, "reason": None, "exit_code": None, "submit_time": int(NOW) - 50,
        "start_time": int(NOW) - 40 if started else None,
        "end_time": int(NOW) - 10 if state in states.TERMINAL else None,
        "stdout": None, "stderr": None, "nodes": "node01" if started else "", "partition": "main", "gpus": 0,
        "node_count": 1, **more,
    }  # fmt: skip


def view_of(job_id: str, state: str, **more: Any) -> JobView:
    """A look at a job that SLURM shows."""
    return JobView("seen", row(job_id, state, **more))


def wanted(name: str, *depends_on: str, **more: Any) -> RunJob:
    """A job that had no attempt yet."""
    return RunJob(name=name, depends_on=list(depends_on), result_path=f"/results/{name}.%j.json", **more)


def with_attempts(job: RunJob, *attempts: tuple[str | None, str | None]) -> RunJob:
    """The job after these attempts: (job id, state)."""
    job.attempts = [
        Attempt(
            number=number, tag=f"sluice:{job.name}{number}", job_id=job_id, state=state,
            intended_at=to_rfc3339(NOW - 60),
            started_at=to_rfc3339(NOW - 40) if state not in (None, "PENDING") else None,
            ended_at=to_rfc3339(NOW - 10) if state in states.TERMINAL else None,
        )
        for number, (job_id, state) in enumerate(attempts, 1)
    ]  # fmt: skip
    job.result_read = True
    return job


def run_of(*jobs: RunJob, status: str = "running", **more: Any) -> Run:
    """A run of these jobs."""
    return Run(id="r", workflow_name="w", status=status, started_at=to_rfc3339(NOW - 100), jobs=list(jobs), **more)


def step_on(
    run: Run, looks: dict[str, JobView] | None = None, tags: dict[str, JobView] | None = None, now: float = NOW
) -> tuple[Run, list[runs.Step]]:
    """One pass of the rules over a world made by hand; what it does not mention is unknown. The run stays as it was."""
    before = run.model_dump_json()
    after = runs.advance_run(
        run,
        lambda attempt, _job: (looks or {}).get(attempt.job_id, UNKNOWN),
        lambda attempt, _job: (tags or {}).get(attempt.tag, UNKNOWN),
        now,
    )
    assert run.model_dump_json() == before, "the rules changed what they were given"
    return after


def job_of(run: Run, name: str) -> RunJob:
    """The job of this name."""
    return next(job for job in run.jobs if job.name == name)
