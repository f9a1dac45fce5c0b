"""The programs that run, and the signals that they get."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# ("ended", exit code, False); ("unfit", why it cannot be run, False); ("failed", why, whether it may have started).
Reply = tuple[str, Any, bool]


class Call:
    """One program: whether it runs, and the signals that it is to get."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._began = 0
        self._signals: list[int] = []
        self._has_ended = False

    @property
    def has_started(self) -> bool:
        """Whether it has begun."""
        return self._pid is not None

    def note_start(self, pid: int, began: int = 0) -> None:
        """Note that it runs, as the head of a group or in that of a shell.

        Who was in the group before `began`, in ticks since the machine started, gets none of its signals.
        """
        with self._lock:
            self._pid, self._began = pid, began
            for number in self._signals:
                self._send(number)

    def note_no_start(self) -> None:
        """Note that it did not begin after all; it may begin otherwise."""
        with self._lock:
            self._pid = None

    @property
    def is_killed(self) -> bool:
        """Whether it is to end at once."""
        return signal.SIGKILL in self._signals

    def note_end(self) -> None:
        """Note that it is gone: another may have its number."""
        with self._lock:
            self._has_ended = True

    def send_signal(self, number: int) -> None:
        """Send it a signal, or as soon as it runs."""
        with self._lock:
            self._signals.append(number)
            if self._pid is not None and not self._has_ended:
                self._send(number)

    def _send(self, number: int) -> None:
        assert self._pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended just now
            if self._began and any(began < self._began for pid, began in list_members(self._pid) if pid != self._pid):
                self._send_to_members(self._pid, number)
            else:
                os.killpg(self._pid, number)

    def _send_to_members(self, group: int, number: int) -> None:
        # Again as long as there are others: one may have begun meanwhile.
        sent = set[int]()
        while left := {pid for pid, began in list_members(group) if pid == group or began >= self._began} - sent:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            sent |= left


def list_members(group: int) -> Iterator[tuple[int, int]]:
    """List the processes of a group, and when each began.

    In ticks since the machine started, see proc(5).
    """
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended just now
        if int(stat[2]) == group and stat[0] not in (b"Z", b"X"):
            yield int(path.parent.name), int(stat[19])
