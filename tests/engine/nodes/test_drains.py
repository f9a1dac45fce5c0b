"""Drains that end by themselves: when their time has come, unless somebody else did something meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.nodes import drains, node_changes
from slurm_shim.errors import SlurmDenied, SlurmUnreachable
from store.rules.nodes import drains as rules
from tests.engine.nodes.node_slurm import NodeSlurm, show_nodes
from tests.engine.servers.pretended import CALLER, HERE, World, open_server
from tests.pretended import asynchronous


@asynccontextmanager
async def open_world(root: Path, slurm: NodeSlurm) -> AsyncIterator[World]:
    """Open a server that knows the nodes."""
    async with open_server(root, slurm=slurm) as world:
        await show_nodes(world)
        yield world


async def drain(world: World, *names: str, timeout: str = "2h") -> None:
    """Drain nodes for a time."""
    body = {"reason": "disk", "timeout": timeout}
    await node_changes.drain_node(world.server, ",".join(names), body, CALLER)


async def pass_time(world: World, name: str) -> None:
    """Let the time of a node's drain come, and the loop see it."""
    drain_id = rules.make_id(HERE, name)
    kept = world.store.drains.get(drain_id)
    early = {"resume_at": "2026-01-01T00:00:00Z"}
    await world.store.drains.put(drain_id, kept.model_copy(update=early))
    await drains.follow_drain(world.server, drain_id)


def outcome_of(world: World, name: str) -> str | None:
    """How the drain of a node ended."""
    found: str | None = world.store.drains.get(rules.make_id(HERE, name)).outcome
    return found


@asynchronous
async def test_a_node_is_given_back_also_by_another_server(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_world(tmp_path, slurm) as world:
        await drain(world, "n1")
        await drains.follow_drain(world.server, rules.make_id(HERE, "n1"))
        assert slurm.flags["n1"] == {"DRAIN"} and outcome_of(world, "n1") is None
    async with open_world(tmp_path, slurm) as world:
        await pass_time(world, "n1")
        assert slurm.flags["n1"] == set() and outcome_of(world, "n1") == "resumed"
        assert slurm.updates[-1] == ["nodename=n1", "state=UNDRAIN"]
        assert world.cluster.snapshot.nodes[0]["flags"] == [], "it is seen at once"


@asynchronous
async def test_all_whose_time_has_come_are_given_back_in_one_call(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_world(tmp_path, slurm) as world:
        await drain(world, "n1", "n2", "n3")
        for name in ("n1", "n2"):
            kept = world.store.drains.get(rules.make_id(HERE, name))
            await world.store.drains.put(kept.id, kept.model_copy(update={"resume_at": "2026-01-01T00:00:00Z"}))
        await drains.follow_drain(world.server, rules.make_id(HERE, "n1"))
        await drains.follow_drain(world.server, rules.make_id(HERE, "n2"))
        assert [update for update in slurm.updates if update[1] == "state=UNDRAIN"] == [
            ["nodename=n1,n2", "state=UNDRAIN"]
        ]
        assert [outcome_of(world, name) for name in ("n1", "n2", "n3")] == ["resumed", "resumed", None]


@pytest.mark.parametrize(
    ("why", "meanwhile", "outcome", "flags"),
    [
        ("somebody gave it back", lambda slurm: slurm.flags["n1"].clear(), "undone", set()),
        ("somebody drained it for another reason", lambda slurm: slurm.drain("n1", "power"), "replaced", {"DRAIN"}),
        ("somebody drained it anew, for the same", lambda slurm: slurm.drain("n1", "disk"), "replaced", {"DRAIN"}),
        ("it has gone down", lambda slurm: slurm.flags["n1"].add("DOWN"), "resumed", {"DOWN"}),
    ],
)
def test_what_happened_meanwhile_is_respected(
    tmp_path: Path, why: str, meanwhile: Callable[[NodeSlurm], None], outcome: str, flags: set[str]
) -> None:
    @asynchronous
    async def play() -> None:
        slurm = NodeSlurm()
        async with open_world(tmp_path, slurm) as world:
            await drain(world, "n1")
            meanwhile(slurm)
            await pass_time(world, "n1")
            assert (outcome_of(world, "n1"), slurm.flags["n1"]) == (outcome, flags), why

    play()


@asynchronous
async def test_a_node_that_is_gone_ends_its_drain(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_world(tmp_path, slurm) as world:
        await drain(world, "n1", "n2")
        del slurm.flags["n1"]
        await show_nodes(world)
        await pass_time(world, "n1")
        await pass_time(world, "n2")
        assert (outcome_of(world, "n1"), outcome_of(world, "n2")) == ("undone", "resumed")


@asynchronous
async def test_a_refusal_is_remembered_and_silence_is_not(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_world(tmp_path, slurm) as world:
        await drain(world, "n1", "n2")
        slurm.node_refusal = SlurmUnreachable("scontrol", "nobody there")
        with pytest.raises(SlurmUnreachable):
            await pass_time(world, "n1")
        assert outcome_of(world, "n1") is None, "it is tried again"
        slurm.node_refusal = SlurmDenied("scontrol", 1, "slurm_update error: Invalid user id")
        await pass_time(world, "n1")
        assert outcome_of(world, "n1") == "refused"
        assert "Invalid user id" in world.store.drains.get(rules.make_id(HERE, "n1")).error


@asynchronous
async def test_a_drain_that_was_cut_off_counts_if_it_has_arrived(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_world(tmp_path, slurm) as world:
        slurm.clock = int(time.time())
        for name in ("n1", "n2"):
            cut_off = rules.build_drain(HERE, name, "disk", 7200, "ann", time.time())
            await world.store.drains.put(cut_off.id, cut_off)
        slurm.drain("n1", "disk")
        await drains.follow_drain(world.server, rules.make_id(HERE, "n2"))
        assert outcome_of(world, "n2") == "undone"
        kept = world.store.drains.get(rules.make_id(HERE, "n1"))
        assert (kept.outcome, kept.set_at) == (None, slurm.clock)
