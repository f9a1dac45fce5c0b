"""Rows of nodes: made once for each change, with the jobs that run there."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.nodes.node_table import NodeTables
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
        table = await NodeTables(world.cluster).fetch()
        found = {name: orjson.loads(table.write_row(name)) for name in table.nodes}
        assert [found[name]["jobs"] for name in ("n1", "n2", "n3")] == [["1"], ["1", "2"], []]
        # SLURM counts no GPUs here: those of a job lie evenly on its nodes.
        assert [found[name]["gpus_allocated"] for name in ("n1", "n2", "n3")] == [2, 2, 0]


@asynchronous
async def test_rows_are_made_once_for_each_change(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=NodeSlurm()) as world:
        await show_nodes(world)
        tables = NodeTables(world.cluster)
        first = await tables.fetch()
        assert await tables.fetch() is first and first.write_row("n1") is first.write_row("n1")
        await world.show_queue(job("1", "RUNNING", nodes="n1"))
        assert (await tables.fetch()).write_row("n1") != first.write_row("n1")


@asynchronous
async def test_before_the_first_answer_there_are_no_nodes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.cluster.snapshot.nodes_error = "nobody there"
        with pytest.raises(SlurmUnreachable, match="nobody there"):
            await NodeTables(world.cluster).fetch()
