"""The loop: clusters are watched and open documents advanced.

Work follows changes: a pass looks only at documents that changed, whose jobs changed, or whose time has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any

from engine import change_sources, jobs, reports, runs, start, sweeps
from engine.exports import cluster_reports, exports, made_files
from engine.following import report_documents
from engine.monitoring import alerts
from engine.mounts import sync
from engine.nodes import drains
from engine.open_documents import RETRY_S
from engine.recovery import lost_jobs
from engine.server import Server
from engine.simulations import following as simulations
from engine.simulations import removal
from engine.tasks import wait_for_event
from slurm_shim.cluster import Cluster
from store.errors import StoreError
from store.kinds import KINDS, Key
from store.rules.monitoring.alerts import describe_problems
from store.times import to_rfc3339

log = logging.getLogger("sluice")

# How the documents of each kind are moved on.
RECONCILERS: dict[str, Callable[[Server, str], Awaitable[Any]]] = {
    "run": lambda server, run_id: runs.advance_run(server, run_id),
    "job": lambda server, record_id: jobs.follow_record(server, record_id),
    "sweep": lambda server, sweep_id: sweeps.advance_sweep(server, sweep_id),
    "simulation": lambda server, simulation_id: simulations.advance_simulation(server, simulation_id),
    "sync": lambda server, sync_id: sync.carry_out_sync(server, sync_id),
    "drain": lambda server, drain_id: drains.follow_drain(server, drain_id),
    "export": lambda server, export_id: exports.carry_out_export(server, export_id),
    "cluster_report": lambda server, report_id: cluster_reports.carry_out_report(server, report_id),
}
BY_NAME = {kind.name: kind for kind in KINDS}
# A pass is made at least so often: for times that come, and for files in the inbox that nobody reports.
PASS_S = 0.5
# Between two passes, so that many changes at once make few.
REST_S = 0.02
# After so many documents were begun others have their turn, as when everything is looked at after a start.
AT_ONCE = 20
TIDY_S = 3600.0
# How often a disk that is full or refused a write is tried, and with how much.
PROBE_S, LONGEST_PROBE_S, PROBE_BYTES = 2.0, 30.0, 16_000


async def run_forever(server: Server) -> None:
    """Make a pass whenever something changes or a time comes."""
    while True:
        server.wake.clear()
        await reconcile(server)
        await asyncio.sleep(REST_S)
        await wait_for_event(server.wake, PASS_S)


async def tidy_forever(server: Server) -> None:
    """Archive and remove old documents at the start and every hour."""
    while True:
        now = time.time()
        try:
            await server.store.tidy(now, lambda number: server.locks.hold(Key("sweep", number)))
        except StoreError:
            # Nothing is lost: what was not moved stays where it is, and the next pass looks at everything again.
            log.exception("what is old could not be moved into the archive")
        try:
            await server.notifications.remove_old(now)
        except StoreError:
            log.exception("old notifications could not be removed")
        try:
            await made_files.remove_expired(server, now)
        except StoreError:
            log.exception("exports and reports that have expired could not be removed")
        try:
            await removal.tidy_simulations(server, now)
        except StoreError:
            log.exception("simulations that are old could not be removed")
        await asyncio.sleep(TIDY_S)


async def check_disk_forever(server: Server) -> None:
    """Find out whether the store is there and takes writes again.

    A folder whose last write failed is tried with a probe, after growing pauses.
    """
    files, pause_s = server.store.files, PROBE_S
    while True:
        await asyncio.sleep(pause_s)
        server.store.renew_lock()
        with contextlib.suppress(OSError, StoreError):
            await server.clusters.restore_conf()
        with contextlib.suppress(OSError):
            room = await asyncio.to_thread(shutil.disk_usage, server.store.root)
            failing = set(files.failures) | ({server.store.join_path(".cache")} if room.free < PROBE_BYTES else set())
            for folder in failing:
                with contextlib.suppress(StoreError):
                    await files.check_folder(folder, bytes(PROBE_BYTES))
        await jobs.write_pending_records(server)
        await server.audit.record_loss()
        pause_s = min(2 * pause_s, LONGEST_PROBE_S) if files.failure else PROBE_S


async def reconcile(server: Server) -> None:
    """Begin what each open document needs now.

    A slow or failing document holds up no other. Skip clusters that are unreachable; keep their last known state. Begin
    nothing while the store is not ours any more: another server may have these documents by now.
    """
    if server.store.files.find_loss() is not None:
        return
    opened, foreign = server.open_documents, server.notifications.list_foreign_watches()
    names = {*opened.list_clusters(), *(watch.cluster for watch in foreign)}
    server.clusters.poll_needed(names)
    found = {name: server.clusters.find(name) for name in names}
    answering = {name: cluster for name, cluster in found.items() if cluster is not None and cluster.is_answering}
    for name, cluster in answering.items():
        if server.answering.get(name) is not cluster:
            opened.mark_cluster(name)  # what happened meanwhile is no change of what it says now
    server.answering = answering
    is_held = functools.partial(is_held_by_request, server)
    await begin_due_work(server, opened.take([None, *answering], time.monotonic(), is_held))
    lost_jobs.begin_search(server)
    server.store.note_problems("jobs", lost_jobs.describe_unsure_jobs(server))
    reported: list[str] = []
    in_force = server.cluster
    if in_force.is_answering:
        if server.inbox.is_due(PASS_S):
            server.tasks.spawn(Key("inbox", ""), lambda: start.empty_inbox(server))
        if server.report_index.is_due((in_force.name, in_force.snapshot.version), PASS_S):
            reported = await reports.settle_ended_jobs(server)
    for name, known in {**found, in_force.name: in_force}.items():
        if known is not None:
            asked = known.snapshot.list_missing(opened.get_job_ids(name))
            asked += [watch.target for watch in foreign if watch.cluster == name]
            asked += reported if known is in_force else []
            server.tasks.spawn(Key("cluster", name), functools.partial(known.resolve_missing, asked))


def is_held_by_request(server: Server, key: Key) -> bool:
    """Return whether a request works on the document now.

    A task would wait for it; when it has changed the document, that is looked at anyway.
    """
    return server.locks.is_held(key) and key not in server.tasks.running


async def begin_due_work(server: Server, keys: list[Key]) -> None:
    """Begin to move these documents on, each in a task of its own."""
    for count, key in enumerate(keys, 1):
        server.tasks.spawn(key, functools.partial(reconcile_document, server, key))
        if count % AT_ONCE == 0:
            await asyncio.sleep(0)


async def reconcile_document(server: Server, key: Key) -> None:
    """Advance a document, and note when it is due again."""
    await RECONCILERS[key.kind](server, key.id)
    folder, now = server.store.by_kind[key.kind], time.time()
    due_at = BY_NAME[key.kind].find_due_time(folder.get(key.id), now) if key.id in folder else None
    if due_at is not None:
        server.open_documents.schedule(key, time.monotonic() + max(due_at - now, RETRY_S))


def on_jobs_changed(server: Server, cluster: Cluster, job_ids: set[str]) -> None:
    """Have the documents and reports of these jobs looked at; add the changes."""
    for name in server.open_documents.list_clusters():
        if name == cluster.name or server.clusters.find(name) is cluster:
            server.open_documents.mark_jobs(name, job_ids)
    change_sources.add_jobs(server, cluster, job_ids)
    change_sources.add_nodes(server, cluster)
    if cluster is server.cluster:
        reports.on_jobs_changed(server, job_ids)
        server.sampler.follow_jobs(cluster, job_ids)
    server.wake.set()


def summarize_health(server: Server) -> dict[str, Any]:
    """Summarize for /health how the server is, but for its version."""
    cluster, store, down = server.cluster, server.store, sorted(server.supervisor.problems)
    slurm, failure, wrong = summarize_cluster(cluster), store.files.failure, store.count_problems()
    reasons = [f"SLURM does not answer: {slurm['error']}"] if slurm["error"] else []
    reasons += [failure] if failure else []
    reasons += [f"audit entries lost: {server.audit.lost} ({server.audit.problem})"] if server.audit.lost else []
    reasons += [describe_problems(wrong)] if wrong else []
    reasons += [f"the task {name} failed and was started again" for name in down]
    return {
        "status": "degraded" if reasons else "healthy",
        "reasons": reasons,
        "time": to_rfc3339(int(time.time())),
        "cluster": cluster.name,
        "slurm": slurm,
        "store": {"problems": wrong, "watching": store.watch.mode if store.watch else "off", "error": failure},
        **({"tasks": down} if down else {}),
    }


def summarize_cluster(cluster: Cluster) -> dict[str, Any]:
    """Summarize whether SLURM answers, the snapshot's age, and why not."""
    snapshot = cluster.snapshot
    age_s = snapshot.age_s
    problem = snapshot.describe_problem(age_s)
    return {"answers": problem is None, "age_seconds": age_s and round(age_s, 3), "error": problem}


