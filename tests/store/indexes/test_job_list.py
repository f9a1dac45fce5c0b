"""The list of jobs: every row in its place, and only those made anew that changed, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from slurm_shim.job_groups import build_waiting_job
from store.disk.files import Files
from store.disk.folders import Folder
from store.documents import JobRecord
from store.indexes import job_list
from store.indexes.bodies import Body
from store.indexes.job_list import JobList, Queue
from store.indexes.jobs import JobIndex
from store.indexes.reports import ReportIndex
from store.views import srunx
from tests.pretended import asynchronous
from tests.store.indexes.job_documents import follow_document

SINCE = "2026-03-01T00:00:00Z"


class World:
    """A queue and its list; `made` are the ids of the rows that were made."""

    def __init__(self, folder: Folder) -> None:
        self.job_index = JobIndex()
        self.list = JobList(self.job_index, ReportIndex(folder))
        self.jobs: dict[str, Any] = {}
        self.version = 0
        self.made: list[str] = []

    def note(self, job_id: str) -> None:
        """Note that a row is made."""
        self.made.append(job_id)

    def show(self, *jobs: dict[str, Any]) -> None:
        """Let these be the jobs of the queue."""
        self.jobs = {row["job_id"]: row for row in jobs}
        self.version += 1

    @property
    def queue(self) -> Queue:
        """What the list is made of."""
        return Queue("c", self.version, self.jobs, SINCE)

    async def get(self) -> Body:
        """Get the list as callers do."""
        body = self.list.get_body(self.queue)
        return body if isinstance(body, Body) else await body

    def read(self) -> Any:
        """Read the list."""
        return orjson.loads(asyncio.run(self.get()).data)

    def take_made(self) -> list[str]:
        """Take the ids of the rows that were made since the last time."""
        made, self.made = self.made, []
        return made


@pytest.fixture(params=[0, 500])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty queue; its list is made in steps beside the event loop, and at once."""
    monkeypatch.setattr(job_list, "ROWS_AT_ONCE", request.param)
    monkeypatch.setattr(job_list, "ENTRIES_AT_ONCE", 1)
    files = Files(tmp_path)
    folder = Folder(tmp_path, "job", files, lambda data, _name: orjson.loads(data))
    world, build = World(folder), srunx.to_job_json
    monkeypatch.setattr(srunx, "to_job_json", lambda row, *more: world.note(row["job_id"]) or build(row, *more))
    yield world
    files.close()


def make_record(job_id: str, **more: Any) -> JobRecord:
    """Make the record of a job of ours."""
    return JobRecord(id=f"r{job_id}", cluster="c", name="ours", job_id=job_id, submitted_at=SINCE, **more)


@pytest.mark.parametrize(
    ("why", "parts", "job_ids"),
    [
        ("forgotten by SLURM", [], [8]),
        ("still in the queue", [{"job_id": "8"}], [8]),
        ("an array shows its tasks", [{"job_id": "8_0", "raw_id": 9, "array_job_id": 8}], [9]),
        ("a heterogeneous job its parts", [{"job_id": "8+0", "het_job_id": 8}, {"job_id": "9"}], [8, 9]),
    ],
)
def test_a_job_of_ours_stands_in_the_list_once(
    world: World, why: str, parts: list[dict[str, Any]], job_ids: list[Any]
) -> None:
    ended = {"state": "COMPLETED", "submitted_at": "2026-03-01T10:00:00Z", "ended_at": "2026-03-01T10:01:00Z"}
    follow_document(world.job_index, None, JobRecord(id="a", cluster="c", name="a", job_id="8", **ended))
    world.show(*(build_waiting_job(**part) for part in parts))
    assert [row["job_id"] for row in world.read()] == job_ids, why


def test_only_changed_rows_are_made(world: World) -> None:
    jobs = [build_waiting_job(str(number)) for number in (3, 1, 2)]
    world.show(*jobs)
    assert [row["job_id"] for row in world.read()] == [3, 1, 2]
    assert world.take_made() == ["3", "1", "2"]
    changed = jobs[1] | {"state": "RUNNING"}
    world.show(jobs[0], changed, jobs[2], build_waiting_job("9"))
    assert [row["status"] for row in world.read()] == ["PENDING", "RUNNING", "PENDING", "PENDING"]
    assert world.take_made() == ["1", "9"]
    world.show(changed, jobs[0])
    assert [row["job_id"] for row in world.read()] == [1, 3]
    world.show(jobs[0])
    assert [row["job_id"] for row in world.read()] == [3]
    world.show()
    assert world.read() == []
    assert world.take_made() == []


def test_a_list_that_turns_out_the_same_is_the_same_body(world: World) -> None:
    job = build_waiting_job("1")
    world.show(job)
    before = asyncio.run(world.get())
    world.show(job)
    assert asyncio.run(world.get()) is before


def test_what_we_know_of_a_job_changes_its_row(world: World) -> None:
    world.show(build_waiting_job("1"), build_waiting_job("2_[1-3]", array_job_id=2, array_task_id="1-3"))
    assert [row["name"] for row in world.read()] == ["", ""]
    world.take_made()
    follow_document(world.job_index, None, make_record("2", memory_mb=2048))
    assert [row["resources"]["memory_per_node"] for row in world.read()] == [None, "2048MB"]
    follow_document(world.job_index, make_record("2", memory_mb=2048), make_record("2", memory_mb=1024))
    assert world.read()[1]["resources"]["memory_per_node"] == "1024MB"
    assert world.take_made() == ["2_[1-3]", "2_[1-3]"]


def test_a_row_is_found_while_it_is_the_one_of_the_list(world: World) -> None:
    job = build_waiting_job("1")
    assert world.list.find_row("c", job) is None, "no list yet"
    world.show(job)
    row = world.read()[0]
    found = world.list.find_row("c", job)
    assert found is not None and orjson.loads(found.data) == row
    assert world.list.find_row("d", job) is None, "of another cluster"
    assert world.list.find_row("c", dict(job)) is None, "another version"
    follow_document(world.job_index, None, make_record("1"))
    assert world.list.find_row("c", job) is None, "it is ours since"


@asynchronous
async def test_who_waits_gets_a_list_that_was_begun_after_it_came(tmp_path: Path) -> None:
    files = Files(tmp_path)
    world = World(Folder(tmp_path, "job", files, lambda data, _name: orjson.loads(data)))
    world.show(*(build_waiting_job(str(number)) for number in range(job_list.ROWS_AT_ONCE + 1)))
    first = asyncio.ensure_future(world.get())
    await asyncio.sleep(0)  # it has begun
    world.show(*world.jobs.values(), build_waiting_job("9999"))
    later = [asyncio.ensure_future(world.get()) for _ in range(3)]
    cut_off = asyncio.ensure_future(world.get())
    await asyncio.sleep(0)
    cut_off.cancel()
    assert len(orjson.loads((await first).data)) == job_list.ROWS_AT_ONCE + 1
    bodies = [await body for body in later]
    assert orjson.loads(bodies[0].data)[-1]["job_id"] == 9999
    assert all(body is bodies[0] for body in bodies), "made once for all who waited"
    assert world.list.get_body(world.queue) is bodies[0]
    files.close()
