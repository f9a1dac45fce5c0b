"""Calls to the file systems of mounts, which may never answer.

Where a file server is gone every call waits until it is back, for hours. So each call has a thread of its mount, of
which there are few, and whoever waits for it is told after a while that the mount does not answer. Until such a call
comes back nothing else is asked of its mount. Which mounts that are is a fact of the machine, so there is one table.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from store.errors import StoreUnavailable

Answer = TypeVar("Answer")

# Seconds that a call may take; and one that looks at many files, or reads large ones.
PATIENCE_S = 5.0
LONG_PATIENCE_S = 60.0
# Calls to one mount at a time; others wait for their turn.
MOST_CALLS = 4
# What must be free before a thread is started: one that finds no memory for its first steps ends unseen.
SPARE_BYTES = 16 * 1024 * 1024


class Calls:
    """The calls to one mount: those that wait, and threads for the rest.

    `late` are those that took too long and go on, `since` (epoch) when the first of them began to.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self.threads = 0
        self.late: set[Future[Any]] = set()
        self.since = 0.0

    def start(self, call: Callable[[], Any]) -> Future[Any]:
        """Let a thread make the call; raise StoreUnavailable if the mount hangs."""
        self.require_answering()
        future: Future[Any] = Future()
        with self.lock:
            if self.threads < MOST_CALLS:
                mmap.mmap(-1, SPARE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
                # Ends with the process, whatever it waits for.
                threading.Thread(target=self._make_calls, name="mount", daemon=True).start()
                self.threads += 1
            self.waiting.append((future, call))
        return future

    def _make_calls(self) -> None:
        while True:
            with self.lock:
                if not self.waiting:
                    self.threads -= 1
                    return
                future, call = self.waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

    def give_up(self, future: Future[Any]) -> None:
        """Wait no longer; if the call has begun, the mount hangs until its end."""
        if future.cancel() or future.done():
            return
        with self.lock:
            self.since = self.since if self.late else time.time()
            self.late.add(future)
        future.add_done_callback(self._forget)

    def _forget(self, future: Future[Any]) -> None:
        with self.lock:
            self.late.discard(future)

    def require_answering(self) -> None:
        """Raise StoreUnavailable while a call of the mount takes too long."""
        if self.late:
            raise StoreUnavailable(errno.ETIMEDOUT, "the mount's file system does not answer")


_by_root: dict[Path, Calls] = {}


def _find_calls(root: Path) -> Calls:
    return _by_root.setdefault(root, Calls())


def find_hang(root: Path) -> float | None:
    """Return since when (epoch) the mount does not answer; None if it does."""
    calls = _by_root.get(root)
    return calls.since if calls is not None and calls.late else None


async def run_call(root: Path, call: Callable[..., Answer], *given: Any, patience_s: float | None = None) -> Answer:
    """Make the call in a thread of the mount with this root.

    Raises StoreUnavailable when it takes too long: then it goes on, and what it does counts.
    """
    calls, patience_s = _find_calls(root), patience_s or PATIENCE_S
    future = calls.start(partial(call, *given))
    answer = asyncio.wrap_future(future)
    try:
        await asyncio.wait({answer}, timeout=patience_s)
        if answer.done():
            return answer.result()
    except asyncio.CancelledError:  # nobody waits any more, but it still keeps a thread
        asyncio.get_running_loop().call_later(patience_s, calls.give_up, future)
        raise
    finally:
        answer.cancel()
    return _take_answer(calls, future)


async def run_below(
    roots: Iterable[str | Path],
    path: str | Path,
    call: Callable[..., Answer],
    *given: Any,
    patience_s: float | None = None,
) -> Answer:
    """Make a call about a path that may lie in one of these mounts.

    See `run_call`.
    """
    root = find_root(path, roots)
    if root is None:
        return await asyncio.to_thread(call, *given)
    return await run_call(root, call, *given, patience_s=patience_s)


def ask_mount(root: Path, call: Callable[..., Answer], *given: Any, patience_s: float | None = None) -> Answer:
    """Make the call in a thread of the mount; wait in this one.

    See `run_call`.
    """
    answer = ask_each([(root, partial(call, *given))], patience_s)[0]
    if isinstance(answer, StoreUnavailable):
        raise answer
    return answer


def ask_each(
    asked: Iterable[tuple[Path, Callable[[], Answer]]], patience_s: float | None = None
) -> list[Answer | StoreUnavailable]:
    """Make calls to several mounts at once; return answers or errors.

    See `ask_mount`.
    """
    begun: list[tuple[Calls, Future[Answer]]] = []
    for root, call in asked:
        calls, future = _find_calls(root), Future[Answer]()
        try:
            future = calls.start(call)
        except StoreUnavailable as problem:
            future.set_exception(problem)
        begun.append((calls, future))
    wait_for_futures([future for _, future in begun], timeout=patience_s or PATIENCE_S)
    answers: list[Answer | StoreUnavailable] = []
    for calls, future in begun:
        try:
            answers.append(_take_answer(calls, future))
        except StoreUnavailable as problem:
            answers.append(problem)
    return answers


def find_root(path: str | Path, roots: Iterable[str | Path]) -> Path | None:
    """Find which of these mounts the path lies in, by its name."""
    return next((Path(root) for root in roots if Path(os.path.normpath(path)).is_relative_to(root)), None)


def ask_below(roots: Iterable[str | Path], path: str | Path, call: Callable[..., Answer], *given: Any) -> Answer:
    """Make a call about a path that may lie in one of these mounts.

    See `ask_mount`. A call about another path is made in this thread.
    """
    root = find_root(path, roots)
    return call(*given) if root is None else ask_mount(root, call, *given)


def _take_answer(calls: Calls, future: Future[Answer]) -> Answer:
    """Take the answer of a call for which there was time enough."""
    calls.give_up(future)
    if future.cancelled():
        raise StoreUnavailable(errno.ETIMEDOUT, "the mount's file system is busy")
    if not future.done():
        calls.require_answering()
    return future.result()
