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
from store.disk.folders import Entry
from store.indexes.jobs import Ledger
from store.indexes.sweeps import Board
from store.rules import deliveries, endpoints, runs, states, sweeps, watches
from store.rules.endpoints import Endpoint
from store.rules.watches import Event, Subscription, Watch
from store.store import Store
from store.times import epoch, rfc3339

log = logging.getLogger("sluice.notices")

TURN_S = 1.0
# Of so many failed cells the one that failed first is looked for.
LOOKED_AT = 100
Target = tuple[str, str]  # kind and id


class Notices:
    """Endpoints, watches and their subscriptions, and the outbox into which their events go.

    `cluster()` is the present one's name, `look(cluster, job_id)` what SLURM knows of a job that did not go through us,
    `turn` lets those who work on one thing do so one after the other.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        board: Board,
        cluster: Callable[[], str],
        look: Callable[[str, str], runs.Sight],
        turn: Callable[[str], AbstractAsyncContextManager[None]],
        sender: Sender | None = None,
    ) -> None:
        self.store, self.ledger, self.board = store, ledger, board
        self.cluster, self.look, self.turn = cluster, look, turn
        self.wake = asyncio.Event()
        self.outbox = Outbox(store, sender or Sender(), self.wake.set)
        self.endpoints, self.watches = Numbers(store.endpoints), Numbers(store.watches)
        self.last_subscription = 0
        self.of: dict[Target, set[str]] = {}
        self.open: dict[Target, set[str]] = {}
        self.news: set[Target] = set()
        store.watches.listeners.append(self._watch_changed)
        store.deliveries.listeners.append(self._delivery_changed)
        for folder in (store.runs, store.jobs):
            folder.listeners.append(self._jobs_changed)
        store.sweeps.listeners.append(lambda name, _old, _new: self._stir("sweep_run", name))

    # Following the files.

    def _stir(self, kind: str, target: str) -> None:
        if (kind, target) in self.open:
            self.news.add((kind, target))
            self.wake.set()

    def _jobs_changed(self, name: str, old: Entry | None, new: Entry | None) -> None:
        if not self.open:
            return
        self._stir("workflow_run", name)
        facts = [one.facts for one in (old, new) if one is not None]
        for job_id in {sent.job_id for fact in facts for sent in fact.jobs}:
            self._stir("job", job_id)
        for number in {fact.sweep for fact in facts if fact.sweep is not None}:
            self._stir("sweep_run", str(number))

    def _watch_changed(self, name: str, old: Entry | None, new: Entry | None) -> None:
        if old is not None:
            target = (old.document.kind, old.document.target)
            for index in (self.of, self.open):
                index.get(target, set()).discard(name)
                if not index.get(target):
                    index.pop(target, None)
        if new is not None:
            watch: Watch = new.document
            target = (watch.kind, watch.target)
            self.of.setdefault(target, set()).add(name)
            if watch.closed_at is None:
                self.open.setdefault(target, set()).add(name)
                self._stir(*target)
            for one in watch.subscriptions:
                self._taken(one.id, one.endpoint_id)

    def _delivery_changed(self, _name: str, _old: Entry | None, new: Entry | None) -> None:
        # A number that something here still names is never given to another thing.
        if new is not None:
            self.watches.seen(new.document.watch_id)
            self._taken(new.document.subscription_id, new.document.endpoint_id)

    def _taken(self, subscription_id: int, endpoint_id: int) -> None:
        self.last_subscription = max(self.last_subscription, subscription_id)
        self.endpoints.seen(endpoint_id)

    # Endpoints.

    def endpoint(self, number: int) -> Endpoint:
        """The endpoint of this number; NotFound."""
        if str(number) not in self.store.endpoints:
            raise endpoints.Unknown("endpoint", number)
        found: Endpoint = self.store.endpoints.get(str(number))
        return found

    def shown_endpoints(self, disabled: bool) -> list[dict[str, Any]]:
        """The endpoints as answers show them, oldest first; `disabled` says whether those are among them."""
        every = [endpoints.shown(entry.name, entry.document) for entry in self.store.endpoints.entries()]
        return sorted(
            (one for one in every if disabled or one["disabled_at"] is None),
            key=lambda one: (one["created_at"], one["id"]),
        )

    def listening(self, number: int) -> bool:
        """Whether the endpoint is there and enabled."""
        return str(number) in self.store.endpoints and self.endpoint(number).disabled_at is None

    async def create_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new endpoint as answers show it; Exists, Invalid."""
        async with self.turn("endpoints"):
            data = endpoints.made(body, self._others(0), time.time())
            entry = await self.store.endpoints.create(str(self.endpoints.next()), data)
            return endpoints.shown(entry.name, entry.document)

    async def change_endpoint(self, number: int, change: Callable[[bytes, list[Endpoint]], bytes]) -> dict[str, Any]:
        """The changed endpoint; `change` gives its file anew from the old one and the other endpoints."""
        async with self.turn("endpoints"):
            self.endpoint(number)
            before, etag = self.store.endpoints.raw(str(number))
            after = change(before, self._others(number))
            if after != before:
                await self.store.endpoints.put(str(number), after, if_match=etag)
            return endpoints.shown(str(number), self.endpoint(number))

    def _others(self, number: int) -> list[Endpoint]:
        return [entry.document for entry in self.store.endpoints.entries() if entry.name != str(number)]

    async def delete_endpoint(self, number: int) -> None:
        """Nothing; first nobody hears of anything through it, then it is gone."""
        async with self.turn("endpoints"):
            self.endpoint(number)
            for watch in list(self.watches.newest()):
                if any(one.endpoint_id == number for one in watch.subscriptions):
                    await self.change(watch.id, lambda one: watches.without(one, endpoint_id=number))
            await self.store.endpoints.delete(str(number))

    # Watches and subscriptions.

    def watch(self, number: int) -> Watch:
        """The watch of this number; NotFound."""
        if str(number) not in self.store.watches:
            raise endpoints.Unknown("watch", number)
        found: Watch = self.store.watches.get(str(number))
        return found

    def check(self, body: Mapping[str, Any]) -> None:
        """Nothing; NotFound or Invalid when a request wants an endpoint told that cannot be, or with a wrong preset."""
        watches.check_request(body)
        if body.get("notify"):
            number = int(body["endpoint_id"])  # JSON has one kind of number: 1.0 is 1
            if str(number) not in self.store.endpoints:
                raise endpoints.Unknown("endpoint", number, named=True)
            endpoints.refuse_disabled(number, self.endpoint(number))

    async def requested(
        self, kind: str, target: str, body: Mapping[str, Any], since: str | None, cluster: str = ""
    ) -> None:
        """Nothing; whom the request that made this target names hears of it, also of what happened by now.

        `since` is when the target was made: the request may come twice, and its watch may be closed by then, or so old
        that it is gone. `cluster` is that of a job.
        """
        began = epoch(since) or 0
        if body.get("notify") and began > time.time() - self.store.config.webhooks.keep_days * 86_400:
            preset = body.get("preset") or "terminal"
            await self._ask(kind, target, int(body["endpoint_id"]), preset, cluster, began)

    async def ask(
        self, kind: str, target: str, endpoint_id: int, preset: str, state: str | None = None
    ) -> dict[str, Any]:
        """The watch through which an endpoint hears of what happens to the target from now on, as answers name it.

        `state` is the one that a job is shown in, of which our own record may not have heard yet. Raises NotFound and
        Invalid for the endpoint, the preset, or a target that has ended.
        """
        self.check({"notify": True, "endpoint_id": endpoint_id, "preset": preset})
        cluster = self.cluster() if kind == "job" else ""
        watch, one, created = await self._ask(kind, target, endpoint_id, preset, cluster, None, state)
        return {"watch_id": int(watch.id), "subscription_id": one.id, "created": created}

    async def _ask(
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
        async with self.turn(f"target {kind} {target}"):
            for watch in [self.store.watches.get(name) for name in self.of.get((kind, target), ())]:
                # A closed one counts when it was this very target's, and not that of another job with the same id.
                counts = watch.closed_at is None or (began is not None and (epoch(watch.created_at) or 0) >= int(began))
                one = watches.found(watch, endpoint_id, preset)
                if one is not None and counts and watch.cluster == cluster:
                    return watch, one, False
            watch = watches.new(kind, target, cluster, watches.target_ref(kind, target, cluster), now)
            if began is None:
                events, _ = self.events(watch, state)
                watches.refuse_over(events)
                watch.told = [event.key for event in events]
            watch.id = str(self.watches.next())
            watch = watches.subscribed(watch, self._next_subscription(), endpoint_id, preset, now)
            await self.store.watches.create(watch.id, watch)
            return watch, watch.subscriptions[0], True

    def _next_subscription(self) -> int:
        self.last_subscription += 1
        return self.last_subscription

    async def change(self, name: str, change: Callable[[Watch], Watch]) -> Watch:
        """The changed watch, durable."""
        async with self.turn(f"watch {name}"):
            watch = self.watch(int(name))
            changed = change(watch)
            if changed != watch:
                await self.store.watches.put(name, changed)
            return changed

    async def subscribe(self, watch_id: int, endpoint_id: int, preset: str) -> dict[str, Any]:
        """A new subscription of a watch, as answers show it; NotFound, Conflict, Exists, Invalid."""
        watches.check_preset(preset)
        self.endpoint(endpoint_id)
        self.watch(watch_id)
        number = self._next_subscription()
        after = await self.change(
            str(watch_id), lambda watch: watches.subscribed(watch, number, endpoint_id, preset, time.time())
        )
        return watches.shown_subscription(after, after.subscriptions[-1])

    async def unsubscribe(self, number: int) -> None:
        """Nothing; the subscription is gone; NotFound."""
        name = next((watch.id for watch, one in self.subscriptions() if one.id == number), None)
        if name is None:
            raise endpoints.Unknown("subscription", number)
        await self.change(name, lambda watch: watches.without(watch, number=number))

    def subscriptions(self) -> Iterator[tuple[Watch, Subscription]]:
        """All subscriptions with their watches, those of the newest watch first."""
        return ((watch, one) for watch in self.watches.newest() for one in reversed(watch.subscriptions))

    def foreign(self) -> list[Watch]:
        """The open watches of jobs that did not go through us, each on the cluster that it names."""
        names = (name for (kind, _job), some in self.open.items() if kind == "job" for name in some)
        found = (self.store.watches.get(name) for name in names)
        return [watch for watch in found if self.ledger.get(watch.cluster, watch.target) is None]

    # What there is to tell.

    def events(self, watch: Watch, state: str | None = None) -> tuple[list[Event], bool]:
        """What has happened to the target of a watch, and whether there surely is no such target any more."""
        if watch.kind == "job":
            return self._job_events(watch, state), False
        folder = self.store.runs if watch.kind == "workflow_run" else self.store.sweeps
        if watch.target not in folder:
            # A file that cannot be read now is not gone.
            return [], folder.only_name(watch.target) not in folder.held
        document = folder.get(watch.target)
        if watch.kind == "workflow_run":
            return watches.of_run(document), False
        known = self.board.states(document)
        failure = self._failure(document, known) if document.status in sweeps.ENDED else None
        return watches.of_sweep(document, sweeps.counts(document, known), failure), False

    def _failure(self, sweep: Any, known: Mapping[int, str]) -> str | None:
        """The error of the cell that failed first."""
        failed = [index for index, state in known.items() if state == "failed"][:LOOKED_AT]
        cells = [self.store.runs.get(sweeps.cell_id(sweep.uid, index)) for index in failed]
        first = min(cells, key=lambda run: run.completed_at or "", default=None)
        return first.error if first is not None else None

    def _job_events(self, watch: Watch, state: str | None) -> list[Event]:
        entry = self.ledger.get(watch.cluster, watch.target)
        if entry is not None:
            job = {key: getattr(entry, key) for key in watches.JOB_KEYS}
            return watches.of_job(watch.target_ref, job if state is None else {**job, "state": state})
        knowledge, row = self.look(watch.cluster, watch.target)
        if knowledge == "unknown":
            return []
        if row is None:
            return watches.of_job(watch.target_ref, {"state": states.LOST})
        times = {key: rfc3339(row.get(word)) for key, word in TIMES.items()}
        return watches.of_job(watch.target_ref, {**row, **times})

    async def tell(self, name: str) -> None:
        """Nothing; what is new about the target of a watch is in the outbox, durably, and then known as told."""
        async with self.turn(f"watch {name}"):
            if name not in self.store.watches:
                return
            watch: Watch = self.store.watches.get(name)
            events, gone = self.events(watch)
            advanced, wanted = watches.advance(watch, events, gone, self.listening, time.time())
            for one in wanted:
                await self.outbox.put_down(deliveries.new(watch, one, time.time()))
            if advanced is not watch:
                await self.store.watches.put(name, advanced)

    async def settle(self, kind: str, target: str) -> None:
        """Nothing; what is new about this target is in the outbox, before anything of it changes again."""
        for name in list(self.open.get((kind, target), ())):
            await self.tell(name)

    # Between requests.

    async def catch_up(self) -> None:
        """Nothing; what happened before the last end and was not told is in the outbox; for the start."""
        await self._tell_all(name for names in self.open.values() for name in names)

    async def run(self) -> None:
        """Never returns; tells and sends, whenever something changes or a time has come."""
        while True:
            self.wake.clear()
            try:
                await self.turn_once()
            except Exception:
                # Whatever it was, the documents are as they were, and the next turn looks at everything again.
                log.exception("notifications stumbled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), TURN_S)

    async def turn_once(self) -> None:
        """Nothing; all news are in the outbox, and everything in it that is due is on its way."""
        news, self.news = self.news, set()
        names = {name for target in news for name in self.open.get(target, ())}
        await self._tell_all(names | {watch.id for watch in self.foreign()})
        if self.store.config.webhooks.deliver:
            self.outbox.send_due(time.time())

    async def _tell_all(self, names: Iterable[str]) -> None:
        for name in sorted(names, key=int):
            try:
                await self.tell(name)
            except errors.StoreError as problem:
                log.warning("watch %s waits: %s", name, problem)
                watch = self.watch(int(name))
                self.news.add((watch.kind, watch.target))

    async def tidy(self, now: float) -> None:
        """Nothing; deliveries and watches that ended long ago are gone, as config.yaml says."""
        bounds = self.store.config.webhooks
        await self.outbox.tidy(bounds.keep_days, bounds.keep_count, now)
        for watch in list(self.watches.newest()):
            if watches.is_old(watch, now - bounds.keep_days * 86_400):
                await self.store.watches.delete(watch.id)


# A job's times here, and what the rows of squeue and sacct call them.
TIMES = {"submitted_at": "submit_time", "started_at": "start_time", "ended_at": "end_time"}
