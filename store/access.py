"""Who may call: tokens in access.yaml (their hashes), how often a wrong one may be tried, whose a local call is."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from store.documents import VERSION, UserFileModel, from_yaml

Scope = Literal["read", "write", "admin"]
# What each scope includes.
INCLUDED: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}
TOKEN_BYTES = 32
TOKEN_PREFIX = "slc_"  # noqa: S105  (says what it is when it is found in a log; no secret)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls and what they may do: read, write, admin (each includes those before it)."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether this caller has the scope."""
        return scope in self.scopes


class Token(UserFileModel):
    """One token: only the SHA-256 of it is kept."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$", max_length=64)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    expires: str | None = None

    @field_validator("expires")
    @classmethod
    def a_time(cls, value: str | None) -> str | None:
        """The value, when it is a date or a time that can be read."""
        if value is not None:
            _epoch_s(value)
        return value


class Access(UserFileModel):
    """access.yaml."""

    version: int = VERSION
    tokens: list[Token] = Field(default=[])
    allowed_hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", max_length=255)]] = Field(default=[])

    def caller(self, bearer: str, now_s: float | None = None) -> Caller | None:
        """The caller whose token this is, None for a wrong or expired one; takes the same time for any token."""
        given = hash_token(bearer)
        now_s = time.time() if now_s is None else now_s
        found: Token | None = None
        for token in self.tokens:
            if hmac.compare_digest(given, token.sha256):
                found = token
        if found is None or (found.expires is not None and _epoch_s(found.expires) <= now_s):
            return None
        return Caller(found.name, frozenset().union(*(INCLUDED[scope] for scope in found.scopes)))


def parse(data: bytes, name: str = "access.yaml") -> Access:
    """The tokens and hosts in the file; Invalid with line and column."""
    return from_yaml(Access, data, name)


def read(path: Path) -> Access:
    """What the file says; nobody when there is none. For the time before the store is open."""
    return parse(path.read_bytes()) if path.exists() else Access()


def new_token() -> tuple[str, str]:
    """A token nobody can guess (256 bits), and its hash for access.yaml."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """The SHA-256 of a token as hexadecimal text. Tokens are random, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def token_in(authorization: bytes, basic: bool) -> str | None:
    """The token in an Authorization header; None for none. With `basic` also as its password, whoever the user is.

    >>> token_in(b"Bearer slc_x", False), token_in(b"Basic dTpzbGNfeA==", True), token_in(b"Basic dTpzbGNfeA==", False)
    ('slc_x', 'slc_x', None)
    """
    kind, _, given = authorization.decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    if kind.lower() != "basic" or not basic:
        return None
    try:
        user, colon, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (password or user) if colon else None


def _epoch_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Failures:
    """How often each client may fail: `burst` times at once, then once every `refill_s` seconds."""

    def __init__(
        self,
        burst: int = 10,
        refill_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
        clients: int = 10_000,
    ) -> None:
        self.burst = burst
        self.refill_s = refill_s
        self.clock = clock
        self.clients = clients
        self.spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Seconds until this client may try again; 0 when it may now."""
        spent = self._spent(client)
        return max(0.0, (spent - self.burst + 1) * self.refill_s)

    def failed(self, client: str) -> None:
        """Nothing; counts a failure of this client. The client unheard of for longest is forgotten first."""
        # Trying while blocked does not make the block longer than one bucket.
        self.spent[client] = (min(self._spent(client) + 1, float(self.burst)), self.clock())
        self.spent.move_to_end(client)
        if len(self.spent) > self.clients:
            self.spent.popitem(last=False)

    def _spent(self, client: str) -> float:
        spent, at = self.spent.get(client, (0.0, 0.0))
        return max(0.0, spent - (self.clock() - at) / self.refill_s)


# --- the names and addresses of this server --------------------------------------------------------------------------

HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@functools.lru_cache(maxsize=256)
def host_name(given: bytes) -> str | None:
    """The name in a Host header, without its port, in small letters; None for a malformed one."""
    match = HOST.fullmatch(given.decode("latin-1"))
    return match["name"].lower() if match else None


def host_names(bound: str, more: Iterable[str]) -> frozenset[str]:
    """The names by which a server that listens on this address may be called."""
    far = () if is_loopback(bound) else (socket.gethostname(), socket.getfqdn())
    return LOOPBACK_NAMES | {name.lower() for name in (bound, f"[{bound}]", *far, *more)}


@functools.lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own, IPv4, IPv6 or IPv4 within IPv6."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


# --- whose process is at the other end of a loopback connection ------------------------------------------------------

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
    """Whose the other ends of our loopback connections are, asked once a connection.

    A server hands out the same tuple for all requests of a connection, and another one for the next connection from the
    same port: what is remembered is bound to that very object.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self.known: dict[tuple[str, int], tuple[tuple[str, int], int | None]] = {}

    def uid(self, client: tuple[str, int], server: tuple[str, int]) -> int | None:
        """The uid at the other end; None when it is not known, and for a connection that leaves this machine."""
        known = self.known.get(client)
        if known is not None and known[0] is client:
            return known[1]
        local = is_loopback(client[0]) and is_loopback(server[0])
        uid = peer_uid(client[0], client[1], server[0], server[1]) if local else None
        if len(self.known) >= self.most:
            self.known.clear()
        self.known[client] = (client, uid)
        return uid


def peer_uid(client_addr: str, client_port: int, server_addr: str, server_port: int) -> int | None:
    """The user id that owns the client's end of a TCP connection on this machine; None when that cannot be known.

    Asks the kernel for the one connection (sock_diag(7)); where that is not possible, reads /proc/net/tcp (proc(5)).
    A connection whose client has closed it already belongs to nobody: the kernel would say root.
    """
    try:
        client, server = _plain(client_addr), _plain(server_addr)
    except ValueError:
        return None
    if client.version != server.version:
        return None
    try:
        return _diag(client, client_port, server, server_port)
    except OSError:
        return _listed(client, client_port, server, server_port)


def _plain(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _diag(client: Address, client_port: int, server: Address, server_port: int) -> int | None:
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


def _listed(client: Address, client_port: int, server: Address, server_port: int) -> int | None:
    for name, wide in (("tcp", False), ("tcp6", True)):
        if client.version == 6 and not wide:
            continue
        wanted = [f"{_hex(client, wide)}:{client_port:04X}", f"{_hex(server, wide)}:{server_port:04X}"]
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue  # another system than Linux, or no IPv6: nothing is known there
        for line in lines:
            fields = line.split()
            if fields[1:3] == wanted and fields[9] != "0":
                return int(fields[7])
    return None


def _hex(address: Address, wide: bool) -> str:
    """The address as /proc/net/tcp writes it: each group of four bytes as a number of this machine."""
    packed = address.packed
    if wide and address.version == 4:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    return "".join(f"{number:08X}" for number in struct.unpack(f"={len(packed) // 4}I", packed))
