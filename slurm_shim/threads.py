"""Threads that are there before they are needed.

A pool that starts its threads on demand fails on the demand, and whether the work is done all the same nobody knows.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from slurm_shim.errors import ClusterUnreachable


def start_threads(count: int, prefix: str) -> ThreadPoolExecutor:
    """Start a pool of so many threads; ClusterUnreachable if it cannot be."""
    pool, met = ThreadPoolExecutor(count, thread_name_prefix=prefix), threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(met.wait)
        met.wait()
    except RuntimeError as problem:
        met.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise ClusterUnreachable(prefix, f"no threads for {prefix}: {problem}") from None
    return pool
