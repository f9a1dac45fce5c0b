"""Decide what happens to a run: pure rules.

A rule gives the changed document, and `advance_run` the next steps too.

`advance_run` is level-triggered: it looks only at the document and at what SLURM says now, so a server that was killed
at any point goes on where it was. An attempt is written as intended, with a unique tag, before sbatch is called. An
attempt without a job id is looked up by that tag, and submitted again only when SLURM surely does not have it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any

from store.documents import ERROR_WORDS, Attempt, Refusal, Run, RunJob
from store.errors import Conflict, Invalid, make_problem
from store.rules import states
from store.rules.jobs.views import ById, ByTag, adopt_job, find_changes, make_tag
from store.rules.run_drafts import choose_first_status
from store.times import has_come, to_epoch, to_rfc3339

ENDED = frozenset({"completed", "failed", "cancelled"})
NEVER = "DependencyNeverSatisfied"
STOPPED = "RunStopped"
RESEND_CANCEL_S = 30
LONGEST_PAUSE_S = 60
# So many jobs begin at once. The others follow; whoever cancels the run waits for no more than these.
AT_ONCE = 4
# So many results are read before the run is written with them.
READ_AT_ONCE = 20


@dataclass(frozen=True)
class SubmitJob:
    """Call sbatch for the last attempt of this job, which is already written.

    Steps are taken in their order: SLURM has what the job depends on by then, see `build_dependency`.
    """

    job: str


@dataclass(frozen=True)
class CancelJobs:
    """Call scancel for these jobs."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class ReadResult:
    """Read the result that this job may have left at `path`.

    And the end of the first of its `logs` that has one, if it failed.
    """

    job: str
    path: str
    logs: tuple[str, ...] = ()


@dataclass(frozen=True)
class SyncMount:
    """Copy the mount to where the run will work, before any other step."""

    mount: str


Jobs = dict[str, RunJob]  # those of a run by name; what changes is replaced, see `_change_job`
Step = SubmitJob | CancelJobs | ReadResult | SyncMount


def is_open(run: Run) -> bool:
    """Return whether anything of the run may still change."""
    return run.status not in ENDED or any(job.attempts and not _is_over(job.attempts[-1]) for job in run.jobs)


def find_job(run: Run, name: str) -> RunJob:
    """Find the run's job of this name, which it has."""
    return next(job for job in run.jobs if job.name == name)


def advance_run(run: Run, by_id: ById, by_tag: ByTag, now: float) -> tuple[Run, list[Step]]:
    """Bring the run up to date; return it with the steps to take next.

    Call again after the steps are taken: of many jobs that can begin, AT_ONCE do. `now` is epoch seconds. The run given
    is not changed. When there is nothing to do, the result is an equal run and no steps.
    """
    jobs = {job.name: job for job in run.jobs}
    steps: list[Step] = []
    if run.status == "pending":
        return run, steps
    if run.status == "syncing":
        return run, [SyncMount(run.mount or "")]
    for name in jobs:
        _observe_job(run, jobs, jobs[name], by_id, by_tag, now, steps)
        _mark_skipped(run, jobs, jobs[name])
    for name in jobs:
        if len(steps) < AT_ONCE:
            _begin_job(run, jobs, jobs[name], now, steps)
    steps += _build_cancel_steps(run, jobs, now)
    run = run.model_copy(update={"jobs": list(jobs.values())})
    unread = ((job, path) for job in run.jobs if (path := _find_result_path(run, job)))
    steps += [ReadResult(job.name, path, _list_logs(run, job)) for job, path in islice(unread, READ_AT_ONCE)]
    if run.status not in ENDED:
        _settle_status(run, steps, now)
    return run, steps


def _find_last_attempt(job: RunJob) -> Attempt | None:
    """Return the last attempt since the run was started or rerun."""
    return job.attempts[-1] if len(job.attempts) > job.attempts_before else None


def _count_tries(job: RunJob) -> int:
    return len(job.attempts) - job.attempts_before


def _is_over(attempt: Attempt) -> bool:
    return attempt.state in states.TERMINAL


def _is_stopping(run: Run) -> bool:
    """Return whether no job may start: the run was cancelled or has ended."""
    return bool(run.cancel_requested_at) or run.status in ENDED


