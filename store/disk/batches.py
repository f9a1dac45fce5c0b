"""Work that gathers while the disk is busy; one thread does it together."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.disk.reading import Stamp

# All files of a batch are open until all are fsynced.
MAX_BATCH = 128
# So many files are fsynced at once: the kernel makes one commit of those that wait together.
SYNCED_AT_ONCE = 8


@dataclass(eq=False, slots=True)
class Line:
    """A line to append to a log, in one write or not at all.

    One that `is_synced` is on disk when it is told that it is written.
    """

    path: Path
    data: bytes
    is_synced: bool = False
    is_written: bool = False
    error: Exception | None = None


@dataclass(eq=False, slots=True)
class FileChange:
    """One file to write (`data`) or delete (`data` None), and its progress.

    `line` tells of it in a log, in the same commit: it is there when the change is, and what becomes of it does not
    matter to the change.
    """

    path: Path
    data: bytes | None
    exclusive: bool = False
    line: Line | None = None
    fd: int = -1
    temporary: str | None = None
    backup: str | None = None
    replaced: bool = False
    placed: bool = False
    stamp: Stamp | None = None
    error: Exception | None = None


@dataclass(eq=False, slots=True)
class Request:
    """What one caller wants, and the future of its loop that it waits for."""

    wanted: Any
    answer: asyncio.Future[None]


class Batches:
    """One thread that does what is wanted, all that waits at a time.

    `perform(wanted)` does it and raises nothing: what goes wrong it notes in what was wanted. `tidy()` does a little of
    what can wait until nothing else is wanted, and returns whether there is more.
    """

    def __init__(self, perform: Callable[[list[Any]], None], tidy: Callable[[], bool] = lambda: False) -> None:
        self.perform, self.tidy = perform, tidy
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.start_lock = threading.Lock()
        self.shared: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()  # what helpers take a part in
        self.helpers: list[threading.Thread] = []
        self.help_lock, self.has_ended = threading.Lock(), False

    async def add(self, wanted: Any) -> None:
        """Wait until this was performed; it is, also if the caller is cancelled."""
        request = Request(wanted, asyncio.get_running_loop().create_future())
        with self.start_lock:
            if self.thread is None:
                thread = threading.Thread(target=self._perform_forever, name="store-writer", daemon=True)
                thread.start()
                self.thread = thread
            self.requests.put(request)
        await request.answer

    def close(self) -> None:
        """End the threads after they have done all requests."""
        with self.start_lock:
            if self.thread is not None:
                self.requests.put(None)
                self.thread.join()
                self.thread = None
        with self.help_lock:
            self.has_ended = True
            for _ in self.helpers:
                self.shared.put(None)
        for helper in self.helpers:
            helper.join()

    def run_side_by_side(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Run jobs, which raise nothing, in this thread and others that help."""
        if len(jobs) < 2:
            run_in_turn(jobs)
            return
        waiting, done, all_done = deque(jobs), itertools.count(1), threading.Lock()
        all_done.acquire()

        def work() -> None:
            while True:
                try:
                    job = waiting.popleft()
                except IndexError:
                    return
                try:
                    job()
                finally:
                    if next(done) == len(jobs):
                        all_done.release()

        for _ in range(self._count_helpers(min(len(jobs), SYNCED_AT_ONCE) - 1)):
            self.shared.put(work)
        work()
        all_done.acquire()

    def _count_helpers(self, wanted: int) -> int:
        """Count the threads that can help, up to as many as wanted; start them."""
        with self.help_lock:
            if self.has_ended:
                return 0
            with contextlib.suppress(RuntimeError):  # no thread can be started now
                while len(self.helpers) < wanted:
                    helper = threading.Thread(target=self._join_work, name="store-sync", daemon=True)
                    helper.start()
                    self.helpers.append(helper)
            return min(len(self.helpers), wanted)

    def _join_work(self) -> None:
        """Take a part in what is shared, until None."""
        while (work := self.shared.get()) is not None:
            work()

    def _perform_forever(self) -> None:
        """Take requests from the queue and perform them in batches, until None."""
        while (first := self.requests.get()) is not None:
            batch, ending = [first], False
            while len(batch) < MAX_BATCH and not ending:
                try:
                    more = self.requests.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ending = True
                else:
                    batch.append(more)
            self.perform([request.wanted for request in batch])
            for loop in {request.answer.get_loop() for request in batch}:
                answers = [request.answer for request in batch if request.answer.get_loop() is loop]
                with contextlib.suppress(RuntimeError):  # it has ended
                    loop.call_soon_threadsafe(_wake_all, answers)
            while self.requests.empty() and self.tidy():
                pass
            if ending:
                break
        while self.tidy():
            pass


def run_in_turn(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the jobs one after the other in this thread."""
    for job in jobs:
        job()


def _wake_all(answers: Sequence[asyncio.Future[None]]) -> None:
    """Wake those who still wait for these answers."""
    for answer in answers:
        if not answer.done():
            answer.set_result(None)
