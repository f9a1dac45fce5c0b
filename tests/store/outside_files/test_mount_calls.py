"""Calls to mounts: few threads each, and who waits for one that hangs is told so, until it comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import StoreUnavailable
from store.outside_files import mount_calls
from tests.pretended import asynchronous
from tests.waiting import eventually

# Time enough for a call to begin, also on a busy machine.
SOON_S = 2.0


@pytest.fixture
def end() -> Iterator[threading.Event]:
    """What calls wait for that hang."""
    event = threading.Event()
    yield event
    event.set()


@asynchronous
async def test_a_call_that_hangs_is_told_until_it_comes_back(tmp_path: Path, end: threading.Event) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer") as problem:
        await mount_calls.run_call(tmp_path, end.wait, patience_s=SOON_S)
    assert problem.value.is_momentary and mount_calls.find_hang(tmp_path)
    asked: list[str] = []
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await mount_calls.run_call(tmp_path, asked.append, "begun")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        mount_calls.ask_mount(tmp_path, asked.append, "begun")
    assert not asked, "no thread is spent on a mount that hangs"
    assert await mount_calls.run_call(tmp_path / "other", str.upper, "yes") == "YES"
    end.set()
    await asyncio.to_thread(eventually, lambda: mount_calls.find_hang(tmp_path) is None)
    assert await mount_calls.run_call(tmp_path, str.upper, "again") == "AGAIN"


@asynchronous
async def test_a_call_that_hangs_is_noticed_also_when_nobody_waits_for_it(tmp_path: Path, end: threading.Event) -> None:
    begun = threading.Event()
    waiting = asyncio.create_task(mount_calls.run_call(tmp_path, lambda: (begun.set(), end.wait()), patience_s=SOON_S))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await asyncio.to_thread(eventually, lambda: mount_calls.find_hang(tmp_path))


def test_several_mounts_are_asked_at_once(tmp_path: Path, end: threading.Event) -> None:
    """Those that hang take one time of waiting together, and the others answer."""
    met = threading.Barrier(3)
    calls = [(tmp_path / name, met.wait) for name in "abc"]
    assert sorted(mount_calls.ask_each(calls, 60)) == [0, 1, 2]  # type: ignore[type-var]
    asked = [(tmp_path / name, end.wait) for name in "abc"] + [(tmp_path / "d", lambda: True)]
    *hanging, answer = mount_calls.ask_each(asked, SOON_S)
    assert answer is True and all(isinstance(problem, StoreUnavailable) for problem in hanging)


def test_a_mount_has_few_threads_and_what_waits_for_one_is_not_begun_later(
    tmp_path: Path, end: threading.Event
) -> None:
    begun: list[int] = []

    def hang(number: int) -> None:
        begun.append(number)
        end.wait()

    numbers = range(2 * mount_calls.MOST_CALLS)
    waiting = [threading.Thread(target=ask_in_vain, args=(tmp_path, hang, number)) for number in numbers]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(60)
    end.set()
    eventually(lambda: mount_calls.find_hang(tmp_path) is None)
    assert mount_calls.ask_mount(tmp_path, lambda: True)
    assert 0 < len(begun) <= mount_calls.MOST_CALLS


def ask_in_vain(root: Path, *call: object) -> None:
    with pytest.raises(StoreUnavailable):
        mount_calls.ask_mount(root, *call, patience_s=SOON_S)  # type: ignore[arg-type]


@asynchronous
async def test_what_a_call_raises_is_raised(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await mount_calls.run_call(tmp_path, lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            mount_calls.ask_mount(tmp_path, lambda: 1 / 0)


@pytest.mark.parametrize(
    ("why", "path", "is_in"),
    [
        ("the root", "{root}", True),
        ("below it", "{root}/a/b", True),
        ("by steps back", "/x/..{root}/a", True),
        ("beside it", "{root}-2/a", False),
        ("not absolute", "a", False),
    ],
)
def test_which_mount_a_path_is_of(tmp_path: Path, why: str, path: str, is_in: bool) -> None:
    found = mount_calls.find_root(path.format(root=tmp_path), [tmp_path / "other", tmp_path])
    assert found == (tmp_path if is_in else None), why
