"""What happens without a request: the cluster is found and watched, open documents are set going, old ones put away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from clockwork import driving, jobs, launch, mounts, reporting, sweeping
from clockwork.here import Here, in_thread, log
from slurm_shim.cluster import Cluster, reach
from slurm_shim.embedded import conf as embedded_conf
from store import runs
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
    """Nothing; sets every open document going about which there is news; a slow or failing one holds up no other."""
    reported: list[str] = []
    if here.cluster.snapshot.error is None and here.cluster.snapshot.age_s is not None:
        news, here.news = here.news, set()
        due = [name for name, run in here.open_runs.items() if name in news or runs.restless(run)]
        for name in due:
            here.set_going(name, driving.drive(here, name))
        for name in here.open_records:
            here.set_going(name, jobs.follow(here, name))
        for name in here.open_sweeps:
            here.set_going(f"sweep {name}", sweeping.drive(here, name))
        here.set_going("inbox", launch.empty_inbox(here))
        reported = reporting.look(here, news)
    for name in here.open_syncs:
        here.set_going(f"sync {name}", mounts.carry_on(here, name))
    await here.cluster.settle([*here.open_jobs(), *reported, *here.notices.job_ids()])


def heard(here: Here, job_ids: set[str]) -> None:
    """Nothing; the runs and the reports of these jobs have news."""
    for job_id in job_ids:
        array = job_id.partition("_")[0]
        entry = here.ledger.get(here.cluster.name, job_id) or here.ledger.get(here.cluster.name, array)
        if entry is not None and entry.run_id is not None:
            here.news.add(entry.run_id)
    reporting.heard(here, job_ids)
    here.turned.set()


def health(here: Here) -> dict[str, Any]:
    """What /health tells, but for the version."""
    snapshot, watch = here.cluster.snapshot, here.store.status()
    age_s = snapshot.age_s
    return {
        "status": "healthy" if snapshot.error is None and age_s is not None and not watch["problems"] else "degraded",
        "time": rfc3339(int(time.time())),
        "cluster": here.cluster.name,
        "slurm": {
            "answers": snapshot.error is None and age_s is not None,
            "age_seconds": None if age_s is None else round(age_s, 3),
        },
        "store": {"problems": watch["problems"], "watching": (watch["watch"] or {}).get("mode", "off")},
    }


async def connect(here: Here) -> Cluster:
    """The cluster that the settings and PATH lead to, asked for the first time."""
    poll, hold_fd = here.store.config.poll, here.store.lock.fd if here.store.lock else None
    path, conf = os.environ.get("PATH", os.defpath), os.environ.get("SLURM_CONF")
    own_conf = here.store.path("cluster", "slurm.conf")
    name, slurm = await in_thread(reach, here.settings.cluster, path, conf, str(own_conf), hold_fd)
    if slurm.slurm_conf == str(own_conf):
        await furnish(here, own_conf)
    cluster = Cluster(name, slurm, here.pool, poll.min_s, poll.max_s)
    cluster.snapshot.busy = lambda: bool(here.open_runs or here.open_records)
    await cluster.snapshot.refresh()
    return cluster


async def furnish(here: Here, path: Path) -> None:
    """Nothing; the embedded cluster's slurm.conf says what config.yaml says."""
    text = await in_thread(embedded_conf.fitting, here.store.config.cluster.model_dump(), sys.executable)
    if not path.exists() or path.read_text() != text:
        await here.store.files.write(path, text.encode())


def refit(here: Here, _name: str, _old: Entry | None, _new: Entry | None) -> None:
    """Nothing; the intervals of a changed config.yaml are in force."""
    poll, bounds = here.store.config.poll, here.store.config.sweeps
    here.pace.set(bounds.per_second, bounds.in_flight)
    here.cluster.snapshot.min_s, here.cluster.snapshot.max_s = poll.min_s, poll.max_s
