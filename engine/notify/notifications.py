"""Notifications: who is notified of which events.

The rules are in store/rules/watches.py.

Everything here can be found again from the files: the indexes in memory follow the folders, and a start first checks
every open watch, before anything that it watches can change. The folders' listeners are used and not the change feed:
an event must not be merged with a later one, and the indexes must be complete before the first request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from engine.notify.outbox import Numbers, Outbox
from engine.notify.webhooks import Sender
from engine.tasks import StartTask, wait_for_event
from store import errors
from store.disk.entries import FileEntry
from store.disk.kept.kept_files import LoadedFiles
from store.indexes.jobs import JobIndex
from store.indexes.sweeps import SweepIndex
from store.rules import deliveries, endpoints, states, sweeps, watches
from store.rules.endpoints import Endpoint
from store.rules.jobs.views import JobView
from store.rules.monitoring import alerts
from store.rules.monitoring.alerts import Alert
from store.rules.watches import Event, Subscription, Watch
from store.store import Store
from store.times import to_epoch, to_rfc3339

log = logging.getLogger("sluice.notifications")

PASS_S = 1.0
# The cell that failed first is looked for among so many.
MOST_FAILED = 100
Target = tuple[str, str]  # kind and id


class Notifications:
    """Endpoints, watches with their subscriptions, and the outbox.

    `cluster()` gives the name of the active cluster, `look_up_job(cluster, job_id)` what SLURM knows of a job that
    Sluice did not submit, `lock(name)` a lock for everybody who changes the thing of this name; `start_task` is the
    Supervisor's.
    """

    def __init__(
        self,
        store: Store,
        job_index: JobIndex,
        sweep_index: SweepIndex,
        cluster: Callable[[], str],
        look_up_job: Callable[[str, str], JobView],
        lock: Callable[[str], AbstractAsyncContextManager[None]],
        start_task: StartTask,
        sender: Sender | None = None,
    ) -> None:
        self.store, self.job_index, self.sweep_index = store, job_index, sweep_index
        self.cluster, self.look_up_job, self.lock = cluster, look_up_job, lock
        self.wake = asyncio.Event()
        self.outbox = Outbox(store, sender or Sender(), self.wake.set, start_task)
        self.endpoints, self.watches = Numbers(store.endpoints), Numbers(store.watches)
        self.last_subscription = 0
        self.all_watches: dict[Target, set[str]] = {}
        self.open_watches: dict[Target, set[str]] = {}
        self.changed: set[Target] = set()
        self._foreign: tuple[tuple[int, int], list[Watch]] | None = None  # made anew when watches or jobs change
        store.watches.listeners.append(self._watch_changed)
        store.deliveries.listeners.append(self._follow_delivery)
        for folder in (store.runs, store.jobs):
            folder.add_listener(self._follow_jobs, self._load_jobs)
        store.sweeps.listeners.append(lambda name, _old, _new: self._mark_changed("sweep_run", name))

    # Indexes that follow the files.

    def _mark_changed(self, kind: str, target: str) -> None:
        if (kind, target) in self.open_watches:
            self.changed.add((kind, target))
            self.wake.set()

    def _load_jobs(self, loaded: LoadedFiles) -> None:
        if self.open_watches:
            for entry in loaded.entries:
                self._follow_jobs(entry.name, None, entry)

    def _follow_jobs(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        if not self.open_watches:
            return
        self._mark_changed("workflow_run", name)
        facts = [entry.facts for entry in (old, new) if entry is not None]
        for job_id in {sent.job_id for fact in facts for sent in fact.jobs}:
            self._mark_changed("job", job_id)
        for number in {fact.sweep for fact in facts if fact.sweep is not None}:
            self._mark_changed("sweep_run", str(number))

    def _watch_changed(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        if old is not None:
            target = (old.document.kind, old.document.target)
            for index in (self.all_watches, self.open_watches):
                index.get(target, set()).discard(name)
                if not index.get(target):
                    index.pop(target, None)
        if new is not None:
            watch: Watch = new.document
            target = (watch.kind, watch.target)
            self.all_watches.setdefault(target, set()).add(name)
            if watch.closed_at is None:
                self.open_watches.setdefault(target, set()).add(name)
                self._mark_changed(*target)
            for subscription in watch.subscriptions:
                self._reserve(subscription.id, subscription.endpoint_id)

    def _follow_delivery(self, _name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        # A number that a delivery still names is never given to something else.
        if new is not None:
            self.watches.reserve(new.document.watch_id)
            self._reserve(new.document.subscription_id, new.document.endpoint_id)

    def _reserve(self, subscription_id: int, endpoint_id: int) -> None:
        self.last_subscription = max(self.last_subscription, subscription_id)
        self.endpoints.reserve(endpoint_id)

    # Endpoints.

    def get_endpoint(self, number: int) -> Endpoint:
        """Return the endpoint of this number; raise NotFound."""
        if str(number) not in self.store.endpoints:
            raise endpoints.UnknownNumber("endpoint", number)
        found: Endpoint = self.store.endpoints.get(str(number))
        return found

    def list_endpoints(self, disabled: bool) -> list[dict[str, Any]]:
        """List the endpoints, oldest first; `disabled` adds the disabled ones."""
        every = [endpoints.to_json(entry.name, entry.document) for entry in self.store.endpoints.iterate_entries()]
        return sorted(
            (row for row in every if disabled or row["disabled_at"] is None),
            key=lambda row: (row["created_at"], row["id"]),
        )

    def is_listening(self, number: int) -> bool:
        """Tell whether the endpoint exists and is enabled."""
        return str(number) in self.store.endpoints and self.get_endpoint(number).disabled_at is None

    def list_alerted(self, alert: Alert) -> list[int]:
        """List the numbers of the endpoints that are notified of the alert."""
        every = ((int(entry.name), entry.document) for entry in self.store.endpoints.iterate_entries())
        return [number for number, found in every if not found.disabled_at and alerts.is_wanted(found.alerts, alert)]

    async def create_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create an endpoint; raise Exists, Invalid."""
        async with self.lock("endpoints"):
            data = endpoints.build_endpoint(body, self._list_others(0), time.time())
            entry = await self.store.endpoints.create(str(self.endpoints.take_next()), data)
            return endpoints.to_json(entry.name, entry.document)

    async def change_endpoint(self, number: int, change: Callable[[bytes, list[Endpoint]], bytes]) -> dict[str, Any]:
        """Change an endpoint; raise NotFound, Exists, Invalid.

        `change` makes its new file from the old one and the other endpoints.
        """
        async with self.lock("endpoints"):
            self.get_endpoint(number)
            before, etag = self.store.endpoints.get_raw(str(number))
            after = change(before, self._list_others(number))
            if after != before:
                await self.store.endpoints.put(str(number), after, if_match=etag)
            return endpoints.to_json(str(number), self.get_endpoint(number))

    def _list_others(self, number: int) -> list[Endpoint]:
        return [entry.document for entry in self.store.endpoints.iterate_entries() if entry.name != str(number)]

    async def delete_endpoint(self, number: int) -> None:
        """Delete an endpoint, after all its subscriptions."""
        async with self.lock("endpoints"):
            self.get_endpoint(number)
            for watch in list(self.watches.list_newest()):
                if any(subscription.endpoint_id == number for subscription in watch.subscriptions):
                    await self.change_watch(
                        watch.id, lambda kept: watches.remove_subscriptions(kept, endpoint_id=number)
                    )
            await self.store.endpoints.delete(str(number))

    # Watches and subscriptions.

    def get_watch(self, number: int) -> Watch:
        """Return the watch of this number; raise NotFound."""
        if str(number) not in self.store.watches:
            raise endpoints.UnknownNumber("watch", number)
        found: Watch = self.store.watches.get(str(number))
        return found

    def check_request(self, body: Mapping[str, Any]) -> None:
        """Check the notification part of a request; raise NotFound, Invalid."""
        watches.check_request(body)
        if body.get("notify"):
            number = int(body["endpoint_id"])  # JSON has one kind of number: 1.0 is 1
            if str(number) not in self.store.endpoints:
                raise endpoints.UnknownNumber("endpoint", number, named=True)
            endpoints.refuse_disabled(number, self.get_endpoint(number))

    async def subscribe_requested(
        self, kind: str, target: str, body: Mapping[str, Any], since: str | None, cluster: str = ""
    ) -> None:
        """Subscribe the endpoint that a request names to what it made.

        Events that already happened are told too. `since` is when the target was made: the request may come twice, and
        its watch may be closed by then, or so old that it was removed. `cluster` is that of a job.
        """
        began = to_epoch(since) or 0
        if body.get("notify") and began > time.time() - self.store.config.webhooks.keep_days * 86_400:
            preset = body.get("preset") or "terminal"
            await self._watch_target(kind, target, int(body["endpoint_id"]), preset, cluster, began)

    async def watch_target(
        self, kind: str, target: str, endpoint_id: int, preset: str, state: str | None = None
    ) -> dict[str, Any]:
        """Subscribe an endpoint to a target from now on; return what answers show.

        `state` is the one that a job is shown in, which our own record may not have yet. Raises NotFound, Invalid for
        the endpoint, the preset, or a target that has ended.
        """
        self.check_request({"notify": True, "endpoint_id": endpoint_id, "preset": preset})
        cluster = self.cluster() if kind == "job" else ""
        watch, subscription, created = await self._watch_target(kind, target, endpoint_id, preset, cluster, None, state)
        return {"watch_id": int(watch.id), "subscription_id": subscription.id, "created": created}

    async def _watch_target(
        self,
        kind: str,
        target: str,
        endpoint_id: int,
        preset: str,
        cluster: str,
        began: float | None,
        state: str | None = None,
    ) -> tuple[Watch, Subscription, bool]:
        """Return the watch, its subscription, and whether they are new.

        Without `began`, events that already happened are not told.
        """
        now = time.time()
        async with self.lock(f"target {kind} {target}"):
            for watch in [self.store.watches.get(name) for name in self.all_watches.get((kind, target), ())]:
                # A closed watch counts if it was of this very target, not of an earlier job with the same id.
                counts = watch.closed_at is None or (
                    began is not None and (to_epoch(watch.created_at) or 0) >= int(began)
                )
                found = watches.find_subscription(watch, endpoint_id, preset)
                if found is not None and counts and watch.cluster == cluster:
                    return watch, found, False
            watch = watches.build_watch(kind, target, cluster, watches.make_target_ref(kind, target, cluster), now)
            if began is None:
                events, _ = self.find_events(watch, state)
                watches.refuse_if_over(events)
                watch.told = [event.key for event in events]
            watch.id = str(self.watches.take_next())
            watch = watches.add_subscription(watch, self._take_subscription_number(), endpoint_id, preset, now)
            await self.store.watches.create(watch.id, watch)
            return watch, watch.subscriptions[0], True

    def _take_subscription_number(self) -> int:
        self.last_subscription += 1
        return self.last_subscription

    async def change_watch(self, name: str, change: Callable[[Watch], Watch]) -> Watch:
        """Change a watch durably; return it."""
        async with self.lock(f"watch {name}"):
            watch = self.get_watch(int(name))
            changed = change(watch)
            if changed != watch:
                await self.store.watches.put(name, changed)
            return changed

    async def subscribe(self, watch_id: int, endpoint_id: int, preset: str) -> dict[str, Any]:
        """Add a subscription to a watch.

        Raises NotFound, Conflict, Exists, Invalid.
        """
        watches.check_preset(preset)
        self.get_endpoint(endpoint_id)
        self.get_watch(watch_id)
        number = self._take_subscription_number()
        after = await self.change_watch(
            str(watch_id), lambda watch: watches.add_subscription(watch, number, endpoint_id, preset, time.time())
        )
        return watches.to_subscription_json(after, after.subscriptions[-1])

    async def unsubscribe(self, number: int) -> None:
        """Delete a subscription; raise NotFound."""
        name = next((watch.id for watch, found in self.list_subscriptions() if found.id == number), None)
        if name is None:
            raise endpoints.UnknownNumber("subscription", number)
        await self.change_watch(name, lambda watch: watches.remove_subscriptions(watch, number=number))

    def list_subscriptions(self) -> Iterator[tuple[Watch, Subscription]]:
        """Yield all subscriptions with their watches, the newest watch first."""
        return ((watch, found) for watch in self.watches.list_newest() for found in reversed(watch.subscriptions))

    def list_foreign_watches(self) -> list[Watch]:
        """List the open watches of jobs that Sluice did not submit."""
        known = (self.store.watches.version, self.job_index.version)
        if self._foreign is None or self._foreign[0] != known:
            names = (name for (kind, _job), found in self.open_watches.items() if kind == "job" for name in found)
            found = (self.store.watches.get(name) for name in names)
            foreign = [watch for watch in found if self.job_index.find_source(watch.cluster, watch.target) is None]
            self._foreign = known, foreign
        return self._foreign[1]

    # Events.

    def find_events(self, watch: Watch, state: str | None = None) -> tuple[list[Event], bool]:
        """Find the events of a watch's target; tell whether it surely is gone."""
        if watch.kind == "job":
            return self._find_job_events(watch, state), False
        folder = self.store.runs if watch.kind == "workflow_run" else self.store.sweeps
        if watch.target not in folder:
            # A file that is invalid now is not gone.
            return [], folder.choose_filename(watch.target) not in folder.file_states
        document = folder.get(watch.target)
        if watch.kind == "workflow_run":
            return watches.list_run_events(document), False
        known = self.sweep_index.get_states(document)
        failure = self._find_failure(document, known) if document.status in sweeps.ENDED else None
        return watches.list_sweep_events(document, sweeps.count_cells(document, known), failure), False

    def _find_failure(self, sweep: Any, known: Mapping[int, str]) -> str | None:
        """Return the error of the cell that failed first."""
        failed = [index for index, state in known.items() if state == "failed"][:MOST_FAILED]
        cells = [self.store.runs.get(sweeps.make_cell_id(sweep.uid, index)) for index in failed]
        first = min(cells, key=lambda run: run.completed_at or "", default=None)
        return first.error if first is not None else None

    def _find_job_events(self, watch: Watch, state: str | None) -> list[Event]:
        entry = self.job_index.get(watch.cluster, watch.target)
        if entry is not None:
            job = {key: getattr(entry, key) for key in watches.JOB_KEYS}
            return watches.list_job_events(watch.target_ref, job if state is None else {**job, "state": state})
        knowledge, row = self.look_up_job(watch.cluster, watch.target)
        if knowledge == "unknown":
            return []
        if row is None:
            return watches.list_job_events(watch.target_ref, {"state": states.LOST})
        times = {key: to_rfc3339(row.get(word)) for key, word in TIMES.items()}
        return watches.list_job_events(watch.target_ref, {**row, **times})

    async def queue_events(self, name: str) -> None:
        """Put the new events of a watch into the outbox, then remember them."""
        async with self.lock(f"watch {name}"):
            if name not in self.store.watches:
                return
            watch: Watch = self.store.watches.get(name)
            events, gone = self.find_events(watch)
            advanced, wanted = watches.advance_watch(watch, events, gone, self.is_listening, time.time())
            for event in wanted:
                await self.outbox.add(deliveries.build_delivery(watch, event, time.time()))
            if advanced is not watch:
                await self.store.watches.put(name, advanced)

    async def queue_target_events(self, kind: str, target: str) -> None:
        """Put the new events of a target into the outbox before it changes."""
        for name in list(self.open_watches.get((kind, target), ())):
            await self.queue_events(name)

    # Between requests.

    async def catch_up(self) -> None:
        """Queue events that were missed while the server was down."""
        await self._queue_all(name for names in self.open_watches.values() for name in names)

    async def run_forever(self) -> None:
        """Queue and send notifications for ever."""
        while True:
            self.wake.clear()
            await self.run_once()
            await wait_for_event(self.wake, PASS_S)

    async def run_once(self) -> None:
        """Put all new events into the outbox and send what is due."""
        targets, self.changed = self.changed, set()
        names = {name for target in targets for name in self.open_watches.get(target, ())}
        try:
            await self._queue_all(names | {watch.id for watch in self.list_foreign_watches()})
        except Exception:
            self.changed |= targets  # looked at again when this was started again
            raise
        self.outbox.send_due(time.time())

    async def _queue_all(self, names: Iterable[str]) -> None:
        for name in sorted(names, key=int):
            try:
                await self.queue_events(name)
            except errors.StoreError as problem:
                log.warning("watch %s waits: %s", name, problem)
                watch = self.get_watch(int(name))
                self.changed.add((watch.kind, watch.target))

    async def remove_old(self, now: float) -> None:
        """Remove old deliveries and watches, as config.yaml says."""
        bounds = self.store.config.webhooks
        await self.outbox.remove_old(bounds.keep_days, bounds.keep_count, now)
        for watch in list(self.watches.list_newest()):
            if watches.is_old(watch, now - bounds.keep_days * 86_400):
                await self.store.watches.delete(watch.id)


# A job's times here, and what the rows of squeue and sacct call them.
TIMES = {"submitted_at": "submit_time", "started_at": "start_time", "ended_at": "end_time"}
