"""The threads for mounts: what hangs holds up only its own kind, and nothing is begun after the end."""

from __future__ import annotations

import threading

import pytest

from engine.mounts.work import MountWork


def test_transfers_that_take_long_do_not_hold_up_browsing() -> None:
    work, end = MountWork(), threading.Event()
    try:
        transfers = [work.syncing.submit(end.wait, 60) for _ in range(20)]
        assert work.browsing.submit(lambda: "rows").result(60) == "rows"
        assert not any(transfer.done() for transfer in transfers)
    finally:
        end.set()
        work.close()


def test_nothing_is_begun_after_the_end() -> None:
    work, end = MountWork(), threading.Event()
    running = [work.browsing.submit(end.wait, 60) for _ in range(4)]
    waiting = work.browsing.submit(end.wait, 60)
    work.close()
    assert waiting.cancelled() and not any(future.cancelled() for future in running)
    end.set()
    assert all(future.result(60) for future in running), "what had begun comes to its end"
    with pytest.raises(RuntimeError):
        work.syncing.submit(end.wait)
