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

from store.disk.files import Files
from store.disk.folders import Folder
from store.disk.kept.checkpoint import Checkpoint, find_sources
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
        parsed_bytes=3000,
    )
    made.load()
    return made


@asynccontextmanager
async def open_index(path: Path, clock: Callable[[], float]) -> AsyncIterator[tuple[Folder, ReportIndex]]:
    """Open the folder, and the index of it."""
    folder = jobs(path)
    yield folder, ReportIndex(folder, clock)
    await folder.close()
    folder.files.close()


async def step(chance: random.Random, folder: Folder, report_index: ReportIndex, at: float) -> None:
    """Nothing; a job has told something, or was deleted."""
    job_id = f"{chance.randrange(12)}" + chance.choice(["", "", "_1"])
    name = reports.to_record_name(job_id)
    before = folder.get(name) if name in folder else None
    kind = chance.random()
    if kind < 0.1 and before is not None:
        await folder.delete(name)
        return
    with report_index.reserve_number() as number:
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
    found = [srtslurm.to_job_json(record.report) for record in map(folder.get, folder.list_names())]
    by_time = sorted(found, key=lambda job: (reports.parse_reported_time(job["submitted_at"]), job["job_id"]))
    return by_time[::-1]


async def compare(folder: Folder, report_index: ReportIndex, chance: random.Random) -> None:
    """Nothing; lists and feeds say what the documents say."""
    known = plainly(folder)
    for status, cluster, tag in itertools.product((None, "failed"), (None, "c1"), (None, "a")):
        wanted = [
            job["job_id"]
            for job in known
            if (status in (None, job["status"])) and (cluster in (None, job["cluster"]))
            and (tag is None or tag in (job["metadata"] or {}).get("tags", []))
        ]  # fmt: skip
        size, number = chance.randrange(1, 6), chance.randrange(1, 4)
        page = orjson.loads(report_index.build_page(status, cluster, tag, number, size).data)
        assert page["total"] == len(wanted)
        assert [job["job_id"] for job in page["jobs"]] == wanted[(number - 1) * size : number * size]
        assert page["jobs"] == [
            {key: job[key] for key in srtslurm.SUMMARY}
            for job in known if job["job_id"] in wanted[(number - 1) * size : number * size]
        ]  # fmt: skip
    events = sorted((event for job in known for event in job["events"]), key=lambda event: event["id"])
    events_read, cursor, limit = [], 0, chance.randrange(1, 9)
    while True:
        more = await report_index.list_events(cursor, limit)
        if not more["events"]:
            assert more["next_cursor"] == (cursor or None)
            break
        events_read += more["events"]
        cursor = more["next_cursor"]
        assert cursor == events_read[-1]["id"]
    assert events_read == events
    for known_job in known[:2]:
        assert (await report_index.list_events(0, 1000, known_job["job_id"]))["events"] == known_job["events"]
    alive = {job["job_id"] for job in known if job["status"] != "failed"}
    assert set(report_index.awaited) >= alive - {"0", "0_1"}, "no job of SLURM's is called 0"


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_the_files_say(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ticks = itertools.count(1_774_872_000)

    async def play() -> None:
        last = 0
        for _ in range(3):
            async with open_index(tmp_path / "jobs", lambda: next(ticks)) as (folder, report_index):
                for _ in range(40):
                    await step(chance, folder, report_index, next(ticks))
                    if chance.random() < 0.2:
                        await compare(folder, report_index, chance)
                with report_index.reserve_number() as number:
                    assert number > last, "also after a new start"
                    last = number

    asyncio.run(play())


def test_no_event_is_shown_before_an_earlier_one_that_is_being_written(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            with report_index.reserve_number() as slow:
                with report_index.reserve_number() as quick:
                    await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, quick, 5, "me"))
                assert (await report_index.list_events(0, 10)) == {"events": [], "next_cursor": None}
                assert (await report_index.list_events(0, 10, "2"))["events"] == []
                await folder.put("1", reports.apply_update(None, "1", {"status": "workers"}, slow, 5, "me"))
            answer = await report_index.list_events(0, 10)
            assert [event["job_id"] for event in answer["events"]] == ["1", "2"]

    asyncio.run(play())


