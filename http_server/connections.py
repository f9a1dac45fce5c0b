"""The connections that callers have: shared out, and ended when unread.

Nobody but the server's own user may have most of them. The server accepts them out of our sight, and lets a caller take
its time for the headers. So we look at the process's own sockets, ask the kernel whose they are, and end some.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping

from store.access.credentials import OWN_UID
from store.access.peers import Peers
from store.config.log_format import Throttle

log = logging.getLogger("sluice")

# What another user, or an address of another machine, may have of all connections, and what all of them together.
OTHERS_SHARE, ALL_OTHERS_SHARE = 4, 2
LOOK_S, LOOK_AGAIN_S = 0.5, 0.05
# A client that takes nothing of what is sent to it for so long is given up, whatever the answer is.
UNREAD_S = 60
DESCRIPTORS = "/dev/fd"  # a folder with a name for each descriptor of this process

Ends = tuple[tuple[str, int], tuple[str, int]]  # address and port: the client's, and ours


def watch_connections(port: int, most: int, is_over: threading.Event) -> None:
    """End connections of others beyond their share of `most`, and unread ones.

    Until `is_over`, in a thread of its own: all else may be busy with what an attacker sent.
    """
    lines, pause_s, is_bounded = Throttle(), 0.0, False
    with contextlib.closing(Peers()) as peers:
        while not is_over.wait(pause_s):
            ended: Mapping[str, int] = {}
            try:
                is_bounded = is_bounded or give_up_unread(port, UNREAD_S)
                ended = limit_connections(port, most, peers)
            except Exception as problem:  # whatever it is, memory among it: the next look may succeed
                if lines.admit("problem"):
                    log.warning("cannot look at the connections: %s", problem)
            for owner, count in ended.items():
                if lines.admit(owner):
                    log.warning("too many connections of %s: %d were shut down", owner, count)
            pause_s = LOOK_S if is_bounded and not ended else LOOK_AGAIN_S


def give_up_unread(port: int, unread_s: float) -> bool:
    """End connections whose client reads nothing for so long.

    The kernel does that (TCP_USER_TIMEOUT of tcp(7)). Connections that are accepted later have it from the socket that
    listens; returns whether there is one yet.
    """
    is_listening = False
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208
        with contextlib.suppress(OSError), look_at(int(name)) as found:
            own = found.getsockname()
            if isinstance(own, tuple) and own[1:2] == (port,):
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_s * 1000))
                is_listening = is_listening or found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    return is_listening


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


def list_connections(port: int) -> Iterator[tuple[int, Ends]]:
    """List our connections to this port, each with its descriptor."""
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208
        ends = read_ends(int(name), port)
        if ends is not None:
            yield int(name), ends


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
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=number)
    try:
        yield found
    finally:
        found.detach()


def end_connection(number: int, port: int) -> None:
    """End the connection with this descriptor.

    Whoever accepted it notices, and closes it.
    """
    with contextlib.suppress(OSError):  # it has ended
        copy = os.dup(number)  # the number may stand for something else at any moment
        try:
            if read_ends(copy, port) is not None:
                with look_at(copy) as connection:
                    connection.shutdown(socket.SHUT_RDWR)
        finally:
            os.close(copy)


def end_connections(port: int) -> None:
    """End all connections to this port that the process has."""
    for number, _ in list_connections(port):
        end_connection(number, port)
