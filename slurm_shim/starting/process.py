"""The process that starts programs for the server; run on its own.

    python -I -S process.py FD FOLDER        a socket to the server, and the folder where `sh` is installed

`sh` forks whoever calls it, which takes the longer the more memory that has: so it is called here, where there is
little. Each message over the socket hands over a connection of its own for one program, with its standard input,
output, error, and perhaps a descriptor to hold; or asks for a signal to one; or hands over a connection under the
number 0, which is closed as a sign of life. It ends when the socket is closed, and programs that it has started go on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import mmap
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

# What must be free before a program is started: for the pipes and threads of several that start at once. Where sh
# fails halfway, it leaves descriptors open, and a program that nobody waits for.
SPARE_DESCRIPTORS, SPARE_THREADS, SPARE_BYTES = 32, 4, 64 * 1024 * 1024
ROOM_S = 1.0  # for so long it is taken for granted then: to look costs a tenth of a start
# What the lack of descriptors, threads or memory raises.
STARVED = (OSError, RuntimeError, MemoryError)
TURN_S = 0.2  # for so long at most a start waits for another
PIECE_BYTES = 65_536
MOST_FDS = 5
# ("ended", exit code, False); ("unfit", why it cannot be run, False); ("failed", why, whether it may have started).
Reply = tuple[str, Any, bool]


class Call:
    """One program: whether it runs, and the signals that it is to get."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._early: list[int] = []
        self._has_ended = False

    @property
    def has_started(self) -> bool:
        """Whether it has begun."""
        return self._pid is not None

    def note_start(self, pid: int) -> None:
        """Note that it runs, as the head of a group of processes."""
        with self._lock:
            self._pid = pid
            for number in self._early:
                self._send(number)

    def note_end(self) -> None:
        """Note that it is gone: another may have its number."""
        with self._lock:
            self._has_ended = True

    def send_signal(self, number: int) -> None:
        """Send it a signal, or as soon as it runs."""
        with self._lock:
            if self._pid is None:
                self._early.append(number)
            elif not self._has_ended:
                self._send(number)

    def _send(self, number: int) -> None:
        assert self._pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended just now
            os.killpg(self._pid, number)


class Calls:
    """The programs that run, and the threads that wait for them."""

    def __init__(self, to_server: socket.socket) -> None:
        self._to_server = to_server
        self._receiving, self._lock = threading.Lock(), threading.Lock()
        self._waiting = 0
        self._by_number: dict[int, Call] = {}

    def serve(self) -> None:
        """Take messages and do what they ask for until the server ends."""
        while True:
            with self._lock:
                self._waiting += 1
            with self._receiving:  # one by one: no signal overtakes the call that it is for
                number, signal_number, fds = receive(self._to_server)
                with self._lock:
                    self._waiting -= 1
                    call = self._by_number.setdefault(number, Call()) if number and fds else self._by_number.get(number)
                    is_last = not self._waiting
            if fds and call is not None:
                self._answer(number, call, fds, is_last)
            elif call is not None:
                call.send_signal(signal_number)
            else:
                close_all(fds)  # which tells the server that we are here

    def _answer(self, number: int, call: Call, fds: list[int], is_last: bool) -> None:
        """Run what is asked for over a connection, and answer there."""
        own, *given = fds
        connection = socket.socket(fileno=own)
        try:
            if is_last:  # somebody must go on taking messages
                threading.Thread(target=self.serve, daemon=True).start()
            reply = run_program(read_request(connection), given, call)
        except Exception as error:
            reply = "failed", describe(error), call.has_started
        finally:
            call.note_end()
            with self._lock:
                self._by_number.pop(number, None)
            close_all(given)
        with connection, contextlib.suppress(OSError):  # nobody waits for it any more
            connection.sendall(json.dumps(reply).encode())