def test_a_write_that_failed_holds_up_nobody(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            with pytest.raises(OSError), report_index.reserve_number():
                raise OSError
            with report_index.reserve_number() as number:
                await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, number, 5, "me"))
            assert len((await report_index.list_events(0, 10))["events"]) == 1

    asyncio.run(play())


def test_a_number_is_not_given_again_though_its_event_is_gone(tmp_path: Path) -> None:
    ticks = itertools.count(1_774_872_000)

    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: next(ticks)) as (folder, report_index):
            with report_index.reserve_number() as first:
                await folder.put("2", reports.apply_update(None, "2", {"status": "workers"}, first, 5, "me"))
            await folder.delete("2")
        async with open_index(tmp_path / "jobs", lambda: next(ticks)) as (_, report_index):
            with report_index.reserve_number() as second:
                assert second > first

    asyncio.run(play())


def test_the_clock_may_be_set_back(tmp_path: Path) -> None:
    times = iter([100.0, 90.0, 95.0])

    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: next(times)) as (_, report_index):
            numbers = []
            for _ in range(3):
                with report_index.reserve_number() as number:
                    numbers.append(number)
            assert numbers == sorted(set(numbers))

    asyncio.run(play())


def test_a_copy_under_another_name_counts_for_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            record = reports.apply_update(None, "8", {"status": "workers"}, 1, 5, "me")
            await folder.put("8", record)
            await folder.put("copy", record.model_copy(update={"id": "copy"}))
            assert orjson.loads(report_index.build_page(None, None, None, 1, 50).data)["total"] == 1
            await folder.delete("copy")
            assert list(report_index.reports) == ["8"] and len((await report_index.list_events(0, 9))["events"]) == 1

    asyncio.run(play())


