"""A store with notifications and without a server: it may die at any write, and its messages go nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from engine.notify.notifications import Notifications
from engine.notify.webhooks import Answer, NoAnswer
from engine.tasks import StartTask, Work
from store.documents import JobRecord
from store.indexes.jobs import JobIndex
from store.indexes.sweeps import SweepIndex
from store.rules import deliveries, watches
from store.rules.deliveries import Delivery
from store.rules.jobs.views import JobView
from store.rules.watches import Watch
from store.store import Store
from store.times import to_rfc3339

NOW = 1_800_000_000.0
AT = to_rfc3339(NOW) or ""
REF = "job:local:42"


def watch(*subscriptions: tuple[int, str], **more: Any) -> Watch:
    made = watches.build_watch("job", "42", "c", REF, NOW).model_copy(update={"id": "1", **more})
    for number, (endpoint_id, preset) in enumerate(subscriptions, 1):
        made = watches.add_subscription(made, number, endpoint_id, preset, NOW)
    return made


class Died(Exception):
    """This process is no more."""


class Mortal:
    """The functions of os, until so many files were put into place; then nothing reaches the disk any more."""

    def __init__(self, lives: int) -> None:
        self.left = lives

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("rename", "link"):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            # A second name for the old file is no step of its own.
            if name == "rename" or not str(args[1]).endswith(".old"):
                if self.left <= 0:
                    raise Died
                self.left -= 1
            return real(*args, **kwargs)

        return call


class Receivers:
    """Stands in for the network: `silent` requests are taken and not answered."""

    def __init__(self, silent: int = 0) -> None:
        self.got: Counter[tuple[str, str]] = Counter()
        self.silent = silent

    async def post(self, url: str, headers: dict[str, str], body: bytes, allowed: Any, handed: Any) -> Answer:
        await handed()
        self.got[url.partition("://")[2].partition("/")[0], headers["Idempotency-Key"]] += 1
        if self.silent:
            self.silent -= 1
            raise NoAnswer("silence")
        return Answer(200)

    def close(self) -> None:
        """Nothing to close."""


def start_once(_name: str, work: Work) -> asyncio.Task[Any]:
    """Start a task that nobody starts again when it fails."""
    return asyncio.ensure_future(work())


class Life:
    """A store and its notifications from one start to the next."""

    def __init__(self, root: Path, receivers: Receivers, start_task: StartTask = start_once) -> None:
        self.ops = Mortal(10**9)
        self.store = Store(root, ops=self.ops, poll=True)
        self.job_index = JobIndex()
        for folder in (self.store.runs, self.store.jobs):
            folder.listeners.append(lambda _name, old, new: self.job_index.follow(old, new))
        self.locks: dict[str, asyncio.Lock] = {}
        self.notifications = Notifications(
            self.store,
            self.job_index,
            SweepIndex(self.store.sweeps.get, self.store.runs.get),
            lambda: "c",
            lambda *_: JobView("unknown"),
            lambda name: self.locks.setdefault(name, asyncio.Lock()),  # type: ignore[arg-type, return-value]
            start_task,
            receivers,  # type: ignore[arg-type]
        )

    async def quiet(self) -> None:
        """Wait until there is nothing left to tell or to send."""
        await self.notifications.catch_up()
        for _ in range(60):
            await self.notifications.run_once()
            tasks = [task for _, task in self.notifications.outbox.sending.values()]
            if not tasks and not self.notifications.changed and not self.notifications.outbox.unfinished:
                return
            await asyncio.gather(*tasks)
            if self.ops.left <= 0:
                raise Died
        raise AssertionError("it never gets quiet")

    async def put_job(self, state: str) -> None:
        times = {"started_at": AT, "ended_at": AT if state == "COMPLETED" else None}
        record = JobRecord(id="j", cluster="c", name="n", job_id="42", state=state, submitted_at=AT, **times)
        await self.store.jobs.put("j", record)


ENDPOINTS = {
    1: "kind: webhook\nname: own\nwebhook_url: https://example.org/\n",
    2: "kind: slack_webhook\nname: slack\nwebhook_url: https://hooks.slack.com/services/T/B/x\n",
}


def begin(root: Path) -> None:
    """A store with two endpoints that hear everything of one job."""
    for folder in ("endpoints", "watches"):
        (root / folder).mkdir(parents=True)
    for number, text in ENDPOINTS.items():
        (root / "endpoints" / f"{number}.yaml").write_text(text)
    (root / "watches" / "1.json").write_text(watch((1, "all"), (2, "all")).model_dump_json())


async def live(root: Path, receivers: Receivers, lives: int = 10**9) -> int:
    """How many writes were left when the job was over and everything was told; -1 when the process died before."""
    life = Life(root, receivers)
    life.store.open()
    life.ops.left = lives
    try:
        for state in ("RUNNING", "COMPLETED"):
            await life.put_job(state)
            await life.quiet()
        return life.ops.left
    except Died:
        return -1
    finally:
        life.ops.left = 10**9  # only so that nothing waits at the end; nothing is written any more
        await life.store.close()


def documents(root: Path) -> list[Delivery]:
    return [deliveries.parse_delivery(path.read_bytes(), path.stem) for path in (root / "deliveries").glob("*.json")]


@contextlib.asynccontextmanager
async def open_life(root: Path, receivers: Receivers | None = None) -> AsyncIterator[Life]:
    """Open the store and its notices; close it at the end."""
    life = Life(root, receivers or Receivers())
    life.store.open()
    try:
        yield life
    finally:
        await life.store.close()
