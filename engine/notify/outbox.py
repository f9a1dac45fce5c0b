"""The outbox and its sending: deliveries are written down, claimed, sent, and how it went is written down.

What becomes of a delivery is decided by the rules in store/rules/deliveries.py; here is what they need done.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from engine.notify.webhooks import TIMEOUT_S, NoAnswer, NotSent, Sender
from store import errors
from store.disk.folders import FileEntry, Folder
from store.rules import deliveries, endpoints, messages
from store.rules.deliveries import Delivery
from store.store import Store

log = logging.getLogger("sluice.notices")

PAUSE_S = 1.0
AT_ONCE = 8


class Numbers:
    """The numbers that are names in a folder, ascending, and the largest that was seen there or is named elsewhere."""

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
        """Nothing; the number is taken, also when nothing of that name is left."""
        self.last = max(self.last, number)

    def take_next(self) -> int:
        """A number that nobody has had."""
        self.last += 1
        return self.last

    def list_newest(self) -> Iterator[Any]:
        """The documents, the largest number first."""
        return (self.folder.get(str(number)) for number in reversed(self.known))


class Outbox:
    """Everything that is to be sent, or was. `stirred()` is called when there may be something to do."""

    def __init__(self, store: Store, sender: Sender, stirred: Callable[[], None]) -> None:
        self.store, self.sender, self.on_change = store, sender, stirred
        self.worker = secrets.token_hex(6)
        self.numbers = Numbers(store.deliveries)
        self.keys: dict[tuple[int, str], str] = {}
        self.unfinished: set[str] = set()
        self.sending: dict[str, tuple[int, asyncio.Task[None]]] = {}
        store.deliveries.listeners.append(self._changed)

    def _changed(self, name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        self.unfinished.discard(name)
        if old is not None:
            self.keys.pop((old.document.endpoint_id, old.document.idempotency_key), None)
        if new is not None:
            one: Delivery = new.document
            self.keys[one.endpoint_id, one.idempotency_key] = name
            if one.status not in deliveries.OVER:
                self.unfinished.add(name)
        self.on_change()

    def get(self, number: int) -> Delivery:
        """The delivery of this number; NotFound."""
        if str(number) not in self.store.deliveries:
            raise endpoints.UnknownNumber("delivery", number)
        found: Delivery = self.store.deliveries.get(str(number))
        return found

    def list_deliveries(self, subscription_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
        """The deliveries as answers show them, newest first; those of a subscription or in a state where asked."""
        found = (
            one
            for one in self.numbers.list_newest()
            if subscription_id in (None, one.subscription_id) and status in (None, one.status)
        )
        return [deliveries.to_json(one) for one, _ in zip(found, range(limit), strict=False)]

    def count_stuck(self, older_than_s: float, now: float) -> int:
        """How many should have gone on so long ago and did not."""
        waiting = (self.store.deliveries.get(name) for name in self.unfinished)
        return sum(deliveries.is_stuck(one, older_than_s, now) for one in waiting)

    async def add(self, one: Delivery) -> None:
        """Nothing; the delivery is durable, unless its endpoint has one for this event already."""
        key = (one.endpoint_id, one.idempotency_key)
        if key in self.keys:
            return
        one.id = self.keys[key] = str(self.numbers.take_next())
        try:
            await self.store.deliveries.create(one.id, one)
        except BaseException:
            self.keys.pop(key, None)
            raise

    def send_due(self, now: float) -> None:
        """Nothing; everything that is due is on its way, as far as there is room for it."""
        for name in sorted(self.unfinished, key=int):
            if len(self.sending) >= AT_ONCE:
                return
            one: Delivery = self.store.deliveries.get(name)
            busy = {number for number, _ in self.sending.values()}
            # One after the other for each endpoint: in order, and no more than one hangs with a receiver that hangs.
            if one.endpoint_id in busy or (one.status == "pending" and not deliveries.is_due(one, now)):
                continue
            task = asyncio.create_task(self._looked_after(name))
            self.sending[name] = (one.endpoint_id, task)
            task.add_done_callback(functools.partial(self._sent, name))

    def _sent(self, name: str, _task: asyncio.Task[None]) -> None:
        self.sending.pop(name, None)
        self.on_change()

    async def _looked_after(self, name: str) -> None:
        try:
            await self.send(name)
        except errors.NotFound:
            log.debug("delivery %s was deleted meanwhile", name)
        except errors.StoreError as problem:
            log.warning("delivery %s waits: %s", name, problem)
            await asyncio.sleep(PAUSE_S)
        except Exception:
            log.exception("delivery %s stumbled", name)
            await asyncio.sleep(PAUSE_S)

    async def send(self, name: str) -> None:
        """Nothing; one attempt was made, or could not be, and how it went is durable."""
        one: Delivery = self.store.deliveries.get(name)
        endpoint, folder = self._endpoint(one.endpoint_id), self.store.endpoints
        if endpoint is None and folder.choose_filename(str(one.endpoint_id)) in folder.file_states:
            return await asyncio.sleep(PAUSE_S)  # its file cannot be read now
        if one.status == "sending":
            # Only this process writes here and no task of it has this delivery: whoever had it is gone.
            kind = endpoint.kind if endpoint else "slack_webhook"
            return await self._keep(deliveries.recover_delivery(one, kind, time.time()))
        if endpoint is None or endpoint.disabled_at is not None:
            why = "the endpoint was deleted" if endpoint is None else "the endpoint is disabled"
            return await self._keep(deliveries.abandon_delivery(one, why))
        one = deliveries.claim_delivery(one, self.worker, time.time())
        await self._keep(one)
        await self._record(await self._attempt(one, endpoint))
        return None

    def _endpoint(self, number: int) -> endpoints.Endpoint | None:
        name = str(number)
        found: endpoints.Endpoint | None = self.store.endpoints.get(name) if name in self.store.endpoints else None
        return found

    async def _attempt(self, one: Delivery, endpoint: endpoints.Endpoint) -> Delivery:
        """The delivery after an attempt whose outcome is not written down yet."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Sluice",
            "Idempotency-Key": one.idempotency_key,
        }
        sent, allowed = messages.build_body(endpoint.kind, one), self.store.config.webhooks.allow_hosts

        async def handed() -> None:
            await self._keep(deliveries.mark_handed(one, time.time()))

        try:
            answer = await self.sender.post(endpoint.webhook_url, headers, sent, allowed, handed)
        except NotSent as problem:
            return deliveries.retry_or_abandon(one, str(problem), time.time())
        except NoAnswer as problem:
            return deliveries.mark_unanswered(one, endpoint.kind, str(problem), time.time())
        if answer.is_accepted:
            return deliveries.mark_delivered(one, time.time())
        return deliveries.retry_or_abandon(one, str(answer), time.time(), answer.wait_s)

    async def _record(self, one: Delivery) -> None:
        """Nothing; how the attempt went is durable, however long the disk takes: it would be made again otherwise."""
        while True:
            try:
                return await self._keep(one)
            except errors.StoreUnavailable as problem:
                log.warning("how delivery %s went cannot be written down: %s", one.id, problem)
                await asyncio.sleep(PAUSE_S)

    async def _keep(self, one: Delivery) -> None:
        await self.store.deliveries.put(one.id, one)

    async def remove_old(self, days: float, count: int, now: float) -> None:
        """Nothing; those that are over and older than `days`, or beyond the newest `count`, are gone."""
        known = [entry.document for entry in self.store.deliveries.iterate_entries()]
        for name in list(deliveries.list_expired(known, days, count, now)):
            await self.store.deliveries.delete(name)

    async def stop(self) -> None:
        """Nothing; attempts that are under way have come to their end, which is soon."""
        tasks = [task for _, task in self.sending.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=TIMEOUT_S + PAUSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.sender.close()
