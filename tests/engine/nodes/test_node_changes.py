"""Nodes drained and given back: what is saved before SLURM is asked, and what is left when it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.nodes import node_changes
from slurm_shim.errors import SlurmDenied, SlurmUnreachable
from store.errors import Conflict, Invalid, NotFound
from store.rules.nodes import drains
from tests.engine.nodes.node_slurm import NodeSlurm, show_nodes
from tests.engine.servers.pretended import CALLER, HERE, World, open_server
from tests.pretended import asynchronous

TIMED: dict[str, Any] = {"reason": "disk", "timeout": "2h"}


def resume_at(world: World, name: str) -> str | None:
    """When the open drain of a node ends."""
    drain_id = drains.make_id(HERE, name)
    kept = world.store.drains.get(drain_id) if drain_id in world.store.drains else None
    return kept.resume_at if kept is not None and kept.outcome is None else None


@asynchronous
async def test_a_drain_that_is_refused_leaves_no_trace(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_server(tmp_path, slurm=slurm) as world:
        await show_nodes(world)
        slurm.node_refusal = SlurmDenied("scontrol", 1, "slurm_update error: Invalid user id")
        with pytest.raises(SlurmDenied):
            await node_changes.drain_node(world.server, "n1", TIMED, CALLER)
        assert drains.make_id(HERE, "n1") not in world.store.drains
        slurm.node_refusal = None
        await node_changes.drain_node(world.server, "n1", TIMED, CALLER)
        before = resume_at(world, "n1")
        slurm.node_refusal = SlurmUnreachable("scontrol", "nobody there")
        with pytest.raises(SlurmUnreachable):
            await node_changes.drain_node(world.server, "n1", {"reason": "x", "timeout": "9h"}, CALLER)
        assert resume_at(world, "n1") == before, "the drain before it goes on"


@asynchronous
async def test_a_drain_whose_answer_was_lost_is_kept(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_server(tmp_path, slurm=slurm) as world:
        await show_nodes(world)
        slurm.node_refusal = SlurmUnreachable("scontrol", "Socket timed out", uncertain=True)
        with pytest.raises(SlurmUnreachable):
            await node_changes.drain_node(world.server, "n1", TIMED, CALLER)
        assert resume_at(world, "n1") is not None


@pytest.mark.parametrize(
    ("why", "state", "body"),
    [
        ("given back", "resume", None),
        ("drained without an end", "drain", {"reason": "disk"}),
        ("set down", "state", {"state": "DOWN", "reason": "disk"}),
        ("no more drained", "state", {"state": "UNDRAIN"}),
    ],
)
def test_another_change_ends_a_drain(tmp_path: Path, why: str, state: str, body: dict[str, Any] | None) -> None:
    @asynchronous
    async def play() -> None:
        async with open_server(tmp_path, slurm=NodeSlurm()) as world:
            await show_nodes(world)
            await node_changes.drain_node(world.server, "n1,n2", TIMED, CALLER)
            if state == "resume":
                await node_changes.resume_node(world.server, "n1")
            elif state == "drain":
                await node_changes.drain_node(world.server, "n1", body or {}, CALLER)
            else:
                await node_changes.update_state(world.server, "n1", body or {}, CALLER)
            assert (resume_at(world, "n1"), resume_at(world, "n2") is None) == (None, False), why

    play()


@asynchronous
async def test_several_nodes_are_given_back_all_or_none(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_server(tmp_path, slurm=slurm) as world:
        await show_nodes(world)
        await node_changes.drain_node(world.server, "n[1-2]", {"reason": "disk"}, CALLER)
        with pytest.raises(Conflict, match="n3"):
            await node_changes.resume_node(world.server, "n[1-3]")
        assert slurm.flags == {"n1": {"DRAIN"}, "n2": {"DRAIN"}, "n3": set()}
        answer = await node_changes.resume_node(world.server, "n[1-2]")
        assert (answer["state"], answer["message"]) == ("IDLE", "2 nodes resumed successfully")


@asynchronous
async def test_names_are_looked_up_before_anything_is_changed(tmp_path: Path) -> None:
    slurm = NodeSlurm()
    async with open_server(tmp_path, slurm=slurm) as world:
        await show_nodes(world)
        for name, kind in (("n1,nope", NotFound), ("ALL", Invalid), ("n1,all", Invalid), ("n[1", Invalid)):
            with pytest.raises(kind):
                await node_changes.drain_node(world.server, name, {"reason": "x"}, CALLER)
        assert slurm.updates == []


@pytest.mark.parametrize(
    ("why", "text", "kept"),
    [
        ("as it is", "bad disk", "bad disk"),
        ("blanks around it", "  bad disk ", "bad disk"),
        ("quotes around it, which scontrol takes away", '"bad disk"', "bad disk"),
        ("quotes in it", 'the "bad" disk', 'the "bad" disk'),
    ],
)
def test_reasons(why: str, text: str, kept: str) -> None:
    assert node_changes.check_reason(text) == kept, why


@pytest.mark.parametrize("text", ["", "  ", '""', "a\nb", "a\0b", "a\x1bb"])
def test_no_reasons(text: str) -> None:
    with pytest.raises(Invalid):
        node_changes.check_reason(text)
