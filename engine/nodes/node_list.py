"""Nodes and partitions as SLURM last showed them, listed and found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from engine import jobs
from engine.nodes.node_table import NodeTable, NodeTables
from engine.server import Server
from slurm_shim.cluster import Cluster
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.nodes import drains, states
from store.views import s9s_nodes
from store.words import split_words

# More rows of nodes than this are written beside the event loop.
ROWS_AT_ONCE = 500


async def fetch_table(server: Server, cluster: Cluster | None = None) -> NodeTable:
    """Fetch the nodes of a cluster, of the one in force without one."""
    cluster = cluster or server.cluster
    if (tables := server.node_tables.get(cluster)) is None:
        tables = server.node_tables[cluster] = NodeTables(cluster)
    return await tables.fetch()


async def list_nodes(
    server: Server,
    state: str | None,
    partition: str | None,
    features: str | None,
    available: bool | None,
    limit: int | None,
    offset: int,
) -> Answer:
    """List the nodes that fit all filters."""
    table, asked = await fetch_table(server), (state, partition, features, available, limit, offset)
    if (kept := table.pages.get(asked)) is not None:
        return Answer(kept, jobs.look_at(server.cluster))
    wanted = None if state is None else states.parse_states(state)
    needed, partitions = set(split_words(features)), set(split_words(partition))
    names = [
        name
        for name, node in table.nodes.items()
        if (wanted is None or states.name_state(node["state"], node["flags"]) in wanted)
        and (not partitions or not partitions.isdisjoint(node["partitions"]))
        and needed <= set(node["features"])
        and available in (None, node["available"])
    ]
    # Of thousands of rows many may have to be written.
    is_long = min(len(names), limit or len(names)) > ROWS_AT_ONCE
    make = partial(make_list_answer, server, "nodes", names, table.write_row, limit, offset)
    answer = await asyncio.to_thread(make) if is_long else make()
    table.pages.put(asked, answer.value, len(answer.value.data) + 1000)
    return answer


def make_list_answer(
    server: Server,
    name: str,
    rows: Sequence[Any],
    write_row: Callable[[Any], bytes],
    limit: int | None,
    offset: int,
    **more: Any,
) -> Answer:
    """Make the answer that has a window of these rows under this name.

    `write_row` writes a row as JSON; `more` stands beside the total.
    """
    window = rows[offset : None if limit is None else offset + limit]
    rest = dump_json({"total": len(rows), **more})
    data = b'{"%s":[%s],%s' % (name.encode(), b",".join(map(write_row, window)), rest[1:])
    return Answer(Body(data), jobs.look_at(server.cluster))


async def get_node(server: Server, node_name: str) -> Answer:
    """Get one node with the jobs that run there; raise NotFound."""
    table = await fetch_table(server)
    node = table.nodes.get(node_name)
    if node is None:
        raise NotFound("Node", node_name)
    drain_id = drains.make_id(server.cluster.name, node_name)
    drain = server.store.drains.get(drain_id) if drain_id in server.store.drains else None
    resume_at = drain.resume_at if drain is not None and drains.is_in_force(drain, node) else None
    at_work = table.jobs.get(node_name, [])
    row = s9s_nodes.to_node_detail_json(node, at_work, table.gpus[node_name], resume_at)
    return Answer(Body(dump_json(row)), jobs.look_at(server.cluster))


async def list_partitions(server: Server, limit: int | None, offset: int) -> Answer:
    """List all partitions by name."""
    table, rows = await fetch_table(server), sort_partitions(server.cluster)

    def write_row(row: dict[str, Any]) -> bytes:
        return dump_json(s9s_nodes.to_partition_json(row, list_members(table, row)))

    return make_list_answer(server, "partitions", rows, write_row, limit, offset)


def sort_partitions(cluster: Cluster) -> list[dict[str, Any]]:
    """Sort the partitions of a cluster by name."""
    return sorted(cluster.snapshot.partitions, key=lambda row: str(row["name"]))


def list_members(table: NodeTable, partition: dict[str, Any]) -> list[dict[str, Any]]:
    """List the nodes of a partition."""
    return [table.nodes[name] for name in partition["nodes"] if name in table.nodes]


async def get_partition(server: Server, partition_name: str) -> Answer:
    """Get one partition with its nodes and counts; raise NotFound."""
    table, cluster = await fetch_table(server), server.cluster
    found = next((row for row in sort_partitions(cluster) if row["name"] == partition_name), None)
    if found is None:
        raise NotFound("Partition", partition_name)
    ((_at, usage),) = await cluster.fetch_resources(partition_name)
    jobs_there = (await cluster.fetch_counts()).count_jobs_of(partition_name)
    row = s9s_nodes.to_partition_detail_json(found, list_members(table, found), usage, jobs_there)
    return Answer(Body(dump_json(row)), jobs.look_at(server.cluster))
