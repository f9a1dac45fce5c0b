"""What lists of jobs are made from: rows that are kept, and why jobs wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.queue import queue_view
from slurm_shim import parse
from store.jsons import dump_json
from store.rules.queue.job_query import IdOrder, parse_query, select_rows
from store.rules.queue.waiting import WAITING
from store.views import s9s
from tests import ROOT
from tests.contract_judge import validator
from tests.engine.servers.pretended import Slurm, open_server
from tests.pretended import asynchronous, job

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"
NONCE = "~4f1c9a~"
NODE = {"name": "n1", "usable": True, "state": "MIXED", "flags": [], "cpus": 8, "cpus_allocated": 6, "gpus": 8,
        "gpus_allocated": 6, "gpus_tracked": True}  # fmt: skip
PARTITION = {"name": "gpu", "state": "UP", "is_default": True, "nodes": ["n1"], "default_time_s": None,
             "max_time_s": 3600}  # fmt: skip
WAITS = {"partition": "gpu", "gpus": 4, "reason": "Resources", "priority": 10}


@asynchronous
async def test_why_a_job_waits_is_told_with_the_numbers_of_its_partition(tmp_path: Path) -> None:
    slurm = Slurm()
    slurm.node_rows, slurm.partition_rows = [NODE], [PARTITION]
    async with open_server(tmp_path, slurm=slurm) as world:
        first = [job(str(number), "PENDING", **(WAITS | {"priority": 20})) for number in (1, 2, 3)]
        await world.show_queue(job("7", "PENDING", **WAITS), *first)
        view, rows = queue_view.get_view(world.server, world.cluster), world.cluster.snapshot.jobs
        assert view.explain_wait(world.cluster, rows["7"]) == (
            "waits for 2 more GPUs in partition gpu; 6 of 8 are in use; 3 jobs with higher priority wait before it"
        )
        assert await view.loads.fetch() is await view.loads.fetch()
        await world.show_queue(job("7", "PENDING", **WAITS))
        assert view.explain_wait(world.cluster, rows["7"]) == (
            "waits for 2 more GPUs in partition gpu; 6 of 8 are in use"
        )


@asynchronous
async def test_dependencies_are_told_with_the_state_of_each(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        text = "afterok:5(unfulfilled),afterany:99(unfulfilled)?singleton(unfulfilled)"
        waits = job("7", "PENDING", dependency=text, reason="Dependency", user="ann")
        await world.show_queue(job("5"), waits)
        found = queue_view.list_dependencies(world.cluster, waits)
        assert [(item["type"], item["job_id"], item["job_state"]) for item in found] == [
            ("afterok", "5", "RUNNING"), ("afterany", "99", None), ("singleton", None, None),
        ]  # fmt: skip


@asynchronous
async def test_rows_are_made_anew_only_after_a_change(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1"), job("2"))
        view = queue_view.get_view(world.server, world.cluster)
        rows = await view.fetch_rows(world.server, world.cluster, 0, None)
        assert await view.fetch_rows(world.server, world.cluster, 0, None) is rows
        ended: list[Any] = [job("3", "COMPLETED")]
        found = await view.fetch_rows(world.server, world.cluster, 0, ended)
        assert [row["job_id"] for row in found.rows] == ["3", "2", "1"]
        assert await view.fetch_rows(world.server, world.cluster, 0, None) is rows
        await world.show_queue(job("2"))
        found = await view.fetch_rows(world.server, world.cluster, 0, None)
        assert [row["job_id"] for row in found.rows] == ["2"]


RECORDED = [
    ("squeue", parse.parse_jobs), ("squeue-names", parse.parse_jobs),
    ("sacct", parse.parse_accounting), ("sacct-names", parse.parse_accounting),
]  # fmt: skip


@pytest.mark.parametrize(("name", "read"), RECORDED, ids=[row[0] for row in RECORDED])
def test_every_recorded_job_has_a_row_of_the_list(name: str, read: Callable[..., list[Any]]) -> None:
    """Hostile names, arrays and heterogeneous jobs of a real SLURM."""
    judge = validator({"$ref": "#/components/schemas/S9sJob"})
    rows = read((DATA / name).read_bytes().decode("utf-8", "replace"), NONCE)
    for row in rows:
        listing = s9s.to_job_json(row, queue_view.expand_hosts(row["nodes"]))
        assert (listing["job_id"], listing["job_name"], listing["state"]) == (row["job_id"], row["name"], row["state"])
        assert judge.is_valid(orjson.loads(dump_json(listing))), listing
        assert listing["exit_code"] is None or listing["end_time"] is not None
        assert not (listing["state"] in WAITING and listing["start_time"])


def test_recorded_tasks_are_told_apart() -> None:
    rows = parse.parse_jobs((DATA / "squeue").read_bytes().decode("utf-8", "replace"), NONCE)
    expanded = [row["job_id"] for row in queue_view.expand_rows(rows)]
    assert {"5335_4", "5335_3", "5335_2", "5335_1", "5336+0"} <= set(expanded) and "5335_[2-4%1]" not in expanded


def test_recorded_hostile_names_are_found_as_they_are() -> None:
    rows = parse.parse_jobs((DATA / "squeue-names").read_bytes().decode("utf-8", "replace"), NONCE)
    base = IdOrder().sort_rows({row["job_id"]: row for row in rows})
    for row in rows:
        if row["name"] == "null":
            continue
        text = row["name"].replace("\\", "\\\\").replace('"', '\\"')
        query = parse_query(queue_view.expand_hosts, 0, filter=f'job_name="{text}"')
        found = [other["name"] for other in select_rows(base, query)]
        assert row["name"] in found and set(found) == {row["name"]}


@asynchronous
async def test_a_single_task_knows_how_many_of_its_array_run_at_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        whole = job("8_[3-6%2]", "PENDING", raw_id=8, array_job_id=8, array_task_id="3-6%2", reason="JobArrayTaskLimit")
        await world.show_queue(whole, job("8_2", raw_id=9, array_job_id=8, array_task_id="2"))
        view, task = queue_view.get_view(world.server, world.cluster), world.cluster.snapshot.find("8_5")
        assert task is not None
        for row in (whole, task, *queue_view.expand_rows([whole])):
            assert (view.explain_wait(world.cluster, row) or "").endswith("at most 2 of them run at once"), row[
                "job_id"
            ]