async def connect_clusters(server: Server) -> None:
    """Ask the cluster in force for the first time, and listen to all of them."""
    server.clusters.is_busy = functools.partial(is_needed, server)
    server.clusters.on_change = functools.partial(on_jobs_changed, server)
    change_sources.follow_changes(server)
    report_documents(server.store)
    await server.clusters.start()
    for name, count in server.open_documents.count_by_cluster().items():
        if server.clusters.find_label(name) is None:
            log.warning("%d open runs, jobs and sweeps of cluster %s wait until a way leads to it again", count, name)


def is_needed(server: Server, cluster: Cluster) -> bool:
    """Return whether open documents or watches wait for the cluster."""
    names = {
        *server.open_documents.list_clusters(),
        *(watch.cluster for watch in server.notifications.list_foreign_watches()),
    }
    return any(server.clusters.find_label(name) == cluster.label for name in names)


def start_tasks(server: Server) -> list[asyncio.Task[None]]:
    """Start what goes on for as long as the server does."""
    return [
        server.supervisor.start("loop", functools.partial(run_forever, server)),
        server.supervisor.start("tidy", functools.partial(tidy_forever, server)),
        server.supervisor.start("disk", functools.partial(check_disk_forever, server)),
        server.supervisor.start("notifications", server.notifications.run_forever),
        server.supervisor.start("samples", server.sampler.run_forever),
        server.supervisor.start("alerts", functools.partial(alerts.watch_forever, server)),
    ]


def apply_access(server: Server, *_change: Any) -> None:
    """Put a changed access.yaml in force."""
    server.callers.apply_access(server.store.access)


def apply_config(server: Server, *_change: Any) -> None:
    """Put the limits and intervals of a changed config.yaml in force."""
    bounds = server.store.config.sweeps
    server.pace.set_bounds(bounds.per_second, bounds.in_flight)
    server.callers.apply_rates(server.store.config.limits.requests_per_s, server.store.config.limits.requests_at_once)
    server.clusters.update_intervals()
