"""Threads that are there before they are needed, where there is memory.

A pool that starts its threads on demand fails on the demand, and whether the work is done all the same nobody knows. A
thread that finds no memory for its first steps ends unseen, and whoever starts it waits for ever.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from slurm_shim.errors import ClusterUnreachable

# What must be free before threads are started: the stacks (8 MB) of some, and what they need for a start.
_SPARE_BYTES = 64 * 1024 * 1024


def require_memory() -> None:
    """Raise MemoryError unless there is memory for some threads."""
    try:
        mmap.mmap(-1, _SPARE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        raise MemoryError("no memory for a thread") from None


class Pool(ThreadPoolExecutor):
    """A pool whose threads start on demand, where there is memory for them."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Submit work; MemoryError, and nothing is done, where it is lacking."""
        require_memory()
        return super().submit(work, *arguments, **named)


def start_threads(count: int, prefix: str) -> ThreadPoolExecutor:
    """Start a pool of so many threads; ClusterUnreachable if it cannot be."""
    pool, met = ThreadPoolExecutor(count, thread_name_prefix=prefix), threading.Barrier(count + 1)
    try:
        for _ in range(count):
            require_memory()
            pool.submit(met.wait)
        met.wait()
    except (RuntimeError, MemoryError) as problem:
        met.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise ClusterUnreachable(prefix, f"no threads for {prefix}: {problem}") from None
    return pool
