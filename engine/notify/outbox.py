"""The outbox: deliveries are written down, claimed and sent.

The rules in store/rules/deliveries.py decide what becomes of a delivery; this module carries it out.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import importlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from engine.notify.webhooks import TIMEOUT_S, NoAnswer, NotSent, Sender
from engine.tasks import StartTask
from store import errors
from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.rules import deliveries, endpoints, messages
from store.rules.deliveries import Delivery
from store.store import Store

log = logging.getLogger("sluice.notifications")

PAUSE_S = 1.0
AT_ONCE = 8


class Numbers:
    """The numbers that name a folder's files, and the largest ever used."""

    def __init__(self, folder: Folder) -> None:
        self.folder, self.last = folder, 0
        self.known: list[int] = []
        folder.listeners.append(self._follow)

    def _follow(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        if not name.isdigit() or (old is None) == (new is None):
            return
        if new is not None:
            bisect.insort(self.known, int(name))
            self.reserve(int(name))
        else:
            self.known.remove(int(name))

    def reserve(self, number: int) -> None:
        """Reserve a number that something names, even when its file is gone."""
        self.last = max(self.last, number)

    def take_next(self) -> int:
        """Return a number that was never used."""
        self.last += 1
        return self.last

    def list_newest(self) -> Iterator[Any]:
        """Yield the documents, the largest number first."""
        return (self.folder.get(str(number)) for number in reversed(self.known))


class Outbox:
    """All deliveries, sent or not.

    `on_change()` is called when there may be something to do, `start_task` starts the task of a delivery and does it
    again when it fails.
    """

    def __init__(self, store: Store, sender: Sender, on_change: Callable[[], None], start_task: StartTask) -> None:
        self.store, self.sender, self.on_change, self.start_task = store, sender, on_change, start_task
        self.worker = secrets.token_hex(6)
        self.numbers = Numbers(store.deliveries)
        self.keys: dict[tuple[int, str], str] = {}
        self.unfinished: set[str] = set()
        self.sending: dict[str, tuple[int, asyncio.Task[None]]] = {}
        store.deliveries.listeners.append(self._follow_delivery)

    def _follow_delivery(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        self.unfinished.discard(name)
        if old is not None:
            self.keys.pop((old.document.endpoint_id, old.document.idempotency_key), None)
        if new is not None:
            delivery: Delivery = new.document
            self.keys[delivery.endpoint_id, delivery.idempotency_key] = name
            if delivery.status not in deliveries.OVER:
                self.unfinished.add(name)
        self.on_change()

    def get(self, number: int) -> Delivery:
        """Return the delivery of this number; raise NotFound."""
        if str(number) not in self.store.deliveries:
            raise endpoints.UnknownNumber("delivery", number)
        found: Delivery = self.store.deliveries.get(str(number))
        return found

    def list_deliveries(self, subscription_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
        """List deliveries, newest first; of one subscription or state if given."""
        found = (
            delivery
            for delivery in self.numbers.list_newest()
            if subscription_id in (None, delivery.subscription_id) and status in (None, delivery.status)
        )
        return [deliveries.to_json(delivery) for delivery in itertools.islice(found, limit)]

    def count_stuck(self, older_than_s: float, now: float) -> int:
        """Count the deliveries that are overdue by this long."""
        waiting = (self.store.deliveries.get(name) for name in self.unfinished)
        return sum(deliveries.is_stuck(delivery, older_than_s, now) for delivery in waiting)

    def find(self, number: int | None) -> Delivery | None:
        """Return the delivery of this number; None if it is gone."""
        found: Delivery | None = (
            self.store.deliveries.get(str(number)) if str(number) in self.store.deliveries else None
        )
        return found

    async def add(self, delivery: Delivery) -> int:
        """Write a delivery, unless its endpoint has one for this event already.

        Return its number.
        """
        key = (delivery.endpoint_id, delivery.idempotency_key)
        if key in self.keys:
            return int(self.keys[key])
        delivery.id = self.keys[key] = str(self.numbers.take_next())
        try:
            await self.store.deliveries.create(delivery.id, delivery)
        except BaseException:
            self.keys.pop(key, None)
            raise
        return int(delivery.id)

    def send_due(self, now: float) -> None:
        """Start to send what is due, as far as there is room."""
        for name in sorted(self.unfinished, key=int):
            if len(self.sending) >= AT_ONCE:
                return
            delivery: Delivery = self.store.deliveries.get(name)
            busy = {number for number, _ in self.sending.values()}
            # One at a time for each endpoint: in order, and a receiver that hangs holds up only one.
            is_early = delivery.status == "pending" and not deliveries.is_due(delivery, now)
            is_silent = delivery.report_id is None and not self.store.config.webhooks.deliver
            if delivery.endpoint_id in busy or is_early or is_silent:
                continue
            task = self.start_task(f"delivery {name}", functools.partial(self._send_guarded, name))
            self.sending[name] = (delivery.endpoint_id, task)
            task.add_done_callback(functools.partial(self._forget_task, name))

    def _forget_task(self, name: str, _task: asyncio.Task[None]) -> None:
        self.sending.pop(name, None)
        self.on_change()

    async def _send_guarded(self, name: str) -> None:
        try:
            await self.send(name)
        except errors.NotFound:
            log.debug("delivery %s was deleted meanwhile", name)
        except errors.StoreError as problem:
            log.warning("delivery %s waits: %s", name, problem)
            await asyncio.sleep(PAUSE_S)

    async def send(self, name: str) -> None:
        """Make one attempt, if possible, and write down how it went."""
        delivery: Delivery = self.store.deliveries.get(name)
        if delivery.report_id is not None:
            return await self._send_mail(delivery)
        endpoint, folder = self._find_endpoint(delivery.endpoint_id), self.store.endpoints
        if endpoint is None and folder.choose_filename(str(delivery.endpoint_id)) in folder.file_states:
            return await asyncio.sleep(PAUSE_S)  # its file is invalid now
        if delivery.status == "sending":
            # Only this process writes here, and no task of it has this delivery: its sender is gone.
            kind = endpoint.kind if endpoint else "slack_webhook"
            return await self._save(deliveries.recover_delivery(delivery, kind, time.time()))
        if endpoint is None or endpoint.disabled_at is not None:
            why = "the endpoint was deleted" if endpoint is None else "the endpoint is disabled"
            return await self._save(deliveries.abandon_delivery(delivery, why))
        delivery = deliveries.claim_delivery(delivery, self.worker, time.time())
        await self._save(delivery)
        await self._record(await self._attempt(delivery, endpoint))
        return None

    async def _send_mail(self, delivery: Delivery) -> None:
        """Make one attempt to send a report by e-mail."""
        if delivery.status == "sending":
            return await self._save(deliveries.recover_delivery(delivery, "email", time.time()))
        # With its library, only for who sends any, and off the event loop: that takes a while.
        mail: Any = await asyncio.to_thread(importlib.import_module, "engine.notify.mail")
        delivery = deliveries.claim_delivery(delivery, self.worker, time.time())
        await self._save(delivery)

        async def save_handed() -> None:
            await self._save(deliveries.mark_handed(delivery, time.time()))

        try:
            await mail.send_report(self.store, delivery, save_handed)
        except mail.Refused as problem:
            return await self._record(deliveries.abandon_delivery(delivery, str(problem)))
        except NotSent as problem:
            return await self._record(deliveries.retry_or_abandon(delivery, str(problem), time.time()))
        except NoAnswer as problem:
            return await self._record(deliveries.mark_unanswered(delivery, "email", str(problem), time.time()))
        return await self._record(deliveries.mark_delivered(delivery, time.time()))

    def _find_endpoint(self, number: int) -> endpoints.Endpoint | None:
        name = str(number)
        found: endpoints.Endpoint | None = self.store.endpoints.get(name) if name in self.store.endpoints else None
        return found

    async def _attempt(self, delivery: Delivery, endpoint: endpoints.Endpoint) -> Delivery:
        """Make an attempt; return the delivery with its outcome, not yet written."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Sluice",
            "Idempotency-Key": delivery.idempotency_key,
        }
        sent, allowed = messages.build_body(endpoint.kind, delivery), self.store.config.webhooks.allow_hosts

        async def save_handed() -> None:
            await self._save(deliveries.mark_handed(delivery, time.time()))

        try:
            answer = await self.sender.post(endpoint.webhook_url, headers, sent, allowed, save_handed)
        except NotSent as problem:
            return deliveries.retry_or_abandon(delivery, str(problem), time.time())
        except NoAnswer as problem:
            return deliveries.mark_unanswered(delivery, endpoint.kind, str(problem), time.time())
        if answer.is_accepted:
            return deliveries.mark_delivered(delivery, time.time())
        return deliveries.retry_or_abandon(delivery, str(answer), time.time(), answer.wait_s)

    async def _record(self, delivery: Delivery) -> None:
        """Write the outcome of an attempt, however long the disk takes.

        Lost, it would be sent again.
        """
        while True:
            try:
                return await self._save(delivery)
            except errors.StoreUnavailable as problem:
                log.warning("the outcome of delivery %s cannot be written: %s", delivery.id, problem)
                await asyncio.sleep(PAUSE_S)

    async def _save(self, delivery: Delivery) -> None:
        await self.store.deliveries.put(delivery.id, delivery)

    async def remove_old(self, days: float, count: int, now: float) -> None:
        """Remove finished deliveries that are too old or too many."""
        known = [entry.document for entry in self.store.deliveries.iterate_entries()]
        for name in list(deliveries.list_expired(known, days, count, now)):
            await self.store.deliveries.delete(name)

    async def stop(self) -> None:
        """Wait for running attempts, which end soon; then close the sender."""
        tasks = [task for _, task in self.sending.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=TIMEOUT_S + PAUSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.sender.close()
