"""The connections that callers have: shared out, and ended when unread.

Nobody but the server's own user may have most of them. The server accepts them out of our sight, and lets a caller take
its time for the headers. So we look at the process's own sockets, ask the kernel whose they are, and end some.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from http_server.memory import give_back_memory
from store.access.credentials import OWN_UID
from store.access.peers import Peers
from store.config.log_format import Throttle

log = logging.getLogger("sluice")

# What another user, or an address of another machine, may have of all connections, and what all of them together.
OTHERS_SHARE, ALL_OTHERS_SHARE = 4, 2
LOOK_S, LOOK_AGAIN_S = 0.5, 0.05
# A client that takes nothing of what is sent to it for so long is given up, whatever the answer is. Its kernel takes
# nothing until a sixteenth of its buffer, MBs where much came fast, is read: 60 s were too short for 50 KB a second.
UNREAD_S = 300
LOOKS = 12  # at each connection in this time
INT, LINGER = struct.Struct("i"), struct.Struct("ii")
BYTES_ACKED, INFO_BYTES = struct.Struct("120xQ"), 128  # of struct tcp_info, in linux/tcp.h
DESCRIPTORS = "/dev/fd"  # a folder with a name for each descriptor of this process

Ends = tuple[tuple[str, int], tuple[str, int]]  # address and port: the client's, and ours


def watch_connections(port: int, most: int, is_over: threading.Event) -> None:
    """End connections of others beyond their share of `most`, and unread ones.

    Memory that they have left is given back. Until `is_over`, in a thread of its own: all else may be busy with what an
    attacker sent.
    """
    lines, pause_s, unread, free_bytes = Throttle(), 0.0, Unread(port), 0
    with contextlib.closing(Peers()) as peers:
        while not is_over.wait(pause_s):
            ended: Mapping[str, int] = {}
            try:
                for number in unread.list_given_up(time.monotonic()):
                    end_connection(number, port, drop=True)
                ended = limit_connections(port, most, peers)
                free_bytes = give_back_memory(free_bytes)
            except Exception as problem:  # whatever it is, memory among it: the next look may succeed
                if lines.admit("problem"):
                    log.warning("cannot look at the connections: %s", problem)
            for owner, count in ended.items():
                if lines.admit(owner):
                    log.warning("too many connections of %s: %d were shut down", owner, count)
            pause_s = LOOK_AGAIN_S if ended else LOOK_S


class Unread:
    """The connections to a port with something to read, and for how long.

    The kernel could end them (TCP_USER_TIMEOUT of tcp(7)), but it ends those of slow clients too: where there is seldom
    room for a whole packet, it counts from the first time on.
    """

    def __init__(self, port: int) -> None:
        self.port, self.looked_at = port, float(-UNREAD_S)
        self.taken: dict[int, tuple[Ends, int, float]] = {}  # how many bytes by now, and since when no more

    def list_given_up(self, now: float) -> list[int]:
        """List those whose client has taken nothing for UNREAD_S, by descriptor."""
        if now - self.looked_at < UNREAD_S / LOOKS:
            return []
        self.looked_at, before, self.taken = now, self.taken, {}
        for number, ends in list_connections(self.port):
            with contextlib.suppress(OSError), look_at(number) as found:
                waiting = fcntl.ioctl(number, termios.TIOCOUTQ, bytes(INT.size))
                taken = BYTES_ACKED.unpack_from(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES))[0]
                if INT.unpack(waiting) != (0,):
                    known = before.get(number)
                    since = known[2] if known is not None and known[:2] == (ends, taken) else now
                    self.taken[number] = ends, taken, since
        return [number for number, (_, _, since) in self.taken.items() if now - since >= UNREAD_S]


def limit_connections(port: int, most: int, peers: Peers) -> Mapping[str, int]:
    """End what others have beyond their share; return how many of whom.

    Nothing is looked at while even all descriptors would be within one share.
    """
    if len(os.listdir(DESCRIPTORS)) <= most // OTHERS_SHARE:  # noqa: PTH208 - the names are enough
        return {}
    owners = {number: find_owner(ends, peers) for number, ends in list_connections(port)}
    excess = choose_excess({number: owner for number, owner in owners.items() if owner is not None}, most)
    for number in excess:
        end_connection(number, port)
    return Counter(str(owners[number]) for number in excess)


def choose_excess(owners: Mapping[int, str], most: int) -> list[int]:
    """Choose the connections that others have beyond their share.

    `owners` are theirs by descriptor. Low descriptors are the old ones, more or less: they stay.

    >>> choose_excess({4: "uid 7", 5: "uid 7", 6: "uid 7", 7: "uid 8"}, 8)
    [6]
    """
    kept: Counter[str] = Counter()
    excess = []
    for number in sorted(owners):
        owner = owners[number]
        if kept[owner] >= most // OTHERS_SHARE or kept.total() >= most // ALL_OTHERS_SHARE:
            excess.append(number)
        else:
            kept[owner] += 1
    return excess


def find_owner(ends: Ends, peers: Peers) -> str | None:
    """Find whose connection it is: a user's or an address's.

    None for our own.
    """
    (address, _), _ = ends
    uid = peers.find_uid(*ends)
    if uid == OWN_UID:
        return None
    return address if uid is None else f"uid {uid}"


def list_connections(port: int, known: Collection[int] = ()) -> Iterator[tuple[int, Ends]]:
    """List our connections to this port, each with its descriptor.

    Without the descriptors that are known.
    """
    for number in map(int, os.listdir(DESCRIPTORS)):  # noqa: PTH208
        ends = None if number in known else read_ends(number, port)
        if ends is not None:
            yield number, ends


def read_ends(number: int, port: int) -> Ends | None:
    """Read both ends of a connection to this port.

    None for any other descriptor.
    """
    try:
        with look_at(number) as found:
            own, client = found.getsockname(), found.getpeername()
    except OSError:
        return None
    # The ends of other kinds of sockets are no pairs.
    return (client[:2], own[:2]) if isinstance(own, tuple) and own[1:2] == (port,) else None


@contextlib.contextmanager
def look_at(number: int) -> Iterator[socket.socket]:
    """Look at the socket with this descriptor.

    Without a copy, which might be one descriptor too many.
    """
    # Of both families this one has the longer addresses, which are cut off otherwise.
    found = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=number)
    try:
        yield found
    finally:
        found.detach()


def end_connection(number: int, port: int, drop: bool = False) -> None:
    """End the connection with this descriptor.

    Whoever accepted it notices, and closes it. With `drop` the kernel does not keep what waits for the client either.
    """
    with contextlib.suppress(OSError):  # it has ended
        copy = os.dup(number)  # the number may stand for something else at any moment
        try:
            if read_ends(copy, port) is not None:
                with look_at(copy) as connection:
                    if drop:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER.pack(1, 0))
                    connection.shutdown(socket.SHUT_RDWR)
        finally:
            os.close(copy)


def end_connections(port: int) -> None:
    """End all connections to this port that the process has."""
    for number, _ in list_connections(port):
        end_connection(number, port)
