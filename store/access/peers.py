"""Whose process is at the other end of a loopback connection."""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.access.origins import is_loopback

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
TCP_LISTEN = 10
ALL_STATES = 0xFFFFFFFF
NO_COOKIE = b"\xff" * 8
HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2 up to the ports; the end of struct inet_diag_msg: uid, inode.
REQUEST = struct.Struct("=BBBxI")
PORTS = struct.Struct("!HH")
OWNER = struct.Struct("=II")
MESSAGE_BYTES = 64 + OWNER.size
ANSWER_BYTES = 8192

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Peers:
    """The users at the other ends of our loopback connections.

    The kernel is asked for each request, over one socket: whoever has closed the connection meanwhile is nobody.
    """

    def __init__(self) -> None:
        self.kernel = Kernel()

    def close(self) -> None:
        """Close the socket over which the kernel is asked."""
        self.kernel.close()

    def find_uid(self, client: Sequence[Any], server: Sequence[Any]) -> int | None:
        """Find the uid at the other end, by address and port of both.

        None when it is not known, and for a connection that leaves this machine. Asks the kernel for the one connection
        (sock_diag(7)); where that is not possible, reads /proc/net/tcp (proc(5)). A connection whose client has closed
        it already belongs to nobody: the kernel would say root.
        """
        question = _make_question(client[0], client[1], server[0], server[1])
        if question is None:
            return None
        try:
            return _ask_for_uid(self.kernel, question)
        except FileNotFoundError:  # there is no such connection
            return None
        except OSError:
            ports = _parse_port(client[1]), _parse_port(server[1])
            return _find_listed_uid(_parse_address(client[0]), ports[0], _parse_address(server[0]), ports[1])


class Kernel:
    """The socket over which the kernel is asked: see sock_diag(7)."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.number = 0
        self.answer = bytearray(ANSWER_BYTES)  # the last one

    def ask(self, body: bytes) -> bytes:
        """Return the one message that answers; OSError when there is none."""
        answer = self.answer
        try:
            if self.socket is None:
                self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
                self.socket.setblocking(False)  # the kernel answers while the question is sent
            self.number = (self.number + 1) % 2**32
            head = HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, self.number, 0)
            self.socket.send(head + body)
            while True:
                size_bytes = self.socket.recv_into(answer)
                _, kind, _, number, _ = HEADER.unpack_from(answer)
                if number == self.number:
                    break
        except OSError:
            self.close()
            raise
        message = bytes(answer[HEADER.size : size_bytes])
        if kind != SOCK_DIAG_BY_FAMILY or len(message) < MESSAGE_BYTES:
            error = -struct.unpack_from("=i", message)[0] if len(message) >= 4 else 0
            raise OSError(error, os.strerror(error))
        return message

    def close(self) -> None:
        """Close the socket; the next question opens another one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


@functools.lru_cache(maxsize=4096)
def _make_question(client_addr: str, client_port: Any, server_addr: str, server_port: Any) -> bytes | None:
    """Make the question about a connection.

    None for one that leaves this machine, or has no addresses.
    """
    if not is_loopback(client_addr) or not is_loopback(server_addr):
        return None
    try:
        client, server = _parse_address(client_addr), _parse_address(server_addr)
    except ValueError:
        return None
    if client.version != server.version:
        return None
    family = socket.AF_INET if client.version == 4 else socket.AF_INET6
    ports = PORTS.pack(_parse_port(client_port), _parse_port(server_port))
    ends = ports + client.packed.ljust(16, b"\0") + server.packed.ljust(16, b"\0")
    return REQUEST.pack(family, socket.IPPROTO_TCP, 0, ALL_STATES) + ends + b"\0\0\0\0" + NO_COOKIE


def _parse_port(given: Any) -> int:
    return int(given or 0)  # some servers give a port as text, or none


@functools.lru_cache(maxsize=1024)
def _parse_address(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _ask_for_uid(kernel: Kernel, question: bytes) -> int | None:
    message = kernel.ask(question)
    uid, inode = OWNER.unpack_from(message, 64)
    # The kernel answers with a listening socket when there is no connection, and with uid 0 for one without an owner.
    if message[1] == TCP_LISTEN or inode == 0 or message[4:8] != question[REQUEST.size : REQUEST.size + 4]:
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
