"""Questions about nodes, reservations, users and QOS; changes of nodes.

Each calls `run(argv)`, which returns what a program of SLURM printed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from slurm_shim.inventory import accounts, nodes, reservations
from slurm_shim.parse import Node

Run = Callable[[list[str]], str]

# So many nodes go into one call: Linux takes 128 KiB in one argument.
NODES_A_CALL = 1000


def list_reservations(run: Run) -> list[reservations.Reservation]:
    """List all reservations."""
    return reservations.parse_reservations(run(["scontrol", "-o", "-a", "show", "reservation"]))


def list_associations(run: Run) -> list[accounts.Association]:
    """List the associations of all users, on all clusters."""
    fields = ",".join(accounts.ASSOCIATION_FIELDS)
    return accounts.parse_associations(run(["sacctmgr", "-nP", "show", "user", "withassoc", f"format={fields}"]))


def list_qos(run: Run) -> list[accounts.Qos]:
    """List all QOS."""
    return accounts.parse_qos(run(["sacctmgr", "-nP", "show", "qos", f"format={','.join(accounts.QOS_FIELDS)}"]))


def sum_cpu_time(run: Run, since_s: int) -> dict[str, int]:
    """Sum the CPU seconds of each user's jobs of the last `since_s` seconds."""
    nonce = f"~{secrets.token_hex(8)}"
    argv = ["sacct", "-a", "-X", "-n", "-p", f"--delimiter={nonce}", "-S", f"now-{since_s}seconds", "-E", "now"]
    return accounts.parse_usage(run([*argv, "-o", ",".join(accounts.USAGE_FIELDS)]), nonce)


def read_nodes(run: Run, names: Sequence[str]) -> list[Node]:
    """Read these nodes as they are now; NodeUnknown."""
    found: list[Node] = []
    for at in range(0, len(names), NODES_A_CALL):
        found += nodes.parse_nodes(run(["scontrol", "-o", "show", "node", ",".join(names[at : at + NODES_A_CALL])]))
    return found


def change_nodes(run: Run, names: Sequence[str], state: str, reason: str | None) -> list[Node]:
    """Change the state of nodes; return them as they are then.

    `state` is a word of scontrol(1). Look the names up before: where SLURM does not know one of them, it changes the
    others and refuses all the same.
    """
    for at in range(0, len(names), NODES_A_CALL):
        words = [f"nodename={','.join(names[at : at + NODES_A_CALL])}", f"state={state}"]
        run(["scontrol", "update", *words, *([] if reason is None else [f"reason={reason}"])])
    return read_nodes(run, names)
