"""SLURM's states and their compact codes, as callers write them. Pure.

Source: squeue(1), JOB STATE CODES.
"""

from __future__ import annotations

from collections.abc import Iterable

from store.errors import suggest_word
from store.rules.states import LOST, TERMINAL, WORDS

CODES = {
    "BF": "BOOT_FAIL", "CA": "CANCELLED", "CD": "COMPLETED", "CF": "CONFIGURING", "CG": "COMPLETING", "DL": "DEADLINE",
    "F": "FAILED", "NF": "NODE_FAIL", "OOM": "OUT_OF_MEMORY", "PD": "PENDING", "PR": "PREEMPTED", "R": "RUNNING",
    "RD": "RESV_DEL_HOLD", "RF": "REQUEUE_FED", "RH": "REQUEUE_HOLD", "RQ": "REQUEUED", "RS": "RESIZING",
    "RV": "REVOKED", "SI": "SIGNALING", "SE": "SPECIAL_EXIT", "SO": "STAGE_OUT", "ST": "STOPPED", "S": "SUSPENDED",
    "TO": "TIMEOUT",
}  # fmt: skip
STATES = (*WORDS, LOST)
MOST_TOLD = 3  # a near word takes time to look for
# Other spellings that people use.
_SPELLINGS = {"CANCELED": "CANCELLED", "COMPLETE": "COMPLETED", "OOM": "OUT_OF_MEMORY"}


def find_state(word: str) -> str | None:
    """Find the state that a word or a compact code stands for; None if none.

    >>> find_state("running"), find_state("cg"), find_state("Node_Fail"), find_state("frob")
    ('RUNNING', 'COMPLETING', 'NODE_FAIL', None)
    """
    upper = word.strip().upper()
    upper = CODES.get(upper, _SPELLINGS.get(upper, upper))
    return upper if upper in STATES else None


def describe_unknown_state(word: str) -> str:
    """Describe a word that is no state, with one that is near.

    >>> describe_unknown_state("RUNING")
    "unknown state 'RUNING'; did you mean 'RUNNING'?"
    """
    return f"unknown state '{word[:60]}'{suggest_word(word, STATES)}"


def find_states(words: Iterable[str]) -> tuple[frozenset[str], str | None]:
    """Find the states of several words, and what is wrong with the others.

    >>> find_states(["R"]), find_states(["RUNING", "r"])
    ((frozenset({'RUNNING'}), None), (frozenset({'RUNNING'}), "unknown state 'RUNING'; did you mean 'RUNNING'?"))
    """
    found = {word: find_state(word) for word in words}
    unknown = [word for word, state in found.items() if state is None][:MOST_TOLD]
    return frozenset(filter(None, found.values())), "; ".join(map(describe_unknown_state, unknown)) or None


def has_ended_state(found: Iterable[str]) -> bool:
    """Return whether jobs in one of these states have ended."""
    return not TERMINAL.isdisjoint(found)
