"""Who may call: scopes, credentials and tokens; who a local caller is."""

from __future__ import annotations

import base64
import binascii
import functools
import getpass
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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError, field_validator

from store.documents import VERSION, UserFileModel, from_yaml
from store.errors import Denied, Invalid, WrongKind, make_problem, suggest_word
from store.yaml import reader

Scope = Literal["report", "read", "write", "admin"]
# What each scope includes.
INCLUDED: dict[str, frozenset[str]] = {
    "report": frozenset({"report"}),
    "read": frozenset({"read"}),
    "write": frozenset({"report", "read", "write"}),
    "admin": frozenset({"report", "read", "write", "admin"}),
}
TOKEN_BYTES = 32
TOKEN_PREFIX = "slc_"  # noqa: S105  (says what it is when it is found in a log; no secret)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, with all scopes that are included in those they were given."""

    name: str
    scopes: frozenset[str]


class Token(UserFileModel):
    """One token: only the SHA-256 of it is kept."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$", max_length=64)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    expires: str | None = None

    @field_validator("expires")
    @classmethod
    def check_time(cls, value: str | None) -> str | None:
        """Return the value if it is a date or time that can be read."""
        if value is not None:
            _to_epoch_s(value)
        return value


# `*` stands for every page, which may say who it is in a header but never by a cookie.
Origin = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+|\*)$", max_length=255)]


class Access(UserFileModel):
    """access.yaml."""

    version: int = VERSION
    tokens: list[Token] = Field(default=[])
    cors: dict[str, list[Origin]] = Field(default={})  # by family: the origins whose pages may read its answers
    allowed_hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", max_length=255)]] = Field(default=[])

    def find_caller(self, bearer: str, now_s: float | None = None) -> Caller | None:
        """Return the caller with this token; None if wrong or expired.

        It takes the same time for any token.
        """
        given = hash_token(bearer)
        now_s = time.time() if now_s is None else now_s
        found: Token | None = None
        for token in self.tokens:
            if hmac.compare_digest(given, token.sha256):
                found = token
        if found is None or (found.expires is not None and _to_epoch_s(found.expires) <= now_s):
            return None
        return Caller(found.name, frozenset().union(*(INCLUDED[scope] for scope in found.scopes)))


def parse_access(data: bytes, name: str = "access.yaml", families: Collection[str] | None = None) -> Access:
    """Parse access.yaml.

    Raises Invalid with line and column, also for a family that is not one of `families`.
    """
    access = from_yaml(Access, data, name)
    unknown = [] if families is None else [family for family in access.cors if family not in families]
    if families is not None and unknown:
        where, wrong = reader.load_yaml(data).locate, []
        for family in unknown:
            line, column = where(("cors", family), key=True)
            reason = f"unknown family '{family}'{suggest_word(family, list(families))}"
            wrong.append(make_problem(reason, ("cors", family), line=line, column=column))
        raise Invalid(wrong)
    return access


def read_access(path: Path) -> Access:
    """Read access.yaml before the store is open; no tokens without a file."""
    return parse_access(path.read_bytes()) if path.exists() else Access()


def make_token() -> tuple[str, str]:
    """Make a random token of 256 bits; return it with its hash."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token as hexadecimal text.

    Tokens are random, so no salt and no slow hash is needed.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def describe_token(text: str) -> tuple[str, str]:
    """Return a new token and its entry for access.yaml.

    `text` is NAME:SCOPE[,SCOPE…]. Raises ValueError, which says what is wrong.
    """
    name, _, scope_list = text.partition(":")
    scopes = [scope.strip() for scope in scope_list.split(",")] if scope_list else ["write"]
    known = get_args(Scope)
    for scope in scopes:
        if scope not in known:
            raise ValueError(f"unknown scope '{scope}'{suggest_word(scope, known)}; there are {', '.join(known)}")
    token, hashed = make_token()
    try:
        Token.model_validate({"name": name, "sha256": hashed, "scopes": scopes})
    except ValidationError as wrong:
        raise ValueError(f"the name '{name}' is not one that a token can have") from wrong
    # Quoted, since a name or a hash of digits only would be read as a number.
    return token, f'  - {{name: "{name}", sha256: "{hashed}", scopes: [{", ".join(scopes)}]}}'


