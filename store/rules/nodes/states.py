"""States of a node: SLURM's base word and flags as one word. Pure.

Source: sinfo(1), NODE STATE CODES, and what a SLURM 22.05.8 says of nodes in many situations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from store.errors import Invalid, make_problem, suggest_word

AT_WORK = frozenset({"MIXED", "ALLOCATED"})
# A node with such a base takes no work, whatever else is said of it.
BROKEN = frozenset({"DOWN", "ERROR", "UNKNOWN", "INVAL"})
# What an idle node is called for a flag, the strongest first.
IDLE_WORDS = {"MAINTENANCE": "MAINT", "RESERVED": "RESERVED", "PLANNED": "PLANNED"}
# All words that `name_state` gives.
STATES = ("IDLE", "MIXED", "ALLOCATED", "DRAIN", "DRAINING", "DOWN", "MAINT", "RESERVED", "PLANNED", "FUTURE")
# sinfo's compact codes and long words for the same.
ALIASES = {
    "ALLOC": "ALLOCATED", "MIX": "MIXED", "DRNG": "DRAINING", "DRAINED": "DRAIN", "RESV": "RESERVED", "PLND": "PLANNED",
    "MAINTENANCE": "MAINT", "FAIL": "DOWN", "INVAL": "DOWN", "UNKNOWN": "DOWN", "UNK": "DOWN", "FUTR": "FUTURE",
}  # fmt: skip


def name_state(base: str, flags: Collection[str]) -> str:
    """Name the state of a node in one word, as the S9S API has it.

    >>> name_state("MIXED", ["DRAIN"]), name_state("IDLE", ["DRAIN"]), name_state("IDLE", ["NOT_RESPONDING"])
    ('DRAINING', 'DRAIN', 'IDLE')
    """
    if base in BROKEN or "INVALID_REG" in flags:
        return "DOWN"
    if "DRAIN" in flags or "FAIL" in flags:
        if base in AT_WORK:
            return "DRAINING"
        return "DRAIN" if "DRAIN" in flags else "DOWN"
    if base == "IDLE":
        return next((word for flag, word in IDLE_WORDS.items() if flag in flags), base)
    return base


def parse_states(text: str, loc: Sequence[str] = ("query", "state")) -> frozenset[str]:
    """Parse the states of a filter, with commas; raise Invalid.

    DRAIN is any node that is drained or will be, DRAINED one that is, as for sinfo.
    """
    wanted: set[str] = set()
    for part in text.split(","):
        word = part.strip().upper()
        if word == "DRAIN":
            wanted |= {"DRAIN", "DRAINING"}
        elif word in STATES or word in ALIASES:
            wanted.add(ALIASES.get(word, word))
        else:
            hint = suggest_word(word, [*STATES, *ALIASES])
            text = f"no state of a node: {part.strip()[:40]!r}{hint}"
            raise Invalid([make_problem(text, loc, input=part[:200])])
    return frozenset(wanted)


def count_states(nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count nodes by their states.

    Nodes that are being drained count as DRAIN. Each node has `state` (the base word) and `flags`.
    """
    counts: dict[str, int] = {}
    for node in nodes:
        word = name_state(node["state"], node["flags"])
        word = "DRAIN" if word == "DRAINING" else word
        counts[word] = counts.get(word, 0) + 1
    return counts
