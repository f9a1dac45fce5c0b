"""Passwords are checked a few at a time, and tries are counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from engine.callers.yaptide.password_checks import MOST_RUNNING, MOST_WAITING, PasswordChecks
from store.access.yaptide import passwords
from store.errors import TooManyTries, TooManyWaiting


def test_few_are_checked_at_once_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    release, running, most = threading.Event(), 0, 0

    def is_password(password: str, _hashed: str | None) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(60)
        running -= 1
        return password == "right"

    monkeypatch.setattr(passwords, "is_password", is_password)

    async def go() -> None:
        checks = PasswordChecks()
        tasks = [asyncio.ensure_future(checks.is_password("right", None)) for _ in range(MOST_RUNNING + MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiting):
            await checks.is_password("right", None)
        assert checks.waiting == MOST_RUNNING + MOST_WAITING
        release.set()
        assert set(await asyncio.gather(*tasks)) == {True}
        assert not await checks.is_password("wrong", None) and checks.waiting == 0
        checks.close()

    asyncio.run(go())
    assert most <= MOST_RUNNING


def test_the_event_loop_goes_on_meanwhile() -> None:
    async def go() -> str:
        checks = PasswordChecks()
        hashing = asyncio.ensure_future(checks.hash_password("secret"))
        await asyncio.sleep(0)
        assert not hashing.done()
        hashed = await hashing
        assert await checks.is_password("secret", hashed)
        checks.close()
        return hashed

    assert asyncio.run(go()).startswith("$argon2id$")


class Tries:
    """Checks with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.checks = PasswordChecks(lambda: self.now_s)

    def count(self, work: Callable[[], None]) -> float:
        """How long there is to wait, 0 where the try counts."""
        try:
            work()
        except TooManyTries as problem:
            return problem.wait_s
        return 0.0


def test_who_guesses_for_one_name_waits() -> None:
    tries = Tries()
    waits = [tries.count(lambda: tries.checks.count_try("192.0.2.1", "ann")) for _ in range(12)]
    assert waits == [0.0] * 10 + [6.0, 6.0]
    assert tries.count(lambda: tries.checks.count_try("192.0.2.1", "bob")) == 0
    assert tries.count(lambda: tries.checks.count_try("192.0.2.2", "ann")) == 0
    tries.now_s = 6.0
    assert tries.count(lambda: tries.checks.count_try("192.0.2.1", "ann")) == 0


def test_who_guesses_for_many_names_waits() -> None:
    tries = Tries()
    waits = [tries.count(lambda n=n: tries.checks.count_try("192.0.2.1", f"user {n}")) for n in range(101)]  # type: ignore[misc]
    assert waits == [0.0] * 100 + [1.0]


def test_what_was_right_is_forgotten() -> None:
    tries = Tries()
    for _ in range(200):
        tries.checks.count_try("192.0.2.1", "ann")
        tries.checks.forget_try("192.0.2.1", "ann")
    tries.checks.forget_try("192.0.2.3", "nobody")


def test_registrations_are_counted() -> None:
    tries = Tries()
    waits = [tries.count(lambda: tries.checks.count_registration("192.0.2.1")) for _ in range(21)]
    assert waits == [0.0] * 20 + [30.0]