def _to_epoch_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- who calls, and whether they may --------------------------------------------------------------------------------


class Unauthenticated(Exception):
    """Nobody knows who calls."""


class WrongCredentials(Unauthenticated):
    """The credentials sent are wrong; such failures are counted."""


class Facts(NamedTuple):
    """What is known of a request before it is let in."""

    headers: Mapping[bytes, bytes]  # by name, in small letters
    peer_uid: int | None  # of the process at the other end of a loopback connection
    access: Access
    own: Caller  # the server's own user


# Who calls, by one way of saying so; None where the request does not use it, WrongCredentials where it does so wrongly.
Credential = Callable[[Facts], Caller | None]
OWN_UID = os.getuid()
WRONG = "Missing or invalid bearer token"
FORWARDED = frozenset({b"forwarded", b"x-real-ip", b"via"})


def check_bearer(facts: Facts) -> Caller | None:
    """Return the caller whose token is sent as `Authorization: Bearer`."""
    given = facts.headers.get(b"authorization")
    token = None if given is None else read_bearer(given)
    return None if token is None else _check_token(facts.access, token)


def check_basic(facts: Facts) -> Caller | None:
    """Return the caller whose token is the password of Basic credentials.

    The user name does not count.
    """
    given = facts.headers.get(b"authorization")
    token = None if given is None else read_basic(given)
    return None if token is None else _check_token(facts.access, token)


def check_own_user(facts: Facts) -> Caller | None:
    """Return the server's own user for a call without credentials.

    Over loopback only.
    """
    if b"authorization" in facts.headers:
        return None
    if any(name in FORWARDED or name.startswith(b"x-forwarded-") for name in facts.headers):
        raise Unauthenticated("Requests through a proxy need a bearer token")
    return facts.own if facts.peer_uid == OWN_UID else None


def _check_token(access: Access, token: str) -> Caller:
    caller = access.find_caller(token)
    if caller is None:
        raise WrongCredentials(WRONG)
    return caller


def read_bearer(authorization: bytes) -> str | None:
    """Return the token in a Bearer header; None for another scheme.

    >>> read_bearer(b"Bearer slc_x"), read_bearer(b"Basic dTpzbGNfeA==")
    ('slc_x', None)
    """
    kind, _, given = authorization.decode("latin-1").partition(" ")
    return given.strip() if kind.lower() == "bearer" else None


def read_basic(authorization: bytes) -> str | None:
    """Return the token in a Basic header; None for another scheme.

    The token is the password, or the user if that is empty.

    >>> read_basic(b"Basic dTpzbGNfeA=="), read_basic(b"Bearer slc_x")
    ('slc_x', None)
    """
    kind, _, given = authorization.decode("latin-1").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (password or user) if colon else None


class Requirement(NamedTuple):
    """What a caller needs: credentials and a scope.

    The credentials are tried in this order; with none, everybody is let in.
    """

    credentials: tuple[Credential, ...]
    scope: str


OPEN = Requirement((), "")


def compile_security(
    operation_id: str, security: Sequence[Mapping[str, Sequence[str]]] | None, schemes: Mapping[str, Credential]
) -> Requirement:
    """Compile the `security` of an operation to what it demands.

    Raises RuntimeError when that is not clear. Each alternative names one of `schemes` with one scope. `{}` alone lets
    everybody in; `{}` beside others stands for the server's own user over loopback, who needs no credentials.
    """
    if not security:
        raise RuntimeError(f"{operation_id} does not say who may call it (security)")
    if list(security) == [{}]:
        return OPEN
    credentials: list[Credential] = []
    needed: set[str] = set()
    for alternative in security:
        if len(alternative) > 1:
            raise RuntimeError(f"{operation_id} needs several schemes at once: {', '.join(alternative)}")
        for scheme, scopes in alternative.items():
            if scheme not in schemes:
                raise RuntimeError(
                    f"{operation_id} accepts the unknown scheme {scheme}{suggest_word(scheme, list(schemes))}"
                )
            if len(scopes) != 1 or scopes[0] not in INCLUDED:
                raise RuntimeError(f"{operation_id} needs the unknown scope {', '.join(scopes) or 'none'} of {scheme}")
            credentials.append(schemes[scheme])
            needed.update(scopes)
    if len(needed) != 1:
        raise RuntimeError(f"{operation_id} needs different scopes: {', '.join(sorted(needed))}")
    own = (check_own_user,) if {} in security else ()
    return Requirement((*credentials, *own), needed.pop())


