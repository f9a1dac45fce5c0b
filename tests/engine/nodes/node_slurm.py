"""A pretended cluster whose nodes can be changed, and that remembers how."""

from __future__ import annotations

from typing import Any

from slurm_shim.errors import NodeUnknown, SlurmConflict, SlurmError
from slurm_shim.inventory.nodes import parse_nodes
from tests.engine.servers.pretended import Slurm, World

PARTITION = {
    "name": "main", "state": "UP", "is_default": True, "nodes": ["n1", "n2", "n3"], "default_time_s": None,
    "max_time_s": 3600, "max_nodes": None, "cpus": 24, "priority": 1, "qos": None, "allow_accounts": None,
}  # fmt: skip


class NodeSlurm(Slurm):
    """Three nodes n1, n2, n3; `clock` is what it notes for a reason, `node_refusal` is raised by the next change."""

    def __init__(self) -> None:
        super().__init__()
        self.partition_rows = [dict(PARTITION)]
        self.flags: dict[str, set[str]] = {name: set() for name in ("n1", "n2", "n3")}
        self.reasons: dict[str, str] = {}
        self.clock = 1000
        self.updates: list[list[str]] = []
        self.node_refusal: SlurmError | None = None

    def list_nodes(self) -> list[dict[str, Any]]:
        return parse_nodes(self._show(list(self.flags)))

    def _show(self, names: list[str]) -> str:
        lines = []
        for name in names:
            if name not in self.flags:
                raise NodeUnknown("scontrol", 1, f"Node {name} not found")
            base = "DOWN" if "DOWN" in self.flags[name] else "IDLE"
            state = "+".join([base, *sorted(self.flags[name] - {"DOWN"})])
            reason = f" Reason={self.reasons[name]}" if name in self.reasons else ""
            lines.append(f"NodeName={name} CPUTot=8 RealMemory=16000 Gres=gpu:4 State={state} Partitions=main{reason}")
        return "\n".join(lines)

    def drain(self, name: str, reason: str) -> None:
        """Drain a node as somebody else would."""
        self.clock += 1
        self.flags[name] |= {"DRAIN"}
        self.reasons[name] = f"{reason} [amy@{self.clock}]"

    def ask(self, argv: list[str]) -> str:
        """What scontrol says to `show node` and `update`."""
        if argv[1] != "update":
            return self._show(argv[-1].split(","))
        self.updates.append(argv[2:])
        if self.node_refusal is not None:
            raise self.node_refusal
        given = dict(word.split("=", 1) for word in argv[2:])
        for name in given["nodename"].split(","):
            if given["state"] in ("RESUME", "UNDRAIN"):
                if given["state"] == "RESUME" and not self.flags[name]:
                    raise SlurmConflict("scontrol", 1, "slurm_update error: Invalid node state specified")
                self.flags[name] -= {"DRAIN"} if given["state"] == "UNDRAIN" else {"DRAIN", "DOWN"}
                if not self.flags[name]:
                    self.reasons.pop(name, None)
            else:
                self.drain(name, given["reason"])
                self.flags[name] = (self.flags[name] - {"DRAIN"}) | {given["state"]}
        return ""


async def show_nodes(world: World) -> None:
    """Have the nodes asked for now."""
    world.cluster.snapshot._nodes_began_at = float("-inf")
    await world.cluster.snapshot.refresh()
