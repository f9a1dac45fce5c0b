"""How often each client may do something."""

from __future__ import annotations

from store.access.limits import Buckets


def test_each_client_has_a_bucket() -> None:
    now = 0.0
    buckets = Buckets(burst=3, refill_s=10.0, clock=lambda: now)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == 10
    assert buckets.take("b") == 0, "others are not concerned"
    for _ in range(100):
        buckets.take("a")
    assert buckets.take("a") == 10, "trying on does not lengthen the wait"
    now = 5.0
    assert buckets.take("a") == 5
    now = 10.0
    assert buckets.take("a") == 0 < buckets.take("a")
    now = 1000.0
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0], "no more than fit into the bucket"
    assert buckets.take("a") == 10


def test_memory_is_bounded() -> None:
    buckets = Buckets(most=2)
    for client in ("a", "b", "a", "c"):
        buckets.take(client)
    assert set(buckets.spent) == {"a", "c"}, "the client unheard of for longest is forgotten"
