"""The list of jobs: filtered, sorted, page by page."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from engine import jobs
from engine.queue import queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.errors import SlurmError
from slurm_shim.ids import expand_hosts
from slurm_shim.past.ended_jobs import TooMuchHistory
from slurm_shim.queue.derived import ROWS_AT_ONCE
from store.errors import Invalid, make_problem
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.queue import job_fields, job_query
from store.rules.queue.job_query import JobQuery
from store.rules.queue.waiting import WAITING
from store.views import s9s

Row = Mapping[str, Any]
DAY_S = 86_400
# Ours that ended are listed from a multiple of this on, so that the list is not made anew every second.
STEP_S = 600
# The documents of so many jobs are read before others have their turn.
AT_ONCE = 100


class Wanted(NamedTuple):
    """Which jobs are wanted.

    `since` is from when on ended jobs of ours are listed (epoch), `key` under what they are kept; None if they are not.
    """

    query: JobQuery
    since: float
    is_expanded: bool
    key: tuple[Any, ...] | None


class Found(NamedTuple):
    """The jobs that were wanted, what more is said, and the list's version."""

    rows: list[Row]
    more: dict[str, Any]
    version: tuple[Any, ...]


def list_jobs(
    server: Server,
    limit: int = 100,
    offset: int = 0,
    state: str | None = None,
    user: str | None = None,
    partition: str | None = None,
    sort: str = "submit_time",
    order: str = "desc",
    filter: str | None = None,
    expand_arrays: bool = False,
    start_time: str | None = None,
    end_time: str | None = None,
    cluster: str | None = None,
) -> Answer | Coroutine[Any, Any, Answer]:
    """List a page of the jobs that are wanted; at once where it is kept.

    Accounting is asked only for jobs that have ended. Where it does not answer, the page says that they may be missing;
    but a period is nothing that could be told without it. Raises Invalid, SlurmError, NotFound.
    """
    asked, version = resolve_cluster(server, cluster)
    given = (limit, offset, state, user, partition, sort, order, filter, expand_arrays, start_time, end_time)
    key = (given, *version)
    if (body := queue_view.get_view(server, asked).pages.get(key)) is None:
        texts = {"state": state, "user": user, "partition": partition, "start_time": start_time, "end_time": end_time}
        query = job_query.parse_query(expand_hosts, time.time(), sort=sort, order=order, filter=filter, **texts)
        wanted = Wanted(query, version[-1], expand_arrays, given[2:] if can_be_kept(query, filter) else None)
        return _answer_page(server, asked, wanted, (limit, offset))
    return make_answer(asked, body)


def resolve_cluster(server: Server, cluster: str | None) -> tuple[Cluster, tuple[Any, ...]]:
    """Return the cluster that is asked for, and the version of its list.

    The last part of a version is from when on ended jobs of ours are listed (epoch).
    """
    asked = server.clusters.resolve(cluster)
    if asked.snapshot.age_s is None:
        asked.check_answering()
    since = (time.time() - jobs.LISTED_S) // STEP_S * STEP_S
    return asked, resolve_version(server, asked, since)


def resolve_version(server: Server, asked: Cluster, since: float) -> tuple[Any, ...]:
    """Return the version of a list with ended jobs from then on."""
    return asked.name, asked.snapshot.version, server.job_index.version, since


def can_be_kept(query: JobQuery, filter: str | None) -> bool:
    """Return whether an answer is true for as long as the list is."""
    return not query.asks_for_ended and "now" not in (filter or "").lower()


def make_answer(asked: Cluster, body: Body) -> Answer:
    """Make the answer of a body, with the age of the snapshot."""
    asked.snapshot.keep_fresh()
    return Answer(body, asked.snapshot.age_s)


async def _answer_page(server: Server, asked: Cluster, wanted: Wanted, window: tuple[int, int]) -> Answer:
    """Answer with a page, made once for all who ask for it at once."""
    if wanted.key is None:
        return make_answer(asked, await _make_page(server, asked, wanted, window))
    key = (window, wanted.key, resolve_version(server, asked, wanted.since))
    making = queue_view.get_view(server, asked).making
    return make_answer(asked, await making.make_once(key, lambda: _make_page(server, asked, wanted, window)))


