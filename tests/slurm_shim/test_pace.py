"""How fast submissions go to SLURM, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slurm_shim import pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; whoever sleeps moves it on."""
    now = [100.0]
    real = asyncio.sleep

    async def sleep(delay_s: float, *_: Any) -> None:
        now[0] += max(0.0, delay_s)
        await real(0)

    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    return now


async def beats(pacer: pace.Pace, clock: list[float], count: int, has_controller: bool = True) -> list[float]:
    found = []
    for _ in range(count):
        await pacer.wait_for_slot(has_controller)
        found.append(round(clock[0] - 100, 3))
    return found


def test_beats_come_as_often_as_they_may(clock: list[float]) -> None:
    async def story() -> None:
        pacer = pace.Pace(4, 1)
        assert await beats(pacer, clock, 4) == [0, 0.25, 0.5, 0.75]
        clock[0] += 10
        assert await beats(pacer, clock, 2) == [10.75, 11.0], "a rest saves nothing up"
        pacer.set_bounds(1, 1)
        assert await beats(pacer, clock, 3) == [11.25, 12.25, 13.25], "another pace counts from the next beat"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("why", "per_second", "has_controller", "found"),
    [
        ("a controller is spared", None, True, [0, 0.05, 0.1]),
        ("without one nobody is", None, False, [0, 0, 0]),
        ("what is set holds there", 4, True, [0, 0.25, 0.5]),
        ("and here", 4, False, [0, 0.25, 0.5]),
    ],
)
def test_what_is_set_holds_everywhere(
    why: str, per_second: float | None, has_controller: bool, found: list[float], clock: list[float]
) -> None:
    assert asyncio.run(beats(pace.Pace(per_second, 1), clock, 3, has_controller)) == found, why


def test_no_more_places_than_there_are() -> None:
    async def story() -> None:
        pacer, inside, most = pace.Pace(1000, 2), 0, 0

        async def submit() -> None:
            nonlocal inside, most
            async with pacer.hold_slot():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                pacer.set_bounds(1000, 2)  # what is written anew but has not changed makes no further places
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(submit() for _ in range(20)))
        assert (most, inside) == (2, 0)
        pacer.set_bounds(1000, 3)
        await asyncio.gather(*(submit() for _ in range(20)))

    asyncio.run(story())


def test_a_place_is_free_again_whatever_happens_in_it() -> None:
    async def story() -> None:
        pacer = pace.Pace(1000, 1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with pacer.hold_slot():
                    raise ZeroDivisionError
        in_line = []

        async def submit(name: str) -> None:
            async with pacer.hold_slot():
                in_line.append(name)
                await asyncio.sleep(0)

        first, second, third = [asyncio.create_task(submit(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert in_line == ["first", "third"], "who goes from the line holds up nobody"

    asyncio.run(story())
