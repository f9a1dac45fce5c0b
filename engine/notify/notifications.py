"""Notifications: who is to hear of what, and what watches have to tell. The rules are in store/rules/watches.py.

Nothing here is remembered that the files do not say: what is indexed in memory follows the folders, and a start begins
with a look at every open watch, before anything of what they watch can change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from engine.notify.outbox import Numbers, Outbox
from engine.notify.webhooks import Sender
from store import errors
from store.disk.folders import FileEntry
from store.indexes.jobs import JobIndex
from store.indexes.sweeps import SweepIndex
from store.rules import deliveries, endpoints, runs, states, sweeps, watches
from store.rules.endpoints import Endpoint
from store.rules.watches import Event, Subscription, Watch
from store.store import Store
from store.times import to_epoch, to_rfc3339

log = logging.getLogger("sluice.notices")

TURN_S = 1.0
# Of so many failed cells the one that failed first is looked for.
LOOKED_AT = 100
Target = tuple[str, str]  # kind and id


class Notifications:
    """Endpoints, watches and their subscriptions, and the outbox into which their events go.

    `cluster()` is the present one's name, `look(cluster, job_id)` what SLURM knows of a job that did not go through us,
    `turn` lets those who work on one thing do so one after the other.
    """

    def __init__(
        self,
        store: Store,
        ledger: JobIndex,
        board: SweepIndex,
        cluster: Callable[[], str],
        look: Callable[[str, str], runs.JobView],
        turn: Callable[[str], AbstractAsyncContextManager[None]],
        sender: Sender | None = None,
    ) -> None:
        self.store, self.job_index, self.sweep_index = store, ledger, board
        self.cluster, self.look, self.lock = cluster, look, turn
        self.wake = asyncio.Event()
        self.outbox = Outbox(store, sender or Sender(), self.wake.set)
        self.endpoints, self.watches = Numbers(store.endpoints), Numbers(store.watches)
        self.last_subscription = 0
        self.all_watches: dict[Target, set[str]] = {}
        self.open_watches: dict[Target, set[str]] = {}
        self.changed: set[Target] = set()
        self._foreign: tuple[tuple[int, int], list[Watch]] | None = None  # made anew when watches or jobs change
        store.watches.listeners.append(self._watch_changed)
        store.deliveries.listeners.append(self._delivery_changed)
        for folder in (store.runs, store.jobs):
            folder.listeners.append(self._jobs_changed)
        store.sweeps.listeners.append(lambda name, _old, _new: self._stir("sweep_run", name))

    # Following the files.

    def _stir(self, kind: str, target: str) -> None:
        if (kind, target) in self.open_watches:
            self.changed.add((kind, target))
            self.wake.set()

    def _jobs_changed(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        if not self.open_watches:
            return
        self._stir("workflow_run", name)
        facts = [one.facts for one in (old, new) if one is not None]
        for job_id in {sent.job_id for fact in facts for sent in fact.jobs}:
            self._stir("job", job_id)
        for number in {fact.sweep for fact in facts if fact.sweep is not None}:
            self._stir("sweep_run", str(number))

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
                self._stir(*target)
            for one in watch.subscriptions:
                self._taken(one.id, one.endpoint_id)

    def _delivery_changed(self, _name: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        # A number that something here still names is never given to another thing.
        if new is not None:
            self.watches.reserve(new.document.watch_id)
            self._taken(new.document.subscription_id, new.document.endpoint_id)

    def _taken(self, subscription_id: int, endpoint_id: int) -> None:
        self.last_subscription = max(self.last_subscription, subscription_id)
        self.endpoints.reserve(endpoint_id)

    # Endpoints.

    def get_endpoint(self, number: int) -> Endpoint:
        """The endpoint of this number; NotFound."""
        if str(number) not in self.store.endpoints:
            raise endpoints.UnknownNumber("endpoint", number)
        found: Endpoint = self.store.endpoints.get(str(number))
        return found

    def list_endpoints(self, disabled: bool) -> list[dict[str, Any]]:
        """The endpoints as answers show them, oldest first; `disabled` says whether those are among them."""
        every = [endpoints.to_json(entry.name, entry.document) for entry in self.store.endpoints.iterate_entries()]
        return sorted(
            (one for one in every if disabled or one["disabled_at"] is None),
            key=lambda one: (one["created_at"], one["id"]),
        )

    def is_listening(self, number: int) -> bool:
        """Whether the endpoint is there and enabled."""
        return str(number) in self.store.endpoints and self.get_endpoint(number).disabled_at is None

    async def create_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new endpoint as answers show it; Exists, Invalid."""
        async with self.lock("endpoints"):
            data = endpoints.build_endpoint(body, self._others(0), time.time())
            entry = await self.store.endpoints.create(str(self.endpoints.take_next()), data)
            return endpoints.to_json(entry.name, entry.document)

    async def change_endpoint(self, number: int, change: Callable[[bytes, list[Endpoint]], bytes]) -> dict[str, Any]:
        """The changed endpoint; `change` gives its file anew from the old one and the other endpoints."""
        async with self.lock("endpoints"):
            self.get_endpoint(number)
            before, etag = self.store.endpoints.get_raw(str(number))
            after = change(before, self._others(number))
            if after != before:
                await self.store.endpoints.put(str(number), after, if_match=etag)
            return endpoints.to_json(str(number), self.get_endpoint(number))

    def _others(self, number: int) -> list[Endpoint]:
        return [entry.document for entry in self.store.endpoints.iterate_entries() if entry.name != str(number)]

    async def delete_endpoint(self, number: int) -> None:
        """Nothing; first nobody hears of anything through it, then it is gone."""
        async with self.lock("endpoints"):
            self.get_endpoint(number)
            for watch in list(self.watches.list_newest()):
                if any(one.endpoint_id == number for one in watch.subscriptions):
                    await self.change_watch(watch.id, lambda one: watches.remove_subscriptions(one, endpoint_id=number))
            await self.store.endpoints.delete(str(number))

    # Watches and subscriptions.

    def get_watch(self, number: int) -> Watch:
        """The watch of this number; NotFound."""
        if str(number) not in self.store.watches:
            raise endpoints.UnknownNumber("watch", number)
        found: Watch = self.store.watches.get(str(number))
        return found

    def check_request(self, body: Mapping[str, Any]) -> None:
        """Nothing; NotFound or Invalid when a request wants an endpoint told that cannot be, or with a wrong preset."""
        watches.check_request(body)
        if body.get("notify"):
            number = int(body["endpoint_id"])  # JSON has one kind of number: 1.0 is 1
            if str(number) not in self.store.endpoints:
                raise endpoints.UnknownNumber("endpoint", number, named=True)
            endpoints.refuse_disabled(number, self.get_endpoint(number))

    async def subscribe_requested(
        self, kind: str, target: str, body: Mapping[str, Any], since: str | None, cluster: str = ""
    ) -> None:
        """Nothing; whom the request that made this target names hears of it, also of what happened by now.

        `since` is when the target was made: the request may come twice, and its watch may be closed by then, or so old
        that it is gone. `cluster` is that of a job.
        """
        began = to_epoch(since) or 0
        if body.get("notify") and began > time.time() - self.store.config.webhooks.keep_days * 86_400:
            preset = body.get("preset") or "terminal"
            await self._watch_target(kind, target, int(body["endpoint_id"]), preset, cluster, began)

    async def watch_target(
        self, kind: str, target: str, endpoint_id: int, preset: str, state: str | None = None
    ) -> dict[str, Any]:
        """The watch through which an endpoint hears of what happens to the target from now on, as answers name it.

        `state` is the one that a job is shown in, of which our own record may not have heard yet. Raises NotFound and
        Invalid for the endpoint, the preset, or a target that has ended.
        """
        self.check_request({"notify": True, "endpoint_id": endpoint_id, "preset": preset})
        cluster = self.cluster() if kind == "job" else ""
        watch, one, created = await self._watch_target(kind, target, endpoint_id, preset, cluster, None, state)
        return {"watch_id": int(watch.id), "subscription_id": one.id, "created": created}

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
        """The watch and its subscription, and whether they are new; without `began` what happened by now is no news."""
        now = time.time()
        async with self.lock(f"target {kind} {target}"):
            for watch in [self.store.watches.get(name) for name in self.all_watches.get((kind, target), ())]:
                # A closed one counts when it was this very target's, and not that of another job with the same id.
                counts = watch.closed_at is None or (
                    began is not None and (to_epoch(watch.created_at) or 0) >= int(began)
                )
                one = watches.find_subscription(watch, endpoint_id, preset)
                if one is not None and counts and watch.cluster == cluster:
                    return watch, one, False
            watch = watches.build_watch(kind, target, cluster, watches.make_target_ref(kind, target, cluster), now)
            if began is None:
                events, _ = self.find_events(watch, state)
                watches.refuse_if_over(events)
                watch.told = [event.key for event in events]
            watch.id = str(self.watches.take_next())
            watch = watches.add_subscription(watch, self._next_subscription(), endpoint_id, preset, now)
            await self.store.watches.create(watch.id, watch)
            return watch, watch.subscriptions[0], True

    def _next_subscription(self) -> int:
        self.last_subscription += 1
        return self.last_subscription

    async def change_watch(self, name: str, change: Callable[[Watch], Watch]) -> Watch:
        """The changed watch, durable."""
        async with self.lock(f"watch {name}"):
            watch = self.get_watch(int(name))
            changed = change(watch)
            if changed != watch:
                await self.store.watches.put(name, changed)
            return changed

    async def subscribe(self, watch_id: int, endpoint_id: int, preset: str) -> dict[str, Any]:
        """A new subscription of a watch, as answers show it; NotFound, Conflict, Exists, Invalid."""
        watches.check_preset(preset)
        self.get_endpoint(endpoint_id)
        self.get_watch(watch_id)
        number = self._next_subscription()
        after = await self.change_watch(
            str(watch_id), lambda watch: watches.add_subscription(watch, number, endpoint_id, preset, time.time())
        )
        return watches.to_subscription_json(after, after.subscriptions[-1])

    async def unsubscribe(self, number: int) -> None:
        """Nothing; the subscription is gone; NotFound."""
        name = next((watch.id for watch, one in self.list_subscriptions() if one.id == number), None)
        if name is None:
            raise endpoints.UnknownNumber("subscription", number)
        await self.change_watch(name, lambda watch: watches.remove_subscriptions(watch, number=number))

    def list_subscriptions(self) -> Iterator[tuple[Watch, Subscription]]:
        """All subscriptions with their watches, those of the newest watch first."""
        return ((watch, one) for watch in self.watches.list_newest() for one in reversed(watch.subscriptions))

    def list_foreign_watches(self) -> list[Watch]:
        """The open watches of jobs that did not go through us, each on the cluster that it names."""
        known = (self.store.watches.version, self.job_index.version)
        if self._foreign is None or self._foreign[0] != known:
            names = (name for (kind, _job), some in self.open_watches.items() if kind == "job" for name in some)
            found = (self.store.watches.get(name) for name in names)
            self._foreign = known, [one for one in found if self.job_index.find_source(one.cluster, one.target) is None]
        return self._foreign[1]

    # What there is to tell.

    def find_events(self, watch: Watch, state: str | None = None) -> tuple[list[Event], bool]:
        """What has happened to the target of a watch, and whether there surely is no such target any more."""
        if watch.kind == "job":
            return self._find_job_events(watch, state), False
        folder = self.store.runs if watch.kind == "workflow_run" else self.store.sweeps
        if watch.target not in folder:
            # A file that cannot be read now is not gone.
            return [], folder.choose_filename(watch.target) not in folder.file_states
        document = folder.get(watch.target)
        if watch.kind == "workflow_run":
            return watches.list_run_events(document), False
        known = self.sweep_index.get_states(document)
        failure = self._find_failure(document, known) if document.status in sweeps.ENDED else None
        return watches.list_sweep_events(document, sweeps.count_cells(document, known), failure), False

    def _find_failure(self, sweep: Any, known: Mapping[int, str]) -> str | None:
        """The error of the cell that failed first."""
        failed = [index for index, state in known.items() if state == "failed"][:LOOKED_AT]
        cells = [self.store.runs.get(sweeps.make_cell_id(sweep.uid, index)) for index in failed]
        first = min(cells, key=lambda run: run.completed_at or "", default=None)
        return first.error if first is not None else None

    def _find_job_events(self, watch: Watch, state: str | None) -> list[Event]:
        entry = self.job_index.get(watch.cluster, watch.target)
        if entry is not None:
            job = {key: getattr(entry, key) for key in watches.JOB_KEYS}
            return watches.list_job_events(watch.target_ref, job if state is None else {**job, "state": state})
        knowledge, row = self.look(watch.cluster, watch.target)
        if knowledge == "unknown":
            return []
        if row is None:
            return watches.list_job_events(watch.target_ref, {"state": states.LOST})
        times = {key: to_rfc3339(row.get(word)) for key, word in TIMES.items()}
        return watches.list_job_events(watch.target_ref, {**row, **times})

    async def queue_events(self, name: str) -> None:
        """Nothing; what is new about the target of a watch is in the outbox, durably, and then known as told."""
        async with self.lock(f"watch {name}"):
            if name not in self.store.watches:
                return
            watch: Watch = self.store.watches.get(name)
            events, gone = self.find_events(watch)
            advanced, wanted = watches.advance_watch(watch, events, gone, self.is_listening, time.time())
            for one in wanted:
                await self.outbox.add(deliveries.build_delivery(watch, one, time.time()))
            if advanced is not watch:
                await self.store.watches.put(name, advanced)

    async def queue_target_events(self, kind: str, target: str) -> None:
        """Nothing; what is new about this target is in the outbox, before anything of it changes again."""
        for name in list(self.open_watches.get((kind, target), ())):
            await self.queue_events(name)

    # Between requests.

    async def catch_up(self) -> None:
        """Nothing; what happened before the last end and was not told is in the outbox; for the start."""
        await self._queue_all(name for names in self.open_watches.values() for name in names)

    async def run_forever(self) -> None:
        """Never returns; tells and sends, whenever something changes or a time has come."""
        while True:
            self.wake.clear()
            try:
                await self.run_once()
            except Exception:
                # Whatever it was, the documents are as they were, and the next turn looks at everything again.
                log.exception("notifications stumbled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), TURN_S)

    async def run_once(self) -> None:
        """Nothing; all news are in the outbox, and everything in it that is due is on its way."""
        news, self.changed = self.changed, set()
        names = {name for target in news for name in self.open_watches.get(target, ())}
        await self._queue_all(names | {watch.id for watch in self.list_foreign_watches()})
        if self.store.config.webhooks.deliver:
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
        """Nothing; deliveries and watches that ended long ago are gone, as config.yaml says."""
        bounds = self.store.config.webhooks
        await self.outbox.remove_old(bounds.keep_days, bounds.keep_count, now)
        for watch in list(self.watches.list_newest()):
            if watches.is_old(watch, now - bounds.keep_days * 86_400):
                await self.store.watches.delete(watch.id)


# A job's times here, and what the rows of squeue and sacct call them.
TIMES = {"submitted_at": "submit_time", "started_at": "start_time", "ended_at": "end_time"}
