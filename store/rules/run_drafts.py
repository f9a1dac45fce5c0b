"""Build the runs that are about to begin, from planned jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from store.documents import Run, RunJob, RunStatus, Sweep
from store.times import to_rfc3339


def choose_first_status(syncs: bool) -> RunStatus:
    """Choose the status of a run that begins; `syncs` copies its mount first."""
    return "syncing" if syncs else "submitting"


def place_jobs(plan: Mapping[str, Any], root: Path, run_id: str, local: Path | None = None) -> list[dict[str, Any]]:
    """Return the planned jobs in order of submission, with absolute folders.

    Sets `work_dir`, `log_dir` and `result_path`, by `resolve_folder`. `%j` in `result_path` stands for the job id.
    """

    by_name = {job["name"]: job for job in plan["jobs"]}
    jobs = []
    for name in plan["order"]:
        job = by_name[name]
        work_dir = resolve_folder(job["work_dir"], root, root, local)
        result_path = work_dir / ".sluice" / run_id / f"{name}.%j.json"
        folders = {
            "work_dir": work_dir,
            "log_dir": resolve_folder(job["log_dir"], work_dir, root, local),
            "result_path": result_path,
        }
        jobs.append({**job, **{key: str(path) for key, path in folders.items()}})
    return jobs


def resolve_folder(folder: str | None, base: Path, root: Path, local: Path | None) -> Path:
    """Return a job's folder, relative to `base`.

    One below `local`, which is copied to `root`, becomes one below `root`.
    """
    path = Path(folder or "")
    return root / path.relative_to(local) if local and path.is_relative_to(local) else base / path


def draft_run(
    run_id: str,
    workflow_name: str,
    args: dict[str, Any],
    wanted: Sequence[Mapping[str, Any]],
    root: Path,
    given: Mapping[str, Any],
    now: float,
) -> Run:
    """Build a run of placed jobs, not written yet and without scripts.

    `wanted` are the jobs that `place_jobs` returns. `given` has mount, cluster, source, `syncs` (whether the mount is
    copied first), and request_hash or `sweep`, the number of the sweep.
    """
    jobs = [
        RunJob(
            name=job["name"],
            depends_on=job["depends_on"],
            resources=job["resources"],
            command=job.get("command"),
            work_dir=job["work_dir"],
            log_dir=job["log_dir"],
            result_path=job["result_path"],
            retry=job["retry"],
            retry_delay_s=job["retry_delay"],
        )
        for job in wanted
    ]
    return Run(
        id=run_id,
        workflow_name=workflow_name,
        mount=given["mount"],
        args=args,
        cluster=given["cluster"],
        syncs=given.get("syncs", False),
        status=choose_first_status(given.get("syncs", False)),
        work_dir=str(root),
        started_at=to_rfc3339(now),
        sweep_run_id=given.get("sweep"),
        triggered_by=given["source"],
        request_hash=given.get("request_hash"),
        jobs=jobs,
    )


def build_unstarted_run(run_id: str, sweep: Sweep, args: dict[str, Any], error: str | None, now: float) -> Run:
    """Build the run of a cell that never began.

    It is failed with an error, or cancelled without one.
    """
    return Run(
        id=run_id,
        workflow_name=sweep.workflow_name,
        mount=sweep.mount,
        args=args,
        cluster=sweep.cluster,
        status="failed" if error else "cancelled",
        started_at=to_rfc3339(now),
        completed_at=to_rfc3339(now),
        cancel_requested_at=None if error else to_rfc3339(now),
        error=error,
        sweep_run_id=int(sweep.id),
        triggered_by=sweep.submission_source,
    )