def _observe_job(run: Run, jobs: Jobs, job: RunJob, by_id: ById, by_tag: ByTag, now: float, steps: list[Step]) -> None:
    """Update the last attempt from SLURM.

    An attempt without a job id is looked up by its tag, and submitted again if it is surely absent.
    """
    attempt = _find_last_attempt(job)
    if attempt is None or _is_over(attempt):
        return
    if attempt.job_id is None:
        view = by_tag(attempt, job)
        if view.knowledge == "absent":
            verdicts = _judge_dependencies(run, jobs, job, steps)
            if not _is_stopping(run) and "never" not in verdicts:
                if "wait" not in verdicts and has_come(attempt.retry_at or 0, now, LONGEST_PAUSE_S):
                    _change_attempt(jobs, job.name, error=None)
                    steps.append(SubmitJob(job.name))
                return
            _change_attempt(jobs, job.name, state="CANCELLED", reason=STOPPED, ended_at=to_rfc3339(now))
        attempt = _change_attempt(jobs, job.name)
        adopt_job(attempt, view, now)
        if attempt.job_id is None:
            return
    if changes := find_changes(attempt, by_id(attempt, job), now):
        _change_attempt(jobs, job.name, **changes)


def _begin_job(run: Run, jobs: Jobs, job: RunJob, now: float, steps: list[Step]) -> None:
    """Submit a job whose dependencies are met or submitted before it.

    A job whose dependencies can never be met is skipped.
    """
    attempt = _find_last_attempt(job)
    if job.skipped or (attempt is not None and not _is_over(attempt)):
        return
    if attempt is not None:
        if not _may_retry(run, job):
            return
        if job.not_before is None:
            # The end is by SLURM's clock, which may be ahead of ours.
            job = _change_job(jobs, job.name)
            job.not_before = min(to_epoch(attempt.ended_at) or now, now) + job.retry_delay_s
        if not has_come(job.not_before, now, job.retry_delay_s):
            return
    elif _is_stopping(run):
        _change_job(jobs, job.name).skipped = STOPPED
        return
    else:
        verdicts = _judge_dependencies(run, jobs, job, steps)
        if "never" in verdicts:
            _change_job(jobs, job.name).skipped = NEVER
        if "never" in verdicts or "wait" in verdicts:
            return
    job = _change_job(jobs, job.name)
    job.attempts.append(Attempt(number=len(job.attempts) + 1, tag=make_tag(), intended_at=to_rfc3339(now)))
    job.not_before = None
    steps.append(SubmitJob(job.name))


def build_dependency(run: Run, name: str) -> str | None:
    """Build the dependencies that SLURM must wait for, as sbatch takes them.

    Those that are met already are left out: sbatch takes an id that SLURM has forgotten for met, so only jobs that have
    not ended are named.
    """
    jobs = {job.name: job for job in run.jobs}
    verdicts = _judge_dependencies(run, jobs, jobs[name])
    return ",".join(verdict for verdict in verdicts if verdict not in ("met", "never", "wait")) or None


def _judge_dependencies(run: Run, jobs: Jobs, job: RunJob, steps: Sequence[Step] = ()) -> list[str]:
    return [_judge_dependency(run, jobs, entry, steps) for entry in job.depends_on]


def _judge_dependency(run: Run, jobs: Jobs, entry: str, steps: Sequence[Step]) -> str:
    """Judge one dependency: "met", "never", "wait", or the text for sbatch.

    "wait" means until more is known. Nobody need wait for a job that is submitted by one of the steps.
    """
    kind, _, name = entry.rpartition(":")
    kind = kind or "afterok"
    other = jobs[name]
    end = find_outcome(run, other)
    if end is not None:
        met = {"afterok": end == "ok", "afternotok": end != "ok"}.get(kind, True)
        return "met" if met else "never"
    attempt = _find_last_attempt(other)
    if attempt is None or (attempt.job_id is None and SubmitJob(name) not in steps):
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
    """Return how the job ended for good; None while it has not.

    "ok", "failed", "cancelled", or "skipped" (its dependencies ruled it out).
    """
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


def _mark_skipped(run: Run, jobs: Jobs, job: RunJob) -> None:
    """Mark a job that SLURM ended because it could never start.

    Accounting calls this a plain cancellation. Once marked, `find_outcome` need not look at other jobs. Jobs come in
    topological order, so those before this one are marked already.
    """
    attempt = _find_last_attempt(job)
    if (
        attempt is not None
        and attempt.state in states.CANCELLED
        and attempt.started_at is None
        and attempt.reason != NEVER
        and "never" in _judge_dependencies(run, jobs, job)
    ):
        _change_attempt(jobs, job.name, reason=NEVER)


