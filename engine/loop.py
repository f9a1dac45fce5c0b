"""What happens without a request: the cluster is found and watched, open documents are set going, old ones put away."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import Counter
from typing import Any

from engine import jobs, reports, start, sweeps
from engine import runs as driving
from engine.mounts import sync
from engine.server import Server, log
from slurm_shim.cluster import Cluster
from store.disk.folders import FileEntry
from store.documents import JobRecord, Run, Sweep
from store.rules import runs
from store.times import to_rfc3339


async def run_forever(server: Server) -> None:
    """Never returns; brings open runs and records up to what SLURM says, whenever that changes or a time has come."""
    while True:
        server.wake.clear()
        try:
            await reconcile(server)
        except Exception:
            # Whatever it was, the documents are as they were, and the next turn looks at everything again.
            log.exception("the clockwork stumbled")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wake.wait(), TURN_S)


TURN_S = 0.5


async def tidy_forever(server: Server) -> None:
    """Never returns; puts away what ended long ago, at the start and once an hour."""
    while True:
        try:
            await server.store.tidy(time.time(), lambda number: server.turn(f"sweep {number}"))
        except Exception:
            # Nothing is lost: what was not moved stays where it is, and the next pass looks at everything again.
            log.exception("what is old could not be moved into the archive")
        try:
            await server.notifications.remove_old(time.time())
        except Exception:
            log.exception("old notifications could not be removed")
        await asyncio.sleep(TIDY_S)


TIDY_S = 3600.0


async def reconcile(server: Server) -> None:
    """Nothing; sets every open document going about which there is news; a slow or failing one holds up no other.

    Of a cluster that does not answer now nothing is taken for news: what is known stays, until it answers again.
    """
    held, reported = server.held(), list[str]()
    server.busy = set(held)
    server.clusters.poll_needed(held)
    answering = {name for name in held if (one := server.clusters.find(name)) is not None and one.is_answering}
    news, server.news = server.news, set()
    for name, run in server.open_runs.items():
        if run.cluster not in answering:
            server.news |= {name} & news
        elif name in news or runs.needs_polling(run):
            server.set_going(name, driving.advance_run(server, name))
    for name, record in server.open_records.items():
        if record.cluster in answering:
            server.set_going(name, jobs.follow_record(server, name))
    for name, sweep in server.open_sweeps.items():
        if sweep.cluster in answering:
            server.set_going(f"sweep {name}", sweeps.advance_sweep(server, name))
    if server.cluster.is_answering:
        server.set_going("inbox", start.empty_inbox(server))
        reported = reports.settle_ended_jobs(server, news)
    else:
        server.news |= news - server.open_runs.keys()
    for name in server.open_syncs:
        server.set_going(f"sync {name}", sync.carry_out_sync(server, name))
    for name in {*held, server.cluster.name}:
        cluster = server.clusters.find(name)
        if cluster is not None:
            asked = [*held.get(name, []), *(reported if cluster is server.cluster else [])]
            server.set_going(f"jobs of {name}", cluster.resolve_missing(asked))


def on_jobs_changed(server: Server, cluster: Cluster, job_ids: set[str]) -> None:
    """Nothing; the runs and the reports of these jobs have news."""
    for job_id in job_ids:
        array = job_id.partition("_")[0]
        entry = server.job_index.get(cluster.name, job_id) or server.job_index.get(cluster.name, array)
        if entry is not None and entry.run_id is not None:
            server.news.add(entry.run_id)
    if cluster is server.cluster:
        reports.on_jobs_changed(server, job_ids)
    server.wake.set()


def summarize_health(server: Server) -> dict[str, Any]:
    """What /health tells, but for the version."""
    cluster, watch = server.cluster, server.store.summarize()
    return {
        "status": "healthy" if cluster.is_answering and not watch["problems"] else "degraded",
        "time": to_rfc3339(int(time.time())),
        "cluster": cluster.name,
        "slurm": summarize_cluster(cluster),
        "store": {"problems": watch["problems"], "watching": (watch["watch"] or {}).get("mode", "off")},
    }


def summarize_cluster(cluster: Cluster) -> dict[str, Any]:
    """Whether SLURM answers there, and how old what is shown of it is."""
    age_s = cluster.snapshot.age_s
    return {"answers": cluster.is_answering, "age_seconds": None if age_s is None else round(age_s, 3)}


async def connect_clusters(server: Server) -> None:
    """Nothing; the cluster in force was asked for the first time, and the clockwork hears of all of them."""
    server.clusters.is_busy = lambda cluster: any(
        server.clusters.find_label(name) == cluster.label for name in server.busy
    )
    server.clusters.on_change = functools.partial(on_jobs_changed, server)
    await server.clusters.start()
    documents: list[Run | JobRecord | Sweep] = [*server.open_runs.values(), *server.open_records.values()]
    documents += server.open_sweeps.values()
    for name, count in Counter(one.cluster for one in documents).items():
        if server.clusters.find_label(name) is None:
            log.warning("%d open runs, jobs and sweeps of cluster %s wait until a way leads to it again", count, name)


def apply_config(server: Server, _name: str, _old: FileEntry | None, _new: FileEntry | None) -> None:
    """Nothing; the intervals of a changed config.yaml are in force."""
    bounds = server.store.config.sweeps
    server.pace.set_bounds(bounds.per_second, bounds.in_flight)
    server.clusters.update_intervals()
