"""The threads for transfers: nothing is begun after the end."""

from __future__ import annotations

import threading

import pytest

from engine.mounts.work import MountWork


def test_nothing_is_begun_after_the_end() -> None:
    work, end = MountWork(), threading.Event()
    running = [work.syncing.submit(end.wait, 60) for _ in range(8)]
    waiting = work.syncing.submit(end.wait, 60)
    work.close()
    assert waiting.cancelled() and not any(future.cancelled() for future in running)
    end.set()
    assert all(future.result(60) for future in running), "what had begun comes to its end"
    with pytest.raises(RuntimeError):
        work.syncing.submit(end.wait)
