"""Runs whose mount is copied before: the rule of that, and the folders over there that stand for those here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from store import logs
from store.documents import Run
from store.errors import Denied, NotFound, StoreError
from store.rules import results, run_drafts, runs
from store.rules.runs import SubmitJob, SyncMount
from tests.store.rules.run_samples import NOW, UNKNOWN, run_of, step_on, wanted


def syncing(**more: Any) -> Run:
    """A run that waits for its mount."""
    return run_of(wanted("a"), wanted("b", "a"), status="syncing", syncs=True, mount="ml", **more)


# --- the rule --------------------------------------------------------------------------------------------------------


def test_nothing_is_done_before_the_mount_is_there() -> None:
    run = syncing()
    advanced, steps = step_on(run)
    assert steps == [SyncMount("ml")] and advanced == run
    assert runs.find_due_time(run, 5.0) == 5.0 and runs.is_open(run), "it goes on by itself, also after a restart"
    there = runs.mark_synced(run, None, NOW)
    assert there.status == "submitting"
    _, steps = step_on(there)
    assert steps[0] == SubmitJob("a")


def test_a_mount_that_cannot_be_copied_ends_the_run() -> None:
    failed = runs.mark_synced(syncing(), "no space left", NOW)
    assert (failed.status, failed.error) == ("failed", "Mount sync failed: no space left") and failed.completed_at
    advanced, steps = step_on(failed)
    assert steps == [] and advanced == failed and not runs.is_open(failed)
    assert [job.skipped for job in failed.jobs] == [runs.STOPPED] * 2


@pytest.mark.parametrize("error", [None, "no space left"])
def test_a_run_that_was_cancelled_meanwhile_stays_so(error: str | None) -> None:
    cancelled = runs.cancel_run(syncing(), NOW)
    assert runs.mark_synced(cancelled, error, NOW) == cancelled
    advanced, steps = step_on(cancelled)
    assert steps == [] and advanced.status == "cancelled" and not runs.is_open(advanced)


def test_a_run_that_is_run_again_copies_its_mount_again() -> None:
    again = runs.queue_rerun(runs.mark_synced(syncing(), "no space left", NOW))
    assert again.status == "pending" and runs.begin_run(again, NOW).status == "syncing"
    assert step_on(runs.begin_run(again, NOW))[1] == [SyncMount("ml")]
    plain = run_of(wanted("a"), status="pending")
    assert runs.begin_run(plain, NOW).status == "submitting"


def test_a_cluster_that_is_not_known_changes_nothing() -> None:
    run = run_of(wanted("a"))
    advanced, steps = runs.advance_run(run, lambda _id: UNKNOWN, lambda _attempt, _job: UNKNOWN, NOW)
    assert [type(step) for step in steps] == [SubmitJob] and advanced.jobs[0].attempts[0].job_id is None
    assert runs.advance_run(advanced, lambda _id: UNKNOWN, lambda _attempt, _job: UNKNOWN, NOW) == (advanced, [])


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "work_dir", "log_dir", "expected_work", "expected_logs"),
    [
        ("nothing said", None, "logs", "/remote/ml", "/remote/ml/logs"),
        ("below the mount", "/home/me/ml/sub", "logs", "/remote/ml/sub", "/remote/ml/sub/logs"),
        ("the mount itself", "/home/me/ml", None, "/remote/ml", "/remote/ml"),
        ("logs below the mount", "sub", "/home/me/ml/logs", "/remote/ml/sub", "/remote/ml/logs"),
        ("relative", "sub", "logs", "/remote/ml/sub", "/remote/ml/sub/logs"),
        ("a folder over there", "/scratch/me", "logs", "/scratch/me", "/scratch/me/logs"),
        ("only the same beginning", "/home/me/ml2", "logs", "/home/me/ml2", "/home/me/ml2/logs"),
    ],
)
def test_folders_over_there(
    why: str, work_dir: str | None, log_dir: str | None, expected_work: str, expected_logs: str
) -> None:
    plan = {"jobs": [{"name": "a", "work_dir": work_dir, "log_dir": log_dir}], "order": ["a"]}
    (placed,) = run_drafts.place_jobs(plan, Path("/remote/ml"), "r", Path("/home/me/ml"))
    assert (placed["work_dir"], placed["log_dir"]) == (expected_work, expected_logs)
    assert placed["result_path"] == f"{expected_work}/.sluice/r/a.%j.json"


# --- files that lie elsewhere ----------------------------------------------------------------------------------------


def reading(*parts: tuple[bytes, int] | StoreError) -> tuple[Any, list[Any]]:
    """A reader that gives these parts, and what it was asked for."""
    asked: list[Any] = []

    async def read(wanted: Sequence[tuple[str, int, int]], owner: int | None) -> list[tuple[bytes, int] | StoreError]:
        asked.append(([(path, at) for path, at, _ in wanted], owner))
        return list(parts)

    return read, asked


def test_both_streams_are_read_in_one_go() -> None:
    read, asked = reading((b"out", 7), NotFound("file", "e"))
    offsets = {"stdout_at": 4, "stderr_at": -5}
    found = asyncio.run(logs.read_job_logs("/o", "/e", **offsets, owner=7, tails=logs.Tails(), read=read))
    assert (found["stdout"], found["stdout_offset"], found["stderr"], found["stderr_offset"]) == ("out", 7, "", 0)
    assert asked == [([("/o", 4), ("/e", 0)], 7)]


def test_what_may_not_be_read_is_told() -> None:
    read, _ = reading(Denied("o belongs to somebody else"))
    with pytest.raises(Denied, match="somebody else"):
        asyncio.run(logs.read_job_logs("/o", None, stdout_at=0, stderr_at=0, owner=7, tails=logs.Tails(), read=read))
    assert asyncio.run(results.read_result("/r", 100, read)) == (None, "o belongs to somebody else")


def test_results_from_elsewhere() -> None:
    assert asyncio.run(results.read_result("/r", 100, reading((b'{"a": 1}', 8))[0])) == ({"a": 1}, None)
    assert asyncio.run(results.read_result("/r", 100, reading(NotFound("file", "r"))[0])) == (None, None)
    assert "more than the 100" in (asyncio.run(results.read_result("/r", 100, reading((b"{", 101))[0]))[1] or "")
