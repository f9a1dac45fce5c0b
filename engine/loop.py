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
from engine.server import Here, log
from slurm_shim.cluster import Cluster
from store.disk.folders import Entry
from store.documents import JobRecord, Run, Sweep
from store.rules import runs
from store.times import rfc3339


async def clockwork(server: Here) -> None:
    """Never returns; brings open runs and records up to what SLURM says, whenever that changes or a time has come."""
    while True:
        server.turned.clear()
        try:
            await one_turn(server)
        except Exception:
            # Whatever it was, the documents are as they were, and the next turn looks at everything again.
            log.exception("the clockwork stumbled")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.turned.wait(), TURN_S)


TURN_S = 0.5


async def tidying(server: Here) -> None:
    """Never returns; puts away what ended long ago, at the start and once an hour."""
    while True:
        try:
            await server.store.tidy(time.time(), lambda number: server.turn(f"sweep {number}"))
        except Exception:
            # Nothing is lost: what was not moved stays where it is, and the next pass looks at everything again.
            log.exception("what is old could not be moved into the archive")
        try:
            await server.notices.tidy(time.time())
        except Exception:
            log.exception("old notifications could not be removed")
        await asyncio.sleep(TIDY_S)


TIDY_S = 3600.0


async def one_turn(server: Here) -> None:
    """Nothing; sets every open document going about which there is news; a slow or failing one holds up no other.

    Of a cluster that does not answer now nothing is taken for news: what is known stays, until it answers again.
    """
    held, reported = server.held(), list[str]()
    server.busy = set(held)
    server.clusters.tend(held)
    answering = {name for name in held if (one := server.clusters.named(name)) is not None and one.answers}
    news, server.news = server.news, set()
    for name, run in server.open_runs.items():
        if run.cluster not in answering:
            server.news |= {name} & news
        elif name in news or runs.restless(run):
            server.set_going(name, driving.drive(server, name))
    for name, record in server.open_records.items():
        if record.cluster in answering:
            server.set_going(name, jobs.follow(server, name))
    for name, sweep in server.open_sweeps.items():
        if sweep.cluster in answering:
            server.set_going(f"sweep {name}", sweeps.drive(server, name))
    if server.cluster.answers:
        server.set_going("inbox", start.empty_inbox(server))
        reported = reports.look(server, news)
    else:
        server.news |= news - server.open_runs.keys()
    for name in server.open_syncs:
        server.set_going(f"sync {name}", sync.carry_on(server, name))
    for name in {*held, server.cluster.name}:
        cluster = server.clusters.named(name)
        if cluster is not None:
            asked = [*held.get(name, []), *(reported if cluster is server.cluster else [])]
            server.set_going(f"jobs of {name}", cluster.settle(asked))


def heard(server: Here, cluster: Cluster, job_ids: set[str]) -> None:
    """Nothing; the runs and the reports of these jobs have news."""
    for job_id in job_ids:
        array = job_id.partition("_")[0]
        entry = server.ledger.get(cluster.name, job_id) or server.ledger.get(cluster.name, array)
        if entry is not None and entry.run_id is not None:
            server.news.add(entry.run_id)
    if cluster is server.cluster:
        reports.heard(server, job_ids)
    server.turned.set()


def health(server: Here) -> dict[str, Any]:
    """What /health tells, but for the version."""
    cluster, watch = server.cluster, server.store.status()
    return {
        "status": "healthy" if cluster.answers and not watch["problems"] else "degraded",
        "time": rfc3339(int(time.time())),
        "cluster": cluster.name,
        "slurm": answering(cluster),
        "store": {"problems": watch["problems"], "watching": (watch["watch"] or {}).get("mode", "off")},
    }


def answering(cluster: Cluster) -> dict[str, Any]:
    """Whether SLURM answers there, and how old what is shown of it is."""
    age_s = cluster.snapshot.age_s
    return {"answers": cluster.answers, "age_seconds": None if age_s is None else round(age_s, 3)}


async def connect(server: Here) -> None:
    """Nothing; the cluster in force was asked for the first time, and the clockwork hears of all of them."""
    server.clusters.busy = lambda cluster: any(server.clusters.label(name) == cluster.label for name in server.busy)
    server.clusters.on_change = functools.partial(heard, server)
    await server.clusters.start()
    documents: list[Run | JobRecord | Sweep] = [*server.open_runs.values(), *server.open_records.values()]
    documents += server.open_sweeps.values()
    for name, count in Counter(one.cluster for one in documents).items():
        if server.clusters.label(name) is None:
            log.warning("%d open runs, jobs and sweeps of cluster %s wait until a way leads to it again", count, name)


def refit(server: Here, _name: str, _old: Entry | None, _new: Entry | None) -> None:
    """Nothing; the intervals of a changed config.yaml are in force."""
    bounds = server.store.config.sweeps
    server.pace.set(bounds.per_second, bounds.in_flight)
    server.clusters.refit()
