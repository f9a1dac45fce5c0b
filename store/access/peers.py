"""Whose process is at the other end of a loopback connection."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from pathlib import Path

from store.access.origins import is_loopback

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
TCP_LISTEN = 10
ALL_STATES = 0xFFFFFFFF
NO_COOKIE = b"\xff" * 8
HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2 up to the ports; the tail of struct inet_diag_msg: expires, rqueue, wqueue, uid, inode.
REQUEST = struct.Struct("=BBBxI")
PORTS = struct.Struct("!HH")
TAIL = struct.Struct("=IIIII")
MESSAGE_BYTES = 4 + 48 + TAIL.size

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Peers:
    """The users at the other ends of our loopback connections.

    The kernel is asked once for each connection.

    A server hands out the same tuple for all requests of a connection, and another one for the next connection from the
    same port: what is remembered is bound to that very object.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self.known: dict[tuple[str, int], tuple[tuple[str, int], int | None]] = {}

    def find_uid(self, client: tuple[str, int], server: tuple[str, int]) -> int | None:
        """Find the uid at the other end; None when it is not known.

        Also None for a connection that leaves this machine.
        """
        known = self.known.get(client)
        if known is not None and known[0] is client:
            return known[1]
        local = is_loopback(client[0]) and is_loopback(server[0])
        uid = find_peer_uid(client[0], client[1], server[0], server[1]) if local else None
        if len(self.known) >= self.most:
            self.known.clear()
        self.known[client] = (client, uid)
        return uid


def find_peer_uid(client_addr: str, client_port: int, server_addr: str, server_port: int) -> int | None:
    """Find the uid that owns the client's end of a local TCP connection.

    None when that cannot be known.

    Asks the kernel for the one connection (sock_diag(7)); where that is not possible, reads /proc/net/tcp (proc(5)).
    A connection whose client has closed it already belongs to nobody: the kernel would say root.
    """
    try:
        client, server = _parse_address(client_addr), _parse_address(server_addr)
    except ValueError:
        return None
    if client.version != server.version:
        return None
    try:
        return _ask_kernel(client, client_port, server, server_port)
    except OSError:
        return _find_listed_uid(client, client_port, server, server_port)


def _parse_address(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _ask_kernel(client: Address, client_port: int, server: Address, server_port: int) -> int | None:
    family = socket.AF_INET if client.version == 4 else socket.AF_INET6
    ends = PORTS.pack(client_port, server_port) + client.packed.ljust(16, b"\0") + server.packed.ljust(16, b"\0")
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, ALL_STATES) + ends + b"\0\0\0\0" + NO_COOKIE
    request = HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(0.5)
        kernel.send(request)
        answer = kernel.recv(8192)
    kind = HEADER.unpack_from(answer)[1]
    message = answer[HEADER.size :]
    if kind != SOCK_DIAG_BY_FAMILY or len(message) < MESSAGE_BYTES:
        error = -struct.unpack_from("=i", message)[0] if len(message) >= 4 else 0
        if error == 2:  # ENOENT: there is no such connection
            return None
        raise OSError(error, os.strerror(error))
    state = message[1]
    uid, inode = TAIL.unpack_from(message, 52)[3:]
    # The kernel answers with a listening socket when there is no connection, and with uid 0 for one without an owner.
    if state == TCP_LISTEN or inode == 0 or message[4:8] != ends[:4]:
        return None
    return int(uid)


def _find_listed_uid(client: Address, client_port: int, server: Address, server_port: int) -> int | None:
    for name, wide in (("tcp", False), ("tcp6", True)):
        if client.version == 6 and not wide:
            continue
        wanted = [
            f"{_format_address(client, wide)}:{client_port:04X}",
            f"{_format_address(server, wide)}:{server_port:04X}",
        ]
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue  # another system than Linux, or no IPv6: nothing is known there
        for line in lines:
            fields = line.split()
            if fields[1:3] == wanted and fields[9] != "0":
                return int(fields[7])
    return None


def _format_address(address: Address, wide: bool) -> str:
    """Format the address as /proc/net/tcp does.

    Each group of four bytes is a number of this machine.
    """
    packed = address.packed
    if wide and address.version == 4:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    return "".join(f"{number:08X}" for number in struct.unpack(f"={len(packed) // 4}I", packed))
