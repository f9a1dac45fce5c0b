"""access.yaml: tokens with scopes, and allowed names and origins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError, field_validator

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

    def is_valid(self, now_s: float) -> bool:
        """Return whether it has not expired by then."""
        return self.expires is None or now_s < _to_epoch_s(self.expires)


# `*` stands for every page, which may say who it is in a header but never by a cookie.
Origin = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+|\*)$", max_length=255)]


class Access(UserFileModel):
    """access.yaml."""

    version: int = VERSION
    tokens: list[Token] = Field(default=[])
    cors: dict[str, list[Origin]] = Field(default={})  # by family: the origins whose pages may read its answers
    allowed_hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]+$", max_length=255)]] = Field(default=[])

    always_ask: bool = False  # also the server's own user needs a token

    def has_usable_token(self, now_s: float | None = None) -> bool:
        """Return whether anybody can call with a token: one has not expired."""
        now_s = time.time() if now_s is None else now_s
        return any(token.is_valid(now_s) for token in self.tokens)

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
        if found is None or not found.is_valid(now_s):
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
    """Read access.yaml before the store is open; no tokens without a file.

    Raises Invalid, and Denied or StoreUnavailable for one that does not count or cannot be read.
    """
    try:
        return parse_access(read_file(path, FILE_LIMIT_BYTES, owners.check_file)[0])
    except NotFound:
        return Access()


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
