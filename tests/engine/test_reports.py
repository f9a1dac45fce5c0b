"""Reports of jobs beside what SLURM says: whose report is settled, and what SLURM is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import reports
from store.errors import NotFound
from store.kinds import Key
from tests.engine.servers.pretended import CALLER, World, open_server
from tests.pretended import asynchronous, job

UPDATED = "2026-03-30T13:00:00Z"
SUBMITTED = {"job_name": "n", "submitted_at": "2026-03-30T12:00:00Z"}


async def report(world: World, job_id: str, **more: Any) -> None:
    await reports.record_submission(world.server, {"job_id": job_id, **SUBMITTED, **more}, CALLER)


async def settle(world: World) -> list[str]:
    """What accounting is to be asked about, once everything that was begun is done."""
    asked = await reports.settle_ended_jobs(world.server)
    await asyncio.gather(*world.server.tasks.running.values())
    return asked


def row(state: str, ended_s_ago: float = 0.0, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    times = {"submit_time": now - 100_000, "end_time": now - ended_s_ago if state != "RUNNING" else None}
    return job("5", state, **{"name": "n", "exit_code": 1, **times, **more})


@pytest.mark.parametrize(
    ("why", "make_row", "cluster", "status", "slurm_state"),
    [
        ("it runs", partial(row, "RUNNING"), None, "submitted", None),
        ("it died without its last word", partial(row, "NODE_FAIL"), None, "failed", "NODE_FAIL"),
        ("its time was up", partial(row, "TIMEOUT"), None, "timeout", "TIMEOUT"),
        ("it ended long before it reported: another job", partial(row, "FAILED", 90_000), None, "submitted", None),
        ("another name on another cluster", partial(row, "FAILED", name="x"), "else", "submitted", None),
        ("the same name, the cluster called otherwise", partial(row, "FAILED"), "else", "failed", "FAILED"),
    ],
)
@asynchronous
async def test_whose_report_is_settled(
    tmp_path: Path, why: str, make_row: Callable[[], Any], cluster: str | None, status: str, slurm_state: str | None
) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5", cluster=cluster)
        await world.show_queue(make_row())
        assert await settle(world) == [], why
        record = world.store.jobs.get("5")
        assert (record.report.status, record.report.slurm_state) == (status, slurm_state), why


@asynchronous
async def test_accounting_is_asked_until_the_job_is_known(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5")
        assert await settle(world) == ["5"]
        assert await settle(world) == ["5"], "nobody knows it yet"
        await world.show_queue(row("RUNNING"))
        assert await settle(world) == [] and world.server.report_index.open_questions == {}, "until it changes"


@pytest.mark.parametrize(
    ("why", "changed", "asked"),
    [
        ("the job itself", {"8"}, ["8"]),
        ("a task of an array that reported as a whole", {"8_3"}, ["8"]),
        ("a part of a heterogeneous job", {"8+1"}, ["8"]),
        ("one that never reported", {"9"}, []),
        ("a number that begins the same", {"88"}, []),
    ],
)
@asynchronous
async def test_which_changes_concern_a_report(tmp_path: Path, why: str, changed: set[str], asked: list[str]) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "8")
        world.server.report_index.open_questions.clear()
        reports.on_jobs_changed(world.server, changed)
        assert list(world.server.report_index.open_questions) == asked, why


@asynchronous
async def test_the_last_word_of_a_job_counts_though_its_end_is_being_written_down(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5")
        await world.show_queue(row("FAILED"))
        last_word = reports.record_update(world.server, "5", {"status": "completed", "updated_at": UPDATED}, CALLER)
        ahead = asyncio.ensure_future(last_word)
        await asyncio.sleep(0)  # now it holds the report's lock
        assert await reports.settle_ended_jobs(world.server) == []
        await asyncio.gather(ahead, *world.server.tasks.running.values())
        kept = world.store.jobs.get("5").report
        assert (kept.status, kept.slurm_state) == ("completed", "FAILED"), "one beside the other"


@asynchronous
async def test_a_job_that_runs_again_meanwhile_is_not_settled(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5")
        await world.show_queue(row("NODE_FAIL"))
        async with world.server.locks.hold(Key("report", "5")):
            assert await reports.settle_ended_jobs(world.server) == []
            await world.show_queue(row("RUNNING"))
        await asyncio.gather(*world.server.tasks.running.values())
        assert world.store.jobs.get("5").report.slurm_state is None


@asynchronous
async def test_what_repeats_is_not_written_again(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5")
        etag = world.store.jobs.get_entry("5").etag
        await report(world, "5")
        assert world.store.jobs.get_entry("5").etag == etag


@asynchronous
async def test_a_report_has_the_state_of_its_job_beside_it(tmp_path: Path) -> None:
    async with open_server(tmp_path, root_path="/slurm") as world:
        await report(world, "5")
        found = reports.get_report(world.server, "5")
        assert (found["slurm_state"], found["links"]) == (None, {"slurm": None})
        await world.show_queue(row("RUNNING"))
        found = reports.get_report(world.server, "5")
        assert (found["slurm_state"], found["links"]) == ("RUNNING", {"slurm": "/slurm/api/jobs/5"})


@asynchronous
async def test_a_deleted_report_leaves_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await report(world, "5")
        await reports.add_log(world.server, "5", "out.log", 0, b"hello")
        assert (await reports.read_logs(world.server, "5", None, 0))["files"]
        await reports.delete_report(world.server, "5")
        for call in (reports.delete_report(world.server, "5"), reports.read_logs(world.server, "5", None, 0)):
            with pytest.raises(NotFound):
                await call
        await report(world, "5")
        assert (await reports.read_logs(world.server, "5", None, 0))["files"] == []


@asynchronous
async def test_only_a_job_that_reported_may_send_files(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(NotFound):
            await reports.add_log(world.server, "5", "out.log", 0, b"hello")
        with pytest.raises(NotFound):
            await reports.add_capture(world.server, "5", "c", "0" * 32, 0, 1, b"x")
        with pytest.raises(NotFound):
            await reports.list_events(world.server, "5", 0, 10)
        assert not list((tmp_path / "store" / "streams").rglob("*"))
