"""access.yaml: who may call, by which credentials, and how much."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from store.access.rates import RateLimits
from store.disk import owners
from store.disk.folders import FILE_LIMIT_BYTES
from store.disk.reading import read_file
from store.documents import VERSION, UserFileModel, from_yaml
from store.errors import Invalid, NotFound, make_problem, suggest_word
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
# Each kind of secret says what it is when it is found in a log; the prefixes are no secrets.
PREFIXES = {"token": "slc_", "api-key": "slk_", "client": "slo_"}
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$"
Subject = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, with all scopes that are included in those they were given.

    `kind` says by what: token, key, client, certificate, munge or user. `tier` is that of access.yaml, None the usual.
    """

    name: str
    scopes: frozenset[str]
    kind: str = "token"
    tier: str | None = None


class Grant(UserFileModel):
    """What an entry of access.yaml allows."""

    scopes: Annotated[list[Scope], Field(min_length=1)]
    expires: str | None = None
    tier: str | None = None  # how much it may ask; None: the usual

    @field_validator("expires")
    @classmethod
    def check_time(cls, value: str | None) -> str | None:
        """Return the value if it is a date or time that can be read."""
        if value is not None:
            _to_epoch_s(value)
        return value

    def is_valid(self, now_s: float) -> bool:
        """Return whether it has not expired by then."""
        return self.expires is None or now_s < _to_epoch_s(self.expires)

    def make_caller(self, name: str, kind: str, within: Sequence[str] | None = None) -> Caller:
        """Make the caller that this allows; only scopes of `within` if given."""
        scopes = include_scopes(self.scopes)
        return Caller(name, scopes if within is None else scopes & include_scopes(within), kind, self.tier)


class Token(Grant):
    """One token, API key or OAuth client: only the SHA-256 of it is kept."""

    name: Annotated[str, Field(pattern=NAME, max_length=64)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Certificate(Grant):
    """A client certificate, by its subject as RFC 4514 writes it."""

    subject: Subject
    name: Annotated[str, Field(pattern=NAME, max_length=64)]


class MungeUser(Grant):
    """A user of this machine or cluster, by name or number."""

    user: str | int


class Munge(UserFileModel):
    """Who else may call by MUNGE, and where munged listens."""

    socket: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$", max_length=107)] | None = None  # its usual place if None
    users: list[MungeUser] = Field(default=[])


class Proxy(UserFileModel):
    """A proxy that is believed who calls: its address and its secret."""

    address: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("address")
    @classmethod
    def check_address(cls, value: str) -> str:
        """Return the value if it is an address."""
        return str(ipaddress.ip_address(value))


def include_scopes(scopes: Collection[str]) -> frozenset[str]:
    """Return these scopes with all that they include."""
    return frozenset().union(*(INCLUDED[scope] for scope in scopes if scope in INCLUDED))


# `*` stands for every page, which may say who it is in a header but never by a cookie.
Origin = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+|\*)$", max_length=255)]


# The lists of entries that have a secret, by the kind of it.
LISTS = {"token": "tokens", "api-key": "api_keys", "client": "oauth_clients"}


