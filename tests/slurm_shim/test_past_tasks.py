"""Tasks of arrays by each of their ids, also those that SLURM has forgotten or never started."""

from __future__ import annotations

from typing import Any

import pytest

from slurm_shim.past import past_tasks
from tests.pretended import asynchronous, job, world

WAITING = job("8_[3-6%2]", "PENDING", array_job_id=8, array_task_id="3-6%2")
BEGUN = job("8_2", "RUNNING", raw_id=9, array_job_id=8, array_task_id="2", start_time=5)


@pytest.mark.parametrize(
    ("why", "job_id", "expected"),
    [
        ("what waits together", "8_[3-6%2]", ("8_[3-6%2]", 8, "3-6%2", "PENDING")),
        ("some of it", "8_[4,6]", ("8_[4,6]", 8, "4,6", "PENDING")),
        ("one of it has the number of the array", "8_5", ("8_5", 8, "5", "PENDING")),
        ("what waited together before one began", "8_[2-6%2]", ("8_[2-6%2]", 8, "2-6%2", "RUNNING")),
        ("a task that began", "8_2", ("8_2", 9, "2", "RUNNING")),
        ("by its own number", "9", ("8_2", 9, "2", "RUNNING")),
        ("the whole", "8", ("8", 8, None, "RUNNING")),
        ("no task of it", "8_7", None),
    ],
)
@asynchronous
async def test_the_ids_of_an_array(why: str, job_id: str, expected: tuple[Any, ...] | None) -> None:
    async with world(polling=False) as made:
        made.cluster.rows = [WAITING, BEGUN]
        await made.snapshot.refresh()
        found = made.snapshot.find(job_id)
        assert (found and tuple(found[key] for key in ("job_id", "raw_id", "array_task_id", "state"))) == expected, why


@pytest.mark.parametrize("is_ours", [True, False], ids=["cancelled through us", "cancelled by others"])
@asynchronous
async def test_a_task_that_was_cancelled_while_it_waited_stays_known(is_ours: bool) -> None:
    async with world(polling=False) as made:
        made.cluster.rows = [WAITING, BEGUN]
        await made.snapshot.refresh()
        if is_ours:
            made.snapshot.mark_cancelled(["8_5"])
            assert (made.snapshot.find("8_5") or {})["state"] == "CANCELLED", "at once"
        assert (made.snapshot.find("8_4") or {})["state"] == "PENDING"
        assert made.snapshot.jobs["8_[3-6%2]"]["state"] == "PENDING", "the others go on waiting"
        rest = job("8_[3-4,6%2]", "PENDING", array_job_id=8, array_task_id="3-4,6%2")
        for rows in ([rest, BEGUN], [rest], []):  # SLURM never shows it again
            made.clock.time_s += 1.0
            made.cluster.rows = rows
            await made.snapshot.refresh()
            assert (made.snapshot.find("8_5") or {})["state"] == "CANCELLED"
        assert made.snapshot.find("8_4") is None, "what became of it nobody has seen"


@asynchronous
async def test_an_ended_task_is_known_after_slurm_has_forgotten_it() -> None:
    async with world(polling=False) as made:
        for rows in ([WAITING, BEGUN | {"state": "FAILED", "stdout": "/o"}], [WAITING], []):
            made.clock.time_s += 1.0
            made.cluster.rows = rows
            await made.snapshot.refresh()
            for job_id in ("8_2", "9"):
                found = made.snapshot.find(job_id) or {}
                assert (found["job_id"], found["state"], found["stdout"]) == ("8_2", "FAILED", "/o")


@asynchronous
async def test_an_array_that_was_just_submitted_has_its_tasks() -> None:
    async with world(polling=False) as made:
        await made.snapshot.refresh()
        made.snapshot.add_submitted("8", {"job_id": "8_[1-3]", "array_job_id": 8, "array_task_id": "1-3"})
        assert list(made.snapshot.jobs) == ["8_[1-3]"]
        for job_id, is_known in (("8", True), ("8_2", True), ("8_[1-3]", True), ("8_4", False)):
            assert (made.snapshot.find(job_id) is not None) is is_known, job_id
        assert made.snapshot.by_id("8")[0] == "seen"
        made.snapshot.mark_cancelled(["8_2"])
        assert [(made.snapshot.find(job_id) or {})["state"] for job_id in ("8_1", "8_2")] == ["PENDING", "CANCELLED"]
        made.clock.time_s += 1.0
        made.cluster.rows = [job("8_[1,3]", "PENDING", array_job_id=8, array_task_id="1,3")]
        await made.snapshot.refresh()
        assert [(made.snapshot.find(job_id) or {})["state"] for job_id in ("8_1", "8_2")] == ["PENDING", "CANCELLED"]


@asynchronous
async def test_tasks_that_vanish_while_slurm_was_away_are_not_called_cancelled() -> None:
    async with world(polling=False) as made:
        for seconds, rows in ((1.0, [WAITING, BEGUN]), (600.0, [BEGUN])):
            made.clock.time_s += seconds
            made.cluster.rows = rows
            await made.snapshot.refresh()
        assert made.snapshot.find("8_5") is None, "it may have run, and SLURM has forgotten it"


@asynchronous
async def test_an_array_goes_on_after_all_that_waited_was_cancelled_task_by_task() -> None:
    async with world(polling=False) as made:
        # Then SLURM shows the rest as a plain job with the array's id.
        for rows in ([WAITING, BEGUN], [job("8", "CANCELLED"), BEGUN]):
            made.clock.time_s += 1.0
            made.cluster.rows = rows
            await made.snapshot.refresh()
        found = {job_id: (made.snapshot.find(job_id) or {})["state"] for job_id in ("8", "8_2", "8_5")}
        assert found == {"8": "RUNNING", "8_2": "RUNNING", "8_5": "CANCELLED"}
        assert (made.snapshot.by_id("8")[1] or {})["state"] == "RUNNING"


@asynchronous
async def test_a_task_that_is_cancelled_after_a_long_time_without_change_is_noticed() -> None:
    async with world(polling=False) as made:
        rest = job("8_[3-4,6%2]", "PENDING", array_job_id=8, array_task_id="3-4,6%2")
        for rows in ([WAITING, BEGUN], *[[WAITING, BEGUN]] * 4, [rest, BEGUN]):
            made.clock.time_s += 30.0
            made.cluster.rows = rows
            await made.snapshot.refresh()
        assert (made.snapshot.find("8_5") or {})["state"] == "CANCELLED"


@asynchronous
async def test_tasks_of_arrays_that_were_never_shown_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_tasks, "MOST_KEPT", 4)
    async with world(polling=False) as made:
        await made.snapshot.refresh()
        for number in range(8, 12):
            array = {"job_id": f"{number}_[1-3]", "array_job_id": number, "array_task_id": "1-3"}
            made.snapshot.add_submitted(str(number), array)
            made.snapshot.mark_cancelled([f"{number}_{task}" for task in (1, 2)])
        made.clock.time_s += 1.0
        made.cluster.rows = [job("1")]
        await made.snapshot.refresh()
        kept = [number for number in range(8, 12) if made.snapshot.find(f"{number}_1") is not None]
        assert len(kept) == 2
