"""The change feed: numbered changes of everything that lists show.

Changes come from the listeners of folders, from the differences of SLURM's snapshots and from our own actions (see
engine.change_sources). Readers wait here; one that is slow costs nobody anything: it keeps its position in the log and
a few changes, and of each resource it gets the newest change only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from functools import partial
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.errors import TooManyWaiting
from store.indexes.bodies import BoundedCache
from store.rules import changes
from store.rules.changes import Action, Change, ChangeLog, Filter, MakeRow, Position

log = logging.getLogger("sluice.changes")

# So many resources that changed lately are remembered, and so many bytes of their rows and events stay made.
KEPT_CHANGES = 10_000
KEPT_ROWS_BYTES = 8_000_000
# So many changes a reader takes at once.
BATCH = 100
GONE = ("deleted", "reset")
# Of many readers, each but the first has changes collected for so long, so that there is time for others. So many wake
# at once; others have the event loop in between.
PAUSE_PER_READER_S = 0.0005
WOKEN_AT_ONCE = 20
# So many requests may wait for the end of something at once.
MOST_WAITING = 1000
T = TypeVar("T")
HEARTBEAT_S = 15.0
# So long a browser waits before it connects again.
RETRY_MS = 2000


class Changes:
    """The log of changes of one server and its readers.

    It belongs to one event loop. Numbers begin at 1 with each start; `epoch` tells those of one start from those of
    another. `before_reading` functions are called with the filter of each reader that begins.
    """

    def __init__(self, kept: int = KEPT_CHANGES, clock: Callable[[], float] = time.time) -> None:
        self.epoch = changes.to_epoch(int(clock() * 1000))
        self.log = ChangeLog(kept)
        self.heartbeat_s = HEARTBEAT_S
        self.before_reading: list[Callable[[Filter], None]] = []
        self.is_closed = False
        self.readers: set[Reader] = set()
        # What readers were told: by cluster the ids in its queue and the use of its partitions; by file what is wrong.
        self.shown_jobs: WeakKeyDictionary[Any, dict[str, None]] = WeakKeyDictionary()
        self.shown_resources: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self.shown_nodes: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self.shown_problems: dict[str, list[dict[str, Any]]] = {}
        self.planned_resources: WeakKeyDictionary[Any, asyncio.Task[None]] = WeakKeyDictionary()
        # What readers of events with one filter and view share (engine.live.event_stream).
        self.event_tracks: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        # By the view and kind, what makes a row as another API shows it. Without a view it is what all else show: of
        # jobs there are thousands of changes, and none has a function of its own.
        self.views: dict[tuple[str, str], Callable[[Change], Any]] = {}
        self._made = BoundedCache(KEPT_ROWS_BYTES)
        self._memory: tuple[Hashable, Any] = (None, None)
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._wake_timer: asyncio.TimerHandle | None = None
        self._woken_at = 0.0
        self._waiting = 0

    @property
    def position(self) -> Position:
        """The number of the last change, which lists made now hold."""
        return Position(self.epoch, self.log.number)

    def add(self, kind: str, id: str, action: Action, make_row: MakeRow, parent: str | None = None) -> None:
        """Add a change; its row is made when the first reader asks for it."""
        self.log.add(kind, id, action, make_row, parent)
        self._wake_readers()

    def follow_folder(
        self, folder: Folder, kind: str, make_row: Callable[[str], Any], parent: str | None = None
    ) -> None:
        """Add every change of a folder; `make_row` gives the row of a name."""

        def follow(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
            self.add(kind, name, changes.name_action(old, new), partial(make_row, name), parent)

        folder.listeners.append(follow)

    def is_wanted(self, kind: str) -> bool:
        """Tell whether anybody reads changes of this kind at present."""
        return any(reader.wanted.wants_kind(kind) for reader in self.readers)

    def read(self, wanted: Filter, after: Position | None = None) -> Reader:
        """Make a reader of changes from now on, or after this position."""
        return Reader(self, wanted, after)

    async def wait_until(
        self,
        wanted: Filter,
        seconds: float,
        read: Callable[[], Awaitable[T]],
        has_ended: Callable[[T], bool],
    ) -> T:
        """Return what `read` gives once it has ended, or after so many seconds.

        It is read again after each wanted change; the end of the server ends the wait too. Raises TooManyWaiting.
        """
        found = await read()
        if not seconds or has_ended(found):
            return found
        if self._waiting >= MOST_WAITING:
            raise TooManyWaiting
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self.read(wanted) as reader:
                # Once more: it may have ended before the reader began.
                while not has_ended(found := await read()) and await anext(reader, None) is not None:
                    while reader.take() is not None:
                        pass
        except TimeoutError:
            found = await read()
        finally:
            self._waiting -= 1
        return found

    def get_row(self, change: Change, view: str = "") -> bytes:
        """Return the row as JSON, made once for all; `null` if deleted."""
        if change.action in GONE:
            return b"null"
        return self._get_made(change, view)[0]

    def get_event(self, change: Change, view: str = "") -> bytes:
        """Return the server-sent event of the change, made once for all."""
        if change.action in GONE:
            return changes.to_event(self.epoch, change, b"null")
        return self._get_made(change, view)[1]

    def _get_made(self, change: Change, view: str) -> tuple[bytes, bytes]:
        """Return the row of a change and its event, made once for all."""
        view = view if (view, change.kind) in self.views else ""
        make, key = self.views.get((view, change.kind)), (change.number, view)
        made: tuple[bytes, bytes] | None = self._made.get(key)
        if made is None:
            try:
                row = changes.to_row(change) if make is None else changes.to_bytes(make(change))
            except Exception:
                # One row's defect must not end a stream: the reader hears at least of the change.
                log.exception("the row of %s '%s' could not be made", change.kind, change.id)
                row = b"null"
            made = row, changes.to_event(self.epoch, change, row)
            self._made.put(key, made, len(made[0]) + len(made[1]))
        return made

    def memorize(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made last under this key, or make it."""
        if self._memory[0] != key:
            self._memory = (key, make())
        return self._memory[1]

    def close(self) -> None:
        """End all readers, also those that come later."""
        self.is_closed = True
        self._wake_readers()

    async def wait(self) -> None:
        """Wait for the next change, or for the end."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    def _wake_readers(self) -> None:
        """Wake all who wait, soon: what changes meanwhile is told with it."""
        if self._waiters and self._wake_timer is None:
            loop = asyncio.get_running_loop()
            due_s = self._woken_at + PAUSE_PER_READER_S * (len(self._waiters) - 1)
            self._wake_timer = loop.call_at(max(due_s, loop.time()), self._begin_waking, loop)

    def _begin_waking(self, loop: asyncio.AbstractEventLoop) -> None:
        woken, self._waiters = deque(self._waiters), {}
        self._wake_timer, self._woken_at = None, loop.time()
        self._wake_some(loop, woken)

    def _wake_some(self, loop: asyncio.AbstractEventLoop, woken: deque[asyncio.Future[None]]) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(woken))):
            waiter = woken.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if woken:
            loop.call_soon(self._wake_some, loop, woken)


class Reader:
    """One who reads changes, until the server ends.

    Use `async with`, then `async for`. A reader from another epoch, or one that has missed changes which are not kept
    any more, gets one change of the kind `reset` and then what changes from there on.
    """

    __slots__ = ("_batch", "_changes", "is_lost", "number", "wanted")

    def __init__(self, changes: Changes, wanted: Filter, after: Position | None) -> None:
        self._changes, self.wanted = changes, wanted
        self._batch: deque[Change] = deque()
        now = changes.position
        self.is_lost = after is not None and (after.epoch != now.epoch or after.number > now.number)
        self.number = now.number if after is None or self.is_lost else after.number

    @property
    def position(self) -> Position:
        """How far this reader has read."""
        return Position(self._changes.epoch, self.number)

    async def __aenter__(self) -> Self:
        self._changes.readers.add(self)
        for prepare in self._changes.before_reading:
            prepare(self.wanted)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._changes.readers.discard(self)

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        # Nothing is taken before there is something to give: a reader that is cancelled here has lost nothing.
        while True:
            change = self.take()
            if change is not None:
                return change
            if self._changes.is_closed:
                raise StopAsyncIteration
            await self._changes.wait()

    def take(self) -> Change | None:
        """Give the next change without waiting; None when there is none now."""
        log = self._changes.log
        if self.is_lost or self.number < log.forgotten:
            self.is_lost, self.number = False, log.number
            self._batch.clear()
            return Change(log.number, changes.RESET, "", None, "reset", lambda: None)
        while True:
            if not self._batch:
                self._batch.extend(log.list_after(self.number, self.wanted, BATCH))
                if not self._batch:
                    self.number = log.number
                    return None
            change = self._batch.popleft()
            self.number = change.number
            if log.is_newest(change):  # else a newer one of the same resource comes later
                return change
