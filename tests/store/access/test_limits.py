"""How often each client may do something."""

from __future__ import annotations

import asyncio

from store.access.limits import LONGEST_S, Buckets, Lines


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


def test_a_token_is_taken_in_advance_by_who_has_the_patience() -> None:
    buckets = Buckets(burst=1, refill_s=10.0, clock=lambda: 0.0)
    assert [buckets.take("a", patience_s=20) for _ in range(4)] == [0, 10, 20, 30]
    assert buckets.take("a", patience_s=20) == 30, "the last one was not taken"


def test_memory_is_bounded() -> None:
    buckets = Buckets(most=2)
    for client in ("a", "b", "a", "c"):
        buckets.take(client)
    assert set(buckets.spent) == {"a", "c"}, "the client unheard of for longest is forgotten"


def test_who_is_refused_all_the_time_waits_in_line() -> None:
    waits: list[float] = []

    async def pause(wait_s: float) -> None:
        waits.append(wait_s)

    async def ask() -> None:
        lines = Lines(burst=2, refill_s=1, most=1, pause=pause)
        lines.buckets.clock = lambda: 0.0
        assert [await lines.wait("a") for _ in range(2)] == [False, False]
        assert await lines.wait("a") is True
        assert await lines.wait("b") is False, "others are not concerned"
        assert [await lines.wait("a") for _ in range(9)] == [True] * 9
        assert waits[:2] == [1, 2] and all(LONGEST_S / 2 <= wait_s <= LONGEST_S for wait_s in waits[4:])
        lines.waiting = 1
        assert await lines.wait("a") is True and len(waits) == 10, "no more wait than there may"

    asyncio.run(ask())


def test_who_gives_up_leaves_the_line() -> None:
    async def give_up() -> None:
        lines = Lines(burst=0, pause=lambda _wait_s: asyncio.Event().wait())
        waiting = asyncio.create_task(lines.wait("a"))
        while not lines.waiting:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled() and lines.waiting == 0

    asyncio.run(give_up())
