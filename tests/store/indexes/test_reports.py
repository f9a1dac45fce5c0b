"""The reports of a store in memory: held against a plain reading of the files, also after a new start."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from store.disk.checkpoint import Checkpoint, find_sources
from store.disk.files import Files
from store.disk.folders import Folder
from store.documents import JobRecord, from_json, to_json
from store.indexes import jobs as history
from store.indexes.jobs import JobEntry
from store.indexes.reports import ReportIndex
from store.rules import reports
from store.store import SAVE_FROM_ROWS, Store
from store.views import srtslurm
from tests import ROOT
from tests.faulty_disk import Faulty

STATUSES = ("starting", "workers", "failed")
TAGS = ("a", "b")
CLUSTERS = (None, "c1", "c2")


def jobs(path: Path) -> Folder:
    """The folder of a store's job records."""
    path.mkdir(exist_ok=True)
    made = Folder(
        path,
        "Job",
        Files(path),
        lambda data, name: from_json(JobRecord, data, name),
        suffixes=(".json",),
        facts=history.build_facts,
        keep=False,
        recent=3,
    )
    made.load()
    return made


@asynccontextmanager
async def opened(path: Path, clock: Callable[[], float]) -> AsyncIterator[tuple[Folder, ReportIndex]]:
    """The folder, and what is collected of it."""
    folder = jobs(path)
    yield folder, ReportIndex(folder, clock)
    await folder.close()
    folder.files.close()


async def step(chance: random.Random, folder: Folder, collector: ReportIndex, at: float) -> None:
    """Nothing; a job has told something, or was deleted."""
    job_id = f"{chance.randrange(12)}" + chance.choice(["", "", "_1"])
    name = reports.to_record_name(job_id)
    before = folder.get(name) if name in folder else None
    kind = chance.random()
    if kind < 0.1 and before is not None:
        await folder.delete(name)
        return
    with collector.reserve_number() as number:
        if kind < 0.4:
            sent = f"2026-03-30T12:0{chance.randrange(3)}:00Z"
            body = {"job_id": job_id, "job_name": "n", "submitted_at": sent, "cluster": chance.choice(CLUSTERS)}
            after = reports.apply_submission(before, body, number, at, "me")
        else:
            tags = {"tags": chance.sample(TAGS, chance.randrange(3))}
            body = {"status": chance.choice(STATUSES), "metadata": tags, "started_at": "2026-03-30T12:01:00Z"}
            after = reports.apply_update(before, job_id, body, number, at, "me")
        await folder.put(name, after)


def plainly(folder: Folder) -> list[dict[str, Any]]:
    """The reports in the order of lists, straight from the documents."""
    found = [srtslurm.to_job_json(one.report) for one in map(folder.get, folder.list_names())]
    by_time = sorted(found, key=lambda one: (reports.parse_reported_time(one["submitted_at"]), one["job_id"]))
    return by_time[::-1]


async def compare(folder: Folder, collector: ReportIndex, chance: random.Random) -> None:
    """Nothing; lists and feeds say what the documents say."""
    known = plainly(folder)
    for status, cluster, tag in itertools.product((None, "failed"), (None, "c1"), (None, "a")):
        wanted = [
            one["job_id"]
            for one in known
            if (status in (None, one["status"])) and (cluster in (None, one["cluster"]))
            and (tag is None or tag in (one["metadata"] or {}).get("tags", []))
        ]  # fmt: skip
        size, number = chance.randrange(1, 6), chance.randrange(1, 4)
        page = orjson.loads(collector.build_page(status, cluster, tag, number, size).data)
        assert page["total"] == len(wanted)
        assert [one["job_id"] for one in page["jobs"]] == wanted[(number - 1) * size : number * size]
        assert page["jobs"] == [
            {key: one[key] for key in srtslurm.SUMMARY}
            for one in known if one["job_id"] in wanted[(number - 1) * size : number * size]
        ]  # fmt: skip
    events = sorted((event for one in known for event in one["events"]), key=lambda one: one["id"])
    told, cursor, limit = [], 0, chance.randrange(1, 9)
    while True:
        more = await collector.list_events(cursor, limit)
        if not more["events"]:
            assert more["next_cursor"] == (cursor or None)
            break
        told += more["events"]
        cursor = more["next_cursor"]
        assert cursor == told[-1]["id"]
    assert told == events
    for one in known[:2]:
        assert (await collector.list_events(0, 1000, one["job_id"]))["events"] == one["events"]
    alive = {one["job_id"] for one in known if one["status"] != "failed"}
    assert set(collector.awaited) >= alive - {"0", "0_1"}, "no job of SLURM's is called 0"


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_the_files_say(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ticks = itertools.count(1_774_872_000)

    async def play() -> None:
        last = 0
        for _ in range(3):
            async with opened(tmp_path / "jobs", lambda: next(ticks)) as (folder, collector):
                for _ in range(40):
                    await step(chance, folder, collector, next(ticks))
                    if chance.random() < 0.2:
                        await compare(folder, collector, chance)
                with collector.reserve_number() as number:
                    assert number > last, "also after a new start"
                    last = number

    asyncio.run(play())


def test_no_event_is_shown_before_an_earlier_one_that_is_being_written(tmp_path: Path) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            with collector.reserve_number() as slow:
                with collector.reserve_number() as quick:
                    await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, quick, 5, "me"))
                assert (await collector.list_events(0, 10)) == {"events": [], "next_cursor": None}
                assert (await collector.list_events(0, 10, "2"))["events"] == []
                await folder.put("1", reports.apply_update(None, "1", {"status": "workers"}, slow, 5, "me"))
            told = await collector.list_events(0, 10)
            assert [one["job_id"] for one in told["events"]] == ["1", "2"]

    asyncio.run(play())


