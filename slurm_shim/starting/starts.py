"""A program is started by `sh`, which forks this process.

What a start may lack is looked at before: where `sh` fails halfway, it leaves descriptors open, and a program that
nobody waits for.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

# What must be free before a program is started: for the pipes and threads of several that start at once.
SPARE_DESCRIPTORS, SPARE_THREADS, SPARE_BYTES = 32, 4, 64 * 1024 * 1024
ROOM_S = 1.0  # for so long it is taken for granted then: to look costs a tenth of a start
# What the lack of descriptors, threads or memory raises.
STARVED = (OSError, RuntimeError, MemoryError)
TURN_S = 0.2  # for so long at most a start waits for another


class ProgramNotBegun(Exception):
    """A program did not start: it is "unfit" to be run, or it "failed"."""

    def __init__(self, kind: str, error: Exception, is_running: bool = False) -> None:
        super().__init__(describe(error))
        self.kind, self.is_running = kind, is_running


def start_program(request: dict[str, Any], files: Sequence[Any], held: Sequence[int]) -> Any:
    """Start a program as the head of a group; raise ProgramNotBegun.

    `files` are descriptors of its standard input, output and error.
    """
    import sh

    try:
        with TURNS.take():
            return sh.Command(request["program"])(
                *request["words"],
                _in=files[0],
                _out=files[1],
                _err=files[2],
                _env=request["environment"],
                _tty_out=False,
                _encoding="utf-8",
                _decode_errors="replace",
                _new_session=True,  # signals to it reach all that it starts, and those of a terminal do not reach it
                _close_fds=False,  # nothing here is inherited
                _preexec_fn=lambda: prepare_program(request, held),
                _bg=True,
                _bg_exc=False,
            )
    except sh.CommandNotFound as error:
        raise ProgramNotBegun("unfit", error) from None
    except (sh.ForkException, *STARVED) as error:
        gc.enable()  # which sh leaves disabled when it fails halfway
        # No thread could be started for a program that runs already.
        is_unfit, is_running = isinstance(error, sh.ForkException), isinstance(error, RuntimeError)
        if is_unfit:
            release_unfit(error)
        raise ProgramNotBegun("unfit" if is_unfit else "failed", error, is_running) from None


def release_unfit(error: BaseException) -> None:
    """Release what sh leaves of a program that could not be executed.

    Its process, which nobody waits for, and the pipe that would have told its group.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    left = {} if trace is None else trace.tb_frame.f_locals
    with contextlib.suppress(KeyError, AttributeError, OSError):  # sh is not as we know it
        os.waitpid(left["self"].pid, 0)
        os.close(left["session_pipe_read"])
        os.close(left["session_pipe_write"])


def wait_for_end(started: Any) -> int:
    """Wait until a program has ended; return its exit code.

    A negative one is that of a signal. Raises one of STARVED.
    """
    import sh

    try:
        started.wait()
        return int(started.exit_code)
    except sh.ErrorReturnCode as error:
        return int(error.exit_code)


def prepare_program(request: dict[str, Any], held: Sequence[int]) -> None:
    """Give a program what a login gives; runs between fork and exec."""
    # sh lets background programs ignore SIGHUP, Python SIGXFSZ, and a shell SIGQUIT of a server that it started with
    # `&`: they would pass that on to jobs.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if request["most_bytes"] is None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["most_bytes"],) * 2)
    for fd in held:
        os.set_inheritable(fd, True)
    # One that uses select() would suffer from more than it began with.
    resource.setrlimit(resource.RLIMIT_NOFILE, (request["descriptors"], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


class Room:
    """Whether there is what a start needs, looked at now and then."""

    def __init__(self) -> None:
        self._until = 0.0

    def require(self, fd: int) -> None:
        """Raise an error of STARVED unless a program can be started."""
        if time.monotonic() < self._until:
            return
        spare, release = list[int](), threading.Event()
        try:
            mmap.mmap(-1, SPARE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
            for _ in range(SPARE_DESCRIPTORS):
                spare.append(os.dup(fd))
            for _ in range(SPARE_THREADS):
                threading.Thread(target=release.wait, daemon=True).start()
            self._until = time.monotonic() + ROOM_S
        finally:
            release.set()
            for descriptor in spare:
                os.close(descriptor)


class Turns:
    """Starts one after the other.

    While a program is between fork and exec, every page that is written here is copied.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, not long: one disk that hangs holds up no other."""
        is_ours = self._lock.acquire(timeout=TURN_S)
        try:
            yield
        finally:
            if is_ours:
                self._lock.release()


def describe(error: Exception) -> str:
    """Describe in few words what was lacking, or went wrong."""
    if why := re.search(r"\[Errno \d+\] ([^\n]+)\s*$", str(error)):  # also at the end of a traceback, as sh tells it
        return why[1].replace(" b'", " '")[-500:]
    return (str(error) or "out of memory")[-500:]


ROOM, TURNS = Room(), Turns()
