"""The process that starts programs for the server; run on its own.

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
import os
import queue
import resource
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from slurm_shim.starting.calls import Call, Reply
from slurm_shim.starting.shells import SHELLS, make_key, read_identity
from slurm_shim.starting.starts import ROOM, STARVED, ProgramNotBegun, describe, start_program, wait_for_end

PIECE_BYTES = 65_536
MOST_FDS = 5


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
            connection.sendall(json.dumps(reply).encode() + b"\n")


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


def run_program(request: dict[str, Any], given: list[int], call: Call) -> Reply:
    """Run a program to its end; say how it ended, or why it did not start."""
    try:
        ROOM.require(given[0])
    except STARVED as error:
        return "failed", describe(error), False
    by_shell = request.get("by_shell")
    if by_shell and (reply := SHELLS.run(request, given, call)) is not None:
        return reply
    key, identity = make_key(request, given[3:]), read_identity(request["program"])
    try:
        started = start_program(request, given[:3], given[3:])
    except ProgramNotBegun as error:
        return error.kind, str(error), error.is_running
    call.note_start(started.pid)
    close_all(given)  # who reads what it prints waits until nobody has it open
    try:
        code = wait_for_end(started)
    except STARVED as error:
        return "failed", describe(error), True
    if by_shell:
        SHELLS.note_run(key, request["program"], identity)
    return "ended", code, False


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
