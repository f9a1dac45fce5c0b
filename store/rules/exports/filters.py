"""Which rows an export holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from store.errors import Invalid, make_problem, suggest_word
from store.rules.exports import tables
from store.rules.nodes import states as node_states
from store.rules.queue import job_states
from store.words import split_words

DAY_S = 86_400.0
PARTITION_STATES = ("UP", "DOWN", "DRAIN", "INACTIVE")


def read_states(kind: str, text: str) -> frozenset[str]:
    """Read a list of states; raise Invalid for words that are none.

    >>> sorted(read_states("jobs", "running,PD"))
    ['PENDING', 'RUNNING']
    """
    loc = ("body", "filter", "state")
    if kind == "nodes":
        return node_states.parse_states(text, loc)
    found = set()
    for word in (part.strip() for part in text.split(",")):
        state = job_states.find_state(word) if kind == "jobs" else word.upper()
        if state is None or (kind == "partitions" and state not in PARTITION_STATES):
            near = suggest_word(word, job_states.STATES if kind == "jobs" else PARTITION_STATES)
            raise Invalid([make_problem(f"no state of {kind} is called '{word[:60]}'{near}", loc, input=text)])
        found.add(state)
    return frozenset(found)


def make_filter(kind: str, given: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool]:
    """Make the function that tells which rows are wanted, without their times."""
    states = read_states(kind, given["state"]) if "state" in given else None
    users, partitions = frozenset(split_words(given.get("user"))), frozenset(split_words(given.get("partition")))

    def is_wanted(row: Mapping[str, Any]) -> bool:
        if states is not None and row["state"] not in states:
            return False
        if users and row.get("user", row.get("username")) not in users:
            return False
        named = row.get("partitions") or (row.get("partition") or row.get("name") or "").split(",")
        return not partitions or not partitions.isdisjoint(named)

    return is_wanted


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
