"""What the sockets of the S9S API are told: one feed of updates for all.

It works while somebody listens. The change feed says which jobs and nodes to look at again; what each looked like is
remembered, so that an update has only what is new. Metrics and the state of the queue are told from time to time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Protocol

from engine.monitoring import alerts, metrics
from engine.queue import job_list, queue_view
from engine.server import Server
from slurm_shim.cluster import Cluster
from store.jsons import load_json
from store.rules.changes import RESET, Change, Filter
from store.rules.live.updates import Action, Update, find_changes
from store.rules.queue.waiting import WAITING
from store.rules.states import TERMINAL
from store.times import to_rfc3339
from store.views import s9s_live, s9s_metrics

Row = Mapping[str, Any]
# By kind of the change feed: the channel, and what is told of each with whatever is new.
CHANNELS = {"node": ("nodes", ("node_name", "state")), "alert": ("alerts", ("alert_id", "acknowledged", "resolved"))}
KINDS = frozenset({"job", *CHANNELS})
# After so many changes others have their turn.
CHANGES_AT_ONCE = 20
ROWS_AT_ONCE = 100
METRICS_S, QUEUE_S, LOOK_S = 10.0, 5.0, 1.0


class Listener(Protocol):
    """One who hears of updates."""

    def wants(self, channel: str) -> bool:
        """Return whether it wants any update of a channel."""

    def add_update(self, update: Update, *versions: Row | None) -> None:
        """Take an update, if one of the versions of its row is wanted."""


class UpdateFeed:
    """The updates of one server, and who listens to them."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._cluster: Cluster | None = None
        self._jobs: dict[str, Row] = {}
        self._rows: dict[str, dict[str, Row]] = {}  # of the other channels
        self._queue: tuple[float, Row | None] = (float("-inf"), None)
        self._metrics_at = float("-inf")

    def join(self, server: Server, listener: Listener) -> None:
        """Tell a listener of all updates from now on."""
        if self._task is None:
            self._look_at(server)
            self._task = server.supervisor.start("updates", partial(self.run, server))
        self.listeners.add(listener)
        server.cluster.snapshot.keep_fresh()

    def leave(self, listener: Listener) -> None:
        """Tell a listener nothing any more."""
        self.listeners.discard(listener)
        if not self.listeners and self._task is not None:
            self._task.cancel()
            self._task, self._cluster = None, None

    async def run(self, server: Server) -> None:
        """Tell of updates until nobody listens."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_changes(server))
            group.create_task(self._tell_numbers(server))

    def _is_wanted(self, channel: str) -> bool:
        return any(listener.wants(channel) for listener in self.listeners)

    def tell_update(self, channel: str, action: Action, id: str, data: Row, *versions: Row | None) -> None:
        """Tell those who want one of the versions of the row."""
        update = Update(channel, action, id, to_rfc3339(int(time.time())) or "", data)
        for listener in list(self.listeners):
            listener.add_update(update, *versions)

    # --- changes ----------------------------------------------------------------------------------------------------

    def _look_at(self, server: Server) -> None:
        """Note what jobs look like; those of another cluster are no news."""
        cluster = server.cluster
        if cluster is not self._cluster:
            self._cluster, self._jobs = cluster, dict(cluster.snapshot.jobs)
            self._rows = {
                channel: {row[always[0]]: row for row in _list_rows(server, channel)}
                for channel, always in CHANNELS.values()
            }

    async def _follow_changes(self, server: Server) -> None:
        async with server.changes.read(Filter(KINDS)) as reader:
            count = 0
            async for change in reader:
                self._look_at(server)
                await self._follow(server, change)
                count += 1
                if count % CHANGES_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _follow(self, server: Server, change: Change) -> None:
        cluster = server.cluster
        if change.kind == RESET:  # too many changed at once: whatever may have, is looked at
            for count, job_id in enumerate({**self._jobs, **cluster.snapshot.jobs}):
                self._look_at_job(server, cluster, job_id)
                if count % CHANGES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        elif change.kind == "job" and change.parent == cluster.name:
            self._look_at_job(server, cluster, change.id)
        elif change.kind in CHANNELS and change.parent in (None, cluster.name):
            self._look_at_row(server, change)

    def _look_at_row(self, server: Server, change: Change) -> None:
        channel, always = CHANNELS[change.kind]
        rows = self._rows.setdefault(channel, {})
        old, new = rows.pop(change.id, None), load_json(server.changes.get_row(change))
        if new is not None:
            rows[change.id] = new
        if not self._is_wanted(channel):
            return
        if new is None:
            self.tell_update(channel, "deleted", change.id, {key: (old or {}).get(key) for key in always}, old)
        elif old is None:  # it is new, or its former version was not seen: all of it is told
            self.tell_update(channel, "created" if change.action == "created" else "update", change.id, new, new)
        elif data := find_changes(old, new, always):
            self.tell_update(channel, "update", change.id, data, old, new)

    def _look_at_job(self, server: Server, cluster: Cluster, job_id: str) -> None:
        old, new = self._jobs.pop(job_id, None), cluster.snapshot.jobs.get(job_id)
        if new is not None:
            self._jobs[job_id] = new
        if old is new or not self._is_wanted("jobs"):
            return
        before = None if old is None else job_list.to_job_json(old)
        if new is None:
            self._tell_forgotten_job(server, cluster, job_id, before)
            return
        after = queue_view.get_view(server, cluster).to_job_json(server, cluster, new)
        if before is None:
            self.tell_update("jobs", "created", job_id, after, after)
            return
        if before["state"] == after["state"] and before["reason"] == after["reason"]:
            before["reason_text"] = after["reason_text"]  # its numbers change all the time
        if data := find_changes(before, after, ("job_id", "state")):
            self.tell_update("jobs", "update", job_id, data, *list_versions(before, after))

    def _tell_forgotten_job(self, server: Server, cluster: Cluster, job_id: str, before: Row | None) -> None:
        """Tell of a job that SLURM does not know any more.

        Ours are listed on; an end that was not seen is told now.
        """
        if before is None:
            return
        entry = server.job_index.get(cluster.name, job_id)
        if entry is None or entry.ended_at is None:
            self.tell_update("jobs", "deleted", job_id, {"job_id": job_id, "state": before["state"]}, before)
        elif before["state"] not in TERMINAL:
            kept = job_list.to_job_json(queue_view.build_past_row(entry))
            after = {**before, **{key: value for key, value in kept.items() if value}}
            if data := find_changes(before, after, ("job_id", "state")):
                self.tell_update("jobs", "update", job_id, data, *list_versions(before, after))

    async def iterate_rows(self, server: Server, channel: str) -> AsyncIterator[Row]:
        """Yield what a channel shows; others work between many of its jobs."""
        cluster = server.cluster
        if channel == "jobs":
            view = queue_view.get_view(server, cluster)
            loads = await view.loads.fetch()
            for count, job in enumerate(list(cluster.snapshot.jobs.values()), 1):
                yield view.to_job_json(server, cluster, job, loads)
                if count % ROWS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        elif channel == "queue":
            yield await self.build_queue(server)
        elif channel == "metrics":
            yield await metrics.build_cluster_metrics(server)
        else:
            for row in _list_rows(server, channel):
                yield row

    # --- numbers ----------------------------------------------------------------------------------------------------

    async def _tell_numbers(self, server: Server) -> None:
        while True:
            server.cluster.snapshot.keep_fresh()  # somebody is looking
            now = time.monotonic()
            at, before = self._queue
            if now - at >= QUEUE_S and self._is_wanted("queue") and (found := await self.build_queue(server)) != before:
                self._queue = now, found
                self.tell_update("queue", "update", server.cluster.name, found, found)
            if now - self._metrics_at >= METRICS_S and self._is_wanted("metrics"):
                self._metrics_at, found = now, await metrics.build_cluster_metrics(server)
                self.tell_update("metrics", "update", server.cluster.name, found, found)
            await asyncio.sleep(LOOK_S)

    async def build_queue(self, server: Server) -> Row:
        """Count what waits and runs, in all and by partition."""
        partitions: dict[str, dict[str, int]] = {}
        total = {"pending": 0, "running": 0}
        for (names, slurm_state), count in (await server.cluster.fetch_counts()).queue.items():
            state = "pending" if slurm_state in WAITING else "running" if slurm_state == "RUNNING" else None
            if state is not None:
                total[state] += count
                for name in names.split(","):
                    partitions.setdefault(name, {"pending": 0, "running": 0})[state] += count
        waited = (await metrics.build_cluster_metrics(server))["queue_stats"]["avg_wait_time"]
        return {**total, "avg_wait_time": waited, "by_partition": partitions}


def _list_rows(server: Server, channel: str) -> list[Row]:
    """List the nodes or the alerts as they are told."""
    if channel == "nodes":
        return [s9s_live.to_node_json(node) for node in server.cluster.snapshot.nodes]
    if channel == "alerts":
        return [s9s_metrics.to_alert_json(alert) for alert in alerts.list_all(server)]
    return []


def list_versions(before: Row, after: Row) -> list[Row]:
    """List what a job looked like; one that was completing also as running.

    Else who watches running jobs would not hear how it ended.
    """
    return [before, after, *([{**before, "state": "RUNNING"}] if before["state"] == "COMPLETING" else [])]


def get_feed(server: Server) -> UpdateFeed:
    """Get the feed of a server."""
    if not server.update_feeds:
        server.update_feeds.append(UpdateFeed())
    feed: UpdateFeed = server.update_feeds[0]
    return feed
