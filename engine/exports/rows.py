"""Where the rows of exports and reports come from.

What is in memory is taken at once, on the event loop; accounting is asked and rows are built where the iterator is
read, in a thread.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from engine.accounts import users
from engine.nodes import node_list
from engine.queue import job_list, queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.past.history import iterate_ended
from store.errors import NotFound
from store.indexes.jobs import JobEntry, list_entries
from store.rules import states
from store.rules.exports import filters, tables
from store.rules.monitoring import samples
from store.times import to_epoch, to_rfc3339
from store.views import s9s_nodes

Lots = Iterator[list[dict[str, Any]]]
MOST_OWN = 20_000
# Metrics of a longer period are told day by day.
HOURS_DAYS = 60
HOUR_S, DAY_S = 3600, 86_400


def find_cluster(server: Server, name: str) -> Cluster:
    """Find the cluster of an export; raise NotFound, SlurmUnreachable."""
    found = server.clusters.find(name)
    if found is None:
        raise NotFound("Cluster", name)
    found.check_answering()
    return found


async def open_rows(server: Server, kind: str, cluster: str, given: Mapping[str, str]) -> Lots:
    """Open the rows of this type that fit the filter; raise SlurmUnreachable.

    The iterator blocks, and raises SlurmError, where accounting is asked.
    """
    asked, is_wanted = find_cluster(server, cluster), filters.make_filter(kind, given)
    lots = await ROWS[kind](server, asked, given)
    return ([row for row in lot if is_wanted(row)] for lot in lots)


# --- jobs


async def _open_jobs(server: Server, asked: Cluster, given: Mapping[str, str]) -> Lots:
    now = time.time()
    queue = list(asked.snapshot.jobs.values())
    since, until = filters.choose_period(given, now)
    known = set(asked.snapshot.jobs)
    has_open = filters.wants_open_jobs(given, now)
    chosen = (row for row in queue if _is_in_period(row, since, until, has_open))
    own = list_own_jobs(server, asked, since, known)
    return _iterate_jobs(asked, chosen, own, known, _wants_ended(given), since, until)


def _wants_ended(given: Mapping[str, str]) -> bool:
    return "state" not in given or not states.TERMINAL.isdisjoint(filters.read_states("jobs", given["state"]))


def _is_in_period(row: Mapping[str, Any], since: float, until: float, has_open: bool) -> bool:
    return has_open if row["end_time"] is None else since <= row["end_time"] < until + 1


def list_own_jobs(server: Server, asked: Cluster, since: float, known: set[str]) -> list[Any]:
    """List what we remember of ended jobs, as ids with their documents."""
    sources = server.job_index.list_ended_since(to_rfc3339(since) or "", asked.name, MOST_OWN)
    return [(job_id, source) for job_id, source in sources if job_id not in known]


def _iterate_jobs(
    asked: Cluster, queue: Iterator[Any], own: list[Any], known: set[str], wants_ended: bool, since: float, until: float
) -> Lots:
    if wants_ended and asked.slurm.has_accounting():
        sources = dict(own)
        for lot in iterate_ended(asked.slurm, since, until + 1):
            yield [_build_accounted_job(row, sources) for row in lot if row["job_id"] not in known]
    elif wants_ended:
        # Without accounting there is only what went through here.
        for at in range(0, len(own), 500):
            entries = [entry for entry in map(find_entry, own[at : at + 500]) if entry is not None]
            entries = [entry for entry in entries if (to_epoch(entry.ended_at) or 0) < until + 1]
            yield [_build_job(queue_view.build_past_row(entry)) for entry in entries]
    while rows := list(itertools.islice(queue, 500)):
        yield list(map(_build_job, rows))


def _build_job(row: Mapping[str, Any]) -> dict[str, Any]:
    job = job_list.to_job_json(row)
    del job["reason_text"]  # it is told of jobs that wait now
    return job


def _build_accounted_job(row: Mapping[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    source = sources.get(row["job_id"])
    entry = None if source is None else find_entry((row["job_id"], source))
    return _build_job(queue_view.fill_paths(row, entry))


def find_entry(found: tuple[str, Any]) -> JobEntry | None:
    """Find a job in its document."""
    return next((entry for entry in list_entries(found[1].document) if entry.job_id == found[0]), None)


# --- nodes, partitions, users, metrics


async def _open_nodes(server: Server, asked: Cluster, _given: Mapping[str, str]) -> Lots:
    table = await node_list.fetch_table(server, asked)
    return iter([[table.to_json(name) for name in table.nodes]])


async def _open_partitions(server: Server, asked: Cluster, _given: Mapping[str, str]) -> Lots:
    table, rows = await node_list.fetch_table(server, asked), node_list.sort_partitions(asked)
    return iter([[s9s_nodes.to_partition_json(row, node_list.list_members(table, row)) for row in rows]])


async def _open_users(_server: Server, asked: Cluster, _given: Mapping[str, str]) -> Lots:
    table = await users.collect_users(asked)
    return iter([[table.to_json(name) for name in table.list_names()]])


async def _open_metrics(server: Server, asked: Cluster, given: Mapping[str, str]) -> Lots:
    period, now = tables.read_period(given), server.sampler.clock()
    until = now if period.until is None else min(period.until, now)
    since = until - DAY_S + HOUR_S if period.since is None else period.since
    since = max(since, now - server.store.config.samples.keep_days * DAY_S)  # there are no samples from before
    if since >= until:
        return iter([[]])
    step_s = DAY_S if until - since > HOURS_DAYS * DAY_S else HOUR_S
    found = samples.Period(int(since) // step_s * step_s, until, step_s)
    return iter([samples.build_buckets(server.sampler.list_rows(asked, found.first, found.end), found)])


ROWS: dict[str, Callable[[Server, Cluster, Mapping[str, str]], Coroutine[Any, Any, Lots]]] = {
    "jobs": _open_jobs,
    "nodes": _open_nodes,
    "partitions": _open_partitions,
    "users": _open_users,
    "metrics": _open_metrics,
}
