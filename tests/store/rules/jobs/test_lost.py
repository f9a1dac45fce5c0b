"""Jobs that were taken for lost: what becomes of their documents when they turn up."""

from __future__ import annotations

from typing import Any

import pytest

from store.documents import JobRecord, Run
from store.rules import runs
from store.rules.jobs.lost import list_lost, settle_lost_jobs
from store.rules.jobs.views import JobView
from tests.store.rules.run_samples import NOW, job_of, run_of, step_on, view_of, wanted, with_attempts


def lose(run: Run) -> Run:
    attempt = run.jobs[0].attempts[0]
    lost, _ = step_on(run, {attempt.job_id or "": JobView("absent")})
    return lost


def find(run: Run, state: str) -> dict[str, JobView]:
    return {run.jobs[0].attempts[-1].tag: view_of("1", state)}


@pytest.mark.parametrize(
    ("why", "state", "status", "dependents"),
    [
        ("it had completed: what was skipped for it is started", "COMPLETED", "running", 1),
        ("it runs on: everything waits for it again", "RUNNING", "running", 1),
        ("it had failed: the run stays failed, for its true reason", "FAILED", "failed", 0),
    ],
)
def test_a_run_goes_on_as_its_jobs_say(why: str, state: str, status: str, dependents: int) -> None:
    run = lose(run_of(with_attempts(wanted("a"), ("1", "RUNNING")), wanted("b", "a")))
    assert run.status == "failed" and job_of(run, "b").skipped == runs.NEVER
    found = settle_lost_jobs(run, find(run, state), NOW)
    assert job_of(found, "a").attempts[0].state == state, why
    assert job_of(found, "a").attempts[0].found_at is not None
    job_of(found, "a").result_read = True
    on, _ = step_on(found, {"1": view_of("1", state)})
    assert on.status in (status, "submitting") and len(job_of(on, "b").attempts) == dependents


def test_a_run_that_was_cancelled_stays_cancelled_and_ends_the_job() -> None:
    run = run_of(with_attempts(wanted("a"), ("1", "RUNNING")))
    run = lose(runs.cancel_run(run, NOW))
    found = settle_lost_jobs(run, find(run, "RUNNING"), NOW)
    _, steps = step_on(found, {"1": view_of("1", "RUNNING")}, now=NOW + 100)
    assert found.status == "cancelled" and steps == [runs.CancelJobs(("1",))]


@pytest.mark.parametrize("job_id", ["5", None])
def test_a_record_is_corrected(job_id: str | None) -> None:
    given: dict[str, Any] = {"id": "r", "name": "x", "tag": "sluice:r", "job_id": job_id, "state": "LOST", "error": "?"}
    found = settle_lost_jobs(JobRecord(**given), {"sluice:r": view_of("5", "COMPLETED")}, NOW)
    assert (found.job_id, found.state, found.error) == ("5", "COMPLETED", None)
    assert [change.state for change in found.history] == ["COMPLETED"] and list_lost(found) == []


@pytest.mark.parametrize(("state", "status"), [("CANCELLED", "failed"), ("COMPLETED", "running")])
def test_what_accounting_guesses_of_a_job_whose_id_was_given_again_does_not_count(state: str, status: str) -> None:
    run = run_of(with_attempts(wanted("a"), ("1", "RUNNING")))
    run, _ = step_on(run, {"1": JobView("replaced")})
    assert "lost by the cluster" in (run.error or "")
    assert settle_lost_jobs(run, find(run, state), NOW).status == status


def test_what_is_not_found_stays_as_it_is() -> None:
    run = lose(run_of(with_attempts(wanted("a"), ("1", "RUNNING"))))
    assert settle_lost_jobs(run, {}, NOW) == run
