"""How much of their CPUs and memory jobs used."""

from __future__ import annotations

import time

from engine.server import Server
from slurm_shim.past.usage import Usage
from store.durations import read_duration_s
from store.errors import Invalid, make_problem
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.rules.monitoring import samples
from store.rules.states import TERMINAL
from store.times import read_time
from store.views import s9s_metrics
from store.views.s9s import to_page_json
from store.words import split_words

LONGEST_S = 31 * samples.DAY_S


async def get_efficiency(
    server: Server,
    user: str | None,
    partition: str | None,
    min_runtime: str | None,
    start_time: str | None,
    limit: int,
    offset: int,
) -> Answer:
    """Get the efficiency of jobs that have ended, the most wasteful first."""
    now = time.time()
    least_s = read_duration_s(min_runtime, "min_runtime")
    started = read_time(start_time, ["query", "start_time"])
    since = now - samples.DAY_S if started is None else started
    if not now - LONGEST_S <= since <= now:
        message = f"must lie in the last {LONGEST_S // samples.DAY_S} days"
        raise Invalid([make_problem(message, ["query", "start_time"], input=start_time)])
    found = await server.cluster.inventory.list_usage(now - since) or []
    since += server.cluster.slurm.clock_offset_s
    users, partitions = split_words(user), split_words(partition)
    chosen = [row for row in found if _is_chosen(row, users, partitions, least_s, since)]
    chosen.sort(key=lambda row: -(s9s_metrics.compute_wasted_h(row) or 0.0))
    page = to_page_json("jobs", chosen, limit, offset, s9s_metrics.to_efficiency_json)
    return Answer(Body(dump_json(page | {"summary": s9s_metrics.summarize_efficiency(chosen)})))


def _is_chosen(row: Usage, users: list[str], partitions: list[str], least_s: float, since: float) -> bool:
    """Return whether the job ran to its end in the period, and fits."""
    is_over = row["state"] in TERMINAL and row["start_time"] is not None and (row["end_time"] or 0) >= since
    return (
        is_over
        and row["elapsed_s"] >= least_s
        and (not users or row["user"] in users)
        and (not partitions or row["partition"] in partitions)
    )