def _is_ended_by_us(run: Run, attempt: Attempt) -> bool:
    """Return whether the attempt is to be cancelled.

    Its run stops, or it waits for what can never come.
    """
    return _is_stopping(run) or (attempt.state == "PENDING" and attempt.reason == NEVER)


def _build_cancel_steps(run: Run, jobs: Jobs, now: float) -> list[Step]:
    """Build one scancel for all jobs that must end.

    These are all jobs of a run that stops, and jobs that wait for what can never come.
    """
    job_ids = []
    for job in list(jobs.values()):
        attempt = _find_last_attempt(job)
        if attempt is None or attempt.job_id is None or _is_over(attempt):
            continue
        if not _is_ended_by_us(run, attempt):
            continue
        if has_come((to_epoch(attempt.cancel_sent_at) or 0) + RESEND_CANCEL_S, now, RESEND_CANCEL_S):
            _change_attempt(jobs, job.name, cancel_sent_at=to_rfc3339(now))
            job_ids.append(attempt.job_id)
    return [CancelJobs(tuple(job_ids))] if job_ids else []


def _find_result_path(run: Run, job: RunJob) -> str | None:
    """Return where the ended job's result would lie; None if read or none."""
    attempt = _find_last_attempt(job)
    if job.result_read or job.result_path is None or attempt is None or attempt.job_id is None:
        return None
    if find_outcome(run, job) not in ("ok", "failed", "cancelled"):
        return None
    return job.result_path.replace("%j", attempt.job_id)


def _list_logs(run: Run, job: RunJob) -> tuple[str, ...]:
    """List the logs that may say why the job failed; none if it did not."""
    if find_outcome(run, job) != "failed":
        return ()
    paths = (job.attempts[-1].stderr, job.attempts[-1].stdout)
    return tuple(dict.fromkeys(path for path in paths if path))


def list_leftovers(run: Run, *names: str) -> tuple[list[str], list[str]]:
    """List what is not needed once the results of these jobs were read.

    Their files; and when no job has a result to be read any more, also the folders of the run's results, inner ones
    first. A folder of `.sluice` in a work_dir that runs share may hold another run's.
    """
    files: list[str] = []
    for job in run.jobs:
        if job.name in names:
            path = job.result_path or ""
            files += [path.replace("%j", attempt.job_id) for attempt in job.attempts if attempt.job_id]
            if job.result_error is not None:
                del files[-1]  # its author may want to see what is wrong with it
    if any(find_outcome(run, job) is None or _find_result_path(run, job) for job in run.jobs):
        return files, []
    inner = dict.fromkeys(PurePath(job.result_path).parent for job in run.jobs if job.result_path)
    return files, [str(folder) for folder in [*inner, *dict.fromkeys(folder.parent for folder in inner)]]


def _settle_status(run: Run, steps: list[Step], now: float) -> None:
    """Set the run's status from the ends of its jobs.

    A run that is "running" keeps that status until it ends.
    """
    ends = [find_outcome(run, job) for job in run.jobs]
    if None in ends or any(isinstance(step, ReadResult) for step in steps):
        if run.status != "running":
            run.status = "submitting" if any(isinstance(step, SubmitJob) for step in steps) else "running"
        return
    failed = [job.name for job, end in zip(run.jobs, ends, strict=True) if end == "failed"]
    if failed:
        run.status, run.error = "failed", run.error or _describe_failure(run, failed)
    elif "cancelled" in ends:
        cancelled = [job.name for job, end in zip(run.jobs, ends, strict=True) if end == "cancelled"]
        run.status, run.error = "cancelled", run.error or f"Jobs cancelled: {', '.join(cancelled)}"
    else:
        run.status = "completed"
    run.completed_at = to_rfc3339(now)


def _describe_failure(run: Run, failed: list[str]) -> str:
    """Name the failed jobs, and say how the first one ended."""
    attempt = find_job(run, failed[0]).attempts[-1]
    how = f"exit code {attempt.exit_code}" if attempt.state == "FAILED" else attempt.state
    text = f"Jobs failed: {', '.join(failed)}"
    return f"{text}\n{failed[0]}, {how}:\n{attempt.error}" if attempt.error else text


