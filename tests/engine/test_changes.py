"""The change feed without a server: readers that wait, lag behind, come back, and end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from engine.changes import BATCH, Changes, Reader
from store.errors import TooManyWaiting
from store.rules.changes import Change, Filter, Position, parse_filter

EVERYTHING = Filter()


def run(work: Any) -> Any:
    return asyncio.run(work())


async def give_way(times: int = 20) -> None:
    """Let everybody who can go on do so."""
    for _ in range(times):
        await asyncio.sleep(0)


async def collect(reader: Reader, count: int) -> list[Change]:
    return [await anext(reader) for _ in range(count)]


def add(feed: Changes, id: str, action: Any = "updated", kind: str = "job", row: Any = None) -> None:
    feed.add(kind, id, action, lambda: row)


def test_a_waiting_reader_hears_at_once() -> None:
    async def work() -> None:
        feed = Changes()
        async with feed.read(EVERYTHING) as reader:
            task = asyncio.create_task(collect(reader, 2))
            await give_way()
            add(feed, "1")
            add(feed, "2")
            assert [change.id for change in await task] == ["1", "2"]

    run(work)


def test_from_a_position_on_nothing_is_lost_or_told_twice() -> None:
    async def work() -> None:
        feed = Changes()
        add(feed, "before")
        position = feed.position
        add(feed, "between")
        async with feed.read(EVERYTHING, position) as reader:
            task = asyncio.create_task(collect(reader, 301))

            async def write(name: str) -> None:
                for number in range(100):
                    add(feed, f"{name}{number}")
                    await asyncio.sleep(0)

            await asyncio.gather(write("a"), write("b"), write("c"))
            got = await task
            assert [change.number for change in got] == list(range(2, 303))
            assert reader.take() is None

    run(work)


def test_what_nobody_wants_still_moves_a_reader_on() -> None:
    async def work() -> None:
        feed = Changes(kept=5)
        async with feed.read(parse_filter("run", None)) as reader:
            for number in range(4):
                add(feed, str(number))
            assert reader.take() is None
            assert reader.position == feed.position
            for number in range(4, 8):
                add(feed, str(number))
            add(feed, "r", kind="run")
            change = reader.take()
            assert change is not None and change.id == "r"

    run(work)


def test_a_slow_reader_gets_the_newest_of_each_and_keeps_little() -> None:
    async def work() -> None:
        feed = Changes()
        async with feed.read(EVERYTHING) as reader:
            add(feed, "0", row={"old": True})
            assert reader.take() is not None
            for turn in range(50):
                for number in range(500):
                    add(feed, str(number), row={"turn": turn})
            add(feed, "7", "deleted")
            got = []
            while (change := reader.take()) is not None:
                got.append(change)
                assert len(reader._batch) < BATCH
            assert len(got) == 500 and [change.number for change in got] == sorted(change.number for change in got)
            assert got[-1].id == "7" and feed.get_row(got[-1]) == b"null"
            assert {feed.get_row(change) for change in got[:-1]} == {b'{"turn":49}'}

    run(work)


def test_what_changes_again_while_a_batch_is_read_is_told_once_later() -> None:
    async def work() -> None:
        feed = Changes()
        async with feed.read(EVERYTHING) as reader:
            for id in "abc":
                add(feed, id)
            first = reader.take()
            add(feed, "b", "deleted")
            rest = [reader.take(), reader.take(), reader.take()]
            assert first is not None and first.id == "a"
            assert [(change.id, change.action) for change in rest if change] == [("c", "updated"), ("b", "deleted")]

    run(work)


LOST: list[tuple[str, Callable[[Changes], Position]]] = [
    ("a number that is not kept any more", lambda feed: Position(feed.epoch, 1)),
    ("another start's number", lambda feed: Position("0", feed.position.number)),
    ("a number that was not given yet", lambda feed: Position(feed.epoch, 1000)),
]


@pytest.mark.parametrize(("why", "after"), LOST, ids=[case[0] for case in LOST])
def test_who_has_missed_something_is_told_to_start_again(why: str, after: Callable[[Changes], Position]) -> None:
    async def work() -> None:
        feed = Changes(kept=3)
        for number in range(10):
            add(feed, str(number))
        async with feed.read(parse_filter("run", "x"), after(feed)) as reader:
            change = reader.take()
            assert change is not None and (change.kind, change.number) == ("reset", feed.position.number)
            assert reader.take() is None
            add(feed, "x", kind="run")
            change = reader.take()
            assert change is not None and change.id == "x"

    run(work)


def test_a_reader_that_lags_too_far_is_told_to_start_again() -> None:
    async def work() -> None:
        feed = Changes(kept=3)
        async with feed.read(EVERYTHING) as reader:
            for number in range(10):
                add(feed, str(number))
            assert [change.kind for change in await collect(reader, 1)] == ["reset"]
            assert reader.take() is None

    run(work)


def test_readers_end_with_the_feed() -> None:
    async def work() -> None:
        feed = Changes()

        async def read() -> list[str]:
            async with feed.read(EVERYTHING) as reader:
                return [change.id async for change in reader]

        tasks = [asyncio.create_task(read()) for _ in range(3)]
        await give_way()
        add(feed, "1")
        feed.close()
        assert await asyncio.gather(*tasks) == [["1"]] * 3
        assert not feed.readers
        assert await read() == []

    run(work)


def test_a_reader_that_is_cancelled_has_lost_nothing() -> None:
    async def work() -> None:
        feed = Changes()
        async with feed.read(EVERYTHING) as reader:
            task = asyncio.create_task(collect(reader, 1))
            await give_way()
            add(feed, "1")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert [change.id for change in await collect(reader, 1)] == ["1"]

    run(work)


def test_a_row_is_made_once_for_all_and_only_when_somebody_reads() -> None:
    async def work() -> None:
        feed, made = Changes(), []
        feed.add("job", "1", "updated", lambda: made.append("made") or {"id": 1})
        assert not made
        feed.add("job", "2", "updated", lambda: 1 / 0)
        for _ in range(3):
            async with feed.read(EVERYTHING, Position(feed.epoch, 0)) as reader:
                rows = [feed.get_row(change) for change in await collect(reader, 2)]
                assert rows == [b'{"id":1}', b"null"], "a row that cannot be made ends no stream"
        assert made == ["made"]

    run(work)


def test_an_idle_reader_costs_little() -> None:
    async def work() -> None:
        feed = Changes()
        for number in range(feed.log.limit):
            add(feed, str(number))
        async with feed.read(EVERYTHING, Position(feed.epoch, 0)) as reader:
            assert reader.take() is not None
            # 200 of them: far below 20 MB. A change is shared by all, a reader holds references to at most a batch.
            assert sys.getsizeof(reader) + sys.getsizeof(reader._batch) + 8 * BATCH < 10_000
            assert len(reader._batch) < BATCH

    run(work)


# --- waiting for an end ----------------------------------------------------------------------------------------------


class Target:
    """Something that ends, and how often it was read."""

    def __init__(self, feed: Changes) -> None:
        self.feed, self.ended, self.reads = feed, False, 0

    async def wait(self, seconds: float = 600) -> bool:
        """Wait for its end; whether it has ended."""
        return await self.feed.wait_until(parse_filter("job", "7"), seconds, self.read, bool)

    async def read(self) -> bool:
        self.reads += 1
        return self.ended

    def end(self) -> None:
        self.ended = True
        add(self.feed, "7")


def test_who_waits_reads_only_after_a_change_that_may_be_the_end() -> None:
    async def work() -> None:
        target = Target(feed := Changes())
        waiting = asyncio.create_task(target.wait())
        await give_way()
        reads = target.reads
        add(feed, "8")
        await give_way()
        assert target.reads == reads and not waiting.done(), "another job"
        for _ in range(5):
            add(feed, "7")
        await give_way()
        assert target.reads == reads + 1 and not waiting.done(), "several changes are looked at once"
        target.end()
        assert await waiting is True and not feed.readers

    run(work)


@pytest.mark.parametrize(
    ("why", "seconds", "act"),
    [
        ("no time", 0, lambda target: None),
        ("the time is over", 0.01, lambda target: None),
        ("the server ends", 600, lambda target: target.feed.close()),
    ],
)
def test_what_has_not_ended_is_told_as_it_is(why: str, seconds: float, act: Callable[[Target], None]) -> None:
    async def work() -> None:
        target = Target(Changes())
        waiting = asyncio.create_task(target.wait(seconds))
        await give_way()
        act(target)
        assert await waiting is False, why

    run(work)


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr("engine.changes.MOST_WAITING", 2)
        target = Target(Changes())
        waiting = [asyncio.create_task(target.wait()) for _ in range(2)]
        await give_way()
        with pytest.raises(TooManyWaiting):
            await target.wait()
        assert await target.wait(0) is False, "who does not wait is answered"
        target.end()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await target.wait() is True

    run(work)
