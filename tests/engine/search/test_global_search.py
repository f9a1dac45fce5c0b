"""One search over everything that has a name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.search import global_search
from slurm_shim.errors import SlurmUnreachable
from store.times import to_rfc3339
from tests.engine.accounts.test_users import RECORDED, answer_with
from tests.engine.monitoring.test_sampler import NODE, make_slurm
from tests.engine.servers.pretended import FLOW, World, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job

QUERIES: list[tuple[str, dict[str, Any], list[tuple[str, str, float]]]] = [
    ("the document's example", {"q": "alice gpu"}, [("job", "12", 0.8)]),
    ("a node by its name", {"q": "N1"}, [("node", "n1", 1.0)]),
    ("a user", {"q": "alice", "type": "users"}, [("user", "alice", 1.0)]),
    ("over all types", {"q": "main"}, [("partition", "main", 1.0), ("job", "13", 0.8), ("node", "n1", 0.8)]),
    ("a workflow", {"q": "flo"}, [("workflow", "flow", 0.9)]),
    ("the newest of equals first", {"q": "pending", "type": "jobs"}, [("job", "13", 0.8), ("job", "12", 0.8)]),
    ("a limit", {"q": "pending", "type": "jobs", "limit": 1}, [("job", "13", 0.8)]),
]


async def search(world: World, q: str, **more: Any) -> dict[str, Any]:
    """Search for words; return the answer."""
    asked: dict[str, Any] = {"type": None, "limit": 20, "base_url": "http://h/v1"} | more
    answer: dict[str, Any] = (await global_search.search_everything(world.server, q, **asked)).value
    return answer


def list_found(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    """List type, id and description of what was found."""
    return [(row["type"], row["id"], row["description"]) for row in answer["results"]]


@asynchronous
async def test_users_of_accounting_are_found_with_their_accounts(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        answer_with(world, RECORDED, {})
        waiting = job("2_[3-6]", "PENDING", user="bob", array_job_id=2, array_task_id="3-6")
        await world.show_queue(job("1", "RUNNING", user="games"), waiting)
        games = ("user", "games", "1 running, 0 pending; root, research")
        assert list_found(await search(world, "games", type="users")) == [games]
        assert games in list_found(await search(world, "research"))
        assert list_found(await search(world, "bob", type="users")) == [("user", "bob", "0 running, 4 pending")]
        assert list_found(await search(world, "man", type="users")) == [
            ("user", "man", "0 running, 0 pending; research")
        ]


@asynchronous
async def test_accounting_that_is_away_is_told_and_hides_nothing_else(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        away = SlurmUnreachable("sacct", "Problem talking to the database")

        async def refuse(*_: Any) -> Any:
            raise away

        world.cluster.inventory.associations._ask = refuse
        world.cluster.look_up_job = refuse  # type: ignore[method-assign]
        await world.show_queue(job("1", "RUNNING", user="bob"))
        answer = await search(world, "bob")
        assert [row["type"] for row in answer["results"]] == ["user", "job"] and len(answer["warnings"]) == 1
        answer = await search(world, "4711")
        assert not answer["results"] and "database" in answer["warnings"][1]
        assert "warnings" not in await search(world, "bob", type="jobs")


@asynchronous
async def test_jobs_that_slurm_forgot_are_found(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        answer_with(world, [], {})
        now = time.time()
        for number, ago_s in ((7, 600), (8, 86_400)):
            end = to_rfc3339(now - ago_s)
            await world.store.jobs.put(
                f"j{number}", record(str(number), "COMPLETED", id=f"j{number}", name=f"ours{number}", ended_at=end)
            )
        world.slurm.accounted = [job("9", "OUT_OF_MEMORY", name="theirs", partition="gpu", end_time=int(now - 99_999))]
        await world.show_queue(job("70", "RUNNING", name="other", partition="main"))
        assert [found[:2] for found in list_found(await search(world, "ours"))] == [("job", "7")], "of the last hours"
        assert list_found(await search(world, "7"))[:2] == [
            ("job", "7", "Completed"),
            ("job", "70", "Running on main partition"),
        ]
        assert [row["id"] for row in (await search(world, "8"))["results"]] == ["8"], "an older one by its id"
        answer = await search(world, "9", limit=1)
        assert list_found(answer) == [("job", "9", "Out of memory on gpu partition")]
        assert (answer["results"][0]["score"], answer["results"][0]["url"], answer["total"]) == (1.0, "/v1/jobs/9", 1)
        for unknown in ("4711", "9_999999", "0"):
            assert not [row for row in (await search(world, unknown))["results"] if row["id"] == unknown], unknown


@pytest.mark.parametrize(("why", "query", "expected"), QUERIES, ids=[row[0] for row in QUERIES])
@asynchronous
async def test_queries(why: str, query: dict[str, Any], expected: list[tuple[str, str, float]], tmp_path: Path) -> None:
    slurm = make_slurm()
    slurm.node_rows = [NODE | {"features": ["fast"]}]
    slurm.partition_rows = [{"name": "main", "state": "UP", "nodes": ["n1"]}]
    async with open_server(tmp_path, FLOW, slurm) as world:
        answer_with(world, [], {})
        await world.show_queue(
            job("12", "PENDING", name="x", user="alice", partition="gpu"),
            job("13", "PENDING", name="y", user="bob", partition="main"),
        )
        asked = {"type": None, "limit": 20, "base_url": "http://h/sub/v1"} | query
        found = (await global_search.search_everything(world.server, **asked)).value
        assert [(row["type"], row["id"], row["score"]) for row in found["results"]] == expected, why
        assert found["total"] >= len(expected) and found["query_time"] >= 0
        kind, name, _score = expected[0]
        roots = {"workflow": "/sub/api/workflows/"}
        assert found["results"][0]["url"] == roots.get(kind, f"/sub/v1/{kind}s/") + name
