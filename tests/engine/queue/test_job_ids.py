"""The ids of a filtered list: the same as the list's, kept until a change, also only those among some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.queue import job_ids, job_list
from engine.queue.job_ids import MOST_AMONG, parse_ids
from store.errors import Invalid
from store.rules.queue import job_query
from tests.engine.queue.test_job_list import ENDED, NOW, SILENT, list_ids, take_answer
from tests.engine.servers.pretended import World, open_server
from tests.pretended import asynchronous, job

STATES = ("RUNNING", "PENDING", "COMPLETED")


async def find_ids(world: World, **asked: Any) -> dict[str, Any]:
    """What the operation answers."""
    answer = await take_answer(job_ids.list_ids(world.server, **asked))
    found: dict[str, Any] = orjson.loads(answer.value.data)
    return found


async def show_jobs(world: World) -> None:
    """Show 30 jobs of different kinds."""
    await world.show_queue(
        *(
            job(str(at), state=STATES[at % 3], user=("ann", "bob")[at % 2], priority=at % 7, submit_time=1000 + at % 11)
            for at in range(30)
        )
    )


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sort": "priority", "order": "asc"},
        {"state": "R,PD"},
        {"user": "ann", "filter": "priority>2"},
        {"partition": "none"},
        {"filter": "submit_time < now-1h"},
        {"state": "COMPLETED"},
        {"start_time": "now-2h"},
        {"expand_arrays": True},
    ],
    ids=str,
)
@asynchronous
async def test_they_are_those_of_the_list(tmp_path: Path, asked: dict[str, Any]) -> None:
    async with open_server(tmp_path) as world:
        await show_jobs(world)
        whole = await list_ids(world, limit=1000, **asked)
        assert await find_ids(world, **asked) == {"job_ids": whole, "total": len(whole), "has_more": False}
        first = await find_ids(world, limit=2, **asked)
        assert first == {"job_ids": whole[:2], "total": len(whole), "has_more": len(whole) > 2}
        some = ["3", "17", *whole[:3], "999", "12_1"]
        among = await find_ids(world, among=",".join(some), **asked)
        assert among == {"job_ids": [name for name in whole if name in some], "total": len(whole), "has_more": False}


@asynchronous
async def test_they_are_found_once_for_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    selected = []
    select_rows = job_query.select_rows
    monkeypatch.setattr(job_query, "select_rows", lambda *asked: selected.append(asked) or select_rows(*asked))
    async with open_server(tmp_path) as world:
        await show_jobs(world)
        before = await take_answer(job_ids.list_ids(world.server, filter="user=ann"))
        for among in ("1", "2,3", "4"):
            await find_ids(world, filter="user=ann", among=among)
        again = await take_answer(job_ids.list_ids(world.server, filter="user=ann"))
        assert len(selected) == 1 and again.value is before.value
        await world.show_queue(job("1", user="bob"))
        assert (await find_ids(world, filter="user=ann", among="1"))["job_ids"] == []
        assert len(selected) == 2


@asynchronous
async def test_tasks_that_wait_together_have_one_id_with_commas(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        parts = {"array_job_id": 7, "state": "PENDING"}
        await world.show_queue(job("7_[2,5%1]", raw_id=7, array_task_id="2,5%1", **parts), job("8"))
        assert (await find_ids(world, among="8,7_[2,5%1]"))["job_ids"] == ["8", "7_[2,5%1]"]
        assert (await find_ids(world, among="7_5,7_2", expand_arrays=True))["job_ids"] == ["7_5", "7_2"]


@asynchronous
async def test_what_may_be_missing_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("9"), job("8", "COMPLETED", end_time=NOW))
        world.slurm.database_failure = SILENT
        found = await find_ids(world, state="R,CD", among="8,9,10")
        assert found["job_ids"] == ["9", "8"] and "accounting does not answer" in found["warnings"][0]
        world.slurm.database_failure = None
        world.slurm.accounted = [job("3", "COMPLETED", **ENDED)]
        assert await find_ids(world, state="CD", among="3") == {"job_ids": ["3"], "total": 2, "has_more": False}


def test_ids_with_commas_are_told_apart() -> None:
    assert parse_ids("") == frozenset()
    assert parse_ids("1,2_[1,3-5%2],3+0, 4 ,,") == {"1", "2_[1,3-5%2]", "3+0", "4"}
    assert parse_ids("1_[2,3") == {"1_[2,3"}, "which no job has"
    parse_ids(",".join(map(str, range(MOST_AMONG))))
    with pytest.raises(Invalid, match="more than 200 ids"):
        parse_ids(",".join(map(str, range(MOST_AMONG + 1))))


@asynchronous
async def test_what_is_wrong_is_told_as_by_the_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await show_jobs(world)
        for asked in ({"filter": "colour=red"}, {"state": "RUNING"}, {"sort": "nodes"}):
            with pytest.raises(Invalid) as by_list:
                await take_answer(job_list.list_jobs(world.server, **asked))
            with pytest.raises(Invalid) as by_ids:
                await find_ids(world, **asked)
            assert by_ids.value.problems == by_list.value.problems
