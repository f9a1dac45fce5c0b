"""Tasks: one at a time for each key, failures asked for again, and those that never end started again."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from engine.tasks import LONGEST_PAUSE_S, Gatherer, Locks, Supervisor, Tasks, call_on_signal, end_task
from slurm_shim.errors import SlurmUnreachable
from store.errors import NotFound
from store.kinds import Key
from tests.pretended import asynchronous

KEY = Key("run", "a")


@asynchronous
async def test_one_task_for_each_key() -> None:
    again: list[Key] = []
    failed: list[Key] = []
    tasks, go, begun = Tasks(again.append, failed.append), asyncio.Event(), []

    async def work() -> None:
        begun.append(True)
        await go.wait()

    first = tasks.spawn(KEY, work)
    assert tasks.spawn(KEY, work) is first
    go.set()
    await first
    await asyncio.sleep(0)
    assert (len(begun), again, failed, tasks.running) == (1, [KEY], [], {})


@asynchronous
async def test_what_failed_is_tried_later_and_what_is_gone_is_not() -> None:
    failed: list[Key] = []
    tasks = Tasks(lambda _key: None, failed.append)
    problems = {"slurm": SlurmUnreachable("squeue", "away"), "gone": NotFound("Run", "a"), "defect": ValueError("oh")}
    for name, problem in problems.items():

        async def work(problem: Exception = problem) -> None:
            raise problem

        await tasks.spawn(Key("run", name), work)
    assert failed == [Key("run", "slurm"), Key("run", "defect")]


@asynchronous
async def test_the_same_failure_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    tasks = Tasks(lambda _key: None, lambda _key: None, lambda: clock[0])

    async def fail(problem: Exception) -> None:
        raise problem

    calls: list[tuple[str, float, Key, Exception, int]] = [
        ("the first time", 0, KEY, ValueError("oh"), 1),
        ("again", 0.5, KEY, ValueError("oh"), 0),
        ("another failure", 1, KEY, ValueError("ah"), 1),
        ("of another document", 2, Key("run", "b"), ValueError("oh"), 1),
        ("what waits", 3, KEY, SlurmUnreachable("squeue", "away"), 1),
        ("what goes on waiting", 59, KEY, SlurmUnreachable("squeue", "away"), 0),
        ("after a minute", 60, KEY, ValueError("oh"), 1),
        ("and not sooner", 61, KEY, ValueError("oh"), 0),
    ]
    for why, at, key, problem, lines in calls:
        clock[0] = at
        caplog.clear()
        await tasks.spawn(key, lambda problem=problem: fail(problem))
        assert len(caplog.records) == lines, why


@asynchronous
async def test_a_lock_is_held_by_one_at_a_time() -> None:
    locks, order = Locks(), []

    async def work(name: str) -> None:
        async with locks.hold(KEY):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(work("a"), work("b"))
    assert order == ["a", "a", "b", "b"]


@asynchronous
async def test_a_task_that_fails_is_started_again_with_longer_pauses() -> None:
    pauses: list[float] = []
    down: list[dict[str, str]] = []
    clock = [0.0]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        down.append(dict(supervisor.problems))

    supervisor: Supervisor = Supervisor(lambda: clock[0], pause)
    calls: list[Any] = []

    async def work() -> None:
        calls.append(True)
        if len(calls) == 5:
            clock[0] += LONGEST_PAUSE_S + 1  # it went on for long, so the next failure is the first one again
        if len(calls) < 7:
            raise RuntimeError("oh")

    await supervisor.supervise("poll", work)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 0.5, 1.0]
    assert down[0] == {"poll": "RuntimeError: oh"} and supervisor.problems == {}


@asynchronous
async def test_a_failure_is_a_problem_until_the_task_has_gone_on_for_long() -> None:
    clock, begun, forever = [0.0], asyncio.Queue[bool](), asyncio.Event()
    supervisor: Supervisor = Supervisor(lambda: clock[0], lambda _seconds: asyncio.sleep(0))

    async def work() -> None:
        begun.put_nowait(True)
        if begun.qsize() == 1:
            raise RuntimeError("oh")
        await forever.wait()

    task = supervisor.start("poll", work)
    while begun.qsize() < 2:
        await asyncio.sleep(0)
    assert supervisor.problems == {"poll": "RuntimeError: oh"}, "it goes on again, but may fail again at once"
    clock[0] += LONGEST_PAUSE_S + 1
    assert supervisor.problems == {}
    await end_task(task)


@asynchronous
async def test_a_supervised_task_can_be_ended() -> None:
    supervisor, forever = Supervisor(), asyncio.Event()
    task = supervisor.start("loop", forever.wait)
    await asyncio.sleep(0)
    await end_task(task)
    assert task.cancelled() and supervisor.problems == {}


@asynchronous
async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost: list[str] = []

    async def work() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append("as when what it waits for ends at the same moment")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end_task(task, patience_s=0.01)
    assert task.cancelled() and len(lost) == 2


def test_the_end_of_the_process_is_told_at_once_and_to_whom_it_was_told_before() -> None:
    receivers: list[str] = []

    async def live() -> None:
        ended = asyncio.Event()
        with call_on_signal(ended.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(ended.wait(), 20)

    before = signal.signal(signal.SIGTERM, lambda *_given: receivers.append("server"))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        asyncio.run(live())
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    assert receivers == ["server"]


class Answers:
    """Answers questions once they are let, by doubling them; a question of 0 fails."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.let = asyncio.Event()

    async def answer(self, questions: list[int]) -> list[int]:
        self.calls.append(questions)
        await self.let.wait()
        if 0 in questions:
            raise ValueError("nothing")
        return [2 * question for question in questions]


@asynchronous
async def test_questions_that_wait_go_together() -> None:
    answers = Answers()
    gatherer = Gatherer(answers.answer, most=3)
    waiting = [asyncio.create_task(gatherer.ask(question)) for question in range(1, 7)]
    await asyncio.sleep(0)
    waiting[4].cancel()
    answers.let.set()
    assert await asyncio.gather(*waiting[:4], waiting[5]) == [2, 4, 6, 8, 12]
    assert [question for call in answers.calls for question in call] == [1, 2, 3, 4, 5, 6]
    assert len(answers.calls) < 6 and max(map(len, answers.calls)) == 3
    for question in (7, 8):  # each as soon as the one before is answered
        assert await asyncio.wait_for(asyncio.ensure_future(gatherer.ask(question)), 60) == 2 * question


@asynchronous
async def test_whoever_is_answered_may_ask_at_once() -> None:
    answers = Answers()
    answers.let.set()
    gatherer = Gatherer(answers.answer, most=3)
    async with asyncio.timeout(60):
        assert [await gatherer.ask(question) for question in range(1, 5)] == [2, 4, 6, 8]


@asynchronous
async def test_a_question_that_fails_fails_alone() -> None:
    answers = Answers()
    gatherer = Gatherer(answers.answer, most=3)
    waiting = [asyncio.create_task(gatherer.ask(question)) for question in (1, 2, 0, 3)]
    await asyncio.sleep(0)
    answers.let.set()
    first, second, failed, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, second, third) == (2, 4, 6) and isinstance(failed, ValueError)
