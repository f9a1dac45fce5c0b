"""The ids of the jobs that are wanted: what keeps a filtered list live.

Whoever shows a list learns from the change feed which jobs changed, and here which of them still belong to the list.
"""

from __future__ import annotations

import re
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from engine.queue import job_list, queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from slurm_shim.ids import expand_hosts
from store.errors import Invalid, make_problem
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.queue import job_query

MOST_AMONG = 200
# Ids of tasks that wait together hold commas: 42_[3,5].
_ID = re.compile(r"[^,\[]+(?:\[[^\]]*\]?)?")
Found = tuple[Sequence[str], dict[str, Any]]  # all ids in order, and what may be missing


def list_ids(
    server: Server,
    limit: int = 50_000,
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
    among: str | None = None,
    check: bool = False,
) -> Answer | Coroutine[Any, Any, Answer]:
    """List the ids of the jobs that are wanted, or those of them among some.

    At once where they are kept. To check a filter that somebody still types, what is wrong with it is told.
    Raises Invalid, SlurmError, NotFound.
    """
    asked, version = job_list.resolve_cluster(server, cluster)
    wanted = None if among is None else parse_ids(among)
    given = (state, user, partition, sort, order, filter, expand_arrays, start_time, end_time)
    key = ("ids", given, *version)
    if (found := queue_view.get_view(server, asked).pages.get(key)) is None:
        texts = {"state": state, "user": user, "partition": partition, "start_time": start_time, "end_time": end_time}
        try:
            query = job_query.parse_query(expand_hosts, time.time(), sort=sort, order=order, filter=filter, **texts)
        except Invalid as wrong:
            if not check:
                raise
            answer = {"job_ids": [], "total": 0, "has_more": False, "problem": wrong.problems[0]["msg"]}
            return job_list.make_answer(asked, Body(dump_json(answer)))
        kept_as = given if job_list.can_be_kept(query, filter) else None
        chosen = job_list.Wanted(query, version[-1], expand_arrays, kept_as)
        return _find_ids(server, asked, chosen, limit, wanted)
    return _make_answer(server, asked, key, found, limit, wanted)


async def _find_ids(
    server: Server,
    asked: Cluster,
    chosen: job_list.Wanted,
    limit: int,
    wanted: frozenset[str] | None,
) -> Answer:
    """Find all ids, which are kept under the key if there is one."""
    rows, more, version = await job_list.list_wanted(server, asked, chosen)
    found, key = ([row["job_id"] for row in rows], more), None
    if chosen.key is not None:
        key = ("ids", chosen.key, *version)
        queue_view.get_view(server, asked).pages.put(key, found, 10 * len(rows) + 1000)
    return _make_answer(server, asked, key, found, limit, wanted)


def _make_answer(
    server: Server, asked: Cluster, key: Any, found: Found, limit: int, wanted: frozenset[str] | None
) -> Answer:
    """Make the answer; a whole one is kept beside its ids."""
    pages = queue_view.get_view(server, asked).pages
    body_key = None if key is None or wanted is not None else ("ids body", limit, key)
    if (body := pages.get(body_key)) is None:
        ids, more = found
        chosen = ids[:limit] if wanted is None else [job_id for job_id in ids if job_id in wanted]
        has_more = wanted is None and len(ids) > limit
        body = Body(dump_json({"job_ids": chosen, "total": len(ids), "has_more": has_more, **more}))
        if body_key is not None:
            pages.put(body_key, body, len(body.data) + 1000)
    return job_list.make_answer(asked, body)


def parse_ids(text: str) -> frozenset[str]:
    """Parse ids with commas. Raises Invalid for too many.

    >>> sorted(parse_ids("7, 42_[3,5%2],42_1,"))
    ['42_1', '42_[3,5%2]', '7']
    """
    found = [word for word in map(str.strip, _ID.findall(text)) if word]
    if len(found) > MOST_AMONG:
        problem = f"more than {MOST_AMONG} ids: ask for them in parts"
        raise Invalid([make_problem(problem, ["query", "among"], input=text[:200])])
    return frozenset(found)
