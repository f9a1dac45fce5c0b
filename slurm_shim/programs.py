"""How programs are started, here and nowhere else.

An argv list, an environment that is built, a time-out. `run_program` blocks, `call_program` is work that waits for it.

Programs never see the server's own environment, terminal or descriptors. What they print goes into files in memory, so
that megabytes of rows cost nothing to take.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pwd
import resource
import signal as signals
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slurm_shim.errors import AnswerTooLarge, ClusterUnreachable, SlurmUnreachable
from slurm_shim.starting.starter import STARTER, Program, Request, StartError
from slurm_shim.starting.starts import STARVED, describe
from slurm_shim.starting.work import Work, make_blocking
from slurm_shim.threads import require_memory

# The soft limit of descriptors that this process began with; the server raises its own later.
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_WAITING = "SLURM gave no answer and is not asked again yet: "
_LOOK_S = 0.25  # how often it is looked whether a program has said enough
_LAST_WORDS_S = 0.5  # what it may then take to end by itself
_MOST_LOOKED_AT = 65_536
_KILL_S = 10.0  # what it may take to be ended


@dataclass(frozen=True)
class Answer:
    """What one program printed, as text.

    `exit_code` (negative: ended by that signal), `out` and `err`.
    """

    exit_code: int
    out: str
    err: str


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and the bytes that it printed.

    `exit_code` is None when it was ended after the time-out.
    """

    exit_code: int | None
    out: bytes
    err: bytes