def count_submitted(run: Run) -> int:
    """Count the attempts of the run that SLURM has taken."""
    return sum(attempt.job_id is not None for job in run.jobs for attempt in job.attempts)


def mark_submitted(run: Run, name: str, job_id: str, options: dict[str, Any], at: float) -> Run:
    """Record that sbatch accepted the job's last attempt.

    `options` may have the log paths `stdout` and `stderr`, `at` is when sbatch was called: before SLURM's own times.
    """
    run, attempt = _copy_with_attempt(run, name)
    attempt.job_id, attempt.state, attempt.submitted_at, attempt.error = job_id, "PENDING", to_rfc3339(at), None
    attempt.stdout, attempt.stderr = options.get("stdout"), options.get("stderr")
    return run


def mark_refused(run: Run, name: str, reason: str, refusal: Refusal | None, now: float) -> Run:
    """Record that SLURM refused a job, and how: the run ends as failed.

    Jobs submitted before are cancelled by the next steps.
    """
    run, attempt = _copy_with_attempt(run, name)
    attempt.state, attempt.error, attempt.ended_at = "FAILED", reason, to_rfc3339(now)
    find_job(run, name).result_read = True
    run.status, run.completed_at = "failed", to_rfc3339(now)
    run.error, run.error_kind, run.refusal = f"{ERROR_WORDS['refused']}{reason}", "refused", refusal
    return run


def drop_steps(run: Run, steps: Sequence[Step]) -> Run:
    """Take back the attempts of submissions that are not to be made any more."""
    names = {step.job for step in steps if isinstance(step, SubmitJob)}
    jobs = [job.model_copy(update={"attempts": job.attempts[:-1]}) if job.name in names else job for job in run.jobs]
    return run.model_copy(update={"jobs": jobs})


def mark_unanswered(run: Run, name: str, reason: str, now: float) -> Run:
    """Record that sbatch gave no answer, so SLURM may or may not have the job.

    The job is looked up by its tag; if SLURM does not have it, sbatch is called again after 2, 4, … at most 60 seconds.
    """
    run, attempt = _copy_with_attempt(run, name)
    attempt.error = reason
    attempt.tries += 1
    attempt.retry_at = now + min(LONGEST_PAUSE_S, 2**attempt.tries)
    return run


def mark_cancel_unsent(run: Run, step: CancelJobs) -> Run:
    """Record that scancel did not reach SLURM.

    It is sent again as soon as SLURM answers.
    """
    run = _copy_run(run)
    for job in run.jobs:
        for attempt in job.attempts:
            if attempt.job_id in step.job_ids:
                attempt.cancel_sent_at = None
    return run


def get_reason(run: Run) -> str:
    """Get the reason of a failed run, without the words before it."""
    return (run.error or "").removeprefix(ERROR_WORDS[run.error_kind] if run.error_kind else "")


def find_due_time(run: Run, now: float) -> float | None:
    """Find when to look at an open run again if nothing of it changes.

    None for never. At once while a mount is to be copied, or while it is not known whether SLURM has taken a job; when
    a retry is due; when jobs that do not end are to be cancelled once more.
    """
    if run.status == "pending":
        return None
    if run.status == "syncing":
        return now
    times: list[float] = []
    for job in run.jobs:
        attempt = _find_last_attempt(job)
        if job.not_before is not None:
            times.append(job.not_before)
        if attempt is None or _is_over(attempt):
            continue
        if attempt.job_id is None:
            times.append(now)
        elif _is_ended_by_us(run, attempt):
            times.append((to_epoch(attempt.cancel_sent_at) or 0) + RESEND_CANCEL_S)
    return min(times, default=None)


def check_rerun(run: Run, only: str, names: Collection[str] = ()) -> None:
    """Raise Conflict unless the run has ended and has jobs to run again.

    `only` is "failed" (all jobs that did not complete, and these names) or "all". Raises Invalid for unknown names.
    """
    if run.simulation is not None:
        text = "its tasks and their results belong together; submit the simulation again"
        raise Conflict(f"Run belongs to the simulation {run.simulation} and cannot be run again: {text}")
    unknown = sorted(set(names) - {job.name for job in run.jobs})
    if unknown:
        raise Invalid([make_problem(f"The run has no job {name}", ["body", "jobs"], input=name) for name in unknown])
    if is_open(run):
        raise Conflict(f"Run is {run.status}; it can be run again when all of its jobs have ended")
    if only == "failed" and run.status == "completed" and not names:
        raise Conflict("Run has completed, so no job of it has failed; 'only': 'all' runs it again")