def test_a_write_that_failed_holds_up_nobody(tmp_path: Path) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            with pytest.raises(OSError), collector.reserve_number():
                raise OSError
            with collector.reserve_number() as number:
                await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, number, 5, "me"))
            assert len((await collector.list_events(0, 10))["events"]) == 1

    asyncio.run(play())


def test_a_number_is_not_given_again_though_its_event_is_gone(tmp_path: Path) -> None:
    ticks = itertools.count(1_774_872_000)

    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: next(ticks)) as (folder, collector):
            with collector.reserve_number() as first:
                await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, first, 5, "me"))
            await folder.delete("2")
        async with opened(tmp_path / "jobs", lambda: next(ticks)) as (_, collector):
            with collector.reserve_number() as second:
                assert second > first

    asyncio.run(play())


def test_the_clock_may_be_set_back(tmp_path: Path) -> None:
    times = iter([100.0, 90.0, 95.0])

    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: next(times)) as (_, collector):
            numbers = []
            for _ in range(3):
                with collector.reserve_number() as number:
                    numbers.append(number)
            assert numbers == sorted(set(numbers))

    asyncio.run(play())


def test_a_copy_under_another_name_counts_for_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            record = reports.apply_update(None, "8", {"status": "workers"}, 1, 5, "me")
            await folder.put("8", record)
            await folder.put("copy", record.model_copy(update={"id": "copy"}))
            assert orjson.loads(collector.build_page(None, None, None, 1, 50).data)["total"] == 1
            await folder.delete("copy")
            assert list(collector.reports) == ["8"] and len((await collector.list_events(0, 9))["events"]) == 1

    asyncio.run(play())


