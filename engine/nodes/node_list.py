"""Nodes and partitions as SLURM last showed them, listed and found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import jobs
from engine.nodes.node_table import NodeTable
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.resources import count_jobs
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.nodes import drains, states
from store.views import s9s_nodes
from store.words import split_words


def get_table(server: Server, cluster: Cluster | None = None) -> NodeTable:
    """Get the rows of a cluster's nodes, of the one in force without one."""
    cluster = cluster or server.cluster
    return server.node_tables.setdefault(cluster, NodeTable()).follow_snapshot(cluster)


def list_nodes(
    server: Server,
    state: str | None,
    partition: str | None,
    features: str | None,
    available: bool | None,
    limit: int | None,
    offset: int,
) -> Answer:
    """List the nodes that fit all filters."""
    table, asked = get_table(server), (state, partition, features, available, limit, offset)
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
    answer = make_list_answer(server, "nodes", names, table.pieces.__getitem__, limit, offset)
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


def get_node(server: Server, node_name: str) -> Answer:
    """Get one node with the jobs that run there; raise NotFound."""
    table = get_table(server)
    node = table.nodes.get(node_name)
    if node is None:
        raise NotFound("Node", node_name)
    drain_id = drains.make_id(server.cluster.name, node_name)
    drain = server.store.drains.get(drain_id) if drain_id in server.store.drains else None
    resume_at = drain.resume_at if drain is not None and drains.is_in_force(drain, node) else None
    at_work = table.jobs.get(node_name, [])
    row = s9s_nodes.to_node_detail_json(node, at_work, table.gpus[node_name], resume_at)
    return Answer(Body(dump_json(row)), jobs.look_at(server.cluster))


def list_partitions(server: Server, limit: int | None, offset: int) -> Answer:
    """List all partitions by name."""
    table, rows = get_table(server), sort_partitions(server.cluster)

    def write_row(row: dict[str, Any]) -> bytes:
        return dump_json(s9s_nodes.to_partition_json(row, list_members(table, row)))

    return make_list_answer(server, "partitions", rows, write_row, limit, offset)


def sort_partitions(cluster: Cluster) -> list[dict[str, Any]]:
    """Sort the partitions of a cluster by name."""
    return sorted(cluster.snapshot.partitions, key=lambda row: str(row["name"]))


def list_members(table: NodeTable, partition: dict[str, Any]) -> list[dict[str, Any]]:
    """List the nodes of a partition."""
    return [table.nodes[name] for name in partition["nodes"] if name in table.nodes]


def get_partition(server: Server, partition_name: str) -> Answer:
    """Get one partition with its nodes and counts; raise NotFound."""
    table = get_table(server)
    found = next((row for row in sort_partitions(server.cluster) if row["name"] == partition_name), None)
    if found is None:
        raise NotFound("Partition", partition_name)
    ((_at, usage),) = server.cluster.list_resources(partition_name)
    own = [job for job in server.cluster.snapshot.jobs.values() if partition_name in job["partition"].split(",")]
    row = s9s_nodes.to_partition_detail_json(found, list_members(table, found), usage, count_jobs(own))
    return Answer(Body(dump_json(row)), jobs.look_at(server.cluster))