class Access(UserFileModel):
    """access.yaml."""

    version: int = VERSION
    tokens: list[Token] = Field(default=[])
    api_keys: list[Token] = Field(default=[])
    oauth_clients: list[Token] = Field(default=[])
    certificates: list[Certificate] = Field(default=[])
    munge: Munge = Munge()
    proxies: list[Proxy] = Field(default=[])
    rate_limits: RateLimits = RateLimits()
    cors: dict[str, list[Origin]] = Field(default={})  # by family: the origins whose pages may read its answers
    allowed_hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", max_length=255)]] = Field(default=[])

    always_ask: bool = False  # also the server's own user needs a token
    session_hours: Annotated[int, Field(ge=1, le=8760)] = 168  # so long a browser stays signed in
    frame_ancestors: list[Origin] = Field(default=[])  # origins whose pages may show the page within a frame

    def has_usable_token(self, now_s: float | None = None) -> bool:
        """Return whether anybody can call with a token: one has not expired."""
        now_s = time.time() if now_s is None else now_s
        return any(entry.is_valid(now_s) for field in LISTS.values() for entry in getattr(self, field))

    def find_caller(self, bearer: str, now_s: float | None = None) -> Caller | None:
        """Return the caller with this token; None if wrong or expired.

        It takes the same time for any token.
        """
        found = _find_secret(self.tokens, bearer, now_s)
        return None if found is None else found.make_caller(found.name, "token")

    def find_key_caller(self, key: str, now_s: float | None = None) -> Caller | None:
        """Return the caller with this API key; None if wrong or expired."""
        found = _find_secret(self.api_keys, key, now_s)
        return None if found is None else found.make_caller(found.name, "key")

    def find_client(self, name: str, secret: str, now_s: float | None = None) -> Token | None:
        """Return the OAuth client with this secret; None if wrong or expired."""
        found = _find_secret(self.oauth_clients, secret, now_s)
        return found if found is not None and found.name == name else None

    def find_certificate(self, subject: str, now_s: float) -> Caller | None:
        """Return the caller whose certificate has this subject."""
        for entry in self.certificates:
            if entry.subject == subject and entry.is_valid(now_s):
                return entry.make_caller(entry.name, "certificate")
        return None

    def find_munge_user(self, uid: int, now_s: float) -> Caller:
        """Return the caller with this uid; without scopes if nothing names him."""
        name = owners.find_user_name(uid)
        for entry in self.munge.users:
            if entry.user in (uid, str(uid), name) and entry.is_valid(now_s):
                return entry.make_caller(name, "munge")
        return Caller(name, frozenset(), "munge")

    def is_proxy(self, address: str, secret: str) -> bool:
        """Return whether one of the proxies has this address and secret."""
        given, found = hash_token(secret), False
        for proxy in self.proxies:
            found |= hmac.compare_digest(given, proxy.sha256) and proxy.address == address
        return found

    def list_grants(self) -> Iterator[tuple[tuple[Any, ...], Grant]]:
        """List all entries that allow something, each with its place."""
        lists: list[tuple[tuple[str, ...], Sequence[Grant]]] = [
            *(((name,), getattr(self, name)) for name in (*LISTS.values(), "certificates")),
            (("munge", "users"), self.munge.users),
        ]
        for place, entries in lists:
            yield from (((*place, number), entry) for number, entry in enumerate(entries))


Secret = TypeVar("Secret", bound=Token)


def _find_secret(entries: Sequence[Secret], secret: str, now_s: float | None) -> Secret | None:
    given = hash_token(secret)
    found: Secret | None = None
    for entry in entries:
        if hmac.compare_digest(given, entry.sha256):
            found = entry
    return found if found is not None and found.is_valid(time.time() if now_s is None else now_s) else None


def parse_access(data: bytes, name: str = "access.yaml", families: Collection[str] | None = None) -> Access:
    """Parse access.yaml.

    Raises Invalid with line and column, also for a tier that it does not have, or a family that is not one of
    `families`.
    """
    access = from_yaml(Access, data, name)
    tiers = access.rate_limits.list_tiers()
    wrong = [
        ((*place, "tier"), f"unknown tier '{grant.tier}'{suggest_word(grant.tier, tiers)}", False)
        for place, grant in access.list_grants()
        if grant.tier is not None and grant.tier not in tiers
    ]
    wrong += [
        (("cors", family), f"unknown family '{family}'{suggest_word(family, list(families or ()))}", True)
        for family in access.cors
        if families is not None and family not in families
    ]
    if wrong:
        where, problems = reader.load_yaml(data).locate, []
        for place, reason, key in wrong:
            line, column = where(place, key=key)
            problems.append(make_problem(reason, place, line=line, column=column))
        raise Invalid(problems)
    return access


def read_access(path: Path) -> Access:
    """Read access.yaml before the store is open; no tokens without a file.

    Raises Invalid, and Denied or StoreUnavailable for one that does not count or cannot be read.
    """
    try:
        return parse_access(read_file(path, FILE_LIMIT_BYTES, owners.check_file)[0])
    except NotFound:
        return Access()


def make_token(kind: str = "token") -> tuple[str, str]:
    """Make a random secret of 256 bits; return it with its hash."""
    token = PREFIXES[kind] + secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token as hexadecimal text.

    Tokens are random, so no salt and no slow hash is needed.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _to_epoch_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