def receive(to_server: socket.socket) -> tuple[int, int, list[int]]:
    """Receive the number of a program, and a signal or descriptors.

    Ends this process where there is no server any more.
    """
    room = socket.CMSG_SPACE(MOST_FDS * 4)
    try:
        message, more, *_ = to_server.recvmsg(PIECE_BYTES, room, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    except OSError:
        message, more = b"", []
    if not message:
        os._exit(0)
    fds = [fd for *_kind, data in more for fd in memoryview(data[: len(data) // 4 * 4]).cast("i")]
    for fd in fds:
        os.set_inheritable(fd, False)
    number, signal_number = json.loads(message)
    return number, signal_number, fds


def close_all(fds: list[int]) -> None:
    """Close descriptors, each once."""
    while fds:
        os.close(fds.pop())


def read_request(connection: socket.socket) -> dict[str, Any]:
    """Read what is to be run; EOFError for one that was cut off."""
    pieces = bytearray()
    while len(pieces) < 8 or len(pieces) < 8 + int.from_bytes(pieces[:8], "big"):
        piece = connection.recv(PIECE_BYTES)
        if not piece:
            raise EOFError("the request was cut off")
        pieces += piece
    request: dict[str, Any] = json.loads(pieces[8:])
    return request


def run_program(request: dict[str, Any], given: list[Any], call: Call) -> Reply:
    """Run a program to its end; say how it ended, or why it did not start."""
    import sh

    try:
        ROOM.require(given[0])
    except STARVED as error:
        return "failed", describe(error), False
    try:
        with TURNS.take():
            started = sh.Command(
                request["program"]
            )(
                *request["words"],
                _in=given[0],
                _out=given[1],
                _err=given[2],
                _env=request["environment"],
                _tty_out=False,
                _encoding="utf-8",
                _decode_errors="replace",
                _new_session=True,  # signals to it reach all that it starts, and those of a terminal do not reach it
                _close_fds=False,  # nothing here is inherited
                _preexec_fn=lambda: prepare_program(request, given[3:]),
                _bg=True,
                _bg_exc=False,
            )
    except sh.CommandNotFound as error:
        return "unfit", describe(error), False
    except (sh.ForkException, *STARVED) as error:
        gc.enable()  # which sh leaves disabled when it fails halfway
        # No thread could be started for a program that runs already.
        is_unfit, is_running = isinstance(error, sh.ForkException), isinstance(error, RuntimeError)
        return "unfit" if is_unfit else "failed", describe(error), is_running
    call.note_start(started.pid)
    close_all(given)  # who reads what it prints waits until nobody has it open
    try:
        started.wait()
        return "ended", int(started.exit_code), False
    except sh.ErrorReturnCode as error:
        return "ended", int(error.exit_code), False
    except STARVED as error:
        return "failed", describe(error), True


def prepare_program(request: dict[str, Any], held: list[int]) -> None:
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


ROOM, TURNS = Room(), Turns()


def describe(error: Exception) -> str:
    """Describe in few words what was lacking, or went wrong."""
    return (getattr(error, "strerror", None) or str(error) or "out of memory")[-500:]


def load_sh(folder: str) -> None:
    """Load sh without half of what it loads: each start copies what is here."""
    sys.path.append(folder)
    # 90 modules, for those who `await` a program, and for the version of sh, which nobody asks for here.
    asyncio, metadata = types.ModuleType("asyncio"), types.ModuleType("importlib.metadata")
    vars(asyncio).update(Queue=queue.Queue, get_running_loop=refuse_loop)
    vars(metadata).update(version=lambda _name: "", PackageNotFoundError=LookupError)
    sys.modules |= {"asyncio": asyncio, "importlib.metadata": metadata}
    import sh  # noqa: F401

    # sh writes every argv to its log at INFO, comments and names of people's jobs among them.
    logging.getLogger("sh").setLevel(logging.WARNING)
    gc.collect()
    gc.freeze()


def refuse_loop() -> None:
    """Refuse a loop, as asyncio does where none runs."""
    raise RuntimeError("no running event loop")


def main(number: int, folder: str) -> None:
    """Serve the server at the other end of this socket."""
    # What is sent to a whole group or service is for the server, which then ends its calls; programs get the default.
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, ignore_signal)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.set_inheritable(number, False)
    load_sh(folder)
    Calls(socket.socket(fileno=number)).serve()


# A function, as one that is ignored would stay ignored in programs.
ignore_signal: Callable[..., None] = lambda *_what: None  # noqa: E731

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
