"""Whose connections are ended when there are too many."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from http_server import connections
from http_server.connections import (
    Unread,
    choose_excess,
    end_connections,
    limit_connections,
    list_connections,
    watch_connections,
)
from store.access.peers import Peers
from tests.app_server import free_port

EXCESS = [
    ("nobody", {}, []),
    ("each within a quarter", {1: "a", 2: "a", 3: "b", 4: "b"}, []),
    ("beyond a quarter: the new ones", {9: "a", 3: "a", 5: "a", 4: "b"}, [9]),
    ("all of them beyond a half", {1: "a", 2: "a", 3: "b", 4: "b", 5: "c"}, [5]),
]


@pytest.mark.parametrize(("why", "owners", "expected"), EXCESS, ids=[row[0] for row in EXCESS])
def test_what_is_too_much(why: str, owners: dict[int, str], expected: list[int]) -> None:
    assert choose_excess(owners, 8) == expected


@pytest.fixture
def peers() -> Iterator[Peers]:
    with contextlib.closing(Peers()) as made:
        yield made


@contextlib.contextmanager
def connected(count: int) -> Iterator[tuple[int, list[socket.socket], list[socket.socket]]]:
    """Give a port, and so many connections to it: the clients' ends and ours."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients, accepted = [], []
        for _ in range(count):
            clients.append(stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60)))
            accepted.append(stack.enter_context(listener.accept()[0]))
        yield listener.getsockname()[1], clients, accepted


def test_our_ends_of_connections_are_found_and_nothing_else() -> None:
    with connected(2) as (port, clients, accepted), connected(1), socket.socket(socket.AF_UNIX):
        found = dict(list_connections(port))
        assert found == {
            ours.fileno(): (client.getsockname(), ("127.0.0.1", port))
            for ours, client in zip(accepted, clients, strict=True)
        }
        end_connections(port)
        assert [client.recv(1) for client in clients] == [b"", b""]


@pytest.mark.parametrize("own", ["::", "::1"])
def test_addresses_of_ipv6_are_told_whole(own: str) -> None:
    """Each client has its own share: cut off, all addresses of IPv4 would be one."""
    with contextlib.ExitStack() as stack:
        dual = {"dualstack_ipv6": True} if own == "::" else {}
        listener = stack.enter_context(socket.create_server((own, 0), family=socket.AF_INET6, **dual))
        port = listener.getsockname()[1]
        for address in ["::1", *(["127.0.0.1"] if dual else [])]:
            stack.enter_context(socket.create_connection((address, port), timeout=60))
            accepted = stack.enter_context(listener.accept()[0])
            ends = accepted.getpeername()[:2], accepted.getsockname()[:2]
            assert dict(list_connections(port))[accepted.fileno()] == ends


def test_our_own_connections_are_not_limited(peers: Peers) -> None:
    with connected(5) as (port, _, _):
        assert limit_connections(port, 4, peers) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_others_have_a_share_only(peers: Peers) -> None:
    with connected(5) as (port, clients, _):
        for client in clients[:4]:
            os.fchown(client.fileno(), 65534, -1)  # as if another user's process had made it
        assert limit_connections(port, 8, peers) == {"uid 65534": 2}
        assert [client.recv(1) for client in clients[2:4]] == [b"", b""]


def test_nothing_is_looked_at_while_there_are_few_descriptors(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "list_connections", lambda _port: pytest.fail("looked"))
    assert limit_connections(1, 100_000, peers) == {}


def fill(connection: socket.socket) -> None:
    """Send until nothing more is taken."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while connection.send(bytes(65536)):
            pass


def test_a_client_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.5)
    is_over, port = threading.Event(), free_port()
    watching = threading.Thread(target=watch_connections, args=(port, 100, is_over))
    watching.start()  # before anybody listens
    try:
        with socket.create_server(("127.0.0.1", port)) as listener, socket.socket() as client:
            # Its kernel must not take all there is while nobody reads: the end would be in order then.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(listener.getsockname())
            with listener.accept()[0] as accepted:
                fill(accepted)
                ended = select.poll()
                ended.register(accepted, 0)
                assert ended.poll(60_000), "it is kept for ever"
            with pytest.raises(ConnectionResetError):  # what waits for it is not kept
                while client.recv(65536):
                    pass
    finally:
        is_over.set()
        watching.join()


def test_who_reads_slowly_or_has_nothing_to_read_is_not_given_up() -> None:
    with connected(3) as (port, (slow, _, _), (to_slow, _, to_other)):
        unread = Unread(port)
        fill(to_slow)
        fill(to_other)
        assert unread.list_given_up(0) == []
        assert unread.list_given_up(1) == []
        before = unread.taken[to_slow.fileno()]
        now, pause_s = 1.0, connections.UNREAD_S / connections.LOOKS
        while unread.taken[to_slow.fileno()][:2] == before[:2]:  # the kernel is not told of every byte that is read
            slow.recv(1024)
            now += pause_s
            unread.list_given_up(now)
        assert unread.list_given_up(now + connections.UNREAD_S - 1) == [to_other.fileno()]
        assert unread.list_given_up(now + connections.UNREAD_S + pause_s) == [to_slow.fileno(), to_other.fileno()]
