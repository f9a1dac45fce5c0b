"""How programs are started, here and nowhere else.

An argv list, an environment that is built, a time-out. Blocking.

Programs never see the server's own environment, terminal or descriptors. What they print goes into files in memory, so
that megabytes of rows cost nothing to take.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import pwd
import resource
import signal as signals
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import sh

from slurm_shim.errors import AnswerTooLarge, ClusterUnreachable, SlurmUnreachable
from slurm_shim.threads import require_memory

# sh writes every argv to its log at INFO, comments and names of people's jobs among them.
logging.getLogger("sh").setLevel(logging.WARNING)


# The soft limit of descriptors that this process began with; the server raises its own later.
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_WAITING = "SLURM gave no answer and is not asked again yet: "
_LOOK_S = 0.05  # how often it is looked whether a program has said enough
_LAST_WORDS_S = 0.5  # what it may then take to end by itself
_MOST_LOOKED_AT = 65_536
# What must be free before a program is started: for the pipes and threads of several that start at once.
_SPARE_DESCRIPTORS, _SPARE_THREADS = 32, 4
# What the lack of descriptors, threads or memory raises.
STARVED = (OSError, RuntimeError, MemoryError)


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


def run_program(
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
) -> Outcome:
    """Run a program to its end and return how it ended.

    The first word of `argv` is the name it goes by in errors.

    `hold_fd` is a descriptor that it inherits, `most_bytes` what it and the programs that it starts may write into one
    file. A program that goes on after it has printed what `is_enough` is ended, and counts as ended well. Raises
    SlurmUnreachable when it cannot be started, AnswerTooLarge when it printed more than `most_taken_bytes`.
    """
    with contextlib.ExitStack() as opened:
        try:
            given, out, err = (opened.enter_context(_open_memory_file(content)) for content in (stdin, b"", b""))
            require_room(given.fileno())
        except STARVED as error:
            raise _make_start_error(argv[0], error) from None
        try:
            started = sh.Command(program)(
                *argv[1:],
                _in=given,
                _out=out,
                _err=err,
                _env=dict(environment),
                _tty_out=False,
                _encoding="utf-8",
                _decode_errors="replace",
                _new_session=True,  # Ctrl-C in the server's terminal must not reach an sbatch in flight
                _close_fds=False,
                _preexec_fn=lambda: _prepare_child(hold_fd, most_bytes),
                _bg=True,
                _bg_exc=False,
            )
        except (sh.ForkException, *STARVED) as error:
            gc.enable()  # which sh leaves disabled when it fails halfway
            # No thread could be started for a program that runs already.
            raise _make_start_error(argv[0], error, uncertain=isinstance(error, RuntimeError)) from None
        has_enough = None if is_enough is None else lambda: is_enough(os.pread(out.fileno(), _MOST_LOOKED_AT, 0))
        try:
            code = _wait_for_end(started, timeout_s, has_enough)
            if code is None and has_enough is not None and has_enough():
                code = 0
            if most_taken_bytes is not None and os.fstat(out.fileno()).st_size > most_taken_bytes:
                raise AnswerTooLarge(argv[0], most_taken_bytes)
            return Outcome(code, _read_all(out), _read_all(err))
        except STARVED as error:
            text = f"{argv[0]} was lost sight of: {_describe(error)}"
            raise ClusterUnreachable(argv[0], text, uncertain=True) from None


def require_room(fd: int) -> None:
    """Raise an error of STARVED unless a program can be started.

    Where sh itself fails halfway, it leaves descriptors open, and a program that nobody waits for.
    """
    spare, release = list[int](), threading.Event()
    try:
        require_memory()
        for _ in range(_SPARE_DESCRIPTORS):
            spare.append(os.dup(fd))
        for _ in range(_SPARE_THREADS):
            threading.Thread(target=release.wait, daemon=True).start()
    finally:
        release.set()
        for descriptor in spare:
            os.close(descriptor)


def _make_start_error(name: str, error: Exception, uncertain: bool = False) -> SlurmUnreachable:
    return ClusterUnreachable(name, f"{name} could not be started: {_describe(error)}"[-500:], uncertain)


def _describe(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or "out of memory"


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


def restore_descriptors() -> None:
    """Let a program inherit 0 to 2 only, and the first limit of descriptors.

    One that uses select() would suffer from more than 1,024. Runs between fork and exec, where `sh` must close nothing:
    with connections in every place below the lower limit it could not list what there is.
    """
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - the names are enough
        with contextlib.suppress(OSError):  # that of the list itself
            os.set_inheritable(number, number <= 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


@functools.cache  # of a moment without descriptors getpwuid says that there is no such user
def _find_account(uid: int) -> tuple[str, str, str]:
    entry = pwd.getpwuid(uid)
    return entry.pw_name, entry.pw_dir, entry.pw_shell


def _prepare_child(hold_fd: int | None, most_bytes: int | None) -> None:
    # Runs between fork and exec. sh lets background programs ignore SIGHUP, and they would pass that on to jobs.
    signals.signal(signals.SIGHUP, signals.SIG_DFL)
    restore_descriptors()
    if hold_fd is not None:
        os.set_inheritable(hold_fd, True)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def _wait_for_end(started: sh.RunningCommand, timeout_s: float, has_enough: Callable[[], bool] | None) -> int | None:
    # The exit code, None for a program that was ended. Not sh's own _timeout, whose watcher looks every 100 ms only and
    # makes the shortest call that long.
    ended, was_killed = threading.Event(), False

    def watch() -> None:
        nonlocal was_killed
        until, look_s = time.monotonic() + timeout_s, timeout_s if has_enough is None else _LOOK_S
        while (left_s := until - time.monotonic()) > 0 and not (has_enough and has_enough()):
            if ended.wait(min(left_s, look_s)):
                return
        if left_s > 0 and ended.wait(_LAST_WORDS_S):
            return
        was_killed = True
        with contextlib.suppress(ProcessLookupError):  # it ended just now
            os.killpg(started.pid, signals.SIGKILL)

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        watcher.start()
    except RuntimeError:  # no thread: it would run without any bound
        os.killpg(started.pid, signals.SIGKILL)
        raise
    try:
        started.wait()
        code = started.exit_code
    except sh.ErrorReturnCode as error:
        code = error.exit_code
    finally:
        ended.set()
        watcher.join()
    return None if was_killed else int(code)


def _open_memory_file(content: bytes = b"") -> IO[bytes]:
    # In memory where Linux offers it: no disk that could be full, and sh copies nothing through Python.
    made: IO[bytes] = (
        os.fdopen(os.memfd_create("sluice"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller's `with`
    )
    if content:
        made.write(content)
        made.flush()
        made.seek(0)
    return made


def _read_all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
