"""Small shells are kept that start what is called again and again.

A start by `sh` costs 3 ms of CPU, as Python forks and threads wait; one by such a shell a third of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slurm_shim.starting.calls import Call, Reply
from slurm_shim.starting.starts import STARVED, ProgramNotBegun, start_program, wait_for_end

SHELL = "/bin/sh"
# So many shells are kept, for so long after a call; one that holds a descriptor keeps a lock held, which is waited for.
MOST_SHELLS, IDLE_S, IDLE_HOLDING_S = 16, 60.0, 0.2
MOST_TYPED = 50_000  # characters that are typed into a shell: no program is then refused for the length of its words
MOST_FIT = 100
REFUSED = (1, 2)  # what bash and dash end with where a file cannot be opened anew
TICKS = os.sysconf("SC_CLK_TCK")
PIECE_BYTES = 65_536
# What a shell is kept for: the environment, the limit of descriptors, and what is held.
Key = tuple[tuple[tuple[str, str], ...], int, tuple[tuple[int, int], ...]]

# Changes with a program; None of one that has no path or is gone.
Identity = tuple[int, ...] | None


class Shell:
    """A shell that is kept; it starts one program after the other.

    It reads from its standard input what to start, and says on its standard output that a program begins and what its
    exit status is. A program gets files that are opened anew, and of the shell's only what that holds.
    """

    def __init__(self, key: Key, request: dict[str, Any], held: Sequence[int]) -> None:
        """Start it; raise ProgramNotBegun or one of STARVED."""
        self.key, self.idle_until = key, 0.0
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            its_input, self._typed = open_pipe(theirs, ours)
            self._said, its_output = open_pipe(ours, theirs)
            nowhere = theirs.enter_context(Path(os.devnull).open("rb")).fileno()  # what it complains of fails there
            # Above the numbers that a shell uses by itself.
            kept = [own(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10), theirs) for fd in held]
            words: dict[str, Any] = {"program": SHELL, "words": [], "most_bytes": None}
            self.started = start_program(request | words, (its_input, its_output, nowhere), kept)
            # A signal that a program sends to its group is not to end the shell; no program inherits a trap like this.
            added = [name for name in ("PWD", "OLDPWD", "SHLVL", "_") if name not in request["environment"]]
            os.write(self._typed, f"trap : HUP INT QUIT USR1 USR2 ALRM TERM; unset {' '.join(added)}\n".encode())
            self._opened = ours.pop_all()

    def run(self, typed: str, call: Call) -> tuple[bool, int | None]:
        """Run a command; return whether it began, and its exit status.

        The status is None where the shell has ended. BrokenPipeError where it had ended before.
        """
        call.note_start(self.started.pid, time.clock_gettime_ns(time.CLOCK_BOOTTIME) * TICKS // 10**9)
        given = memoryview(typed.encode())
        while given:
            given = given[os.write(self._typed, given) :]
        said = b""
        while piece := os.read(self._said, PIECE_BYTES):
            said += piece
            _, begun, status = said.rpartition(b"+\n")
            if status.endswith(b"\n"):
                return bool(begun), int(status)
        return bool(said), None

    def end(self) -> None:
        """End it once its program has ended."""
        self._opened.close()


class Shells:
    """The shells that are kept, each for one Key; and what was run well."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[Shell] = []  # who was used last stands last
        self._count = 0
        # Programs that were run, as they were then, and until when a shell is worth its start.
        self._fit: dict[tuple[Key, str], tuple[Identity, float]] = {}
        self._is_usable = Path("/proc/self/fd").exists()
        self._is_watched, self._wakes_at = False, math.inf

    def note_run(self, key: Key, program: str, identity: Identity) -> None:
        """Note that a program of this identity was run just now."""
        with self._changed:
            if len(self._fit) >= MOST_FIT:
                self._fit.clear()
            self._fit[key, program] = identity, time.monotonic() + get_idle_s(key)

    def run(self, request: dict[str, Any], given: Sequence[int], call: Call) -> Reply | None:
        """Run a program by a shell; None where sh is to start it."""
        program, key, typed = request["program"], make_key(request, given[3:]), write_command(request, given)
        identity = read_identity(program)
        if not self._is_usable or len(typed) > MOST_TYPED or "\0" in typed or not self._is_fit(key, program, identity):
            return None
        shell = self._take(key, request, given[3:])
        if shell is None:
            return None
        status, is_refused = None, False
        try:
            has_begun, status = shell.run(typed, call)
            if status is not None and has_begun:
                self.note_run(key, program, identity)
                return describe_end(program, status, given[2])
            if status not in REFUSED:
                return describe_loss(shell, has_begun, status, call)
            is_refused, self._is_usable = True, False
        except BrokenPipeError:
            is_refused = True
        finally:
            call.note_no_start() if is_refused else call.note_end()
            self._give_back(shell, is_alive=status is not None)
        return None

    def _is_fit(self, key: Key, program: str, identity: Identity) -> bool:
        # What cannot be run is told from what has failed only where no shell stands between.
        with self._changed:
            noted, until = self._fit.get((key, program), (None, 0.0))
        return noted == identity is not None and time.monotonic() < until

    def _take(self, key: Key, request: dict[str, Any], held: Sequence[int]) -> Shell | None:
        with self._changed:
            for shell in reversed(self._idle):
                if shell.key == key:
                    self._idle.remove(shell)
                    return shell
            if self._count >= MOST_SHELLS:
                if not self._idle:
                    return None
                self._end_shell(self._idle.pop(0))
            self._count += 1
        try:
            if not self._is_watched:
                threading.Thread(target=self._end_idle, daemon=True).start()
                self._is_watched = True
            return Shell(key, request, held)
        except (ProgramNotBegun, *STARVED):
            with self._changed:
                self._count -= 1
            return None

    def _give_back(self, shell: Shell, is_alive: bool) -> None:
        with self._changed:
            if not (is_alive and self._is_usable):
                self._end_shell(shell)
                return
            shell.idle_until = time.monotonic() + get_idle_s(shell.key)
            self._idle.append(shell)
            if shell.idle_until < self._wakes_at:
                self._wakes_at = shell.idle_until
                self._changed.notify()

    def _end_shell(self, shell: Shell) -> None:
        shell.end()
        self._count -= 1

    def _end_idle(self) -> None:
        """End shells that nobody has used for long, as long as this runs."""
        with self._changed:
            while True:
                now = time.monotonic()
                for shell in [shell for shell in self._idle if shell.idle_until <= now]:
                    self._idle.remove(shell)
                    self._end_shell(shell)
                self._wakes_at = min((shell.idle_until for shell in self._idle), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


def make_key(request: dict[str, Any], held: Sequence[int]) -> Key:
    """Make what a shell has in common with the program that it starts."""
    environment = tuple(sorted(request["environment"].items()))
    # Of a file that is locked only one opening is: its identity tells which.
    statuses = [os.fstat(fd) for fd in held]
    return environment, request["descriptors"], tuple((status.st_dev, status.st_ino) for status in statuses)


def get_idle_s(key: Key) -> float:
    """Return for how long a shell is kept for more calls."""
    return IDLE_HOLDING_S if key[2] else IDLE_S


def read_identity(program: str) -> Identity:
    """Read the identity of a program."""
    try:
        status = Path(program).stat() if "/" in program else None
    except OSError:
        return None
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def write_command(request: dict[str, Any], given: Sequence[int]) -> str:
    """Write the command by which a shell starts a program."""
    given_in, out, err = (f"/proc/{os.getpid()}/fd/{fd}" for fd in given[:3])
    words = shlex.join([request["program"], *request["words"]])
    return f"(exec <{given_in} 3>{out} 2>{err} && echo + && exec {words} >&3 3>&-)\necho $?\n"


def describe_end(program: str, status: int, err: int) -> Reply:
    """Describe how a program ended, from its exit status in a shell."""
    if status in (126, 127):
        said = os.pread(err, PIECE_BYTES, 0)
        if said.startswith(f"{SHELL}: ".encode()) and program.encode() in said:
            return "unfit", said.decode("utf-8", "replace").strip()[-500:], False
    return "ended", 128 - status if 128 < status < 128 + signal.NSIG else status, False


def describe_loss(shell: Shell, has_begun: bool, status: int | None, call: Call) -> Reply:
    """Describe what became of a program when its shell did not say it."""
    code = wait_for_end(shell.started) if status is None else status
    if code < 0 and call.is_killed:
        return "ended", code, False
    if code >= 0 and not has_begun:
        return "failed", "no process can be started", False
    return "failed", "the shell that started it has ended", True


def open_pipe(to_read: contextlib.ExitStack, to_write: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe, each end for the stack that closes it."""
    ends = os.pipe()
    return own(ends[0], to_read), own(ends[1], to_write)


def own(fd: int, stack: contextlib.ExitStack) -> int:
    """Let a stack close a descriptor; return it."""
    stack.callback(os.close, fd)
    return fd


SHELLS = Shells()
