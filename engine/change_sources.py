"""Where changes come from: folders, snapshots, problems, configuration.

Each function here is told of something that happened and says in the feed's words which rows of which lists are others
now. Rows are made when somebody reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any

from engine.live.event_stream import stream_events
from engine.mounts import sync
from engine.queue import queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from store.config import layers, profile_edits
from store.config.profiles import Profiles
from store.disk.entries import FileEntry
from store.documents import Sweep
from store.indexes import jobs
from store.rendering import templates
from store.rules import changes, deliveries, endpoints, sweeps, watches
from store.rules.changes import Change, Filter
from store.rules.reports import ReportSummary
from store.times import to_rfc3339
from store.views import s9s_live, s9s_metrics, srunx, yaptide

# So long what changes the use of partitions is collected before it is counted again.
RESOURCES_PAUSE_S = 0.05


def follow_changes(server: Server) -> None:
    """Follow every change from now on; the folders are loaded already."""
    store, feed = server.store, server.changes
    store.runs.listeners.append(partial(add_run, server))
    store.jobs.listeners.append(partial(add_record, server))
    store.sweeps.listeners.append(partial(add_sweep, server))
    store.watches.listeners.append(partial(add_watch, server))
    feed.follow_folder(store.workflows, "workflow", lambda name: server.workflow_folders.own.rows.get_row(name).data)
    feed.follow_folder(
        store.templates, "template", lambda name: templates.to_template_row(name, store.templates.get(name))
    )
    feed.follow_folder(store.endpoints, "endpoint", lambda name: endpoints.to_json(name, store.endpoints.get(name)))
    feed.follow_folder(store.deliveries, "delivery", lambda name: deliveries.to_json(store.deliveries.get(name)))
    feed.follow_folder(store.alerts, "alert", lambda name: s9s_metrics.to_alert_json(store.alerts.get(name)))
    feed.follow_folder(store.syncs, "sync", partial(sync.get_sync, server))
    feed.follow_folder(
        store.simulations,
        "simulation",
        lambda name: yaptide.to_change_json(name, store.simulations.get_entry(name).facts),
    )
    # Their owner alone may read them, so it is told only that the list is another.
    feed.follow_folder(store.exports, "export", lambda _name: None)
    feed.follow_folder(store.reports, "cluster_report", lambda _name: None)
    store.single["profiles"].listeners.append(partial(add_profiles, server))
    store.single["config"].listeners.append(lambda *_change: add_config(server))
    store.configuration.listeners.append(lambda *_change: add_outside(server))
    store.configuration.problem_listeners.append(lambda *_change: add_outside_problems(server))
    feed.shown_problems = _group_by_path(store.list_problems())
    store.problem_listeners.append(partial(add_problem, server))
    feed.before_reading.append(partial(prepare_reading, server))
    feed.views["", "job"] = partial(_make_job_row, server)
    feed.views["s9s", "job"] = partial(_make_s9s_job_row, server)


def list_events(
    server: Server,
    kinds: str | None,
    ids: str | None,
    after: str | None,
    last_event_id: str | None,
    limit: int | None,
    timeout_s: int | None,
    view: str,
    heartbeat_s: int | None = None,
) -> AsyncIterator[bytes]:
    """Follow what changes, as server-sent events."""
    position = changes.parse_position(last_event_id or after)
    wanted = changes.parse_filter(kinds, ids)
    return stream_events(server.changes, wanted, position, limit, timeout_s, view, heartbeat_s)


# --- documents ------------------------------------------------------------------------------------------------------


def add_run(server: Server, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of a run, its changed jobs, its cell and its sweep."""
    server.changes.add("run", name, changes.name_action(old, new), lambda: server.run_list.get_row(name).data)
    add_document_jobs(server, old, new)
    number = next((entry.facts.sweep for entry in (new, old) if entry is not None), None)
    if number is not None and str(number) in server.store.sweeps:
        sweep: Sweep = server.store.sweeps.get(str(number))
        uid, index = sweeps.parse_cell_id(name)
        if uid == sweep.uid:
            add_cells(server, sweep, {index} | (_find_stopped_cells(server, sweep, new) if new else set()))
        add_sweep_row(server, sweep.id)


