"""What the process that starts programs does with one; what it may lack is in tests/faults/test_starved.py."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest

from slurm_shim.starting import process, starts
from slurm_shim.starting.calls import Call, Reply


def run(shell: str, call: Call) -> tuple[Reply, bytes]:
    with tempfile.TemporaryFile() as out:
        request = {"program": "/bin/sh", "words": ["-c", shell], "environment": {"PATH": "/usr/bin:/bin"}}
        fds = [os.dup(out.fileno()) for _ in range(3)]
        reply = process.run_program(request | {"descriptors": 256, "most_bytes": None}, fds, call)
        process.close_all(fds)
        out.seek(0)
        return reply, out.read()


def test_a_start_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "TURNS", starts.Turns())
    with starts.TURNS.take():
        assert run("echo said", Call()) == (("ended", 0, False), b"said\n")
    assert starts.TURNS._lock.acquire(blocking=False), "its turn is over"


def test_a_signal_may_come_before_the_program_runs() -> None:
    call = Call()
    call.send_signal(signal.SIGKILL)
    (kind, code, _uncertain), _out = run("sleep 600", call)
    assert (kind, code) == ("ended", -signal.SIGKILL)


def test_no_signal_is_sent_once_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call()
    call.note_start(os.getpid())
    call.note_end()
    sent: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda _pid, number: sent.append(number))
    call.send_signal(signal.SIGKILL)
    assert sent == []
