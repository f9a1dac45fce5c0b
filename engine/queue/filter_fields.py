"""What a filter of jobs can say, for those who complete it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from engine.queue import job_list, queue_view
from engine.server import Server
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.queue import job_filter, job_states
from store.rules.queue.job_fields import ALIASES, FIELDS, HOSTS, SORTABLE, STATE, Row

MOST_VALUES = 200
# Texts of which many jobs have the same; the others are told apart by nobody who would choose from a list.
COMPLETED = ("user", "account", "partition", "qos", "reason")


async def list_filter_fields(server: Server, cluster: str | None = None) -> Answer:
    """List the fields of a filter, their operators, and values that are there.

    Raises NotFound, SlurmUnreachable.
    """
    asked, version = job_list.resolve_cluster(server, cluster)
    view, key = queue_view.get_view(server, asked), ("fields", *version)
    if (body := view.pages.get(key)) is None:
        rows = (await view.fetch_rows(server, asked, version[-1], None)).rows
        values = await asyncio.to_thread(_list_all_values, rows)
        values["partition"] = _add_values(values["partition"], (row["name"] for row in asked.snapshot.partitions))
        values["nodes"] = sorted(node["name"] for node in asked.snapshot.nodes)[:MOST_VALUES]
        values["state"] = list(job_states.STATES)
        body = Body(dump_json({"fields": [_describe_field(name, values.get(name, [])) for name in FIELDS]}))
        view.pages.put(key, body, len(body.data) + 1000)
    return job_list.make_answer(asked, body)


def _describe_field(name: str, values: list[str]) -> dict[str, Any]:
    kind = FIELDS[name].kind
    return {
        "name": name,
        "aliases": [alias for alias in ALIASES if ALIASES[alias] == name],
        "kind": kind,
        "operators": list(job_filter.list_operators(name)),
        "example": job_filter.EXAMPLES[kind] if kind not in (STATE, HOSTS) or not values else values[0],
        "values": values,
        "can_sort": name in SORTABLE,
    }


def _list_all_values(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {name: _list_values(map(FIELDS[name].read, rows)) for name in COMPLETED}


def _list_values(found: Iterable[str | None]) -> list[str]:
    """List values, the most frequent first."""
    return [value for value, _ in Counter(filter(None, found)).most_common(MOST_VALUES)]


def _add_values(values: list[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*values, *more]))[:MOST_VALUES]
