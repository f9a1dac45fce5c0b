"""Nodes and partitions for sinfo and scontrol.

What is configured, taken, drained.
"""

from __future__ import annotations

import os
import time

from . import schedule
from .conf import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

SHORT = {"allocated": "alloc", "mixed": "mix", "draining": "drng", "drained": "drain"}


class Node:
    """A node at a moment.

    Its configuration, what jobs hold of it, and who took it out of service.
    """

    def __init__(self, facts: dict[str, Any], mark: Any) -> None:
        self.facts, self.name = facts, str(facts["name"])
        self.flags = [word for word in (mark["flags"] or "").split("+") if word] if mark else []
        self.reason = mark["reason"] if mark and self.flags else ""
        self.reason_user = mark["reason_user"] if mark and self.flags else ""
        self.reason_time = mark["reason_time"] if mark and self.flags else None
        self.cpus_taken = self.memory_taken_mb = self.jobs = 0
        self.gpus_taken: list[int] = []

    def add_share(self, share: schedule.Share) -> None:
        """Count what a job holds of the node."""
        self.cpus_taken += share[1]
        self.memory_taken_mb += share[2]
        self.gpus_taken += share[3]
        self.jobs += 1

    @property
    def base_state(self) -> str:
        """State without flags: DOWN, IDLE, MIXED or ALLOCATED."""
        if "DOWN" in self.flags:
            return "DOWN"
        if not self.cpus_taken:
            return "IDLE"
        return "ALLOCATED" if self.cpus_taken >= self.facts["cpus"] else "MIXED"

    @property
    def full_state(self) -> str:
        """State as scontrol prints it: `MIXED+DRAIN`."""
        return "+".join([self.base_state, *(flag for flag in self.flags if flag != "DOWN")])

    @property
    def long_state(self) -> str:
        """State as sinfo prints it.

        `idle`, `mixed`, `allocated`, `draining`, `drained`, `down`, `fail`.
        """
        base = self.base_state.lower()
        if "DRAIN" in self.flags:
            return "draining" if self.cpus_taken and base != "down" else "drained"
        return "fail" if "FAIL" in self.flags else base

    @property
    def compact_state(self) -> str:
        """State in sinfo's short form: `idle`, `mix`, `alloc`, `drng`, `drain`."""
        return SHORT.get(self.long_state, self.long_state)

    @property
    def complete_state(self) -> str:
        """State as sinfo's StateComplete prints it: `allocated+drain`."""
        base = self.base_state.lower()
        extra = [flag.lower() for flag in self.flags if flag != "DOWN"]
        return "+".join(["allocated" if extra and base == "mixed" else base, *extra])

    @property
    def cpu_counts(self) -> tuple[int, int, int, int]:
        """CPUs that are allocated, idle, other, and all."""
        total = int(self.facts["cpus"])
        rest = total - self.cpus_taken
        out = bool(schedule.UNUSABLE & (set(self.flags) - {"FAIL"}))
        return (self.cpus_taken, 0, rest, total) if out else (self.cpus_taken, rest, 0, total)

    @property
    def gres(self) -> str:
        """Generic resources as configured."""
        return str(self.facts["gres"])


def load_nodes(conf: dict[str, Any], state: State) -> dict[str, Node]:
    """Load all nodes by name, with what the running jobs hold."""
    marks = state.load_node_marks()
    nodes = {name: Node(facts, marks.get(name)) for name, facts in conf["nodes"].items()}
    for row in state.select_jobs(
        "(end_time IS NULL AND state IN ('RUNNING','SUSPENDED')) OR completing = 1", columns="alloc"
    ):
        for share in schedule.unpack_shares(row["alloc"]):
            if share[0] in nodes:
                nodes[share[0]].add_share(share)
    return nodes


def describe_machine() -> dict[str, Any]:
    """Describe this machine.

    Keys: host, arch, os, boot_time, load, free_mb, version, now.
    """
    with open("/proc/stat", encoding="ascii") as file:
        boot_time = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    with open("/proc/meminfo", encoding="ascii") as file:
        free_kb = next(int(line.split()[1]) for line in file if line.startswith("MemFree"))
    system = os.uname()
    return {
        "host": os.uname().nodename.partition(".")[0], "arch": system.machine, "boot_time": boot_time,
        "os": f"{system.sysname} {system.release} {system.version}", "load": f"{os.getloadavg()[0]:.2f}",
        "free_mb": free_kb // 1024, "version": VERSION, "now": int(time.time()),
    }  # fmt: skip


def get_partition_state(conf: dict[str, Any], states: dict[str, str], name: str) -> str:
    """Return UP, DOWN, DRAIN or INACTIVE."""
    return states.get(name, str(conf["partitions"][name]["state"]))
