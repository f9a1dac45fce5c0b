"""What is made of a whole snapshot, once for each of its versions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from slurm_shim.parse import Job, Node, Partition
from slurm_shim.snapshot import Snapshot

T = TypeVar("T")
# Of queues with more rows than this it is made beside the event loop.
ROWS_AT_ONCE = 5_000


class Picture(NamedTuple):
    """A snapshot as it is at one moment."""

    partitions: list[Partition]
    nodes: list[Node]
    jobs: list[Job]


class Remade(Generic[T]):
    """Something that is made anew for each version, one at a time.

    It belongs to one event loop.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, T] | None = None
        self._lock = asyncio.Lock()
        self._begun = self._done = 0  # how many were begun, and which of them was made last

    def get(self, version: Any) -> T | None:
        """Get it where it is made for this version."""
        return self._kept[1] if self._kept is not None and self._kept[0] == version else None

    @property
    def last(self) -> T | None:
        """What was made last."""
        return None if self._kept is None else self._kept[1]

    def keep(self, version: Any, value: T) -> T:
        """Keep what was made for this version."""
        self._kept = version, value
        return value

    async def fetch(self, find_version: Callable[[], Any], begin: Callable[[], Callable[[], T]], is_long: bool) -> T:
        """Return it as it is now, or became while one waited for it.

        `begin()` notes what it is made of, and gives what makes it: in a thread where that takes long. Whoever waited
        meanwhile takes one that was begun after it came, even if there are newer versions by now.
        """
        if (found := self.get(find_version())) is not None:
            return found
        if not is_long and not self._lock.locked():
            return self.keep(find_version(), begin()())
        begun = self._begun
        async with self._lock:
            if self._kept is not None and (self._done > begun or self._kept[0] == find_version()):
                return self._kept[1]
            self._begun += 1
            number, version = self._begun, find_version()
            value = self.keep(version, await asyncio.to_thread(begin()))
            self._done = number
            return value


class Derived(Generic[T]):
    """What `make` makes of a snapshot."""

    def __init__(self, snapshot: Snapshot, make: Callable[[Picture], T]) -> None:
        self._snapshot, self._make = snapshot, make
        self._made = Remade[T]()
        self._renewal: asyncio.Task[T] | None = None

    def get(self) -> T:
        """Get it for the present version; it is made at once where it lacks."""
        version = self._snapshot.version
        found = self._made.get(version)
        return self._made.keep(version, self._begin()()) if found is None else found

    def get_last(self) -> T | None:
        """Get it, of a long queue as it was last; None before the first time.

        The present one is made meanwhile.
        """
        if len(self._snapshot.jobs) <= ROWS_AT_ONCE:
            return self.get()
        if self._made.get(self._snapshot.version) is None and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.ensure_future(self.fetch())
        return self._made.last

    async def fetch(self) -> T:
        """Get it as `get` does, made beside the event loop where that's long."""
        snapshot = self._snapshot
        return await self._made.fetch(lambda: snapshot.version, self._begin, len(snapshot.jobs) > ROWS_AT_ONCE)

    def _begin(self) -> Callable[[], T]:
        picture = Picture(self._snapshot.partitions, self._snapshot.nodes, list(self._snapshot.jobs.values()))
        return lambda: self._make(picture)
