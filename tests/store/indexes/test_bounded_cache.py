"""The cache of recently used things: what it holds takes no more memory than it may."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from store.indexes.bodies import BoundedCache

LIMIT_BYTES = 1_000_000


@pytest.mark.parametrize("size_bytes", [0, 30, 500, 20_000])
def test_things_of_any_size_keep_the_bound(size_bytes: int) -> None:
    cache = BoundedCache(LIMIT_BYTES)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(30_000):
            thing = b"x" * size_bytes + b"%d" % number
            cache.put((number, "view"), (thing, number), len(thing))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert LIMIT_BYTES / 2 < taken < 1.2 * LIMIT_BYTES


def test_what_was_used_lately_stays() -> None:
    cache = BoundedCache(10_000)
    for number in range(100):
        cache.put(number, number, 1_000)
        assert cache.get(0) == 0
    assert cache.get(99) == 99 and cache.get(1) is None and cache.size_bytes <= 10_000
