"""What many ask for at once is made once."""

from __future__ import annotations

import asyncio

import pytest

from store.indexes.making import Making
from tests.pretended import asynchronous


@asynchronous
async def test_it_is_made_once_for_all_who_wait_and_again_for_who_comes_later() -> None:
    making, go, made = Making(), asyncio.Event(), list[str]()

    async def make(key: str) -> str:
        made.append(key)
        await go.wait()
        return key.upper()

    waiting = [asyncio.ensure_future(making.make_once(key, lambda key=key: make(key))) for key in "aab"]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever goes away takes nothing from the others
    go.set()
    assert await asyncio.gather(*waiting[1:]) == ["A", "B"] and made == ["a", "b"]
    await making.make_once("a", lambda: make("a"))
    assert made == ["a", "b", "a"]


@asynchronous
async def test_who_waits_is_told_what_went_wrong() -> None:
    making = Making()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    found = await asyncio.gather(*(making.make_once("a", fail) for _ in range(2)), return_exceptions=True)
    assert list(map(str, found)) == ["no", "no"]
    with pytest.raises(ValueError, match="no"):
        await making.make_once("a", fail)
