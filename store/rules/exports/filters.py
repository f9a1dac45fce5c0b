"""Which rows an export holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from store.errors import Invalid, make_problem, suggest_word
from store.rules.exports import tables

DAY_S = 86_400.0
# squeue(1), JOB STATE CODES.
CODES = {
    "BF": "BOOT_FAIL", "CA": "CANCELLED", "CD": "COMPLETED", "CF": "CONFIGURING", "CG": "COMPLETING", "DL": "DEADLINE",
    "F": "FAILED", "NF": "NODE_FAIL", "OOM": "OUT_OF_MEMORY", "PD": "PENDING", "PR": "PREEMPTED", "R": "RUNNING",
    "RD": "RESV_DEL_HOLD", "RF": "REQUEUE_FED", "RH": "REQUEUE_HOLD", "RQ": "REQUEUED", "RS": "RESIZING",
    "RV": "REVOKED", "SI": "SIGNALING", "SE": "SPECIAL_EXIT", "SO": "STAGE_OUT", "ST": "STOPPED", "S": "SUSPENDED",
    "TO": "TIMEOUT",
}  # fmt: skip
NODE_STATES = frozenset(
    """ALLOCATED ALLOC BLOCKED COMPLETING DOWN DRAIN DRAINED DRAINING ERROR FAIL FAILING FUTURE IDLE INVAL MAINT MIXED
    MIX PLANNED POWERED_DOWN POWERING_DOWN POWERING_UP REBOOT RESERVED RESUME UNKNOWN""".split()  # noqa: SIM905
)
PARTITION_STATES = frozenset({"UP", "DOWN", "DRAIN", "INACTIVE"})
STATES = {"jobs": frozenset(CODES.values()), "nodes": NODE_STATES, "partitions": PARTITION_STATES}


def read_states(kind: str, text: str) -> frozenset[str]:
    """Read a list of states; raise Invalid for words that are none.

    >>> sorted(read_states("jobs", "running,PD"))
    ['PENDING', 'RUNNING']
    """
    words = [word.strip().upper() for word in text.split(",") if word.strip()]
    found = [CODES.get(word, word) if kind == "jobs" else word for word in words]
    if wrong := next((word for word in found if word not in STATES[kind]), None):
        near = suggest_word(wrong, sorted(STATES[kind]))
        raise Invalid(
            [make_problem(f"no state of {kind} is called '{wrong}'{near}", ["body", "filter", "state"], input=text)]
        )
    return frozenset(found)


def make_filter(kind: str, given: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool]:
    """Make the function that tells which rows are wanted, without their times."""
    states = read_states(kind, given["state"]) if "state" in given else None
    users = _split_words(given.get("user"))
    partitions = _split_words(given.get("partition"))

    def is_wanted(row: Mapping[str, Any]) -> bool:
        if states is not None and row["state"] not in states and not states & set(row.get("state_flags") or ()):
            return False
        if users is not None and row.get("user", row.get("username")) not in users:
            return False
        if partitions is None:
            return True
        named = row.get("partitions") or (row.get("partition") or row.get("name") or "").split(",")
        return not partitions.isdisjoint(named)

    return is_wanted


def _split_words(text: str | None) -> frozenset[str] | None:
    words = frozenset(word.strip() for word in (text or "").split(",")) - {""}
    return words or None


def choose_period(given: Mapping[str, str], now: float) -> tuple[float, float]:
    """Choose from when to when ended jobs are wanted, in epoch seconds.

    Without times the last day, with only an end the 30 days before it.
    """
    period = tables.read_period(given)
    until = now if period.until is None else min(period.until, now)
    if period.since is not None:
        return period.since, until
    return (until - DAY_S if period.until is None else until - 30 * DAY_S), until


def wants_open_jobs(given: Mapping[str, str], now: float) -> bool:
    """Return whether the time goes on to now, so that open jobs count."""
    until = tables.read_period(given).until
    return until is None or until >= now
