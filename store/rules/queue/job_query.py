"""Which jobs a list shows, and in which order. Pure.

Rows are raw rows of SLURM; what is shown of them is made for the page alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from store.errors import Invalid, make_problem, suggest_word
from store.rules.queue import amounts, job_states
from store.rules.queue.job_fields import ALIASES, FIELDS, SORTABLE, Row, rank_id
from store.rules.queue.job_filter import ExpandHosts, JobFilter, parse_filter
from store.times import to_day_end
from store.words import split_words

_FEW = 100  # so many are put in their places one by one
_ORDERS = ("asc", "desc")


class JobQuery(NamedTuple):
    """Which jobs are wanted, in which order; what is None or empty takes all.

    `since` and `until` are epoch seconds of a period that jobs must have ended in; those that have not ended yet must
    have been submitted before its end. `reads_paths` says that files of jobs decide, which accounting does not know.
    """

    states: frozenset[str]
    users: frozenset[str]
    partitions: frozenset[str]
    filter: JobFilter
    sort: str
    is_descending: bool
    since: float | None
    until: float | None
    reads_paths: bool = False

    @property
    def asks_for_ended(self) -> bool:
        """Whether jobs are asked for that the queue may have forgotten."""
        named = self.states | self.filter.states
        return self.since is not None or self.until is not None or job_states.has_ended_state(named)


def parse_query(
    expand_hosts: ExpandHosts,
    now: float,
    *,
    state: str | None = None,
    user: str | None = None,
    partition: str | None = None,
    sort: str = "submit_time",
    order: str = "desc",
    filter: str | None = None,
    start_time: str | None = None,
    end_time: str | None = None,
) -> JobQuery:
    """Parse the parameters of a list. Raises Invalid with all that is wrong."""
    problems: list[dict[str, Any]] = []
    states = set()
    for word in split_words(state):
        if (found := job_states.find_state(word)) is None:
            problems.append(_make_problem("state", job_states.describe_unknown_state(word), word))
        else:
            states.add(found)
    name = ALIASES.get(sort.lower(), sort.lower())
    if name not in SORTABLE:
        text = f"unknown field '{sort[:60]}'{suggest_word(sort, SORTABLE)}"
        problems.append(_make_problem("sort", text, sort))
    if order.lower() not in _ORDERS:
        problems.append(_make_problem("order", f"asc or desc, not '{order}'{suggest_word(order, _ORDERS)}", order))
    bounds: dict[str, float | None] = {}
    for key, text_given in (("start_time", start_time), ("end_time", end_time)):
        try:
            bounds[key] = None if text_given is None else amounts.parse_time_s(text_given, now)
        except ValueError as problem:
            problems.append(_make_problem(key, str(problem), text_given))
    if end_time is not None and len(end_time) == 10 and bounds.get("end_time") is not None:
        bounds["end_time"] = to_day_end(end_time)
    since, until = bounds.get("start_time"), bounds.get("end_time")
    if since is not None and until is not None and until < since:
        problems.append(_make_problem("end_time", "lies before start_time", end_time))
    wanted = JobFilter()
    try:
        wanted = parse_filter(filter, now, expand_hosts)
    except Invalid as problem:
        problems += problem.problems
    if problems:
        raise Invalid(problems)
    users, partitions = frozenset(split_words(user)), frozenset(split_words(partition))
    is_descending, reads_paths = order.lower() == "desc", "standard_" in f"{name} {filter}".lower()
    return JobQuery(frozenset(states), users, partitions, wanted, name, is_descending, since, until, reads_paths)


def _make_problem(name: str, text: str, given: Any) -> dict[str, Any]:
    return make_problem(text, ["query", name], input=given)


def select_rows(rows: Sequence[Row], query: JobQuery) -> list[Row]:
    """Select and sort the wanted rows.

    `rows` come by id, the largest first, which decides between equal ones. Null stands last in either order.
    """
    return _sort_rows(query.filter.filter_rows(filter_rows(rows, query)), query)


def filter_rows(rows: Sequence[Row], query: JobQuery) -> list[Row]:
    """Filter by what all tasks of an array have in common; keep the order."""
    rows = list(rows)
    states, users, partitions, since, until = query.states, query.users, query.partitions, query.since, query.until
    if states:
        rows = [row for row in rows if row["state"] in states]
    if users:
        rows = [row for row in rows if row["user"] in users or str(row["uid"]) in users]
    if partitions:
        rows = [row for row in rows if _is_in_partition(row["partition"], partitions)]
    if since is not None:
        rows = [row for row in rows if row["end_time"] is None or row["end_time"] >= since]
    if until is not None:
        rows = [row for row in rows if (row["end_time"] or row["submit_time"] or 0) <= until]
    return rows


def _is_in_partition(named: str | None, partitions: frozenset[str]) -> bool:
    """Return whether a job is, or may come, into one of the partitions."""
    if named in partitions:
        return True
    return named is not None and "," in named and not partitions.isdisjoint(named.split(","))


def _sort_rows(rows: list[Row], query: JobQuery) -> list[Row]:
    if query.sort == "job_id":
        return rows if query.is_descending else rows[::-1]
    values = list(map(FIELDS[query.sort].read, rows))
    places = range(len(rows))
    order = [at for at in places if values[at] is not None] if None in values else list(places)
    order.sort(key=values.__getitem__, reverse=query.is_descending)
    lacking = [rows[at] for at in places if values[at] is None] if len(order) < len(rows) else []
    return [rows[at] for at in order] + lacking


class IdOrder:
    """Puts rows in the order of their ids, the largest first.

    From one time to the next few ids come and go, so the order of the last time is brought up to date.
    """

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        self._order: list[str] = []

    def sort_rows(self, rows: Mapping[str, Row]) -> list[Row]:
        """Sort rows that are given by id."""
        before = self._ranks
        if rows.keys() != before.keys():
            gone, added = before.keys() - rows.keys(), rows.keys() - before.keys()
            ranks = {job_id: before[job_id] for job_id in before if job_id not in gone} if gone else dict(before)
            ranks |= {job_id: rank_id(rows[job_id]) for job_id in added}
            order = [job_id for job_id in self._order if job_id not in gone] if gone else list(self._order)
            if len(added) > _FEW:
                order = sorted([*order, *added], key=ranks.__getitem__)
            else:
                for job_id in added:
                    bisect.insort(order, job_id, key=ranks.__getitem__)
            self._ranks, self._order = ranks, order
        return list(map(rows.__getitem__, reversed(self._order)))
