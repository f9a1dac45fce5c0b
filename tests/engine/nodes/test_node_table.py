"""Rows of nodes: made once for each change, with the jobs that run there."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.nodes.node_table import NodeTable
from slurm_shim.errors import SlurmUnreachable
from tests.engine.nodes.node_slurm import NodeSlurm, show_nodes
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous, job


@asynchronous
async def test_jobs_at_work_stand_at_all_of_their_nodes(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=NodeSlurm()) as world:
        await show_nodes(world)
        await world.show_queue(
            job("1", "RUNNING", nodes="n[1-2]", gpus=4),
            job("2", "COMPLETING", nodes="n2"),
            job("3", "COMPLETED", nodes="n3"),
            job("4", "PENDING", nodes=""),
        )
        table = NodeTable().follow_snapshot(world.cluster)
        found = {name: orjson.loads(piece) for name, piece in table.pieces.items()}
        assert [found[name]["jobs"] for name in ("n1", "n2", "n3")] == [["1"], ["1", "2"], []]
        # SLURM counts no GPUs here: those of a job lie evenly on its nodes.
        assert [found[name]["gpus_allocated"] for name in ("n1", "n2", "n3")] == [2, 2, 0]


@asynchronous
async def test_rows_are_made_once_for_each_change(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=NodeSlurm()) as world:
        await show_nodes(world)
        table = NodeTable().follow_snapshot(world.cluster)
        first = table.pieces
        assert table.follow_snapshot(world.cluster).pieces is first
        await world.show_queue(job("1", "RUNNING", nodes="n1"))
        assert table.follow_snapshot(world.cluster).pieces is not first


@asynchronous
async def test_before_the_first_answer_there_are_no_nodes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.cluster.snapshot.nodes_error = "nobody there"
        with pytest.raises(SlurmUnreachable, match="nobody there"):
            NodeTable().follow_snapshot(world.cluster)
