"""Drains that end by themselves, when their time has come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmRefused
from store.kinds import Key
from store.rules.nodes import drains
from store.rules.nodes.drains import Drain

log = logging.getLogger("sluice")


def make_lock_name(cluster: str) -> Key:
    """Name the lock of whoever changes nodes of a cluster."""
    return Key("drain", cluster)


async def follow_drain(server: Server, drain_id: str) -> None:
    """Give the node back if it is time, with all others whose time has come.

    A drain that somebody else has undone or replaced meanwhile is over.
    """
    name = server.store.drains.get(drain_id).cluster
    async with server.locks.hold(make_lock_name(name)):
        cluster, now = server.clusters.get(name), time.time()
        # Before the first answer about nodes it is not known which there are; it is asked again soon.
        known = {node["name"] for node in cluster.snapshot.nodes}
        due = [drain for drain in list_open(server, name) if drains.is_due(drain, now) or drain.set_at is None]
        if known and due:
            gone = [drains.end_drain(drain, "undone", now, "there is no such node") for drain in due]
            await save_drains(server, (drain for drain in gone if drain.node not in known))
            await settle_drains(server, cluster, [drain for drain in due if drain.node in known])


def list_open(server: Server, cluster: str) -> list[Drain]:
    """List the drains of a cluster that are not over."""
    documents: Iterable[Drain] = (entry.document for entry in server.store.drains.iterate_entries())
    return [drain for drain in documents if drain.outcome is None and drain.cluster == cluster]


async def save_drains(server: Server, changed: Iterable[Drain]) -> None:
    """Save these drains, in one go."""
    await asyncio.gather(*(server.store.drains.put(drain.id, drain) for drain in changed))


async def settle_drains(server: Server, cluster: Cluster, due: Sequence[Drain]) -> None:
    """Give nodes back whose drains are in force; record what became of each."""
    if not due:
        return
    now, rows = time.time(), {row["name"]: row for row in await cluster.read_nodes([drain.node for drain in due])}
    verdicts = {drain.id: drains.judge_drain(drain, rows[drain.node], now) for drain in due}
    ready = [drain.node for drain in due if verdicts[drain.id] == "resume"]
    error: str | None = None
    if ready:
        try:
            # A node that has gone down meanwhile stays so, which `resume` would change.
            await cluster.change_nodes(ready, "UNDRAIN", None)
            log.info("nodes are given back, the time of their drains has come: %s", ", ".join(ready))
        except SlurmRefused as problem:
            error = str(problem)
            log.warning("nodes could not be given back: %s: %s", ", ".join(ready), error)
    await save_drains(server, (_settle_drain(drain, verdicts[drain.id], rows[drain.node], now, error) for drain in due))


def _settle_drain(drain: Drain, verdict: str, node: dict[str, Any], now: float, error: str | None) -> Drain:
    if verdict == "wait":
        return drains.confirm_drain(drain, node)
    if verdict == "resume":
        return drains.end_drain(drain, "resumed" if error is None else "refused", now, error)
    return drains.end_drain(drain, "undone" if verdict == "undone" else "replaced", now)


async def forget_drains(server: Server, cluster: Cluster, names: Iterable[str], outcome: drains.Outcome) -> None:
    """Record that the open drains of these nodes are over."""
    wanted, now = set(names), time.time()
    found = [drain for drain in list_open(server, cluster.name) if drain.node in wanted]
    await save_drains(server, (drains.end_drain(drain, outcome, now) for drain in found))