async def _make_page(server: Server, asked: Cluster, wanted: Wanted, window: tuple[int, int]) -> Body:
    """Make a page, and keep it if it is true for as long as the list is."""
    limit, offset = window
    view = queue_view.get_view(server, asked)
    found = await list_wanted(server, asked, wanted)
    has_waiting = any(row["state"] in WAITING for row in found.rows[offset : offset + limit])
    loads = await view.loads.fetch() if has_waiting else None

    def to_json(row: Row) -> dict[str, Any]:
        return view.to_job_json(server, asked, row, loads)

    page = s9s.to_page_json("jobs", found.rows, limit, offset, to_json)
    body = Body(dump_json(page | found.more))
    if wanted.key is not None:
        view.pages.put(((limit, offset, *wanted.key), *found.version), body, len(body.data) + 1000)
    return body


async def list_wanted(server: Server, asked: Cluster, wanted: Wanted) -> Found:
    """List the jobs that are wanted, and say what may be missing."""
    query, since = wanted.query, wanted.since
    ended, more = None, dict[str, Any]()
    if query.asks_for_ended:
        period = choose_period(query.since, query.until)
        since = period // STEP_S * STEP_S
        try:
            ended = await asked.ended_jobs.list_period(period, query.until)
        except TooMuchHistory as problem:
            raise Invalid([make_problem(problem.reason, ["query", "start_time"], input=query.since)]) from None
        except SlurmError as problem:
            if query.since is not None or query.until is not None:
                raise
            more["warnings"] = [f"jobs that have ended may be missing: accounting does not answer ({problem})"]
    view = queue_view.get_view(server, asked)
    all_rows = await view.fetch_rows(server, asked, since, ended)
    if wanted.key is None:
        return Found(await _choose_wanted(server, asked, all_rows.rows, wanted), more, all_rows.version)
    if (rows := all_rows.chosen.get(wanted.key)) is None:
        key = (wanted.key, all_rows.version)
        rows = await view.making.make_once(key, lambda: _choose_wanted(server, asked, all_rows.rows, wanted))
        all_rows.chosen.put(wanted.key, rows, 8 * len(rows))
    return Found(rows, more, all_rows.version)


async def _choose_wanted(server: Server, asked: Cluster, rows: Sequence[Row], wanted: Wanted) -> list[Row]:
    """Choose and sort the rows that are wanted."""
    if wanted.query.reads_paths:
        rows = await _add_paths(server, asked, rows)
    if wanted.is_expanded or len(rows) > ROWS_AT_ONCE:
        return await server.check(_choose_rows, rows, wanted.query, wanted.is_expanded)
    return job_query.select_rows(rows, wanted.query)


async def _add_paths(server: Server, asked: Cluster, rows: Sequence[Row]) -> list[Row]:
    """Add where jobs of ours wrote; let others work meanwhile."""
    added: list[Row] = []
    for at in range(0, len(rows), AT_ONCE):
        added += [queue_view.add_paths(server, asked, row) for row in rows[at : at + AT_ONCE]]
        await asyncio.sleep(0)
    return added


def choose_period(since: float | None, until: float | None) -> float:
    """Choose from when on ended jobs are listed: the last day without a time."""
    return since if since is not None else (until or time.time()) - DAY_S + STEP_S


async def list_recent_rows(server: Server, asked: Cluster) -> Sequence[Row]:
    """List the jobs of the queue and those that ended in the last day.

    The largest id first. Where more ended than are listed at once, only ours. Raises SlurmError.
    """
    period, ended = choose_period(None, None), None
    with contextlib.suppress(TooMuchHistory):
        ended = await asked.ended_jobs.list_period(period, None)
    view = queue_view.get_view(server, asked)
    return (await view.fetch_rows(server, asked, period // STEP_S * STEP_S, ended)).rows


def _choose_rows(rows: Sequence[Row], query: JobQuery, is_expanded: bool) -> list[Row]:
    if is_expanded:
        # What all tasks have in common decides first, so that only those of wanted arrays are told apart.
        chosen = queue_view.expand_rows(job_query.filter_rows(rows, query))
        rows = sorted(chosen, key=job_fields.rank_id, reverse=True)
    return job_query.select_rows(rows, query)


def to_job_json(row: Row) -> dict[str, Any]:
    """Build a job of the list from a row of SLURM, without why it waits."""
    return s9s.to_job_json(row, expand_hosts(row["nodes"] or ""))
