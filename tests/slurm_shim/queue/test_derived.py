"""What is made of a snapshot: once for each version, and of long queues beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from slurm_shim.queue import derived
from slurm_shim.queue.derived import Derived, Picture, Remade
from tests.pretended import asynchronous


def make_snapshot(rows: int) -> Any:
    """Make as much of a snapshot."""
    return SimpleNamespace(version=1, partitions=[], nodes=[], jobs={str(number): {} for number in range(rows)})


class Maker:
    """Counts rows, and notes in which thread; it waits until it is let go where it is told to."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, seen: Picture) -> int:
        self.threads.append(threading.current_thread())
        assert self.go.wait(20)
        return len(seen.jobs)


@asynchronous
async def test_it_is_made_once_for_each_version() -> None:
    snapshot, maker = make_snapshot(3), Maker()
    counted = Derived(snapshot, maker)
    assert [await counted.fetch(), counted.get(), counted.get_last(), len(maker.threads)] == [3, 3, 3, 1]
    snapshot.version, snapshot.jobs["new"] = 2, {}
    assert [counted.get(), await counted.fetch(), len(maker.threads)] == [4, 4, 2]
    assert set(maker.threads) == {threading.current_thread()}, "few rows are counted at once"


@asynchronous
async def test_of_a_long_queue_it_is_made_beside_the_loop_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "ROWS_AT_ONCE", 2)
    snapshot, maker = make_snapshot(3), Maker()
    counted = Derived(snapshot, maker)
    assert await asyncio.gather(*(counted.fetch() for _ in range(20))) == [3] * 20
    assert len(maker.threads) == 1 and maker.threads[0] is not threading.current_thread()


@asynchronous
async def test_who_comes_after_a_change_gets_what_was_begun_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "ROWS_AT_ONCE", 2)
    snapshot, maker = make_snapshot(3), Maker()
    counted = Derived(snapshot, maker)
    maker.go.clear()
    first = asyncio.ensure_future(counted.fetch())
    while not maker.threads:
        await asyncio.sleep(0)
    snapshot.version, snapshot.jobs["new"] = 2, {}
    later = [asyncio.ensure_future(counted.fetch()) for _ in range(5)]
    await asyncio.sleep(0)
    maker.go.set()
    assert await first == 3, "it may have an answer of when it came"
    assert await asyncio.gather(*later) == [4] * 5 and len(maker.threads) == 2


@asynchronous
async def test_what_was_made_last_is_had_at_once_and_made_anew_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "ROWS_AT_ONCE", 2)
    snapshot = make_snapshot(3)
    counted = Derived(snapshot, Maker())
    assert counted.get_last() is None and await counted.fetch() == 3
    snapshot.version, snapshot.jobs["new"] = 2, {}
    assert [counted.get_last(), await counted.fetch(), counted.get_last()] == [3, 4, 4]


@asynchronous
async def test_what_could_not_be_made_is_tried_again() -> None:
    made, tries = Remade[int](), [ValueError("once"), 7]

    def make() -> int:
        found = tries.pop(0)
        if isinstance(found, ValueError):
            raise found
        return found

    with pytest.raises(ValueError, match="once"):
        await made.fetch(lambda: 1, lambda: make, True)
    assert await made.fetch(lambda: 1, lambda: make, True) == 7
