"""The numbers of a report, from accounting, the queue and the nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from engine.exports import rows
from engine.server import Server
from slurm_shim.past.history import iterate_ended
from store.rules.exports.files import ClusterReport
from store.rules.exports.report_pages import Facts, build_report
from store.rules.exports.totals import Totals
from store.times import to_epoch


def open_numbers(server: Server, made: ClusterReport, with_charts: bool) -> Callable[[], dict[str, Any]]:
    """Return a function that sums up a report; raise SlurmUnreachable.

    The function blocks where it asks accounting, and raises SlurmError.
    """
    asked, now, kind = rows.find_cluster(server, made.cluster), time.time(), made.type
    since, until = made.since, made.until
    chosen = frozenset(made.parameters.get("partitions") or ()) or None
    snapshot = asked.snapshot
    nodes = [node for node in snapshot.nodes if chosen is None or not chosen.isdisjoint(node["partitions"])]
    known = {partition["name"] for partition in snapshot.partitions}
    unknown = sorted(name for name in chosen or () if name not in known)
    at_work = [row for row in snapshot.jobs.values() if row["end_time"] is None and row["start_time"] is not None]
    own = rows.list_own_jobs(server, asked, since, set())

    def sum_up() -> dict[str, Any]:
        totals = Totals(since, until, chosen)
        has_accounting = asked.slurm.has_accounting()
        if kind != "node_health":
            # A job that ended after the period may have run in it.
            if has_accounting:
                for lot in iterate_ended(asked.slurm, since, max(until, now) + 1, with_usage=True):
                    totals.add_jobs(lot)
            else:
                totals.add_jobs(row for found in own if (row := _build_own_row(found)) is not None)
            totals.add_jobs(_end_now(row, now) for row in at_work)
        return build_report(kind, Facts(totals, nodes, asked.name, now, has_accounting, unknown), with_charts)

    return sum_up


def _end_now(row: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return a running job as far as it ran; it did not end in the period."""
    keys = ("user", "partition", "state", "submit_time", "start_time", "cpu_count", "gpus")
    return {key: row[key] for key in keys} | {"end_time": None, "runs_until": now}


def _build_own_row(found: tuple[str, Any]) -> dict[str, Any] | None:
    entry = rows.find_entry(found)
    if entry is None:
        return None
    start, end = to_epoch(entry.started_at), to_epoch(entry.ended_at)
    return {
        "job_id": entry.job_id, "name": entry.name, "user": entry.user, "partition": entry.partition,
        "state": entry.state or "UNKNOWN", "submit_time": to_epoch(entry.submitted_at), "start_time": start,
        "end_time": end, "cpu_count": 0, "gpus": entry.gpus or 0,
    }  # fmt: skip
