"""MUNGE credentials are checked a few at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine.callers import munge
from slurm_shim.callers.munge import Identity
from store.access import MungeIdentity
from store.errors import TooManyWaiting


def test_few_programs_run_at_once_and_few_callers_wait() -> None:
    release, lock, running, most = threading.Event(), threading.Lock(), 0, 0

    def decode(credential: str, _socket: str | None) -> Identity:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(60)
        with lock:
            running -= 1
        return Identity(int(credential))

    async def ask() -> list[MungeIdentity | BaseException]:
        reader = munge.MungeReader(decode)
        count = munge.MOST_RUNNING + munge.MOST_WAITING + 3
        tasks = [asyncio.create_task(reader.read_credential(str(number), None)) for number in range(count)]
        refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(task.exception(), TooManyWaiting) for task in refused)
        release.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert reader.waiting == 0
        reader.close()
        return answers

    answers = asyncio.run(ask())
    assert most <= munge.MOST_RUNNING
    assert [found.uid for found in answers if isinstance(found, MungeIdentity)] == list(range(len(answers) - 3))


def test_what_goes_wrong_is_told_and_counts_for_nobody() -> None:
    def decode(_credential: str, _socket: str | None) -> Identity:
        raise RuntimeError("no memory")

    async def ask() -> None:
        reader = munge.MungeReader(decode)
        with pytest.raises(RuntimeError):
            await reader.read_credential("x", None)
        assert reader.waiting == 0
        reader.close()

    asyncio.run(ask())
