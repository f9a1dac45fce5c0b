"""Users: accounting and queue together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.accounts import users
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.inventory.accounts import parse_associations
from store.errors import NotFound
from tests import ROOT
from tests.engine.servers.pretended import World, open_server
from tests.pretended import asynchronous, job

RECORDED = parse_associations((ROOT / "tests/data/slurm/22.05/associations").read_text())


def answer_with(world: World, rows: list[dict[str, Any]] | None, cpu_s: dict[str, int] | None) -> None:
    """Let accounting answer with these."""

    async def list_rows() -> Any:
        return rows

    async def sum_time() -> Any:
        return cpu_s

    inventory = world.cluster.inventory
    inventory.associations._ask, inventory.cpu_time._ask = list_rows, sum_time  # type: ignore[method-assign]


@asynchronous
async def test_users_are_those_of_accounting_and_of_the_queue(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        answer_with(world, RECORDED, {"games": 1247 * 3600 + 3599})
        waiting = job("2_[3-6]", "PENDING", user="bob", array_job_id=2, array_task_id="3-6")
        await world.show_queue(job("1", "RUNNING", user="games"), waiting, job("7", "COMPLETED", user="games"))
        found = orjson.loads((await users.list_users(world.server, None, 0)).value.data)
        rows = {row["username"]: row for row in found["users"]}
        assert (list(rows), found["total"], found["accounting"]) == (["bob", "games", "man", "root"], 4, True)
        assert (rows["games"]["jobs_running"], rows["bob"]["jobs_pending"]) == (1, 4)
        assert (rows["games"]["cpu_time_used"], rows["man"]["cpu_time_used"]) == ("1247h", "0h")
        assert rows["games"]["associations"] == [
            {"account": "root", "partition": None, "qos": ["normal"]},
            {"account": "research", "partition": "gpu", "qos": ["high", "normal"]},
        ]
        levels = [row["admin_level"] for row in rows.values()]
        assert levels == [None, "none", "operator", "admin"], "bob is nobody whom accounting knows"
        window = orjson.loads((await users.list_users(world.server, 1, 1)).value.data)
        assert ([row["username"] for row in window["users"]], window["total"]) == (["games"], 4)


@asynchronous
async def test_limits_are_those_of_the_default_account(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        answer_with(world, RECORDED, {})
        rows = [job(str(number), "RUNNING", user="games", submit_time=number, uid=5) for number in range(1, 13)]
        await world.show_queue(*rows)
        found = orjson.loads((await users.get_user(world.server, "games")).value.data)
        assert found["limits"] == {"max_jobs": 4, "max_submit": 10, "max_wall": "2:00:00", "max_tres": {"cpu": "8"}}
        assert [row["job_id"] for row in found["recent_jobs"]] == [str(number) for number in range(12, 2, -1)]
        assert found["uid"] == 5
        assert orjson.loads((await users.get_user(world.server, "root")).value.data)["uid"] == 0
        with pytest.raises(NotFound):
            await users.get_user(world.server, "nobody-is-called-so")


@asynchronous
async def test_recent_jobs_are_those_of_queue_and_accounting(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        answer_with(world, RECORDED, {})
        now = int(time.time())
        world.slurm.accounted = [
            job(str(number), "COMPLETED", user=user, submit_time=now - ago_s, end_time=now - ago_s + 5)
            for number, user, ago_s in (
                (1, "games", 7200),
                (2, "games", 3600),
                (3, "man", 60),
                (4, "games", 99 * 86_400),
            )
        ]
        await world.show_queue(job("9", "RUNNING", user="games", submit_time=now - 1), world.slurm.accounted[1])
        found = orjson.loads((await users.get_user(world.server, "games")).value.data)
        assert [row["job_id"] for row in found["recent_jobs"]] == ["9", "2", "1"]
        world.cluster.ended_jobs._kept.clear()
        world.slurm.failure = SlurmUnreachable("sacct", "Problem talking to the database")
        with pytest.raises(SlurmUnreachable, match="database"):
            await users.get_user(world.server, "games")


@asynchronous
async def test_the_number_of_a_user_whom_this_machine_does_not_know(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        assert await users.find_uid(world.cluster, "nobody-is-called-so") is None
