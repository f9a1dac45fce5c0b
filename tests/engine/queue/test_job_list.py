"""The list of jobs: what it is made of, when accounting is asked, and what is told where that is silent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.queue import job_list, queue_view
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.past import ended_jobs
from slurm_shim.queue import derived
from store.errors import Invalid, NotFound
from store.rules.queue import job_query
from tests.engine.servers.pretended import World, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job

NOW = int(time.time())
SILENT = SlurmUnreachable("sacct", "Problem talking to the database")
ENDED = {"end_time": NOW - 600, "start_time": NOW - 700, "submit_time": NOW - 800, "source": "sacct"}


async def take_answer(answer: Any) -> Any:
    """Take what is there at once, or wait for it."""
    return await answer if asyncio.iscoroutine(answer) else answer


async def list_page(world: World, **asked: Any) -> dict[str, Any]:
    answer = await take_answer(job_list.list_jobs(world.server, **asked))
    page: dict[str, Any] = orjson.loads(answer.value.data)
    return page


async def list_ids(world: World, **asked: Any) -> list[str]:
    return [row["job_id"] for row in (await list_page(world, **asked))["jobs"]]


@asynchronous
async def test_before_the_first_answer_there_is_no_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.server.cluster.snapshot.taken_at = None
        with pytest.raises(SlurmUnreachable):
            await list_page(world)


@asynchronous
async def test_a_job_of_ours_that_slurm_forgot_is_listed(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("55"))
        times = {"submitted_at": "2026-01-01T00:00:00Z", "ended_at": job_list.s9s.to_rfc3339(NOW - 60)}
        await world.store.jobs.put(
            "j", record("7", "COMPLETED", exit_code=0, user="ci", owner="ann", time_limit="1:30:00", **times)
        )
        page = await list_page(world)
        assert [row["job_id"] for row in page["jobs"]] == ["55", "7"]
        ours = page["jobs"][1]
        assert ours["user"] == "ann", "not the token that it was submitted with"
        assert (ours["state"], ours["exit_code"], ours["account"], ours["cpu_count"]) == ("COMPLETED", 0, None, None)
        assert ours["time_limit"] == "1:30:00" and list(ours) == list(page["jobs"][0])
        await world.store.jobs.delete("j")
        assert await list_ids(world) == ["55"]


@asynchronous
async def test_a_job_of_ours_is_not_listed_beside_its_parts(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        parts = {"array_job_id": 7, "state": "COMPLETED", "end_time": NOW}
        await world.show_queue(job("7_1", array_task_id="1", raw_id=8, **parts), job("7_2", array_task_id="2", **parts))
        ended_at = job_list.s9s.to_rfc3339(NOW - 60)
        await world.store.jobs.put("j", record("7", "COMPLETED", ended_at=ended_at))
        assert await list_ids(world) == ["7_2", "7_1"]


@asynchronous
async def test_pages_of_a_sorted_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(*(job(str(number), priority=number % 3) for number in range(1, 8)))
        page = await list_page(world, sort="priority", order="ASC", limit=3, offset=3)
        assert [row["job_id"] for row in page.pop("jobs")] == ["4", "1", "5"]
        assert page == {"total": 7, "limit": 3, "offset": 3, "has_more": True}
        assert (await list_page(world, limit=5000))["limit"] == 1000


@asynchronous
async def test_a_page_is_kept_until_something_changes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1"))
        bodies = [(await take_answer(job_list.list_jobs(world.server))).value for _ in range(2)]
        assert bodies[0] is bodies[1]
        await world.show_queue(job("1"), job("2"))
        assert (await take_answer(job_list.list_jobs(world.server))).value is not bodies[0]


TASKS = job("8_[3-4,7%2]", "PENDING", raw_id=8, array_job_id=8, array_task_id="3-4,7%2", user="ann", priority=5)


@asynchronous
async def test_tasks_that_wait_together_are_told_apart_where_that_is_asked(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        started = job("8_5", raw_id=12, array_job_id=8, array_task_id="5", user="ann", submit_time=TASKS["submit_time"])
        await world.show_queue(TASKS, started)
        assert await list_ids(world) == ["8_5", "8_[3-4,7%2]"]
        expanded = await list_page(world, expand_arrays=True)
        assert [row["job_id"] for row in expanded["jobs"]] == ["8_7", "8_5", "8_4", "8_3"] and expanded["total"] == 4
        assert expanded["jobs"][0] | {"job_id": 0} == expanded["jobs"][3] | {"job_id": 0}
        assert await list_ids(world, expand_arrays=True, filter="job_id=8_4") == ["8_4"]
        assert await list_ids(world, expand_arrays=True, sort="job_id", order="asc", limit=2) == ["8_3", "8_4"]
        many = TASKS | {"array_task_id": "0-60000"}
        await world.show_queue(*(many | {"job_id": f"{number}_[0-60000]"} for number in range(4)))
        with pytest.raises(Invalid, match="tasks wait"):
            await list_page(world, expand_arrays=True)
        assert (await list_page(world, expand_arrays=True, user="nobody"))["total"] == 0


WHEN: list[tuple[str, dict[str, Any], bool]] = [
    ("the queue is enough", {"state": "R"}, False),
    ("an ended state", {"state": "CD"}, True),
    ("a period", {"start_time": "2026-03-30"}, True),
]


@pytest.mark.parametrize(("why", "asked", "asks"), WHEN, ids=[row[0] for row in WHEN])
@asynchronous
async def test_accounting_is_asked_where_it_is_needed(
    tmp_path: Path, why: str, asked: dict[str, Any], asks: bool
) -> None:
    async with open_server(tmp_path) as world:
        await asyncio.gather(*(list_page(world, **asked) for _ in range(5)))
        await list_page(world, **asked)
        windows = world.slurm.windows
        assert bool(windows) is asks and len(set(windows)) == len(windows), "each part of it once, for all"


@asynchronous
async def test_ended_jobs_of_accounting_are_filtered_as_all_others(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("9"), job("8", "COMPLETED", end_time=NOW))
        world.slurm.accounted = [
            job("3", "FAILED", user="bob", **ENDED),
            job("4", "COMPLETED", user="bob", **ENDED),
            job("8", "FAILED", **ENDED),  # the queue knows better
        ]
        assert await list_ids(world, state="CD,F", sort="job_id") == ["8", "4", "3"]
        assert await list_ids(world, filter="state=F") == ["3"]
        assert await list_ids(world, start_time="now-1h", end_time="now-5m", user="bob", sort="job_id") == ["4", "3"]
        assert await list_ids(world) == ["9", "8"]


@asynchronous
async def test_our_paths_are_told_for_jobs_that_accounting_tells_of(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounted = [job(number, "COMPLETED", account="lab", **ENDED) for number in ("6", "7", "8")]
        ended_at = job_list.s9s.to_rfc3339(NOW - 600)
        for number, path in (("6", "/n"), ("7", "/o"), ("8", "/p")):
            made = record(number, "COMPLETED", ended_at=ended_at, stdout=path, stderr="/e", id=number)
            await world.store.jobs.put(number, made)
        (row,) = (await list_page(world, state="CD", filter="standard_output = /o"))["jobs"]
        assert (row["account"], row["standard_output"], row["standard_error"]) == ("lab", "/o", "/e")
        assert await list_ids(world, state="CD", sort="standard_output", order="asc", limit=9) == ["6", "7", "8"]


@asynchronous
async def test_without_accounting_the_page_says_what_may_be_missing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("9"), job("8", "COMPLETED", end_time=NOW))
        world.slurm.database_failure = SILENT
        page = await list_page(world, state="R,CD")
        assert [row["job_id"] for row in page["jobs"]] == ["9", "8"]
        assert page["warnings"] == [f"jobs that have ended may be missing: accounting does not answer ({SILENT})"]
        with pytest.raises(SlurmUnreachable):
            await list_page(world, start_time="now-1h")
        assert "warnings" not in await list_page(world, state="R")
        world.slurm.database_failure = None
        assert "warnings" not in await list_page(world, state="R,CD")


@asynchronous
async def test_a_cluster_without_accounting_has_what_went_through_here(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounting = False
        await world.store.jobs.put("j", record("7", "FAILED", ended_at=job_list.s9s.to_rfc3339(NOW - 40_000)))
        assert await list_ids(world, start_time="now-1d") == ["7"]
        assert await list_ids(world) == [], "those of the last six hours"


@asynchronous
async def test_too_much_history_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_jobs, "MOST_ROWS", 2)
    async with open_server(tmp_path) as world:
        world.slurm.accounted = [job(str(number), "COMPLETED", **ENDED) for number in range(1, 4)]
        with pytest.raises(Invalid, match="ask for a shorter"):
            await list_page(world, start_time="now-1h")


@asynchronous
async def test_large_lists_are_looked_through_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (job_list, queue_view, derived):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 1)
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1"), job("2"), job("3", "PENDING"))
        assert await list_ids(world, state="R") == ["2", "1"]
        await world.show_queue(job("1"), job("2"), job("3"))
        assert await list_ids(world, state="R") == ["3", "2", "1"]


@asynchronous
async def test_who_asks_at_once_for_pages_of_a_list_has_it_looked_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    select_rows = job_query.select_rows

    def count_looks(*given: Any) -> Any:
        looks.append(given)
        return select_rows(*given)

    monkeypatch.setattr(job_query, "select_rows", count_looks)
    for module in (job_list, queue_view, derived):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 1)
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1"), job("2", submit_time=2), job("3", "PENDING"))
        pages = [list_ids(world, sort="job_id", limit=1, offset=offset) for offset in (0, 1, 2, 0, 1, 2)]
        assert await asyncio.gather(*pages) == [["3"], ["2"], ["1"]] * 2
        assert len(looks) == 1
        assert await list_ids(world, sort="job_id", order="asc") == ["1", "2", "3"] and len(looks) == 2


@asynchronous
async def test_an_unknown_cluster_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(NotFound):
            await list_page(world, cluster="elsewhere")
        assert await list_ids(world, cluster="here") == []
