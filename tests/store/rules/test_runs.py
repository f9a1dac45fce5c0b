"""The rules of a run: tables with looks made by hand."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from store.documents import Run
from store.errors import Conflict, Invalid
from store.rules import runs, states
from store.rules.jobs.views import JobView
from store.rules.runs import CancelJobs, ReadResult, SubmitJob
from store.times import to_rfc3339
from tests.store.rules.run_samples import NOW, UNKNOWN, job_of, row, run_of, step_on, view_of, wanted, with_attempts

# --- dependencies ----------------------------------------------------------------------------------------------------

MET_BY = {
    "afterok": {"COMPLETED"},
    "after": {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "LOST", "skipped"},
    "afterany": {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "LOST", "skipped"},
    "afternotok": {"FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "LOST", "skipped"},
}


def plan(run: Run, steps: list[runs.Step]) -> list[tuple[str, str | None]]:
    """List what is submitted, with its dependencies."""
    return [(step.job, runs.build_dependency(run, step.job)) for step in steps if isinstance(step, SubmitJob)]


@pytest.mark.parametrize("entry", ["a", "afterok:a", "after:a", "afterany:a", "afternotok:a"])
@pytest.mark.parametrize(
    "end", ["COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "LOST", "skipped"]
)
def test_each_end_meets_its_dependencies(entry: str, end: str) -> None:
    first = wanted("a")
    if end == "skipped":
        first.skipped = runs.NEVER
    else:
        with_attempts(first, ("1", end))
    run, steps = step_on(run_of(first, wanted("b", entry)))
    kind = entry.rpartition(":")[0] or "afterok"
    if end in MET_BY[kind]:
        assert plan(run, steps) == [("b", None)], (
            "a met dependency is not given to sbatch: SLURM may have forgotten the id"
        )
        assert len(job_of(run, "b").attempts) == 1
    else:
        assert steps == []
        assert job_of(run, "b").skipped == runs.NEVER


@pytest.mark.parametrize(
    ("why", "state", "retry", "entry", "expected"),
    [
        ("SLURM waits for it", "PENDING", 0, "a", [("b", "afterok:1")]),
        ("SLURM waits for it", "RUNNING", 0, "a", [("b", "afterok:1")]),
        ("still ending is not ended", "COMPLETING", 0, "afterany:a", [("b", "afterany:1")]),
        ("not started yet", "PENDING", 0, "after:a", [("b", "after:1")]),
        ("started is all that `after` wants", "RUNNING", 0, "after:a", [("b", None)]),
        ("another attempt may get another id", "RUNNING", 1, "a", []),
        ("another attempt may get another id", "PENDING", 2, "afterany:a", []),
        ("whether it fails for good is open", "RUNNING", 1, "afternotok:a", []),
    ],
)
def test_a_dependency_that_is_still_open(
    why: str, state: str, retry: int, entry: str, expected: list[tuple[str, str | None]]
) -> None:
    first = with_attempts(wanted("a", retry=retry), ("1", state))
    run, steps = step_on(run_of(first, wanted("b", entry)), {"1": view_of("1", state)})
    assert plan(run, steps) == expected, why
    assert job_of(run, "b").skipped is None


def test_a_chain_is_submitted_in_order_a_few_at_once() -> None:
    chain = [wanted(f"j{i}", *[f"j{i - 1}"] * (i > 0)) for i in range(runs.AT_ONCE + 1)]
    run, steps = step_on(run_of(*chain, status="submitting"))
    assert steps == [SubmitJob(f"j{i}") for i in range(runs.AT_ONCE)]
    for number in range(runs.AT_ONCE):
        assert runs.build_dependency(run, f"j{number}") == (f"afterok:{number}" if number else None)
        run = runs.mark_submitted(run, f"j{number}", str(number + 1), {}, NOW)
    run, steps = step_on(run)
    assert steps == [SubmitJob(f"j{runs.AT_ONCE}")]
    assert step_on(runs.mark_submitted(run, f"j{runs.AT_ONCE}", "9", {}, NOW))[0].status == "running"


def test_a_job_waits_while_nobody_knows_whether_slurm_has_the_one_before_it() -> None:
    run = run_of(with_attempts(wanted("a"), (None, None)), with_attempts(wanted("b", "a"), (None, None)), wanted("c"))
    absent = JobView("absent")
    assert step_on(run, tags={"sluice:a1": UNKNOWN, "sluice:b1": absent})[1] == [SubmitJob("c")]
    both = step_on(run, tags={"sluice:a1": absent, "sluice:b1": absent})[1]
    assert both == [SubmitJob("a"), SubmitJob("b"), SubmitJob("c")]


def test_skipping_goes_down_the_whole_chain_in_one_pass() -> None:
    chain = [wanted(f"j{i}", f"j{i - 1}") for i in range(1, 300)]
    run, steps = step_on(run_of(with_attempts(wanted("j0"), ("1", "FAILED")), *chain))
    assert steps == []
    assert {job.skipped for job in run.jobs[1:]} == {runs.NEVER}
    assert (run.status, run.error) == ("failed", "Jobs failed: j0")


@pytest.mark.parametrize("reason", [runs.NEVER, None, "Dependency"])
def test_what_slurm_ended_because_its_turn_could_never_come_is_a_skip(reason: str | None) -> None:
    run = run_of(
        with_attempts(wanted("a"), ("1", "COMPLETED")), with_attempts(wanted("b", "afternotok:a"), ("2", "PENDING"))
    )
    gone = JobView("absent", row("2", "CANCELLED", reason=reason, start_time=None))
    run, _ = step_on(run, {"2": gone})
    assert runs.find_outcome(run, job_of(run, "b")) == "skipped"
    assert run.status == "completed"


def test_a_job_that_waits_for_what_can_never_come_is_told_to_end() -> None:
    run = run_of(with_attempts(wanted("a"), ("1", "FAILED")), with_attempts(wanted("b", "a"), ("2", "PENDING")))
    run, steps = step_on(run, {"2": view_of("2", "PENDING", reason=runs.NEVER)})
    assert steps == [CancelJobs(("2",))]
    assert run.status == "running", "not before SLURM says that it is over"


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "ends", "status", "error"),
    [
        ("all well", ["COMPLETED", "COMPLETED"], "completed", None),
        ("one failed", ["COMPLETED", "FAILED"], "failed", "Jobs failed: j1"),
        ("all failures are named", ["TIMEOUT", "NODE_FAIL"], "failed", "Jobs failed: j0, j1"),
        ("failed weighs more than cancelled", ["CANCELLED", "BOOT_FAIL"], "failed", "Jobs failed: j1"),
        ("somebody cancelled one", ["COMPLETED", "CANCELLED"], "cancelled", "Jobs cancelled: j1"),
        ("an end that nobody knows is no success", ["LOST", "COMPLETED"], "failed", "Jobs failed: j0"),
        ("SLURM revoked it", ["REVOKED", "COMPLETED"], "cancelled", "Jobs cancelled: j0"),
        ("a branch that rightly did not run", ["COMPLETED", "skipped"], "completed", None),
        ("nothing failed, nothing ran", ["skipped", "skipped"], "completed", None),
    ],
)
def test_the_status_of_a_run(why: str, ends: list[str], status: str, error: str | None) -> None:
    jobs = [
        wanted(f"j{i}", skipped=runs.NEVER) if end == "skipped" else with_attempts(wanted(f"j{i}"), (str(i + 1), end))
        for i, end in enumerate(ends)
    ]
    run, steps = step_on(run_of(*jobs))
    assert (run.status, run.error, steps) == (status, error, []), why
    assert run.completed_at == to_rfc3339(NOW)
    assert step_on(run, now=NOW + 100) == (run, []), "an end stays as it is"


@pytest.mark.parametrize("state", sorted(states.TERMINAL))
def test_every_terminal_state_ends_a_run(state: str) -> None:
    run, steps = step_on(run_of(with_attempts(wanted("a"), ("1", "RUNNING"))), {"1": view_of("1", state, exit_code=1)})
    assert steps == [ReadResult("a", "/results/a.1.json")] or job_of(run, "a").result_read
    run, _ = step_on(runs.record_result(run, "a", None, None), {"1": view_of("1", state, exit_code=1)})
    expected = "completed" if state == "COMPLETED" else "cancelled" if state in states.CANCELLED else "failed"
    assert run.status == expected
    assert not runs.is_open(run)


@pytest.mark.parametrize("state", sorted(set(states.WORDS) - states.TERMINAL))
def test_no_other_state_ends_a_run(state: str) -> None:
    run, steps = step_on(run_of(with_attempts(wanted("a"), ("1", "PENDING"))), {"1": view_of("1", state)})
    assert (run.status, steps) == ("running", [])
    assert job_of(run, "a").attempts[0].state == state


def test_what_is_unknown_changes_nothing() -> None:
    run = run_of(
        with_attempts(wanted("a"), ("1", "RUNNING")), with_attempts(wanted("b"), (None, None)), wanted("c", "b")
    )
    assert step_on(run, {"1": UNKNOWN}) == (run, [])
    last_seen = JobView("unknown", row("1", "FAILED"))
    assert step_on(run, {"1": last_seen}) == (run, []), "an old view is not a new one"


def test_absent_without_a_word_from_accounting_is_lost_and_never_run_again() -> None:
    run = run_of(with_attempts(wanted("a", retry=3), ("1", "RUNNING")))
    run, steps = step_on(run, {"1": JobView("absent")})
    assert job_of(run, "a").attempts[0].state == states.LOST
    assert len(job_of(run, "a").attempts) == 1
    assert not any(isinstance(step, SubmitJob) for step in steps)


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "state", "retry", "attempts", "again"),
    [
        ("it may", "FAILED", 1, 1, True),
        ("a time-out is a failure", "TIMEOUT", 1, 1, True),
        ("so is a lost node", "NODE_FAIL", 2, 2, True),
        ("and memory", "OUT_OF_MEMORY", 1, 1, True),
        ("and preemption", "PREEMPTED", 1, 1, True),
        ("no retry asked for", "FAILED", 0, 1, False),
        ("all retries used", "FAILED", 1, 2, False),
        ("it worked", "COMPLETED", 5, 1, False),
        ("somebody did not want it", "CANCELLED", 5, 1, False),
    ],
)
def test_retries(why: str, state: str, retry: int, attempts: int, again: bool) -> None:
    past = [(str(i + 1), "FAILED") for i in range(attempts - 1)]
    run = run_of(with_attempts(wanted("a", retry=retry, retry_delay_s=0), *past, (str(attempts), state)))
    run, steps = step_on(run)
    assert (SubmitJob("a") in steps) is again, why
    assert len(job_of(run, "a").attempts) == attempts + again
    assert (run.status in runs.ENDED) is not again


@pytest.mark.parametrize(
    ("why", "ended_s", "now_s", "starts"),
    [
        ("SLURM's clock is ahead of ours: the delay begins now", 300, 59, False),
        ("SLURM's clock is ahead of ours", 300, 60, True),
        ("our clock was put back: nobody waits for it", -10, -7200, True),
        ("our clock was put back a little", -10, -5, False),
    ],
)
def test_a_retry_waits_no_longer_than_its_delay_whatever_the_clocks_say(
    why: str, ended_s: float, now_s: float, starts: bool
) -> None:
    run = run_of(with_attempts(wanted("a", retry=1, retry_delay_s=60), ("1", "FAILED")))
    run.jobs[0].attempts[0].ended_at = to_rfc3339(NOW + ended_s)
    run, _ = step_on(run)
    _, steps = step_on(run, now=NOW + now_s)
    assert (steps == [SubmitJob("a")]) is starts, why


def test_a_retry_waits_its_delay_from_the_end_of_the_attempt_and_gets_a_new_tag() -> None:
    run = run_of(with_attempts(wanted("a", retry=1, retry_delay_s=60), ("1", "FAILED")), wanted("b", "a"))
    run, steps = step_on(run)
    assert (steps, job_of(run, "a").not_before) == ([], NOW - 10 + 60)
    assert step_on(run, now=NOW + 49.9) == (run, [])
    later, steps = step_on(run, now=NOW + 50)
    first, second = job_of(later, "a").attempts
    assert steps == [SubmitJob("a"), SubmitJob("b")], "no third attempt can follow, so SLURM may wait for this one"
    assert first.tag != second.tag and second.number == 2


def test_dependents_follow_the_last_attempt() -> None:
    run = run_of(with_attempts(wanted("a", retry=1), ("1", "FAILED"), ("2", "RUNNING")), wanted("b", "a"))
    run, steps = step_on(run, {"2": view_of("2", "RUNNING")})
    assert plan(run, steps) == [("b", "afterok:2")], "no third attempt can follow, so SLURM may wait for this one"


# --- cancelling, refusals --------------------------------------------------------------------------------------------


def test_a_cancelled_run_tells_all_its_live_jobs_to_end_and_starts_nothing() -> None:
    run = run_of(
        with_attempts(wanted("over"), ("1", "COMPLETED")),
        with_attempts(wanted("live"), ("2", "RUNNING")),
        with_attempts(wanted("queued", "live"), ("3", "PENDING")),
        with_attempts(wanted("broken", retry=3, retry_delay_s=0), ("4", "FAILED")),
        wanted("later", "queued"),
    )
    live = {"2": view_of("2", "RUNNING"), "3": view_of("3", "PENDING")}
    run, steps = step_on(runs.cancel_run(run, NOW), live)
    assert steps == [CancelJobs(("2", "3"))]
    assert job_of(run, "later").skipped == runs.STOPPED
    assert (run.status, run.completed_at) == ("cancelled", to_rfc3339(NOW))
    assert runs.is_open(run), "its jobs are not over yet"
    assert step_on(run, live, now=NOW + 29) == (run, []), "told once"
    _, steps = step_on(run, live, now=NOW + 31)
    assert steps == [CancelJobs(("2", "3"))], "told again when SLURM did not listen"
    gone = {"2": view_of("2", "CANCELLED"), "3": view_of("3", "CANCELLED")}
    run, steps = step_on(run, gone, now=NOW + 31)
    assert not any(isinstance(step, CancelJobs | SubmitJob) for step in steps)
    assert run.status == "cancelled"


@pytest.mark.parametrize(
    ("why", "view", "state", "steps"),
    [
        ("never taken: it simply does not start", JobView("absent"), "CANCELLED", []),
        ("taken before the crash: it is found and ended", view_of("7", "PENDING"), None, [CancelJobs(("7",))]),
        ("nobody can say yet", UNKNOWN, None, []),
    ],
)
def test_cancelling_while_a_submission_is_in_doubt(
    why: str, view: JobView, state: str | None, steps: list[runs.Step]
) -> None:
    run = runs.cancel_run(run_of(with_attempts(wanted("a"), (None, None))), NOW)
    run, taken = step_on(run, tags={"sluice:a1": view})
    assert (job_of(run, "a").attempts[0].state, taken) == (state, steps), why


def test_a_refused_job_fails_the_run_and_ends_what_was_submitted() -> None:
    run, steps = step_on(run_of(with_attempts(wanted("a"), ("1", "PENDING")), wanted("b"), wanted("c", "b")))
    run = runs.mark_refused(run, "b", "Invalid partition name specified", "invalid", NOW)
    run = runs.drop_steps(run, steps[1:])
    run, steps = step_on(run, {"1": view_of("1", "PENDING")})
    assert steps == [CancelJobs(("1",))]
    assert (run.status, run.error) == ("failed", "Submission failed: Invalid partition name specified")
    assert job_of(run, "b").attempts[0].error == "Invalid partition name specified"
    assert job_of(run, "c").attempts == []


# --- attempts whose answer was lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "view", "job_id", "state", "steps"),
    [
        ("SLURM surely does not have it", JobView("absent"), None, None, [SubmitJob("a")]),
        ("SLURM has it", view_of("9", "PENDING"), "9", None, []),
        ("nobody can say yet", UNKNOWN, None, None, []),
        ("it may have run, and nobody can ever say", JobView("lost"), None, "LOST", []),
    ],
)
def test_an_attempt_without_a_job_id(
    why: str, view: JobView, job_id: str | None, state: str | None, steps: list[runs.Step]
) -> None:
    run = runs.mark_unanswered(
        run_of(with_attempts(wanted("a", retry=2), (None, None))), "a", "sbatch timed out", NOW - 10
    )
    run, taken = step_on(run, tags={"sluice:a1": view})
    attempt = job_of(run, "a").attempts[-1]
    assert (attempt.job_id, attempt.state, [step for step in taken if isinstance(step, SubmitJob)]) == (
        job_id,
        state,
        steps,
    )
    assert attempt.tag == "sluice:a1", f"{why}: still the same attempt"


def test_an_adopted_attempt_has_what_slurm_says() -> None:
    run = run_of(with_attempts(wanted("a"), (None, None)))
    found = view_of("9", "RUNNING")
    run, steps = step_on(run, {"9": found}, {"sluice:a1": found})
    attempt = job_of(run, "a").attempts[0]
    assert (attempt.job_id, attempt.state, attempt.nodes, steps) == ("9", "RUNNING", "node01", [])
    assert attempt.submitted_at == to_rfc3339(NOW - 50)


def test_submitting_again_names_what_is_still_open() -> None:
    run = run_of(with_attempts(wanted("a"), ("1", "RUNNING")), with_attempts(wanted("b", "a"), (None, None)))
    run, steps = step_on(run, {"1": view_of("1", "RUNNING")}, {"sluice:b1": JobView("absent")})
    assert plan(run, steps) == [("b", "afterok:1")]


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reads"), [("COMPLETED", True), ("FAILED", True), ("CANCELLED", True), ("RUNNING", False)]
)
def test_a_result_is_read_once_when_the_job_is_over(state: str, reads: bool) -> None:
    job = with_attempts(wanted("a"), ("1", state))
    job.result_read = False
    run, steps = step_on(run_of(job), {"1": view_of("1", state)})
    assert steps == ([ReadResult("a", "/results/a.1.json")] if reads else [])
    assert run.status == "running", "the run does not end before its results are read"
    if reads:
        run, steps = step_on(runs.record_result(run, "a", {"total": 1}, None))
        assert steps == [] and run.status in runs.ENDED
        assert job_of(run, "a").result == {"total": 1}


def test_the_result_of_the_last_attempt_counts() -> None:
    job = with_attempts(wanted("a", retry=1, retry_delay_s=0), ("1", "FAILED"), ("2", "COMPLETED"))
    job.result_read = False
    assert step_on(run_of(job))[1] == [ReadResult("a", "/results/a.2.json")]


# --- running again ---------------------------------------------------------------------------------------------------


def test_the_duration_of_a_run_counts_from_its_last_start() -> None:
    times = {"started_at": to_rfc3339(NOW), "completed_at": to_rfc3339(NOW + 2.5)}
    run = Run(id="r", workflow_name="w", status="failed", jobs=[with_attempts(wanted("a"), ("1", "FAILED"))], **times)  # type: ignore[arg-type]
    assert runs.measure_duration_s(run) == 2.5
    run = runs.queue_rerun(run)
    assert (run.status, runs.measure_duration_s(run)) == ("pending", None)
    stopped = runs.cancel_run(run, NOW + 500)
    assert (stopped.status, runs.measure_duration_s(stopped)) == ("cancelled", 0), "it did not begin again"
    run = runs.begin_run(run, NOW + 1000)
    assert (run.status, runs.begin_run(run, NOW + 1001)) == ("submitting", run)
    run = run.model_copy(update={"status": "completed", "completed_at": to_rfc3339(NOW + 1004)})
    assert runs.measure_duration_s(run) == 4


@pytest.mark.parametrize(
    ("why", "only", "status", "state", "refused"),
    [
        ("it failed", "failed", "failed", "FAILED", None),
        ("it was cancelled", "failed", "cancelled", "CANCELLED", None),
        ("what completed too", "all", "completed", "COMPLETED", None),
        ("nothing failed", "failed", "completed", "COMPLETED", "no job of it has failed"),
        ("it runs", "all", "running", "RUNNING", "Run is running"),
        ("a job has not ended yet", "failed", "cancelled", "RUNNING", "when all of its jobs have ended"),
    ],
)
def test_which_runs_can_be_run_again(why: str, only: str, status: str, state: str, refused: str | None) -> None:
    run = run_of(with_attempts(wanted("a"), ("1", state)), status=status)
    with pytest.raises(Conflict, match=refused) if refused else contextlib.nullcontext():
        runs.check_rerun(run, only)


@pytest.mark.parametrize(
    ("why", "status", "states", "names", "again"),
    [
        ("what completed runs again where it is named", "failed", ("COMPLETED", "FAILED"), ["a"], ["a", "b"]),
        ("of a run that completed only what is named", "completed", ("COMPLETED", "COMPLETED"), ["b"], ["b"]),
    ],
)
def test_a_rerun_of_named_jobs(
    why: str, status: Any, states: tuple[str, str], names: list[str], again: list[str]
) -> None:
    jobs = [with_attempts(wanted(name), (name, state)) for name, state in zip("ab", states, strict=True)]
    run = Run(id="r", workflow_name="w", status=status, jobs=jobs)
    runs.check_rerun(run, "failed", names)
    assert [job.name for job in runs.queue_rerun(run, names=names).jobs if job.attempts_before] == again, why
    with pytest.raises(Invalid, match="no job c"):
        runs.check_rerun(run, "failed", ["c"])


def test_a_whole_rerun_repeats_what_completed() -> None:
    run = run_of(with_attempts(wanted("a"), ("1", "COMPLETED")), with_attempts(wanted("b"), ("2", "FAILED")))
    run = run.model_copy(update={"status": "failed"})
    again = [[job.name for job in runs.queue_rerun(run, whole).jobs if job.attempts_before] for whole in (False, True)]
    assert again == [["b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("why", "status", "waiting"),
    [("what completed is kept", "failed", ["b"]), ("but a whole run is run again as a whole", "completed", ["a", "b"])],
)
def test_which_jobs_run_again(why: str, status: Any, waiting: list[str]) -> None:
    jobs = [with_attempts(wanted("a"), ("1", "COMPLETED")), with_attempts(wanted("b"), ("2", status.upper()))]
    again = runs.queue_rerun(Run(id="r", workflow_name="w", status=status, jobs=jobs))
    assert [job.name for job in again.jobs if runs.find_outcome(again, job) is None] == waiting, why
    assert [len(job.attempts) for job in again.jobs] == [1, 1]