def _find_stopped_cells(server: Server, sweep: Sweep, new: FileEntry) -> set[int]:
    """Find the cells that will not start because this one has failed."""
    if not sweep.fail_fast or new.facts.status != "failed":
        return set()
    states = server.sweep_index.get_states(sweep)
    waiting = {index for index in range(sweep.cell_count) if states.get(index, "pending") == "pending"}
    return waiting | set(sweeps.parse_ranges(sweep.again))


def add_sweep(server: Server, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of a sweep and of cells whose state changed.

    A new sweep is one change, without its cells.
    """
    if new is None:
        server.changes.add("sweep", name, "deleted", None)
        return
    if old is None:
        server.changes.add("sweep", name, "created", partial(_make_sweep_row, server, name))
        return
    own = server.sweep_index.get_states(new.document)
    before, after = (_list_cell_states(entry.document, own) for entry in (old, new))
    add_cells(server, new.document, {index for index in after if before.get(index) != after[index]})
    add_sweep_row(server, name)


def add_sweep_row(server: Server, name: str) -> None:
    """Add a change of a sweep whose counters or fields changed."""
    server.changes.add("sweep", name, "updated", partial(_make_sweep_row, server, name))


def _make_sweep_row(server: Server, name: str) -> dict[str, Any]:
    return server.sweep_index.build_row(server.store.sweeps.get(name))


def add_cells(server: Server, sweep: Sweep, indices: Iterable[int]) -> None:
    """Add changes of cells of a sweep."""
    for index in sorted(indices):
        run_id = sweeps.make_cell_id(sweep.uid, index)
        server.changes.add("cell", run_id, "updated", partial(_make_cell_row, server, run_id), sweep.id)


def _make_cell_row(server: Server, run_id: str) -> dict[str, Any]:
    sweep, index = server.sweep_index.find_cell(run_id)
    states = server.changes.memorize(
        ("cells", sweep.uid, server.sweep_index.version),
        lambda: _list_cell_states(sweep, server.sweep_index.get_states(sweep)),
    )
    run = server.store.runs.get(run_id) if run_id in server.store.runs else None
    return srunx.to_cell_json(sweep, index, run, states[index], server.sweep_index.build_args(sweep, index))


def _list_cell_states(sweep: Sweep, own: Mapping[int, str]) -> dict[int, str]:
    return sweeps.list_states_without_run(sweep, own) | sweeps.list_states_with_run(sweep, own)


def add_record(server: Server, _name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of a single job and of its report."""
    before, after = (entry.facts.report if entry else None for entry in (old, new))
    if before != after:
        add_report(server, before, after)
    if any(entry.facts.jobs for entry in (old, new) if entry):
        add_document_jobs(server, old, new)


def add_report(server: Server, before: ReportSummary | None, after: ReportSummary | None) -> None:
    """Add changes of a report and of the job whose stage it names."""
    for job_id in {report.job_id for report in (before, after) if report}:
        now = after if after and after.job_id == job_id else None
        was = before if before and before.job_id == job_id else None
        action = changes.name_action(was, now)
        server.changes.add("report", job_id, action, partial(_make_report_row, server, job_id))
        if (was and (was.stage, was.cluster)) != (now and (now.stage, now.cluster)):
            cluster = server.cluster
            for part in [job_id, *cluster.snapshot.list_parts(job_id)]:
                if part in cluster.snapshot.jobs or server.job_index.find_source(cluster.name, part) is not None:
                    add_job(server, cluster, part)


def _make_report_row(server: Server, job_id: str) -> bytes:
    return server.report_index.reports[job_id].row.encode()


def add_watch(server: Server, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of a watch and of subscriptions that came or went."""
    feed, kept = server.changes, server.store.watches
    feed.add("watch", name, changes.name_action(old, new), lambda: watches.to_json(kept.get(name)))
    before, after = ({item.id: item for item in entry.document.subscriptions} if entry else {} for entry in (old, new))
    for number in changes.find_differences(before, after):
        if new is None or number not in after:
            feed.add("subscription", str(number), "deleted", None, name)
        else:
            # Without the others, which the feed would keep in memory in each version.
            watch = new.document.model_copy(update={"subscriptions": []})
            row = partial(watches.to_subscription_json, watch, after[number])
            feed.add("subscription", str(number), "created", row, name)


# --- jobs -----------------------------------------------------------------------------------------------------------


def add_document_jobs(server: Server, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of the jobs of a document that it describes anew."""
    before, after = jobs.list_changed_entries(*(entry.document if entry else None for entry in (old, new)))
    names = {(entry.cluster, entry.job_id) for entry in changes.find_differences(before, after)}
    for cluster_name, job_id in sorted(names):
        cluster = server.clusters.find(cluster_name)
        if cluster is not None and (new is None or _is_listed(server, cluster, job_id)):
            add_job(server, cluster, job_id)


def add_jobs(server: Server, cluster: Cluster, job_ids: Iterable[str]) -> None:
    """Add changes of these jobs and of the use of partitions.

    The first answer of a cluster is a change only for those who read already.
    """
    ids_by_cluster, now = server.changes.shown_jobs, cluster.snapshot.jobs
    if cluster not in ids_by_cluster:
        ids_by_cluster[cluster] = {} if server.changes.readers else dict.fromkeys(now)
    for job_id in job_ids:
        add_job(server, cluster, job_id)
        # An array that went through us is shown by itself once its parts are not.
        whole = job_id.partition("_")[0].partition("+")[0]
        if whole != job_id and job_id not in now and _is_listed(server, cluster, whole):
            add_job(server, cluster, whole)
    if server.changes.is_wanted("resource"):
        plan_resources(server, cluster)
    else:
        server.changes.shown_resources.pop(cluster, None)


def add_job(server: Server, cluster: Cluster, job_id: str) -> None:
    """Add a change of one job, as the list of its cluster shows it."""
    known_ids = server.changes.shown_jobs.setdefault(cluster, {})
    action: changes.Action = "updated" if job_id in known_ids else "created"
    if job_id in cluster.snapshot.jobs:
        known_ids[job_id] = None
    else:
        known_ids.pop(job_id, None)
        action = "updated" if _is_listed(server, cluster, job_id) else "deleted"
    server.changes.add("job", job_id, action, None, cluster.name)


def _is_listed(server: Server, cluster: Cluster, job_id: str) -> bool:
    """Return whether the list of jobs has a row of this id.

    It may be one of SLURM's, or one of ours that SLURM has forgotten.
    """
    if job_id in cluster.snapshot.jobs:
        return True
    entry = server.job_index.get(cluster.name, job_id)
    return entry is not None and entry.ended_at is not None and not cluster.snapshot.list_parts(job_id)


def _make_job_row(server: Server, change: Change) -> dict[str, Any] | bytes | None:
    job_id, cluster = change.id, server.clusters.find(change.parent or "")
    if cluster is None:
        return None
    job, entry = cluster.snapshot.jobs.get(job_id), server.job_index.get(cluster.name, job_id)
    if job is not None:
        if (row := server.get_job_list(cluster).find_row(cluster.name, job)) is not None:
            return row.data
        entry = server.job_index.get(cluster.name, jobs.get_whole_id(job_id))
        report = server.report_index.find_for_job(job, cluster.name)
        return srunx.to_job_json(job, entry, report.stage if report else None, cluster.name)
    if entry is None:
        return None
    report = server.report_index.find_for_entry(entry, cluster.name)
    return srunx.to_past_job_json(entry, 0, report.stage if report else None)


def _make_s9s_job_row(server: Server, change: Change) -> dict[str, Any] | None:
    """Build the row of a job as the S9S API lists it; None if it is gone."""
    cluster = server.clusters.find(change.parent or "")
    if cluster is None:
        return None
    row = cluster.snapshot.jobs.get(change.id)
    if row is None:
        entry = server.job_index.get(cluster.name, change.id)
        row = None if entry is None else queue_view.build_past_row(entry)
    return None if row is None else queue_view.get_view(server, cluster).to_job_json(server, cluster, row)


# --- partitions -----------------------------------------------------------------------------------------------------


def prepare_reading(server: Server, wanted: Filter) -> None:
    """Count the use of partitions for a reader; nobody did before."""
    if wanted.wants_kind("resource"):
        for cluster in server.clusters.list_in_view():
            if cluster not in server.changes.shown_resources and cluster.snapshot.partitions:
                add_resources(server, cluster, cluster.list_resources(None))


def plan_resources(server: Server, cluster: Cluster) -> None:
    """Count the use of partitions soon, once for many changes."""
    planned = server.changes.planned_resources
    if cluster not in planned:
        planned[cluster] = asyncio.ensure_future(_count_resources(server, cluster))


async def _count_resources(server: Server, cluster: Cluster) -> None:
    await asyncio.sleep(RESOURCES_PAUSE_S)
    server.changes.planned_resources.pop(cluster, None)  # what changes from now on is counted again
    if cluster.snapshot.partitions:
        add_resources(server, cluster, await cluster.fetch_resources(None))


def add_resources(server: Server, cluster: Cluster, found: Iterable[tuple[float, Mapping[str, Any]]]) -> None:
    """Add changes of partitions whose use, or whose nodes, changed."""
    feed = server.changes
    rows = {row["partition"]: (at, row) for at, row in found}
    before, feed.shown_resources[cluster] = (
        feed.shown_resources.get(cluster, {}),
        {name: row for name, (_at, row) in rows.items()},
    )
    for name in before.keys() | rows.keys():
        was, now = before.get(name), rows.get(name)
        if now is None:
            feed.add("resource", name, "deleted", None, cluster.name)
        elif was != now[1]:
            row = {"timestamp": to_rfc3339(now[0]), **now[1]}
            feed.add("resource", name, "updated", partial(dict, row), cluster.name)


# --- nodes ----------------------------------------------------------------------------------------------------------


def add_nodes(server: Server, cluster: Cluster) -> None:
    """Add changes of nodes, but for their load.

    The first answer of a cluster is none.
    """
    feed, nodes = server.changes, cluster.snapshot.nodes
    before = feed.shown_nodes.get(cluster)
    if before is not None and nodes is before.get(""):
        return
    rows: dict[str, Any] = {node["name"]: node for node in nodes}
    feed.shown_nodes[cluster] = {**rows, "": nodes}  # with the list itself, which tells whether anything was asked
    if before is None:
        return
    for name, node in rows.items():
        old = before.get(name)
        if old is None or not s9s_live.is_same_node(old, node):
            feed.add("node", name, changes.name_action(old, node), partial(s9s_live.to_node_json, node), cluster.name)
    for name in before.keys() - rows.keys() - {""}:
        feed.add("node", name, "deleted", None, cluster.name)


# --- configuration and problems -------------------------------------------------------------------------------------


def add_config(server: Server) -> None:
    """Add a change of the configuration in force."""
    found = server.store.configuration
    server.changes.add("config", "config", "updated", lambda: layers.merge_layers(found.list_known_layers()).to_json())


def add_outside(server: Server) -> None:
    """Add changes of a configuration file outside of the store."""
    add_config(server)
    add_outside_problems(server)


def add_profiles(server: Server, _name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Add changes of profiles, also of which one is current."""
    before, after = (_make_profile_rows(entry.document) if entry else {} for entry in (old, new))
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if was != now:
            server.changes.add("profile", name, changes.name_action(was, now), partial(dict, now or {}))
    add_outside_problems(server)


def _make_profile_rows(kept: Profiles) -> dict[str, dict[str, Any]]:
    return {
        name: {"name": name, "is_current": name == kept.current, **profile_edits.to_profile_json(profile)}
        for name, profile in kept.profiles.items()
    }


def add_problem(server: Server, path: str, found: list[dict[str, Any]]) -> None:
    """Add a change of what is wrong with a file.

    Its row is the list of the file's problems.
    """
    sent_problems = server.changes.shown_problems
    if found:
        sent_problems[path] = found
    else:
        sent_problems.pop(path, None)
    server.changes.add("problem", path, "updated" if found else "deleted", partial(list, found))


def add_outside_problems(server: Server) -> None:
    """Add changes of problems outside of the store's folders."""
    before, after = dict(server.changes.shown_problems), _group_by_path(server.store.list_problems())
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path):
            add_problem(server, path, after.get(path, []))


def _group_by_path(found: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    paths: dict[str, list[dict[str, Any]]] = {}
    for problem in found:
        paths.setdefault(problem["path"], []).append(problem)
    return paths