def admit_caller(requirement: Requirement, facts: Facts) -> Caller | None:
    """Admit the caller and return it; None where everybody may call.

    Raises Unauthenticated, WrongCredentials, Denied.
    """
    if not requirement.credentials:
        return None
    for credential in requirement.credentials:
        caller = credential(facts)
        if caller is not None:
            break
    else:
        raise (WrongCredentials if b"authorization" in facts.headers else Unauthenticated)(WRONG)
    if requirement.scope not in caller.scopes:
        raise Denied(f"This needs the scope {requirement.scope}")
    return caller


# --- failures --------------------------------------------------------------------------------------------------------


class Failures:
    """How often each client may fail to be known.

    `burst` times at once, then once every `refill_s` seconds.
    """

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
        """Return the seconds until the client may try again; 0 for now."""
        spent = self._get_spent(client)
        return max(0.0, (spent - self.burst + 1) * self.refill_s)

    def count_failure(self, client: str) -> None:
        """Count a failure of this client.

        The client unheard of for longest is forgotten first.
        """
        # Trying while blocked does not make the block longer than one bucket.
        self.spent[client] = (min(self._get_spent(client) + 1, float(self.burst)), self.clock())
        self.spent.move_to_end(client)
        if len(self.spent) > self.clients:
            self.spent.popitem(last=False)

    def _get_spent(self, client: str) -> float:
        spent, at = self.spent.get(client, (0.0, 0.0))
        return max(0.0, spent - (self.clock() - at) / self.refill_s)


# --- the names and addresses of this server --------------------------------------------------------------------------

HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@functools.lru_cache(maxsize=256)
def parse_host_name(given: bytes) -> str | None:
    """Parse a Host header: the name without port, in small letters.

    None for a malformed one.
    """
    match = HOST.fullmatch(given.decode("latin-1"))
    return match["name"].lower() if match else None


def list_host_names(bound: str, more: Iterable[str]) -> frozenset[str]:
    """List the names of a server that listens on this address."""
    far = () if is_loopback(bound) else (socket.gethostname(), socket.getfqdn())
    return LOOPBACK_NAMES | {name.lower() for name in (bound, f"[{bound}]", *far, *more)}


def check_host(given: Sequence[tuple[bytes, bytes]], headers: Mapping[bytes, bytes], hosts: Collection[str]) -> None:
    """Refuse a Host header that does not name this server.

    Raises WrongKind when it is missing, doubled or malformed, and Denied for another name.
    """
    doubled = len(headers) != len(given) and sum(name == b"host" for name, _ in given) > 1
    name = None if doubled else parse_host_name(headers.get(b"host", b""))
    if name is None:
        raise WrongKind("A single well-formed Host header is needed")
    if name not in hosts:
        raise Denied("Host header not allowed; name it in SLUICE_ALLOWED_HOSTS or in access.yaml (allowed_hosts)")


def check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a change that a browser sends from another site's page."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site not in (b"same-origin", b"none"):
        raise Denied("Requests from other sites are not allowed")
    own = headers.get(b"host", b"").lower()
    # A proxy may have put another Host; then browsers of today have said already that it is the same site.
    if site is None and origin is not None and origin.lower() not in (b"http://" + own, b"https://" + own):
        raise Denied("Origin not allowed")


@functools.lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Return whether the address is this machine's own.

    IPv4, IPv6 or IPv4 within IPv6.
    """
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


class Callers:
    """Who calls a server that listens on the address `bound`.

    `own` is the server's own user, `hosts` are the names that a Host header may have; `failures` and `peers` are
    remembered of each client. `more` are further names that are always right.
    """

    def __init__(self, bound: str, more: Sequence[str] = ()) -> None:
        self._bound, self._more = bound, more
        self.own = Caller(getpass.getuser(), INCLUDED["admin"])
        self.hosts: Collection[str] = LOOPBACK_NAMES
        self.failures, self.peers = Failures(), Peers()

    def update_hosts(self, allowed: Iterable[str]) -> None:
        """Learn the names that access.yaml allows."""
        self.hosts = list_host_names(self._bound, [*self._more, *allowed])
