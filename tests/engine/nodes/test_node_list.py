"""Lists of nodes and partitions, filtered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.nodes import node_list
from store.errors import NotFound
from tests.engine.nodes.node_slurm import NodeSlurm, show_nodes
from tests.engine.servers.pretended import World, open_server
from tests.pretended import asynchronous, job

EVERYTHING: dict[str, Any] = {
    "state": None, "partition": None, "features": None, "available": None, "limit": None, "offset": 0,
}  # fmt: skip


async def list_names(world: World, **query: Any) -> list[str]:
    """List the names of the nodes that fit."""
    answer = await node_list.list_nodes(world.server, **{**EVERYTHING, **query})
    return [node["node_name"] for node in orjson.loads(answer.value.data)["nodes"]]


@asynchronous
async def test_filters_and_windows(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_server(tmp_path, slurm=slurm) as world:
        slurm.drain("n2", "disk")
        await show_nodes(world)
        assert await list_names(world) == ["n1", "n2", "n3"]
        assert await list_names(world, state="drain") == await list_names(world, available=False) == ["n2"]
        assert await list_names(world, available=True, partition="other,main") == ["n1", "n3"]
        assert await list_names(world, limit=1, offset=1) == ["n2"]
        assert await list_names(world, features="gpu") == await list_names(world, partition="other") == []
        assert await list_names(world, features=" , ") == ["n1", "n2", "n3"]


@asynchronous
async def test_a_partition_counts_jobs_task_by_task(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=NodeSlurm()) as world:
        await show_nodes(world)
        waiting = job("2_[3-6]", "PENDING", partition="main,other", array_job_id=2, array_task_id="3-6")
        await world.show_queue(job("1", "RUNNING", partition="main", nodes="n1"), waiting)
        found = orjson.loads((await node_list.get_partition(world.server, "main")).value.data)
        assert (found["jobs_running"], found["jobs_pending"], found["max_time"]) == (1, 4, "1:00:00")
        rows = orjson.loads((await node_list.list_partitions(world.server, None, 0)).value.data)
        assert (rows["total"], list(rows["partitions"][0])) == (1, list(found)[:14])
        for find in (node_list.get_partition, node_list.get_node):
            with pytest.raises(NotFound):
                await find(world.server, "nope")