def queue_rerun(run: Run, whole: bool = False, names: Collection[str] = ()) -> Run:
    """Queue an ended run to start once more; the result is pending.

    Completed jobs keep their results, but for these names, and the others run again; with `whole`, and of a run that
    completed, all jobs run again. Nothing happens to the run until `begin_run`.
    """
    whole = whole or (run.status == "completed" and not names)
    run = _copy_run(run)
    for job in run.jobs:
        if not whole and job.name not in names and find_outcome(run, job) == "ok":
            continue
        job.attempts_before, job.skipped, job.not_before = len(job.attempts), None, None
        job.result, job.result_error, job.result_read = None, None, False
    run.status, run.completed_at, run.cancel_requested_at = "pending", None, None
    run.error = run.error_kind = run.refusal = None
    return run


def begin_run(run: Run, now: float) -> Run:
    """Start a pending run; return any other run as it is."""
    changes = {"status": choose_first_status(run.syncs), "started_at": to_rfc3339(now)}
    return run.model_copy(update=changes) if run.status == "pending" else run


def reopen_run(run: Run) -> None:
    """Reopen a failed run, since a job of it turned up; change it in place.

    Jobs that were skipped for its sake are judged again. A run that was cancelled or refused stays as it is.
    """
    if run.status != "failed" or run.cancel_requested_at or run.error_kind is not None:
        return
    run.status, run.completed_at, run.error = "running", None, None
    for job in run.jobs:
        job.skipped = None if job.skipped == NEVER else job.skipped


def measure_duration_s(run: Run) -> float | None:
    """Return the seconds since the run's last start; None before its end."""
    start, end = to_epoch(run.started_at), to_epoch(run.completed_at)
    return None if start is None or end is None else round(end - start, 3)


def mark_synced(run: Run, error: str | None, now: float) -> Run:
    """Record that the run's mount was copied.

    With `error`, copying failed and the run ends as failed.
    """
    if run.status != "syncing":
        return run  # cancelled meanwhile
    if error is None:
        return run.model_copy(update={"status": "submitting"})
    run = _copy_run(run)
    for job in run.jobs:
        job.skipped = job.skipped or STOPPED
    run.status, run.completed_at = "failed", to_rfc3339(now)
    run.error, run.error_kind = f"{ERROR_WORDS['unsynced']}{error}", "unsynced"
    return run


def record_result(
    run: Run, name: str, result: dict[str, Any] | None, error: str | None, log_end: str | None = None
) -> Run:
    """Record the result that a job left, or why it cannot be taken.

    `log_end` says why the job failed, where nothing else does.
    """
    run, attempt = _copy_with_attempt(run, name)
    job = find_job(run, name)
    job.result, job.result_error, job.result_read = result, error, True
    attempt.error = attempt.error or log_end
    return run


def cancel_run(run: Run, now: float) -> Run:
    """Mark the run as cancelled; the next steps cancel its jobs."""
    run = run.model_copy()
    run.cancel_requested_at = run.completed_at = to_rfc3339(now)
    if run.status == "pending":
        run.started_at = run.completed_at  # it ends without having begun again
    run.status = "cancelled"
    return run


def _copy_with_attempt(run: Run, name: str) -> tuple[Run, Attempt]:
    """Copy the run; return it with the named job's last attempt."""
    run = run.model_copy(update={"jobs": [_copy_job(job) if job.name == name else job for job in run.jobs]})
    return run, find_job(run, name).attempts[-1]


def _copy_run(run: Run) -> Run:
    """Copy the run as far as rules change it."""
    return run.model_copy(update={"jobs": [_copy_job(job) for job in run.jobs]})


def _copy_job(job: RunJob) -> RunJob:
    return job.model_copy(update={"attempts": [attempt.model_copy() for attempt in job.attempts]})


def _change_job(jobs: Jobs, name: str) -> RunJob:
    """Put a copy of the job in its place, which may be changed; return it."""
    jobs[name] = _copy_job(jobs[name])
    return jobs[name]


def _change_attempt(jobs: Jobs, name: str, **changes: Any) -> Attempt:
    """Change these fields of the last attempt of a job's copy; return it."""
    attempt = _change_job(jobs, name).attempts[-1]
    for field, value in changes.items():
        setattr(attempt, field, value)
    return attempt
