"""Work that waits for programs, and ways to do it.

It is a generator that yields each program that it waits for from then on. Whoever goes on with it before the program
has ended waits in it, and so holds a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from slurm_shim.starting.starter import Program

Done = TypeVar("Done")
Given = ParamSpec("Given")
Work = Generator[Program, None, Done]

SOON_S = 0.25  # programs that end within this hold no thread meanwhile


def finish_work(work: Work[Done]) -> Done:
    """Do all that is left of it; blocking."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            done: Done = end.value
            return done


def make_blocking(begin: Callable[Given, Work[Done]]) -> Callable[Given, Done]:
    """Make the function that does such work to its end."""

    @functools.wraps(begin)
    def run(*given: Given.args, **named: Given.kwargs) -> Done:
        return finish_work(begin(*given, **named))

    return run


async def follow_work(work: Work[Done], executor: Executor) -> Done:
    """Do it in threads, but wait for its programs without any, at first.

    What comes after a program that ended soon is done on the loop. Whoever stops waiting leaves what has begun to go on
    to its end.
    """
    beginning = executor.submit(_go_on, work)
    try:
        program, done = await asyncio.wrap_future(beginning)
    except asyncio.CancelledError:
        beginning.add_done_callback(functools.partial(_leave_begun, work, executor))
        raise
    while program is not None:
        try:
            has_ended = await _wait_for_end(program)
        except asyncio.CancelledError:
            _leave(work, executor)
            raise
        if not has_ended:
            return await asyncio.shield(asyncio.wrap_future(executor.submit(finish_work, work)))
        program, done = _go_on(work)
    assert done is not None
    return done[0]


def _go_on(work: Work[Done]) -> tuple[Program | None, tuple[Done] | None]:
    """Go on up to the next program, or to the end; return either."""
    try:
        return next(work), None
    except StopIteration as end:
        return None, (end.value,)


def _leave_begun(
    work: Work[Done], executor: Executor, beginning: Future[tuple[Program | None, tuple[Done] | None]]
) -> None:
    if not beginning.cancelled() and beginning.exception() is None:
        _leave(work, executor)


def _leave(work: Work[Done], executor: Executor) -> None:
    """Leave it to a thread: nobody waits for it any more."""
    with contextlib.suppress(RuntimeError):  # the server ends, and its threads are gone
        executor.submit(finish_work, work)


async def _wait_for_end(program: Program) -> bool:
    """Wait for the program for a while; return whether it has ended."""
    loop = asyncio.get_running_loop()
    has_ended: asyncio.Future[bool] = loop.create_future()

    def look() -> None:
        if program.has_ended():
            settle(True)

    def settle(how: bool) -> None:
        if not has_ended.done():
            has_ended.set_result(how)

    loop.add_reader(program.fileno(), look)
    timer = loop.call_later(SOON_S, settle, False)
    try:
        return await has_ended
    finally:
        timer.cancel()
        loop.remove_reader(program.fileno())
