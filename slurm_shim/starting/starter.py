"""The process that starts programs, as the server knows it.

It is started with the first program and again when it has died or hangs, and ends with the server.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import itertools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

# Run as `python -c THIS FD ROOT FOLDER`: a socket to the server, and where this package and `sh` are installed.
_PROCESS = """\
import sys
sys.path.append(sys.argv[2])
from slurm_shim.starting.process import main
main(int(sys.argv[1]), sys.argv[3])
"""
_ROOT = str(Path(__file__).parents[2])
_END_S = 5.0  # what it may take to end once its socket is closed
_ANSWER_S = 10  # to a sign of life, and to taking a message over, even on a machine that has much to do
_PIECE_BYTES = 65_536
_SMALL = {"MALLOC_ARENA_MAX": "1"}  # its threads share what memory there is: sh forks all of it


class StartError(Exception):
    """A program could not be started, or nobody knows what became of it.

    `uncertain` says that it may have been started, `unfit` that it is no program that can be run, `lost` that the
    process has ended that was to start it.
    """

    def __init__(self, text: str, uncertain: bool, unfit: bool = False, lost: bool = False) -> None:
        super().__init__(text)
        self.text, self.uncertain, self.unfit, self.lost = text, uncertain, unfit, lost


@dataclass(frozen=True)
class Request:
    """What is to be run, and with what.

    `hold_fd` is a descriptor that is inherited, `descriptors` the soft limit of these, `most_bytes` what may be written
    into one file. `by_shell` says that a shell that is kept may start it (see shells.py), for what is called again and
    again with the same environment of plain names: an exit code over 128 is then read as the end by a signal.
    """

    program: str
    words: Sequence[str]
    environment: Mapping[str, str]
    descriptors: int
    hold_fd: int | None = None
    most_bytes: int | None = None
    by_shell: bool = False

    def pack(self) -> bytes:
        """Pack it for the process that starts it."""
        given: dict[str, object] = {"program": self.program, "words": [*self.words]}
        given |= {"environment": {**self.environment}}
        given |= {"descriptors": self.descriptors, "most_bytes": self.most_bytes, "by_shell": self.by_shell}
        packed = json.dumps(given).encode()
        return len(packed).to_bytes(8, "big") + packed


class Program:
    """A program that was asked for; use it as a context."""

    def __init__(self, starter: Starter, number: int, connection: socket.socket) -> None:
        self._starter, self._number, self._connection = starter, number, connection
        self._received, self._is_over = bytearray(), False

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_problem: object) -> None:
        self._connection.close()

    def fileno(self) -> int:
        """Return the descriptor that can be read once it has ended."""
        return self._connection.fileno()

    def has_ended(self) -> bool:
        """Return whether its end is known, or that nobody will know it."""
        try:
            return self.wait(0) is not None
        except StartError:
            return True

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end and return its exit code; None while it runs.

        Raises StartError.
        """
        until = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not self._is_over:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            if not poll.poll(None if left_s is None else 1000 * left_s):
                return None
            try:
                piece = self._connection.recv(_PIECE_BYTES)
            except OSError:
                piece = b""
            self._received += piece
            self._is_over = not piece or piece.endswith(b"\n")
        return self._read_reply()

    def _read_reply(self) -> int:
        try:
            kind, said, uncertain = json.loads(self._received)
        except ValueError:  # there is none, or a part of one
            raise StartError("the process that starts programs has ended", uncertain=True, lost=True) from None
        if kind != "ended":
            raise StartError(said, uncertain, kind == "unfit")
        return int(said)

    def send_signal(self, number: int) -> None:
        """Send a signal to it and all that it has started; not once it has ended."""
        self._starter.send_signal(self._number, number)


class Starter:
    """Starts programs in a small process of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, request: Request, files: tuple[int, int, int]) -> Program:
        """Start a program; raise StartError, or OSError for what is lacking.

        `files` are descriptors of its standard input, output and error.
        """
        ours, theirs = socket.socketpair()
        program = Program(self, next(self._numbers), ours)
        try:
            with theirs:
                held = [] if request.hold_fd is None else [request.hold_fd]
                self._hand_over(program._number, [theirs.fileno(), *files, *held])
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died: there is no reply
                ours.sendall(request.pack())
        except BaseException:
            ours.close()
            raise
        return program

    def send_signal(self, number: int, signal_number: int) -> None:
        """Send a signal to the program of this number, where it runs."""
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.send(json.dumps([number, signal_number]).encode())

    def replace_hanging(self) -> None:
        """End the process if it gives no sign of life; another comes next."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                asked = self._hand_over(0, [theirs.fileno()])
            ours.settimeout(_ANSWER_S)
            with contextlib.suppress(ConnectionResetError):
                try:
                    ours.recv(1)
                except TimeoutError:
                    with self._lock:
                        if self._process is asked and self._socket is not None:
                            self._end_process(hangs=True)

    def _hand_over(self, number: int, fds: list[int]) -> subprocess.Popen[bytes] | None:
        message = json.dumps([number, 0]).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.sendmsg([message], rights)
                except (BrokenPipeError, ConnectionResetError):  # it has died, and has not taken this
                    self._end_process()
                except BlockingIOError:  # it has taken nothing for long
                    self._end_process(hangs=True)
                else:
                    return self._process
            self._start_process().sendmsg([message], rights)
            return self._process

    def _start_process(self) -> socket.socket:
        found = PathFinder.find_spec("sh")
        assert found is not None and found.origin is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _ANSWER_S, 0))
        with theirs:
            given = [str(theirs.fileno()), _ROOT, str(Path(found.origin).parents[1])]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-X", "utf8", "-I", "-S", "-c", _PROCESS, *given],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_SMALL | {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # no signal of the server's terminal reaches it
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        return ours

    def close(self) -> None:
        """End the process; programs that it has started go on."""
        with self._lock:
            if self._socket is not None:
                self._end_process()

    def _end_process(self, hangs: bool = False) -> None:
        assert self._socket is not None and self._process is not None
        self._socket.close()
        self._socket = None
        if hangs:
            self._process.kill()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


STARTER = Starter()
atexit.register(STARTER.close)
