"""What becomes of a run: pure rules from a document and what SLURM says to the changed document and the next steps.

`advance` is level-triggered: it looks only at the document and at the world as it is now, so a server that was killed
at any point goes on where it was. An attempt is written as intended, with a unique tag, before sbatch is called; one
without a job id is looked for by that tag, and submitted again only when SLURM surely does not have it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from store.documents import Attempt, JobRecord, Run, RunJob, RunStatus, StateChange, Sweep
from store.rules import states
from store.times import to_epoch, to_rfc3339

ENDED = frozenset({"completed", "failed", "cancelled"})
NEVER = "DependencyNeverSatisfied"
STOPPED = "RunStopped"
REFUSED = "Submission failed: "
UNSYNCED = "Mount sync failed: "
RESEND_CANCEL_S = 30
LONGEST_PAUSE_S = 60


class JobView(NamedTuple):
    """What is known of a job now: seen (with SLURM's row), surely absent, unknown (nobody can say yet), or lost.

    Lost is only said of a tag: SLURM may have had the job and forgotten it, and there is no accounting to ask.
    """

    knowledge: str
    job: dict[str, Any] | None = None


ById = Callable[[str], JobView]  # by job id
ByTag = Callable[[Attempt | JobRecord], JobView]  # by the tag of an attempt whose job id is not known


@dataclass(frozen=True)
class SubmitJob:
    """Call sbatch for the last attempt of this job, which is written as intended."""

    job: str
    dependency: str | None = None


@dataclass(frozen=True)
class CancelJobs:
    """Call scancel for these jobs."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class ReadResult:
    """Read the result that this job may have left."""

    job: str
    path: str


@dataclass(frozen=True)
class SyncMount:
    """Bring the mount's files to where the run will work; nothing else is done before."""

    mount: str


Step = SubmitJob | CancelJobs | ReadResult | SyncMount


def make_tag() -> str:
    """A tag that no other attempt has; it travels in the job's comment."""
    return f"sluice:{uuid.uuid4().hex}"


def is_open(run: Run) -> bool:
    """Whether anything of the run may still change."""
    return run.status not in ENDED or any(job.attempts and not _is_over(job.attempts[-1]) for job in run.jobs)


def advance_run(run: Run, look: ById, find: ByTag, now: float) -> tuple[Run, list[Step]]:
    """The run as it is now, and the steps to take next; to be asked again after they are taken.

    `now` is epoch seconds. The run given is not changed. Nothing to do and nothing new gives an equal run and no steps.
    """
    run = run.model_copy(deep=True)
    steps: list[Step] = []
    if run.status == "pending":
        return run, steps
    if run.status == "syncing":
        return run, [SyncMount(run.mount or "")]
    for job in run.jobs:
        steps += _observe_job(run, job, look, find, now)
        _mark_skipped(run, job)
    for job in run.jobs:
        steps += _begin_job(run, job, now)
    steps += _build_cancel_steps(run, now)
    steps += [ReadResult(job.name, path) for job in run.jobs if (path := _find_result_path(run, job))]
    if run.status not in ENDED:
        _settle_status(run, steps, now)
    return run, steps


def _find_last_attempt(job: RunJob) -> Attempt | None:
    """The last attempt since the run was started (again)."""
    return job.attempts[-1] if len(job.attempts) > job.attempts_before else None


def _count_tries(job: RunJob) -> int:
    return len(job.attempts) - job.attempts_before


def _is_over(attempt: Attempt) -> bool:
    return attempt.state in states.TERMINAL


def _is_stopping(run: Run) -> bool:
    """Whether nothing new may start: cancelled by somebody, or ended by a submission that SLURM refused."""
    return bool(run.cancel_requested_at) or run.status in ENDED


def _observe_job(run: Run, job: RunJob, look: ById, find: ByTag, now: float) -> list[Step]:
    """Bring the last attempt up to what SLURM says; a lost one is looked for, and submitted again if surely absent."""
    attempt = _find_last_attempt(job)
    if attempt is None or _is_over(attempt):
        return []
    if attempt.job_id is None:
        sight = find(attempt)
        if sight.knowledge == "absent":
            if not _is_stopping(run) and not _can_never_start(run, job):
                if now < (attempt.retry_at or 0):
                    return []
                attempt.error = None
                return _build_submit_steps(run, job)
            attempt.state, attempt.reason, attempt.ended_at = "CANCELLED", STOPPED, to_rfc3339(now)
        adopt_job(attempt, sight, now)
        if attempt.job_id is None:
            return []
    apply_view(attempt, look(attempt.job_id), now)
    return []


def adopt_job(attempt: Attempt | JobRecord, sight: JobView, now: float) -> None:
    """Write into the attempt or record the job that was found by its tag; a lost one ends as lost."""
    if sight.knowledge == "seen" and sight.job is not None:
        attempt.job_id, attempt.error = sight.job["job_id"], None
        attempt.submitted_at = to_rfc3339(sight.job["submit_time"]) or to_rfc3339(now)
    elif sight.knowledge == "lost":
        attempt.state, attempt.ended_at = states.LOST, to_rfc3339(now)
        attempt.error = "whether SLURM took this job cannot be found out: it was away too long, and has no accounting"


def apply_view(attempt: Attempt | JobRecord, sight: JobView, now: float) -> None:
    """Write into the attempt or record what SLURM says of its job; what is unknown changes nothing."""
    seen = sight.job
    if seen is not None and sight.knowledge != "unknown":
        attempt.state, attempt.reason, attempt.exit_code = seen["state"], seen["reason"], seen["exit_code"]
        attempt.started_at, attempt.ended_at = to_rfc3339(seen["start_time"]), to_rfc3339(seen["end_time"])
        attempt.stdout = seen["stdout"] or attempt.stdout
        attempt.stderr = seen["stderr"] or attempt.stderr
        attempt.nodes = seen["nodes"] or attempt.nodes
        attempt.partition = seen["partition"] or attempt.partition
        if attempt.state in states.TERMINAL and attempt.ended_at is None:
            attempt.ended_at = to_rfc3339(now)
    elif sight.knowledge == "absent" and attempt.state not in states.TERMINAL:
        attempt.state, attempt.ended_at = states.LOST, to_rfc3339(now)
        attempt.error = "SLURM no longer knows this job, and there is no accounting to ask how it ended"


def _begin_job(run: Run, job: RunJob, now: float) -> list[Step]:
    """The submission of a job whose turn has come; a job whose turn can never come is skipped."""
    attempt = _find_last_attempt(job)
    if job.skipped or (attempt is not None and not _is_over(attempt)):
        return []
    if attempt is not None:
        if not _may_retry(run, job):
            return []
        if job.not_before is None:
            job.not_before = (to_epoch(attempt.ended_at) or now) + job.retry_delay_s
        return _intend_attempt(run, job, now) if now >= job.not_before else []
    if _is_stopping(run):
        job.skipped = STOPPED
        return []
    verdicts = [_judge_dependency(run, entry) for entry in job.depends_on]
    if "never" in verdicts:
        job.skipped = NEVER
        return []
    return [] if "wait" in verdicts else _intend_attempt(run, job, now)


def _intend_attempt(run: Run, job: RunJob, now: float) -> list[Step]:
    job.attempts.append(Attempt(number=len(job.attempts) + 1, tag=make_tag(), intended_at=to_rfc3339(now)))
    job.not_before = None
    return _build_submit_steps(run, job)


def _build_submit_steps(run: Run, job: RunJob) -> list[Step]:
    """The step, with those dependencies that SLURM must still wait for; the others are met already.

    An id that SLURM has forgotten counts as met for sbatch, so only jobs that have not ended are ever named.
    """
    waiting = [
        verdict
        for entry in job.depends_on
        if (verdict := _judge_dependency(run, entry)) not in ("met", "never", "wait")
    ]
    return [SubmitJob(job.name, ",".join(waiting) or None)]


def _judge_dependency(run: Run, entry: str) -> str:
    """Of one dependency: `met`, `never`, `wait` (until more is known), or the words to give to sbatch."""
    kind, _, name = entry.rpartition(":")
    kind = kind or "afterok"
    other = next(job for job in run.jobs if job.name == name)
    end = find_outcome(run, other)
    if end is not None:
        met = {"afterok": end == "ok", "afternotok": end != "ok"}.get(kind, True)
        return "met" if met else "never"
    attempt = _find_last_attempt(other)
    if attempt is None or attempt.job_id is None:
        return "wait"
    if kind == "after" and attempt.started_at:
        return "met"
    if _is_over(attempt) or _count_tries(other) <= other.retry:
        return "wait"  # another attempt may follow, with an id that is not known yet
    return f"{kind}:{attempt.job_id}"


def _may_retry(run: Run, job: RunJob) -> bool:
    attempt = _find_last_attempt(job)
    failed = attempt is not None and attempt.state in states.FAILED
    return failed and _count_tries(job) <= job.retry and not _is_stopping(run)


def find_outcome(run: Run, job: RunJob) -> str | None:
    """How the job ended for good: ok, failed, cancelled, skipped (rightly did not run); None while it has not."""
    if job.skipped:
        return "skipped" if job.skipped == NEVER else "cancelled"
    attempt = _find_last_attempt(job)
    if attempt is None or not _is_over(attempt) or _may_retry(run, job):
        return None
    if attempt.state == "COMPLETED":
        return "ok"
    if attempt.state not in states.CANCELLED:
        return "failed"
    return "skipped" if attempt.reason == NEVER else "cancelled"


def _can_never_start(run: Run, job: RunJob) -> bool:
    return any(_judge_dependency(run, entry) == "never" for entry in job.depends_on)


def _mark_skipped(run: Run, job: RunJob) -> None:
    """Mark a job that SLURM ended because its turn could never come, which accounting calls a plain cancellation.

    Once marked, `outcome` need not look at other jobs. Jobs come in topological order, so those before are marked.
    """
    attempt = _find_last_attempt(job)
    if (
        attempt is not None
        and attempt.state in states.CANCELLED
        and attempt.started_at is None
        and _can_never_start(run, job)
    ):
        attempt.reason = NEVER


def _build_cancel_steps(run: Run, now: float) -> list[Step]:
    """One scancel for what must end: all jobs of a stopped run, and jobs that wait for what can never come."""
    ids = []
    for job in run.jobs:
        attempt = _find_last_attempt(job)
        if attempt is None or attempt.job_id is None or _is_over(attempt):
            continue
        if not _is_stopping(run) and not (attempt.state == "PENDING" and attempt.reason == NEVER):
            continue
        if now - (to_epoch(attempt.cancel_sent_at) or 0) >= RESEND_CANCEL_S:
            attempt.cancel_sent_at = to_rfc3339(now)
            ids.append(attempt.job_id)
    return [CancelJobs(tuple(ids))] if ids else []


def _find_result_path(run: Run, job: RunJob) -> str | None:
    """Where the ended job's result would lie; None when there is nothing to read, or it was read."""
    attempt = _find_last_attempt(job)
    ended = find_outcome(run, job) in ("ok", "failed", "cancelled") and not job.result_read
    if not ended or attempt is None or attempt.job_id is None or job.result_path is None:
        return None
    return job.result_path.replace("%j", attempt.job_id)


def _settle_status(run: Run, steps: list[Step], now: float) -> None:
    """The run's own status from its jobs' ends; `running` is never left but for an end."""
    ends = [find_outcome(run, job) for job in run.jobs]
    if None in ends or any(isinstance(step, ReadResult) for step in steps):
        if run.status != "running":
            run.status = "submitting" if any(isinstance(step, SubmitJob) for step in steps) else "running"
        return
    failed = [job.name for job, end in zip(run.jobs, ends, strict=True) if end == "failed"]
    if failed:
        run.status, run.error = "failed", run.error or f"Jobs failed: {', '.join(failed)}"
    elif "cancelled" in ends:
        cancelled = [job.name for job, end in zip(run.jobs, ends, strict=True) if end == "cancelled"]
        run.status, run.error = "cancelled", run.error or f"Jobs cancelled: {', '.join(cancelled)}"
    else:
        run.status = "completed"
    run.completed_at = to_rfc3339(now)


def mark_submitted(run: Run, name: str, job_id: str, options: dict[str, Any], now: float) -> Run:
    """The run after sbatch has taken the last attempt of the job; `options` may tell the log paths."""
    run, attempt = _copy_with_attempt(run, name)
    attempt.job_id, attempt.state, attempt.submitted_at, attempt.error = job_id, "PENDING", to_rfc3339(now), None
    attempt.stdout, attempt.stderr = options.get("stdout"), options.get("stderr")
    return run


def mark_refused(run: Run, name: str, reason: str, now: float) -> Run:
    """The run after SLURM has refused a job: it ends as failed, and what it had submitted is to be cancelled."""
    run, attempt = _copy_with_attempt(run, name)
    attempt.state, attempt.error, attempt.ended_at = "FAILED", reason, to_rfc3339(now)
    next(job for job in run.jobs if job.name == name).result_read = True
    run.status, run.error, run.completed_at = "failed", f"{REFUSED}{reason}", to_rfc3339(now)
    return run


def mark_unanswered(run: Run, name: str, reason: str, now: float) -> Run:
    """The run after sbatch gave no answer: whether SLURM has the job is to be found out by its tag.

    If it has not, it is called again, after 2, 4, … at most 60 seconds.
    """
    run, attempt = _copy_with_attempt(run, name)
    attempt.error = reason
    attempt.tries += 1
    attempt.retry_at = now + min(LONGEST_PAUSE_S, 2**attempt.tries)
    return run


def mark_cancel_unsent(run: Run, step: CancelJobs) -> Run:
    """The run after its jobs could not be told to end: they are told as soon as SLURM answers again."""
    run = run.model_copy(deep=True)
    for job in run.jobs:
        for attempt in job.attempts:
            if attempt.job_id in step.job_ids:
                attempt.cancel_sent_at = None
    return run


def needs_polling(run: Run) -> bool:
    """Whether the run may go on without news of its jobs: something is to be copied, submitted, found or stopped."""
    lasts = [(job, _find_last_attempt(job)) for job in run.jobs]
    unheard = any(attempt is not None and attempt.job_id is None and not _is_over(attempt) for _, attempt in lasts)
    stopping = _is_stopping(run) and any(attempt is not None and not _is_over(attempt) for _, attempt in lasts)
    return run.status == "syncing" or unheard or stopping or any(job.not_before is not None for job in run.jobs)


def queue_rerun(run: Run) -> Run:
    """The ended run before it is started once more: the jobs that completed stay, the others get their turn anew.

    Of a run that completed, which only somebody can want who named it, all jobs do. It is pending, and nothing becomes
    of it, until it is `begun`.
    """
    run = run.model_copy(deep=True)
    run.ran_before_s, run.begun_at = measure_duration_s(run) or 0.0, None
    for job in run.jobs:
        if run.status != "completed" and find_outcome(run, job) == "ok":
            continue
        job.attempts_before, job.skipped, job.not_before = len(job.attempts), None, None
        job.result, job.result_error, job.result_read = None, None, False
    run.status, run.completed_at, run.cancel_requested_at, run.error = "pending", None, None, None
    return run


def begin_run(run: Run, now: float) -> Run:
    """The pending run, its turn come; any other run as it is."""
    fresh = {"status": _choose_first_status(run.syncs), "begun_at": to_rfc3339(now)}
    return run.model_copy(update=fresh) if run.status == "pending" else run


def measure_duration_s(run: Run) -> float | None:
    """How long the run took, each time that it was started; None while it has not ended."""
    start, end = to_epoch(run.begun_at or run.started_at), to_epoch(run.completed_at)
    return None if start is None or end is None else round(run.ran_before_s + end - start, 3)


def _choose_first_status(syncs: bool) -> RunStatus:
    return "syncing" if syncs else "submitting"


def mark_synced(run: Run, error: str | None, now: float) -> Run:
    """The syncing run after its mount was copied, or could not be (`error`): then it ends as failed."""
    if run.status != "syncing":
        return run  # cancelled meanwhile
    if error is None:
        return run.model_copy(update={"status": "submitting"})
    run = run.model_copy(deep=True)
    for job in run.jobs:
        job.skipped = job.skipped or STOPPED
    run.status, run.error, run.completed_at = "failed", f"{UNSYNCED}{error}", to_rfc3339(now)
    return run


def record_result(run: Run, name: str, result: dict[str, Any] | None, error: str | None) -> Run:
    """The run with what the job left in `$SLUICE_RESULT`, or with why that cannot be taken."""
    run = run.model_copy(deep=True)
    job = next(job for job in run.jobs if job.name == name)
    job.result, job.result_error, job.result_read = result, error, True
    return run


def cancel_run(run: Run, now: float) -> Run:
    """The run as somebody cancelled it; its jobs are told by the steps that follow."""
    run = run.model_copy(deep=True)
    run.cancel_requested_at = run.completed_at = to_rfc3339(now)
    if run.status == "pending":
        run.begun_at = run.completed_at  # it did not begin again
    run.status = "cancelled"
    return run


def _copy_with_attempt(run: Run, name: str) -> tuple[Run, Attempt]:
    run = run.model_copy(deep=True)
    return run, next(job for job in run.jobs if job.name == name).attempts[-1]


def follow_record(record: JobRecord, look: ById, find: ByTag, now: float) -> JobRecord | None:
    """The record of a single job as it is now; None when the job was never submitted and nobody was told so.

    A request that was cut off between its record and sbatch leaves a record without a job id: its job is adopted when
    SLURM has it.
    """
    record = record.model_copy(deep=True)
    if record.state in states.TERMINAL:
        return record
    if record.job_id is None:
        sight = find(record)
        if sight.knowledge == "absent":
            return None
        adopt_job(record, sight, now)
        if record.job_id is None:
            return record
    before = (record.state, record.reason)
    sight = look(record.job_id)
    apply_view(record, sight, now)
    if sight.job is not None:
        record.gpus, record.node_count = sight.job["gpus"], sight.job["node_count"]
    if record.state is not None and (record.state, record.reason) != before:
        record.history.append(StateChange(at=to_rfc3339(now) or "", state=record.state, reason=record.reason))
    return record


def place_jobs(plan: Mapping[str, Any], root: Path, run_id: str, local: Path | None = None) -> list[dict[str, Any]]:
    """The planned jobs in the order of submission, with absolute `work_dir`, `log_dir` and `result_path`.

    Relative folders start at `root`, and folders below `local`, which is copied there, are those below `root`; `%j` in
    the path of the result stands for the job id.
    """

    def there(base: Path, folder: str | None) -> Path:
        path = Path(folder or "")
        return root / path.relative_to(local) if local and path.is_relative_to(local) else base / path

    by_name = {job["name"]: job for job in plan["jobs"]}
    found = []
    for name in plan["order"]:
        job = by_name[name]
        work_dir = there(root, job["work_dir"])
        result_path = work_dir / ".sluice" / run_id / f"{name}.%j.json"
        folders = {"work_dir": work_dir, "log_dir": there(work_dir, job["log_dir"]), "result_path": result_path}
        found.append({**job, **{key: str(path) for key, path in folders.items()}})
    return found


def draft_run(
    run_id: str,
    workflow_name: str,
    args: dict[str, Any],
    wanted: Sequence[Mapping[str, Any]],
    root: Path,
    given: Mapping[str, Any],
    now: float,
) -> Run:
    """A run of these jobs (see `placed`) that is not written yet and lacks its scripts.

    `given` has mount, cluster, source, whether the mount is copied before (`syncs`), and request_hash or the number of
    the sweep.
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
        status=_choose_first_status(given.get("syncs", False)),
        work_dir=str(root),
        started_at=to_rfc3339(now),
        sweep_run_id=given.get("sweep"),
        triggered_by=given["source"],
        request_hash=given.get("request_hash"),
        jobs=jobs,
    )


def build_unstarted_run(run_id: str, sweep: Sweep, args: dict[str, Any], error: str | None, now: float) -> Run:
    """The run of a cell that never began: failed with an error, or cancelled without one."""
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
