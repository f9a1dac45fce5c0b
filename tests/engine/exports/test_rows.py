"""The rows of exports: which jobs are in, and each of them once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.accounts import users
from engine.exports import rows
from engine.nodes import node_list
from slurm_shim.errors import SlurmUnreachable
from store.rules.exports import tables
from store.times import to_rfc3339
from tests.engine.accounts.test_users import RECORDED, answer_with
from tests.engine.nodes.node_slurm import NodeSlurm, show_nodes
from tests.engine.servers.pretended import HERE, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job

NOW = int(time.time())
DAY = 86_400


def past(job_id: str, ago_s: int, state: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    return job(job_id, state, end_time=NOW - ago_s, start_time=NOW - ago_s - 60, **more)


async def list_ids(world: Any, given: dict[str, str]) -> list[str]:
    lots = await rows.open_rows(world.server, "jobs", HERE, given)
    return [row["job_id"] for lot in lots for row in lot]


def at(ago_s: int) -> str:
    return to_rfc3339(NOW - ago_s) or ""


CASES: list[tuple[str, dict[str, str], list[str]]] = [
    ("the last day and the queue, each job once", {}, ["2", "3", "4", "5"]),
    ("since then", {"start_time": at(3 * DAY)}, ["1", "2", "3", "4", "5"]),
    ("until then: no open jobs", {"start_time": at(3 * DAY), "end_time": at(DAY)}, ["1"]),
    ("an end alone", {"end_time": at(2 * DAY - 60)}, ["1"]),
    ("by code", {"state": "cd,PD"}, ["2", "3", "5"]),
    ("open ones only: accounting has none", {"state": "RUNNING"}, ["4"]),
    ("of a user", {"user": "bob"}, ["2"]),
    ("of users", {"user": "bob, ann", "state": "COMPLETED"}, ["2", "3"]),
    ("in a partition", {"partition": "gpu"}, ["4", "5"]),
]


@asynchronous
async def test_which_jobs_are_in(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounted = [past("1", 2 * DAY), past("2", 600, user="bob"), past("3", 10), past("0", 99 * DAY)]
        world.slurm.accounted.append(job("4", "RUNNING"))
        await world.show_queue(
            past("3", 10, user="ann"),
            job("4", "RUNNING", partition="gpu"),
            job("5", "PENDING", partition="main,gpu", start_time=None),
        )
        for why, given, expected in CASES:
            assert sorted(await list_ids(world, given)) == expected, why


@asynchronous
async def test_accounting_that_is_away_fails_and_is_no_empty_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        lots = await rows.open_rows(world.server, "jobs", HERE, {})
        world.slurm.failure = SlurmUnreachable("sacct", "Problem talking to the database")
        with pytest.raises(SlurmUnreachable):
            list(lots)
        await world.lose_cluster()
        with pytest.raises(SlurmUnreachable):
            await rows.open_rows(world.server, "nodes", HERE, {})


@asynchronous
async def test_without_accounting_there_is_what_went_through_here(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounting = False
        await world.show_queue(job("4"))
        ended = record("7", "COMPLETED", exit_code=0, submitted_at=at(700), ended_at=at(600))
        await world.store.jobs.put("j", ended)
        assert sorted(await list_ids(world, {})) == ["4", "7"]
        assert await list_ids(world, {"start_time": at(60)}) == ["4"]


@asynchronous
async def test_our_paths_are_told_for_jobs_that_accounting_tells_of(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounted = [past("7", 600, account="lab"), past("8", 600)]
        await world.show_queue(job("9"))
        ours = record("7", "COMPLETED", submitted_at=at(700), ended_at=at(600), stdout="/o", stderr="/e")
        await world.store.jobs.put("j", ours)
        lots = await rows.open_rows(world.server, "jobs", HERE, {"state": "CD"})
        found = {row["job_id"]: row for lot in lots for row in lot}
        named = [(row["account"], row["standard_output"], row["standard_error"]) for row in (found["7"], found["8"])]
        assert named == [("lab", "/o", "/e"), (found["8"]["account"], None, None)]


@asynchronous
async def test_rows_are_those_of_the_lists(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=NodeSlurm()) as world:
        server, none = world.server, (None, None, None, None, None, 0)
        world.slurm.drain("n1", "a fan")  # type: ignore[attr-defined]
        await show_nodes(world)
        answer_with(world, RECORDED, {"games": 3600})
        await world.show_queue(job("4", "RUNNING", user="ann", nodes="n1"))
        answers = {
            "nodes": await node_list.list_nodes(server, *none),
            "partitions": await node_list.list_partitions(server, None, 0),
            "users": await users.list_users(server, None, 0),
        }
        for kind, answer in answers.items():
            lots = await rows.open_rows(server, kind, HERE, {})
            found = [row for lot in lots for row in lot]
            assert found == orjson.loads(answer.value.data)[kind] and found, kind
            assert set(tables.COLUMNS[kind]) <= set(found[0]), kind
        lots = await rows.open_rows(server, "nodes", HERE, {"state": "drng,drained"})
        assert [row["node_name"] for lot in lots for row in lot] == ["n1"]


@asynchronous
async def test_users_without_accounting_that_answers_fail(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))

        async def refuse() -> Any:
            raise SlurmUnreachable("sacctmgr", "Problem talking to the database")

        world.cluster.inventory.associations._ask = refuse
        with pytest.raises(SlurmUnreachable, match="database"):
            await rows.open_rows(world.server, "users", HERE, {})


NOW_S = 1_800_000_000 - 1  # 2027-01-15T07:59:59Z
METRICS: list[tuple[str, dict[str, str], int, str | None]] = [
    ("nothing: the last day", {}, 24, "2027-01-14T08:00:00Z"),
    ("a day, to its end", {"start_time": "2027-01-13", "end_time": "2027-01-13"}, 24, "2027-01-13T00:00:00Z"),
    ("the present day", {"start_time": "2027-01-15", "end_time": "2027-01-15"}, 8, "2027-01-15T00:00:00Z"),
    ("hours", {"start_time": "2027-01-14T10:30:00Z", "end_time": "2027-01-14T12:00:00Z"}, 2, "2027-01-14T10:00:00Z"),
    ("a year: what is kept, by days", {"start_time": "2026-01-01"}, 91, "2026-10-17T00:00:00Z"),
    ("ever", {"start_time": "1970-01-01"}, 91, "2026-10-17T00:00:00Z"),
    ("later", {"start_time": "2028-01-01"}, 0, None),
    ("before there was any", {"end_time": "2001-01-01"}, 0, None),
]


@pytest.mark.parametrize(("why", "given", "count", "first"), METRICS, ids=[row[0] for row in METRICS])
def test_of_when_metrics_are(tmp_path: Path, why: str, given: dict[str, str], count: int, first: str | None) -> None:
    @asynchronous
    async def list_metrics() -> None:
        async with open_server(tmp_path) as world:
            await world.show_queue(job("4"))
            world.server.sampler.clock = lambda: NOW_S
            lots = await rows.open_rows(world.server, "metrics", HERE, given)
            found = [row["timestamp"] for lot in lots for row in lot]
            assert (len(found), next(iter(found), None)) == (count, first)

    list_metrics()
