"""What is done to nodes: drained, given back, set to another state.

A name may be an expression with brackets, `node[03-04]`: then all of them are changed in one call of SLURM.
"""

from __future__ import annotations

import re
import time
from typing import Any

from engine.nodes.drains import forget_drains, make_lock_name, save_drains
from engine.nodes.node_list import fetch_table
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.ids import expand_hosts
from slurm_shim.parse import Node
from store import access
from store.errors import Conflict, Invalid, NotFound, make_problem, suggest_word
from store.rules.nodes import drains
from store.rules.nodes.drains import Drain
from store.views.s9s_nodes import to_change_json

# States that may be set, and what scontrol(1) calls them.
STATES = {"DOWN": "DOWN", "DRAIN": "DRAIN", "FAIL": "FAIL", "RESUME": "RESUME", "UNDRAIN": "UNDRAIN", "IDLE": "RESUME"}
WITH_REASON = ("DOWN", "DRAIN", "FAIL")
RESUMABLE = frozenset({"DRAIN", "FAIL", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN"})


async def list_names(server: Server, node_name: str) -> list[str]:
    """List the nodes that a name stands for; raise Invalid, NotFound.

    Where SLURM does not know one of them, it would change the others and refuse all the same.
    """
    try:
        names = list(dict.fromkeys(expand_hosts(node_name)))
    except ValueError as problem:
        raise Invalid([make_problem(str(problem), ["path", "node_name"], input=node_name[:200])]) from None
    if not names or "ALL" in map(str.upper, names):
        raise Invalid([make_problem("name the nodes; ALL is refused", ["path", "node_name"], input=node_name[:200])])
    known = (await fetch_table(server)).nodes
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise NotFound("Node", unknown)
    return names


def check_reason(text: str) -> str:
    """Check why a node is taken out of service; return it as SLURM keeps it.

    scontrol takes away a quote at either end.
    """
    reason = text.strip().strip('"').strip()
    if not reason or re.search(r"[\x00-\x1f\x7f]", reason):
        raise Invalid([make_problem("a reason of one line is needed", ["body", "reason"], input=text[:200])])
    return reason


async def drain_node(server: Server, node_name: str, body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """Drain nodes; with a timeout they are given back after it."""
    reason, timeout = check_reason(body["reason"]), body.get("timeout")
    timeout_s = None if timeout is None else drains.parse_timeout(timeout)
    cluster, names, now = server.cluster, await list_names(server, node_name), time.time()
    wanted: list[Drain] = []
    if timeout_s is not None:
        wanted = [drains.build_drain(cluster.name, name, reason, timeout_s, caller.name, now) for name in names]
    async with server.locks.hold(make_lock_name(cluster.name)):
        if wanted:
            rows = await hand_over_drains(server, cluster, wanted)
        else:
            rows = await replace_drains(server, cluster, names, reason)
    resume_at = wanted[0].resume_at if wanted else None
    return to_change_json(node_name, rows, f"{name_nodes(names)} drained successfully", resume_at)


async def replace_drains(server: Server, cluster: Cluster, names: list[str], reason: str) -> list[Node]:
    """Drain nodes until somebody gives them back; return them."""
    rows = await cluster.change_nodes(names, "DRAIN", reason)
    await forget_drains(server, cluster, names, "replaced")
    return rows


async def hand_over_drains(server: Server, cluster: Cluster, wanted: list[Drain]) -> list[Node]:
    """Drain the nodes of these drains; return them.

    What is intended is saved before, so that a node is given back also when the server ends in between. A drain that
    SLURM refuses leaves no trace.
    """
    kept = server.store.drains
    before = {drain.id: kept.get(drain.id) for drain in wanted if drain.id in kept}
    await save_drains(server, wanted)
    try:
        rows = await cluster.change_nodes([drain.node for drain in wanted], "DRAIN", wanted[0].reason)
    except SlurmUnreachable as problem:
        if not problem.uncertain:
            await _restore_drains(server, wanted, before)
        raise
    except Exception:
        await _restore_drains(server, wanted, before)
        raise
    by_name = {row["name"]: row for row in rows}
    await save_drains(server, (drains.confirm_drain(drain, by_name[drain.node]) for drain in wanted))
    return rows


async def _restore_drains(server: Server, wanted: list[Drain], before: dict[str, Drain]) -> None:
    await save_drains(server, before.values())
    for drain in wanted:
        if drain.id not in before:
            await server.store.drains.delete(drain.id)


async def resume_node(server: Server, node_name: str) -> dict[str, Any]:
    """Give nodes back that are drained, down or failed."""
    return await change_state(server, node_name, "RESUME", None, "resumed")


async def update_state(server: Server, node_name: str, body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """Set nodes to another state, of those that may be set."""
    word = body["state"].strip().upper()
    if word not in STATES:
        text = f"not one of {', '.join(STATES)}{suggest_word(word, STATES)}"
        raise Invalid([make_problem(text, ["body", "state"], input=body["state"][:200])])
    if word in WITH_REASON and "reason" not in body:
        raise Invalid([make_problem(f"SLURM wants a reason for {word}", ["body", "reason"], type="missing")])
    if word == "DRAIN":
        return await drain_node(server, node_name, {"reason": body["reason"]}, caller)
    reason = check_reason(body["reason"]) if word in WITH_REASON else None
    return await change_state(server, node_name, STATES[word], reason, f"set to {word}")


async def change_state(server: Server, node_name: str, state: str, reason: str | None, done: str) -> dict[str, Any]:
    """Change the state of nodes; drains for a time are over then."""
    cluster, names = server.cluster, await list_names(server, node_name)
    async with server.locks.hold(make_lock_name(cluster.name)):
        if state == "RESUME" and len(names) > 1:
            check_resumable(await cluster.read_nodes(names))
        rows = await cluster.change_nodes(names, state, reason)
        await forget_drains(server, cluster, names, "undone" if reason is None else "replaced")
    return to_change_json(node_name, rows, f"{name_nodes(names)} {done} successfully", None)


def check_resumable(rows: list[Node]) -> None:
    """Raise Conflict if one of several nodes is in service.

    SLURM would give back the others and refuse all the same.
    """
    at_work = [row for row in rows if row["state"] in ("IDLE", "MIXED", "ALLOCATED")]
    in_service = [row["name"] for row in at_work if RESUMABLE.isdisjoint(row["flags"])]
    if in_service:
        raise Conflict(f"not drained, down or failed: {', '.join(in_service[:20])}")


def name_nodes(names: list[str]) -> str:
    """Name the nodes of a message.

    >>> name_nodes(["node01"]), name_nodes(["node01", "node02"])
    ('Node', '2 nodes')
    """
    return "Node" if len(names) == 1 else f"{len(names)} nodes"
