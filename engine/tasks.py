"""Work beside the requests: locks by key, tasks, supervision, signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, TypeVar

from slurm_shim.errors import SlurmError
from store.config.log_format import Throttle
from store.errors import NotFound, StoreError, explain_starvation
from store.kinds import Key

log = logging.getLogger("sluice")

# A task that ended by an unexpected exception starts again after so long, and after twice as long each time that it
# ends again so soon; one that went on for longer than the longest pause begins anew.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Work = Callable[[], Awaitable[Any]]
StartTask = Callable[[str, Work], asyncio.Task[None]]


class Locks:
    """A lock for each key that somebody works on."""

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[Key, asyncio.Lock] = weakref.WeakValueDictionary()

    def hold(self, key: Key) -> asyncio.Lock:
        """Return the lock of this key, for an `async with`."""
        return self._locks.setdefault(key, asyncio.Lock())

    def is_held(self, key: Key) -> bool:
        """Return whether somebody works on this key now."""
        lock = self._locks.get(key)
        return lock is not None and lock.locked()


class Gatherer(Generic[Asked, Answered]):
    """Questions of many, answered several at a time.

    `answer(questions)` answers at most `most` in one call. Questions wait while `at_once` calls are under way, and then
    go together. Where one fails that has several, each of them is asked alone.
    """

    def __init__(
        self, answer: Callable[[list[Asked]], Awaitable[Sequence[Answered]]], most: int, at_once: int = 1
    ) -> None:
        self._answer, self._most, self._at_once = answer, most, at_once
        self._waiting: list[tuple[Asked, asyncio.Future[Answered]]] = []
        self._under_way, self._tasks = 0, set[asyncio.Task[None]]()

    async def ask(self, question: Asked) -> Answered:
        """Return the answer to one question, or raise what its call has raised."""
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._under_way < self._at_once:
            self._under_way += 1
            task = asyncio.create_task(self._answer_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _answer_waiting(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if not await self._answer_all(asked) and len(asked) > 1:
                    for each in asked:
                        await self._answer_all([each])
        finally:
            self._under_way -= 1

    async def _answer_all(self, asked: list[tuple[Asked, asyncio.Future[Answered]]]) -> bool:
        """Answer these questions in one call; tell of a failure only to one alone."""
        try:
            answers = await self._answer([question for question, _answer in asked])
        except Exception as problem:
            if len(asked) == 1 and not asked[0][1].done():
                asked[0][1].set_exception(problem)
            return False
        for (_question, future), answer in zip(asked, answers, strict=True):
            if not future.done():  # whoever asked may have gone
                future.set_result(answer)
        return True


class Tasks:
    """At most one task for each key.

    `on_asked_again(key)` is called when a task is over that was asked for once more meanwhile, `on_failure(key)` when
    one has failed. `now` is for tests.
    """

    def __init__(
        self,
        on_asked_again: Callable[[Key], None],
        on_failure: Callable[[Key], None],
        now: Callable[[], float] | None = None,
    ) -> None:
        self._on_asked_again, self._on_failure = on_asked_again, on_failure
        self._failures = Throttle(most=math.inf, now=now)  # however many fail at once, each is logged once
        self._asked_again: set[Key] = set()
        self.running: dict[Key, asyncio.Task[None]] = {}

    def spawn(self, key: Key, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[None]:
        """Begin the work; one task for each key.

        While the same is still going on, have it asked for again when that is over.
        """
        if key in self.running:
            self._asked_again.add(key)
            return self.running[key]
        task = self.running[key] = asyncio.create_task(self.guard(key, work))
        task.add_done_callback(lambda _task: self._end(key))
        return task

    def _end(self, key: Key) -> None:
        self.running.pop(key, None)
        if key in self._asked_again:
            self._asked_again.discard(key)
            self._on_asked_again(key)

    async def guard(self, key: Key, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do the work; log a failure and have the work asked for again.

        The same failure of the same work is logged once in a minute.
        """
        try:
            await work()
        except NotFound:
            log.debug("%s was deleted meanwhile", key)
        except Exception as raised:
            problem = explain_starvation(raised)
            if self._failures.admit((key, repr(problem))):
                if isinstance(problem, StoreError | SlurmError):
                    log.warning("%s waits: %s", key, problem)
                else:
                    log.exception("%s failed", key)
            self._on_failure(key)

    async def stop(self) -> None:
        """End all tasks."""
        await asyncio.gather(*(end_task(task) for task in self.running.values()))


class Supervisor:
    """Tasks that never end.

    One that ends by an unexpected exception is logged and started again. `now` and `pause` are for tests.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, pause: Callable[[float], Awaitable[Any]] = asyncio.sleep
    ) -> None:
        self._now = now
        self._pause = pause
        self._failures: dict[str, tuple[float, str]] = {}

    @property
    def problems(self) -> dict[str, str]:
        """The error of each task that failed within LONGEST_PAUSE_S, by its name."""
        since = self._now() - LONGEST_PAUSE_S
        return {name: error for name, (failed_at, error) in self._failures.items() if failed_at >= since}

    def start(self, name: str, work: Work) -> asyncio.Task[None]:
        """Start the task of this name."""
        return asyncio.create_task(self.supervise(name, work), name=name)

    async def supervise(self, name: str, work: Work) -> None:
        """Do the work until it returns; restart it after failures."""
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                began = self._now()
                try:
                    await work()
                except Exception as error:
                    log.exception("the task %s failed and is started again", name)
                    self._failures[name] = self._now(), f"{type(error).__name__}: {error}"
                else:
                    return
                pause_s = FIRST_PAUSE_S if self._now() - began > LONGEST_PAUSE_S else pause_s
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._failures.pop(name, None)


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, or so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end_task(task: asyncio.Task[Any], patience_s: float = 1.0) -> None:
    """Cancel the task and wait until it is over."""
    # Again and again: a cancellation that meets the end of what is awaited may get lost on its way.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience_s)
    if not task.cancelled():
        task.result()


@contextlib.contextmanager
def call_on_signal(function: Callable[[], None]) -> Iterator[None]:
    """Call the function as soon as the process is told to end.

    Servers wait for open requests before they end the lifespan. Whoever handled the signal before is called too.
    """
    loop, before = asyncio.get_running_loop(), dict[int, Any]()

    def handle(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(function)
        before[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        before = {number: handler for number, handler in before.items() if callable(handler)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
