"""Jobs that were taken for lost: looked for, and their records corrected.

The rules are in store/rules/jobs/lost.py.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time

from engine import sweeps
from engine.clusters import describe_submission
from engine.server import Server
from slurm_shim.cluster import Cluster
from store.documents import Run
from store.errors import NotFound
from store.kinds import Key
from store.rules.jobs import lost
from store.rules.jobs.views import JobView
from store.rules.sweeps import reopen_sweep
from store.times import to_epoch

log = logging.getLogger("sluice")

# They are looked for so often in the first hour, and less often afterwards.
PAUSE_S, FIRST_S, LATER_PAUSE_S = 30.0, 3600.0, 600.0


def begin_search(server: Server) -> None:
    """Begin to look for lost jobs wherever it is time to."""
    now = time.monotonic()
    for name, since in server.lost_documents.list_clusters(time.time()).items():
        cluster = server.clusters.find(name)
        if cluster is None or not cluster.is_answering or now < server.lost_documents.search_at.get(name, 0.0):
            continue
        is_new = time.time() - since < FIRST_S
        server.lost_documents.search_at[name] = now + (PAUSE_S if is_new else LATER_PAUSE_S)
        server.tasks.spawn(Key("lost", name), functools.partial(find_lost_jobs, server, name, cluster))


def describe_unsure_jobs(server: Server) -> dict[str, str]:
    """Describe single jobs that SLURM may have taken, by path of their record.

    Nothing else shows them: they have no id, and whoever asked for them has no answer. A run tells of its own.
    """
    now, lost_documents = time.time(), server.lost_documents
    keys = [key for name in lost_documents.list_clusters(now) for key in lost_documents.list_keys(name, now)]
    records = [server.store.jobs.get(key.id) for key in keys if key.kind == "job"]
    return {f"jobs/{record.id}.json": record.error or "" for record in records if record.job_id is None}


async def find_lost_jobs(server: Server, name: str, cluster: Cluster) -> None:
    """Look for the lost jobs of a cluster; correct the records of those found."""
    keys, wanted = {}, {}
    for key in server.lost_documents.list_keys(name, time.time()):
        document = server.store.by_kind[key.kind].get(key.id)
        for tried, job in lost.list_lost(document):
            tag = tried.tag or ""
            wanted[tag] = describe_submission(cluster, tried, job), tried.job_id, to_epoch(tried.intended_at) or 0.0
            keys[tag] = key
    found = {tag: JobView(*finding) for tag, finding in (await cluster.find_lost(wanted)).items()}
    for key in {keys[tag]: None for tag in found}:
        await rewrite_document(server, key, found)


async def rewrite_document(server: Server, key: Key, found: dict[str, JobView]) -> None:
    """Rewrite a document with what was found; have its sweep go on, too."""
    folder = server.store.by_kind[key.kind]
    async with server.locks.hold(key):
        if key.id not in folder:
            return
        before = folder.get(key.id)
        after = lost.settle_lost_jobs(before, found, time.time())
        if after == before:
            return
        await folder.put(key.id, after)
    log.warning("%s: a job that was taken for lost has turned up, and its record is corrected", key)
    if isinstance(after, Run) and after.sweep_run_id is not None:
        with contextlib.suppress(NotFound):  # it was deleted
            await sweeps.change_sweep(server, after.sweep_run_id, reopen_sweep)
