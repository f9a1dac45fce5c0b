"""What is shared by files that are being made: progress, cancelling, the end of the server."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from engine.exports.work import AT_ONCE, FileWork
from store.exports.children import NotMade, Work
from tests.pretended import asynchronous


@asynchronous
async def test_progress_is_in_view_while_it_is_made() -> None:
    files, go_on = FileWork(), threading.Event()

    def make(work: Work) -> int:
        work.rows = 7
        go_on.wait(60)
        return work.rows

    task = asyncio.ensure_future(files.run("exp_1", make))
    while not files.count_rows("exp_1"):
        await asyncio.sleep(0)
    assert files.count_rows("exp_1") == 7
    go_on.set()
    assert await task == 7
    assert files.count_rows("exp_1") == 0 and files.making == {}
    files.close()


@asynchronous
async def test_cancelling_waits_for_the_thread_but_not_for_its_turn() -> None:
    files, order = FileWork(), list[str]()

    def make(work: Work) -> None:
        while not work.is_stopped:
            threading.Event().wait(0.005)
        order.append("ended")
        raise NotMade("stopped")

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    tasks = [asyncio.ensure_future(files.run(f"exp_{number}", make)) for number in range(AT_ONCE + 1)]
    while len(files.making) <= AT_ONCE:
        await asyncio.sleep(0)
    for task in reversed(tasks):  # the last one has no thread yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        order.append("told")
    assert order[0] == "told" and order[1:] == ["ended", "told"] * AT_ONCE
    del task, tasks
    gc.collect()
    assert complaints == [], "what a thread raised that nobody waits for is no error of ours"
    files.close()