class CallCounts:
    """How often each program was called, and how often in vain."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}

    def note_call(self, program: str, failed: bool) -> None:
        """Count a call that is over."""
        with self._lock:
            counts = self._counts.setdefault(program, [0, 0])
            counts[0] += 1
            counts[1] += failed

    def list_counts(self) -> dict[str, tuple[int, int]]:
        """List calls and failures by program."""
        with self._lock:
            return {program: (calls, failures) for program, (calls, failures) in self._counts.items()}


class Breaker:
    """A circuit breaker: it fails fast after `limit` failures in a row.

    One probe is let through every `pause_s`.

    With `longest_s` the pause doubles with each probe that fails, up to that.
    """

    def __init__(
        self,
        limit: int = 3,
        pause_s: float = 5.0,
        now: Callable[[], float] = time.monotonic,
        longest_s: float | None = None,
    ) -> None:
        self._limit, self._pause_s, self._now = limit, pause_s, now
        self._longest_s = pause_s if longest_s is None else longest_s
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe = 0.0
        self._last = ""
        self._last_kind = SlurmUnreachable

    @property
    def is_failing(self) -> bool:
        """Whether the last call that counts got no answer."""
        return self._failures > 0

    def enter(self, program: str, may_probe: bool = True) -> None:
        """Begin a call; raise SlurmUnreachable while the breaker is open.

        One call in each pause is let through as a probe, of those that may be one.
        """
        with self._lock:
            if self._failures < self._limit:
                return
            if not may_probe or self._now() < self._next_probe:
                raise self._last_kind(program, f"{_WAITING}{self._last.removeprefix(_WAITING)}")
            # Everybody else goes on failing fast until the probe has answered or another pause is over.
            self._next_probe = self._now() + self._compute_pause_s()

    def leave(self, error: SlurmUnreachable | None) -> None:
        """Count the outcome of a call that entered."""
        with self._lock:
            if error is None:
                self._failures = 0
                return
            self._failures += 1
            self._last = error.text[:500]
            # What was written for people is told whole again.
            self._last_kind = ClusterUnreachable if isinstance(error, ClusterUnreachable) else SlurmUnreachable
            if self._failures >= self._limit:
                self._next_probe = self._now() + self._compute_pause_s()

    def _compute_pause_s(self) -> float:
        # The power is bounded: after a night without an answer it would be too large a number.
        return min(self._longest_s, self._pause_s * 2.0 ** min(30, max(0, self._failures - self._limit)))


def call_program(
    program: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: bytes,
    timeout_s: float,
    *,
    hold_fd: int | None = None,
    most_bytes: int | None = None,
    most_taken_bytes: int | None = None,
    is_enough: Callable[[bytes], bool] | None = None,
    may_repeat: bool = False,
    by_shell: bool = False,
) -> Work[Outcome]:
    """Run a program to its end and return how it ended, as work.

    The first word of `argv` is the name it goes by in errors.

    `hold_fd` is a descriptor that it inherits, `most_bytes` what it and the programs that it starts may write into one
    file. A program that goes on after it has printed what `is_enough` is ended, and counts as ended well. One that only
    asks and `may_repeat` is run once more where it was lost sight of. `by_shell`: see Request. Raises SlurmUnreachable
    when it cannot be started, AnswerTooLarge when it printed more than `most_taken_bytes`.
    """
    request = Request(program, argv[1:], environment, DESCRIPTORS, hold_fd, most_bytes, by_shell)
    try:
        return (yield from _call_once(argv[0], request, stdin, timeout_s, most_taken_bytes, is_enough))
    except StartError as error:
        if not (may_repeat and error.lost):
            raise make_start_error(argv[0], error) from None
    try:
        return (yield from _call_once(argv[0], request, stdin, timeout_s, most_taken_bytes, is_enough))
    except StartError as error:
        raise make_start_error(argv[0], error) from None


run_program = make_blocking(call_program)


def _call_once(
    name: str,
    request: Request,
    stdin: bytes,
    timeout_s: float,
    most_taken_bytes: int | None,
    is_enough: Callable[[bytes], bool] | None,
) -> Work[Outcome]:
    # Raises StartError.
    with contextlib.ExitStack() as opened:
        try:
            require_memory()
            given, out, err = (_open_memory_file(content, opened) for content in (stdin, b"", b""))
            started = opened.enter_context(STARTER.start(request, (given, out, err)))
        except STARVED as error:
            raise StartError(describe(error), uncertain=False) from None
        has_enough = None if is_enough is None else lambda: is_enough(os.pread(out, _MOST_LOOKED_AT, 0))
        until = time.monotonic() + timeout_s
        try:
            yield started
            code = _wait_for_end(started, until, has_enough)
            if code is None and has_enough is not None and has_enough():
                code = 0
            if most_taken_bytes is not None and os.fstat(out).st_size > most_taken_bytes:
                raise AnswerTooLarge(name, most_taken_bytes)
            return Outcome(code, _read_all(out), _read_all(err))
        except STARVED as error:
            raise StartError(describe(error), uncertain=True) from None


def make_start_error(name: str, error: StartError) -> ClusterUnreachable:
    """Make the error for a program that nobody could start, or follow."""
    what = "was lost sight of" if error.uncertain else "could not be started"
    return ClusterUnreachable(name, f"{name} {what}: {error.text}"[-500:], error.uncertain)


def build_user_environment() -> dict[str, str]:
    """Build the variables that say for which user a program runs.

    HOME, USER, LOGNAME, SHELL, and TZ where it is set.
    """
    uid = os.getuid()
    try:
        name, home, shell = _find_account(uid)
    except KeyError:  # a container may run under a number without a name
        name, home, shell = str(uid), "/", "/bin/sh"
    built = {"HOME": os.environ.get("HOME") or home, "USER": name, "LOGNAME": name, "SHELL": shell or "/bin/sh"}
    if "TZ" in os.environ:  # for the clock of the jobs; times between SLURM and us are epoch seconds
        built["TZ"] = os.environ["TZ"]
    return built


def find_user_name() -> str:
    """Find the name of the user that programs run for."""
    try:
        return _find_account(os.getuid())[0]
    except KeyError:
        return str(os.getuid())


@functools.cache  # of a moment without descriptors getpwuid says that there is no such user
def _find_account(uid: int) -> tuple[str, str, str]:
    entry = pwd.getpwuid(uid)
    return entry.pw_name, entry.pw_dir, entry.pw_shell


def _wait_for_end(started: Program, until: float, has_enough: Callable[[], bool] | None) -> int | None:
    # The exit code, None for a program that was ended. One that has ended did so in time, whoever looks late.
    if (code := started.wait(0)) is not None:
        return code
    look_s = math.inf if has_enough is None else _LOOK_S
    while (left_s := until - time.monotonic()) > 0 and not (has_enough and has_enough()):
        if (code := started.wait(min(left_s, look_s))) is not None:
            return code
    if left_s > 0 and (code := started.wait(_LAST_WORDS_S)) is not None:
        return code
    with contextlib.suppress(*STARVED):  # then it is not known whether it hangs
        STARTER.replace_hanging()
    started.send_signal(signals.SIGKILL)
    if started.wait(_KILL_S) is None:
        raise StartError("it does not end", uncertain=True)
    return None


def _open_memory_file(content: bytes, opened: contextlib.ExitStack) -> int:
    # In memory where Linux offers it: no disk that could be full, and sh copies nothing through Python.
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("sluice")
        opened.callback(os.close, fd)
    else:
        fd = opened.enter_context(tempfile.TemporaryFile()).fileno()  # noqa: SIM115 - the stack is one
    at = 0
    while at < len(content):
        at += os.pwrite(fd, content[at:] if at else content, at)
    return fd


def _read_all(fd: int) -> bytes:
    # A piece is the whole of it, where nobody writes any more.
    pieces, at = list[bytes](), 0
    while piece := os.pread(fd, max(os.fstat(fd).st_size - at, 0), at):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)