def test_reads_need_no_disk(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    for number in range(1, 501):
        record = reports.apply_update(None, str(number), {"status": STATUSES[number % 3]}, number, number, "me")
        (tmp_path / "jobs" / f"{number}.json").write_bytes(to_json(record))

    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            shutil.rmtree(tmp_path / "jobs")
            page = orjson.loads(collector.build_page("failed", None, None, 2, 100).data)
            assert (page["total"], len(page["jobs"]), page["jobs"][0]["job_id"]) == (167, 67, "200")
            told = await collector.list_events(0, 1000)
            assert [one["job_id"] for one in told["events"]] == [str(number) for number in range(1, 501)]
            assert collector.get_report("77").status == "failed"
            assert len(folder.parsed_documents) <= 3, "whole reports do not stay parsed"

    asyncio.run(play())


def test_an_event_that_left_its_record_leaves_the_feed(tmp_path: Path) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            record = reports.apply_update(None, "8", {"status": "starting"}, 1, 5, "me")
            record = reports.apply_update(record, "8", {"status": "workers"}, 2, 5, "me")
            await folder.put("8", record)
            report = record.report
            assert report is not None
            fewer = report.model_copy(update={"events": report.events[1:]})
            await folder.put("8", record.model_copy(update={"report": fewer}))
            assert await collector.list_events(0, 1) == {
                "events": [srtslurm.to_event_json(report, report.events[1])],
                "next_cursor": 2,
            }

    asyncio.run(play())


def test_a_checkpoint_knows_the_reports(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    for number in range(1, SAVE_FROM_ROWS + 1):
        body = {"status": "failed", "metadata": {"tags": ["a"]}}
        record = reports.apply_update(None, str(number), body, number, number, "me")
        (tmp_path / "jobs" / f"{number}.json").write_bytes(to_json(record))
        os.utime(tmp_path / "jobs" / f"{number}.json", (1, 1))

    def start() -> tuple[bytes, list[Any], list[str]]:
        read: list[str] = []
        store = Store(tmp_path)
        parse = store.jobs.parse
        store.jobs.parse = lambda data, name: read.append(name) or parse(data, name)  # type: ignore[func-returns-value]
        collector = ReportIndex(store.jobs, lambda: 1e9)
        store.open()
        seen = list(read)
        page = collector.build_page("failed", None, "a", 1, 100).data
        told = asyncio.run(collector.list_events(0, 1000))["events"]
        asyncio.run(store.close())
        return page, told, seen

    page, told, read = start()
    assert len(read) == SAVE_FROM_ROWS and len(told) == SAVE_FROM_ROWS
    assert start() == (page, told, [])
    kinds = (history.Facts, history.SubmittedJob, reports.ReportSummary)
    sources = find_sources(Checkpoint.__module__, history.restore_facts.__module__)
    assert {Path(inspect.getfile(kind)) for kind in kinds} <= set(sources), (
        "another program's checkpoint is passed over"
    )
    for way in ("store/rules/fields.py", "store/documents/__init__.py", "store/documents/encoding.py"):
        assert ROOT / way in sources, "what is imported on the way counts too"


def test_lists_of_slurms_jobs_are_made_anew_only_for_another_stage(tmp_path: Path) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            seen = []
            for number, stage in enumerate(["workers", "workers", None, "benchmark"], 1):
                body = {"status": "workers", "stage": stage, "message": str(number)}
                before = folder.get("8") if number > 1 else None
                await folder.put("8", reports.apply_update(before, "8", body, number, number, "me"))
                seen.append(collector.stages_version)
            await folder.delete("8")
            assert [*seen, collector.stages_version] == [1, 1, 1, 2, 3]

    asyncio.run(play())


@pytest.mark.parametrize("count", [1, 300])
def test_an_update_is_one_small_write_among_however_many(tmp_path: Path, count: int) -> None:
    ops = Faulty()
    written: list[int] = []
    ops.write = lambda fd, data: written.append(os.write(fd, data)) or written[-1]  # type: ignore[attr-defined]

    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 5.0) as (folder, collector):
            for number in range(count):
                name, body = str(number + 1), {"status": "workers"}
                await folder.put(name, reports.apply_update(None, name, body, number + 1, 5, "me"))
            folder.files.ops = ops
            with collector.reserve_number() as number:
                after = reports.apply_update(folder.get("1"), "1", {"status": "benchmark"}, number, 5, "me")
                await folder.put("1", after)
            assert orjson.loads(collector.build_page("benchmark", None, None, 1, 50).data)["total"] == 1

    asyncio.run(play())
    assert ops.calls.count("fsync") == 2, "the file and its folder"
    assert sum(written) == (tmp_path / "jobs" / "1.json").stat().st_size


@pytest.mark.parametrize(
    ("why", "reported", "shown"),
    [
        ("a job", "8", {"8": "workers", "9": None}),
        ("a task", "8_1", {"8_1": "workers", "8_0": None, "8": None}),
        ("the whole speaks for its parts", "8", {"8_0": "workers", "8+1": "workers", "88": None}),
        ("a job that no SLURM has", "local", {"8": None}),
    ],
)
def test_whose_stage_it_is(tmp_path: Path, why: str, reported: str, shown: dict[str, str | None]) -> None:
    async def play() -> None:
        async with opened(tmp_path / "jobs", lambda: 1000.0) as (folder, collector):
            assert collector.find_for_job(row("8"), "c") is None
            body = {"status": "workers", "stage": "workers"}
            await folder.put(reported, reports.apply_update(None, reported, body, 1, 1000, "me"))
            for job_id, stage in shown.items():
                told = collector.find_for_job(row(job_id), "c")
                assert (told and told.stage) == stage, job_id
                told = collector.find_for_entry(entry(job_id), "c")
                assert (told and told.stage) == stage, job_id

    asyncio.run(play())


def row(job_id: str) -> dict[str, Any]:
    """A row as SLURM gives it."""
    return {"job_id": job_id, "name": "n", "state": "RUNNING", "submit_time": 990, "end_time": None}


def entry(job_id: str) -> JobEntry:
    """A job of ours."""
    record = JobRecord(id="a", name="n", job_id=job_id, state="RUNNING", submitted_at="1970-01-01T00:16:30Z")
    return history.list_entries(record)[0]
