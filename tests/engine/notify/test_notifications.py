"""Notifications: who hears of what, also over restarts, failures and requests that come twice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from store.documents import JobRecord, Run
from store.errors import Invalid, StoreUnavailable
from store.rules.jobs.views import JobView
from store.times import to_rfc3339
from tests.engine.notify.mortal_outbox import AT, NOW, Life, Receivers, begin, documents, live, open_life
from tests.pretended import asynchronous

# --- with two endpoints that hear everything of one job --------------------------------------------------------------


def test_numbers_are_never_given_twice(tmp_path: Path, soon: None) -> None:
    """Also not after the thing is deleted, while something still names it, and over a restart."""
    begin(tmp_path / "s")
    receivers = Receivers()
    asyncio.run(live(tmp_path / "s", receivers))

    async def go() -> tuple[int, int]:
        life = Life(tmp_path / "s", receivers)
        life.store.open()
        try:
            await life.notifications.delete_endpoint(2)
            await life.store.watches.delete("1")
            body = {"kind": "webhook", "name": "new", "config": {"webhook_url": "https://example.net/"}}
            made = await life.notifications.create_endpoint(body)
            asked = await life.notifications.watch_target("job", "43", made["id"], "terminal")
            return made["id"], asked["watch_id"]
        finally:
            await life.store.close()

    assert asyncio.run(go()) == (3, 2)


def test_what_ended_long_ago_is_put_away(tmp_path: Path, soon: None) -> None:
    begin(tmp_path / "s")
    receivers = Receivers()
    asyncio.run(live(tmp_path / "s", receivers))

    async def go(days: float) -> tuple[int, int]:

        life = Life(tmp_path / "s", receivers)
        life.store.open()
        try:
            await life.notifications.remove_old(time.time() + days * 86_400)
            await life.quiet()
            return len(life.store.deliveries), len(life.store.watches)
        finally:
            await life.store.close()

    assert asyncio.run(go(29)) == (6, 1)
    assert asyncio.run(go(31)) == (0, 0)
    assert sum(receivers.got.values()) == 6


def test_what_a_failed_pass_was_to_look_at_is_looked_at_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path / "s")

    async def go() -> None:
        life = Life(tmp_path / "s", Receivers())
        life.store.open()
        try:
            await life.put_job("COMPLETED")
            with monkeypatch.context() as patch:
                patch.setattr(life.notifications, "find_events", lambda _watch: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    await life.notifications.run_once()
            await life.notifications.run_once()
            await asyncio.gather(*(task for _, task in life.notifications.outbox.sending.values()))
        finally:
            await life.store.close()

    asyncio.run(go())
    assert documents(tmp_path / "s")


def list_events(root: Path, endpoint_id: int = 1) -> list[tuple[str, str]]:
    """List target and status of what is written for an endpoint, in the order in which it was."""
    found = sorted(documents(root), key=lambda delivery: int(delivery.id))
    return [
        (delivery.body["target_ref"], delivery.body["status"])
        for delivery in found
        if delivery.endpoint_id == endpoint_id
    ]


@asynchronous
async def test_a_start_tells_what_happened_before_the_last_end(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        await life.put_job("RUNNING")
        await life.notifications.catch_up()
    async with open_life(tmp_path) as life:
        await life.put_job("COMPLETED")
    assert [status for _, status in list_events(tmp_path)] == ["PENDING", "RUNNING"]
    async with open_life(tmp_path) as life:
        await life.notifications.catch_up()
        await life.notifications.catch_up()
        assert life.notifications.get_watch(1).closed_at
    assert [status for _, status in list_events(tmp_path)] == ["PENDING", "RUNNING", "COMPLETED"], "each once"


@asynchronous
async def test_a_job_of_the_same_id_on_another_cluster_is_another_job(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        other = JobRecord(id="o", cluster="d", name="n", job_id="42", state="COMPLETED", submitted_at=AT, ended_at=AT)
        await life.store.jobs.put("o", other)
        await life.notifications.run_once()
        assert documents(tmp_path) == [] and life.notifications.get_watch(1).closed_at is None
        await life.put_job("RUNNING")
        await life.notifications.catch_up()
    assert [status for _, status in list_events(tmp_path)] == ["PENDING", "RUNNING"]


@asynchronous
async def test_what_is_switched_off_is_written_down_and_not_sent(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "config.yaml").write_text("webhooks: {deliver: false}\n")
    receivers = Receivers()
    async with open_life(tmp_path, receivers) as life:
        await life.put_job("COMPLETED")
        await life.notifications.run_once()
        assert life.notifications.outbox.sending == {} and not receivers.got
    assert {delivery.status for delivery in documents(tmp_path)} == {"pending"}
    assert len(documents(tmp_path)) == 6


@asynchronous
async def test_a_watch_that_cannot_be_written_waits_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path)
    (tmp_path / "config.yaml").write_text("webhooks: {deliver: false}\n")
    async with open_life(tmp_path) as life:
        await life.put_job("COMPLETED")

        async def fail(*_arguments: Any) -> None:
            raise StoreUnavailable(5, "the disk failed")

        with monkeypatch.context() as patch:
            patch.setattr(life.store.watches, "put", fail)
            await life.notifications.run_once()
        assert life.notifications.get_watch(1).closed_at is None and ("job", "42") in life.notifications.changed
        await life.notifications.run_once()
        assert life.notifications.get_watch(1).closed_at and life.notifications.changed == set()
    assert [status for _, status in list_events(tmp_path)] == ["PENDING", "RUNNING", "COMPLETED"]


# --- jobs of other people --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "view", "statuses", "closed"),
    [
        ("nobody can say yet", JobView("unknown"), [], False),
        (
            "SLURM has it",
            JobView("seen", {"name": "n", "state": "RUNNING", "start_time": NOW}),
            ["RUNNING"],
            False,
        ),
        ("it has ended", JobView("seen", {"name": "n", "state": "FAILED"}), ["FAILED"], True),
        ("SLURM has forgotten it", JobView("absent"), ["UNKNOWN"], True),
    ],
)
def test_slurm_is_asked_about_jobs_that_we_did_not_submit(
    tmp_path: Path, why: str, view: JobView, statuses: list[str], closed: bool
) -> None:
    begin(tmp_path)

    async def look() -> None:
        async with open_life(tmp_path) as life:
            asked: list[tuple[str, str]] = []

            def look_up(cluster: str, job_id: str) -> JobView:
                asked.append((cluster, job_id))
                return view

            life.notifications.look_up_job = look_up
            assert [watch.id for watch in life.notifications.list_foreign_watches()] == ["1"]
            await life.notifications.queue_events("1")
            assert (life.notifications.get_watch(1).closed_at is not None) is closed, why
            assert set(asked) == {("c", "42")}

    asyncio.run(look())
    assert [status for _, status in list_events(tmp_path)] == statuses, why


@asynchronous
async def test_a_job_of_ours_is_no_foreign_one(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        assert [watch.id for watch in life.notifications.list_foreign_watches()] == ["1"]
        await life.put_job("RUNNING")
        assert life.notifications.list_foreign_watches() == []
        await life.store.jobs.delete("j")
        assert [watch.id for watch in life.notifications.list_foreign_watches()] == ["1"]
        await life.store.watches.delete("1")
        assert life.notifications.list_foreign_watches() == []


# --- runs ------------------------------------------------------------------------------------------------------------


async def put_run(life: Life, status: str) -> None:
    """Put the run `r` into the store, in this state."""
    run = Run(id="r", workflow_name="w", status=status, started_at=AT)  # type: ignore[arg-type]
    await life.store.runs.put("r", run.model_copy(update={"completed_at": AT if status == "failed" else None}))


@asynchronous
async def test_a_run_that_was_deleted_is_gone_and_one_that_cannot_be_read_is_not(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        await put_run(life, "running")
        watched = await life.notifications.watch_target("workflow_run", "r", 1, "terminal")
        (file,) = (tmp_path / "runs").glob("r*")
        text = file.read_text()
        file.write_text("{")
    async with open_life(tmp_path) as life:
        await life.notifications.run_once()
        assert "r" not in life.store.runs and life.notifications.get_watch(watched["watch_id"]).closed_at is None
        file.write_text(text)
        await life.store.runs.refresh([file.name])
        await life.store.runs.delete("r")
        await life.notifications.run_once()
        assert life.notifications.get_watch(watched["watch_id"]).closed_at
    assert list_events(tmp_path) == [], "nobody is told how it ended"


@asynchronous
async def test_only_what_is_new_is_told_to_who_asks_later(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        await put_run(life, "running")
        await life.notifications.watch_target("workflow_run", "r", 1, "all")
        await life.notifications.queue_target_events("workflow_run", "r")
        assert documents(tmp_path) == [], "that it runs is no news"
        await put_run(life, "failed")
        await life.notifications.queue_target_events("workflow_run", "r")
        with pytest.raises(Invalid, match="already failed"):
            await life.notifications.watch_target("workflow_run", "r", 2, "all")
    assert list_events(tmp_path) == [("workflow_run:r", "failed")] and list_events(tmp_path, 2) == []


@asynchronous
async def test_a_request_that_comes_twice_subscribes_once(tmp_path: Path) -> None:
    begin(tmp_path)
    async with open_life(tmp_path) as life:
        since = to_rfc3339(time.time())
        body = {"notify": True, "endpoint_id": 1, "preset": "running_and_terminal"}
        await put_run(life, "failed")
        await asyncio.gather(
            *(life.notifications.subscribe_requested("workflow_run", "r", body, since) for _ in range(3))
        )
        assert len(life.store.watches) == 2
        await life.notifications.run_once()
        assert life.notifications.get_watch(2).closed_at
        await life.notifications.subscribe_requested("workflow_run", "r", body, since)
        assert len(life.store.watches) == 2, "also when the watch has closed"
        for unwanted in ({**body, "notify": False}, {}):
            await life.notifications.subscribe_requested("workflow_run", "other", unwanted, since)
        await life.notifications.subscribe_requested("workflow_run", "old", body, "2001-01-01T00:00:00Z")
        assert len(life.store.watches) == 2
    assert list_events(tmp_path) == [("workflow_run:r", "failed")], "what had happened before is told"