def test_reads_need_no_disk(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    for number in range(1, 501):
        record = reports.apply_update(None, str(number), {"status": STATUSES[number % 3]}, number, number, "me")
        (tmp_path / "jobs" / f"{number}.json").write_bytes(to_json(record))

    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            shutil.rmtree(tmp_path / "jobs")
            page = orjson.loads(report_index.build_page("failed", None, None, 2, 100).data)
            assert (page["total"], len(page["jobs"]), page["jobs"][0]["job_id"]) == (167, 67, "200")
            answer = await report_index.list_events(0, 1000)
            assert [event["job_id"] for event in answer["events"]] == [str(number) for number in range(1, 501)]
            assert report_index.get_report("77").status == "failed"
            assert folder.recent.parsed.size_bytes <= 3000, "whole reports do not stay parsed"

    asyncio.run(play())


def test_an_event_that_left_its_record_leaves_the_feed(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            record = reports.apply_update(None, "8", {"status": "starting"}, 1, 5, "me")
            record = reports.apply_update(record, "8", {"status": "workers"}, 2, 5, "me")
            await folder.put("8", record)
            report = record.report
            assert report is not None
            fewer = report.model_copy(update={"events": report.events[1:]})
            await folder.put("8", record.model_copy(update={"report": fewer}))
            assert await report_index.list_events(0, 1) == {
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
        report_index = ReportIndex(store.jobs, lambda: 1e9)
        store.open()
        seen = list(read)
        page = report_index.build_page("failed", None, "a", 1, 100).data
        events = asyncio.run(report_index.list_events(0, 1000))["events"]
        asyncio.run(store.close())
        return page, events, seen

    page, events, read = start()
    assert len(read) == SAVE_FROM_ROWS and len(events) == SAVE_FROM_ROWS
    assert start() == (page, events, [])
    kinds = (history.Facts, history.SubmittedJob, reports.ReportSummary)
    sources = find_sources(Checkpoint.__module__, history.restore_facts.__module__)
    assert {Path(inspect.getfile(kind)) for kind in kinds} <= set(sources), (
        "another program's checkpoint is passed over"
    )
    for way in ("store/rules/fields.py", "store/documents/__init__.py", "store/documents/encoding.py"):
        assert ROOT / way in sources, "what is imported on the way counts too"


def test_lists_of_slurms_jobs_are_made_anew_only_for_another_stage(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            seen = []
            for number, stage in enumerate(["workers", "workers", None, "benchmark"], 1):
                body = {"status": "workers", "stage": stage, "message": str(number)}
                before = folder.get("8") if number > 1 else None
                await folder.put("8", reports.apply_update(before, "8", body, number, number, "me"))
                seen.append(report_index.stages_version)
            await folder.delete("8")
            assert [*seen, report_index.stages_version] == [1, 1, 1, 2, 3]

    asyncio.run(play())


@pytest.mark.parametrize("count", [1, 300])
def test_an_update_is_one_small_write_among_however_many(tmp_path: Path, count: int) -> None:
    ops = Faulty()
    written: list[int] = []
    ops.write = lambda fd, data: written.append(os.write(fd, data)) or written[-1]  # type: ignore[attr-defined]

    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 5.0) as (folder, report_index):
            for number in range(count):
                name, body = str(number + 1), {"status": "workers"}
                await folder.put(name, reports.apply_update(None, name, body, number + 1, 5, "me"))
            folder.files.ops = ops
            with report_index.reserve_number() as number:
                after = reports.apply_update(folder.get("1"), "1", {"status": "benchmark"}, number, 5, "me")
                await folder.put("1", after)
            assert orjson.loads(report_index.build_page("benchmark", None, None, 1, 50).data)["total"] == 1

    asyncio.run(play())
    assert ops.calls.count("fsync") == 2, "the file and its folder"
    assert sum(written) == (tmp_path / "jobs" / "1.json").stat().st_size


@pytest.mark.parametrize(
    ("why", "reported", "stages"),
    [
        ("a job", "8", {"8": "workers", "9": None}),
        ("a task", "8_1", {"8_1": "workers", "8_0": None, "8": None}),
        ("the whole speaks for its parts", "8", {"8_0": "workers", "8+1": "workers", "88": None}),
        ("a job that no SLURM has", "local", {"8": None}),
    ],
)
def test_whose_stage_it_is(tmp_path: Path, why: str, reported: str, stages: dict[str, str | None]) -> None:
    async def play() -> None:
        async with open_index(tmp_path / "jobs", lambda: 1000.0) as (folder, report_index):
            assert report_index.find_for_job(row("8"), "c") is None
            body = {"status": "workers", "stage": "workers"}
            await folder.put(reported, reports.apply_update(None, reported, body, 1, 1000, "me"))
            for job_id, stage in stages.items():
                report = report_index.find_for_job(row(job_id), "c")
                assert (report and report.stage) == stage, job_id
                report = report_index.find_for_entry(entry(job_id), "c")
                assert (report and report.stage) == stage, job_id

    asyncio.run(play())


def row(job_id: str) -> dict[str, Any]:
    """A row as SLURM gives it."""
    return {"job_id": job_id, "name": "n", "state": "RUNNING", "submit_time": 990, "end_time": None}


def entry(job_id: str) -> JobEntry:
    """A job of ours."""
    record = JobRecord(id="a", name="n", job_id=job_id, state="RUNNING", submitted_at="1970-01-01T00:16:30Z")
    return history.list_entries(record)[0]


def test_open_questions_are_looked_at_when_the_queue_changes_or_time_has_passed(tmp_path: Path) -> None:
    clock = [1000.0]
    report_index = ReportIndex(jobs(tmp_path), lambda: clock[0])
    assert report_index.is_due(1, 0.5), "never yet"
    clock[0] += 0.4
    assert not report_index.is_due(1, 0.5)
    assert report_index.is_due(2, 0.5), "the queue has changed"
    clock[0] += 0.5
    assert report_index.is_due(2, 0.5)
    clock[0] -= 3600
    assert report_index.is_due(2, 0.5), "the clock was put back"
