"""What happens without a request: the cluster is found and watched, open documents are set going, old ones put away."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import Counter
from typing import Any

from clockwork import driving, jobs, launch, mounts, reporting, sweeping
from clockwork.here import Here, log
from slurm_shim.cluster import Cluster
from store import runs
from store.documents import JobRecord, Run, Sweep
from store.folders import Entry
from store.times import rfc3339


async def clockwork(here: Here) -> None:
    """Never returns; brings open runs and records up to what SLURM says, whenever that changes or a time has come."""
    while True:
        here.turned.clear()
        try:
            await one_turn(here)
        except Exception:
            # Whatever it was, the documents are as they were, and the next turn looks at everything again.
            log.exception("the clockwork stumbled")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(here.turned.wait(), TURN_S)


TURN_S = 0.5


async def tidying(here: Here) -> None:
    """Never returns; puts away what ended long ago, at the start and once an hour."""
    while True:
        try:
            await here.store.tidy(time.time(), lambda number: here.turn(f"sweep {number}"))
        except Exception:
            # Nothing is lost: what was not moved stays where it is, and the next pass looks at everything again.
            log.exception("what is old could not be moved into the archive")
        try:
            await here.notices.tidy(time.time())
        except Exception:
            log.exception("old notifications could not be removed")
        await asyncio.sleep(TIDY_S)


TIDY_S = 3600.0


async def one_turn(here: Here) -> None:
    """Nothing; sets every open document going about which there is news; a slow or failing one holds up no other.

    Of a cluster that does not answer now nothing is taken for news: what is known stays, until it answers again.
    """
    held, reported = here.held(), list[str]()
    here.busy = set(held)
    here.clusters.tend(held)
    answering = {name for name in held if (one := here.clusters.named(name)) is not None and one.answers}
    news, here.news = here.news, set()
    for name, run in here.open_runs.items():
        if run.cluster not in answering:
            here.news |= {name} & news
        elif name in news or runs.restless(run):
            here.set_going(name, driving.drive(here, name))
    for name, record in here.open_records.items():
        if record.cluster in answering:
            here.set_going(name, jobs.follow(here, name))
    for name, sweep in here.open_sweeps.items():
        if sweep.cluster in answering:
            here.set_going(f"sweep {name}", sweeping.drive(here, name))
    if here.cluster.answers:
        here.set_going("inbox", launch.empty_inbox(here))
        reported = reporting.look(here, news)
    else:
        here.news |= news - here.open_runs.keys()
    for name in here.open_syncs:
        here.set_going(f"sync {name}", mounts.carry_on(here, name))
    for name in {*held, here.cluster.name}:
        cluster = here.clusters.named(name)
        if cluster is not None:
            asked = [*held.get(name, []), *(reported if cluster is here.cluster else [])]
            here.set_going(f"jobs of {name}", cluster.settle(asked))


def heard(here: Here, cluster: Cluster, job_ids: set[str]) -> None:
    """Nothing; the runs and the reports of these jobs have news."""
    for job_id in job_ids:
        array = job_id.partition("_")[0]
        entry = here.ledger.get(cluster.name, job_id) or here.ledger.get(cluster.name, array)
        if entry is not None and entry.run_id is not None:
            here.news.add(entry.run_id)
    if cluster is here.cluster:
        reporting.heard(here, job_ids)
    here.turned.set()


def health(here: Here) -> dict[str, Any]:
    """What /health tells, but for the version."""
    cluster, watch = here.cluster, here.store.status()
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


async def connect(here: Here) -> None:
    """Nothing; the cluster in force was asked for the first time, and the clockwork hears of all of them."""
    here.clusters.busy = lambda cluster: any(here.clusters.label(name) == cluster.label for name in here.busy)
    here.clusters.on_change = functools.partial(heard, here)
    await here.clusters.start()
    documents: list[Run | JobRecord | Sweep] = [*here.open_runs.values(), *here.open_records.values()]
    documents += here.open_sweeps.values()
    for name, count in Counter(one.cluster for one in documents).items():
        if here.clusters.label(name) is None:
            log.warning("%d open runs, jobs and sweeps of cluster %s wait until a way leads to it again", count, name)


def refit(here: Here, _name: str, _old: Entry | None, _new: Entry | None) -> None:
    """Nothing; the intervals of a changed config.yaml are in force."""
    bounds = here.store.config.sweeps
    here.pace.set(bounds.per_second, bounds.in_flight)
    here.clusters.refit()
