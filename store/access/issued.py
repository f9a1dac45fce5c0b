"""Tokens that the server issues to OAuth clients (RFC 6749 §4.4).

Each is signed with a key in the store, and counts as long as access.yaml has the client with the secret it had.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from store.access.tokens import INCLUDED, Access, Caller, Token, include_scopes
from store.errors import split_problem

ALGORITHM, ISSUER = "HS256", "sluice"
LIFETIME_S = 3600
KEY_BYTES = 32
# More than any of ours has: nothing longer is worth taking apart.
TOKEN_CHARS = 2000
# What no description may hold (RFC 6749 §5.2).
NOT_DESCRIBED = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
CLAIMS = ("iss", "sub", "scope", "exp", "key", "jti")


class GrantRefused(Exception):
    """No token is issued; `details` has the word of RFC 6749 §5.2."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.details = {"error": error}


def to_token_error_json(
    status: int, message: str, problems: Sequence[Mapping[str, Any]], details: Mapping[str, Any], **_more: Any
) -> dict[str, str]:
    """Build a refusal of a token as RFC 6749 has it (§5.2)."""
    usual = "invalid_request" if status < 429 else "server_error" if status == 500 else "temporarily_unavailable"
    wrong = "; ".join(map(": ".join, map(split_problem, problems)))
    return {"error": details.get("error", usual), "error_description": NOT_DESCRIBED.sub("?", wrong or message)}


def is_issued_token(token: str) -> bool:
    """Return whether a token has the form of one that the server issues.

    >>> is_issued_token("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"), is_issued_token("slc_x")
    (True, False)
    """
    return token.startswith("eyJ") and token.count(".") == 2


def make_key() -> bytes:
    """Make a new key to sign tokens with, as the text of its file."""
    return secrets.token_hex(KEY_BYTES).encode() + b"\n"


def is_key(data: bytes) -> bool:
    """Return whether these are the bytes of a whole key."""
    return re.fullmatch(rb"[0-9a-f]{%d}\n" % (2 * KEY_BYTES), data) is not None


def narrow_scopes(client: Token, asked: str | None) -> list[str]:
    """Return the scopes that a token of the client gets.

    Those that it asked for, as far as it has them; all it has if it asked for none. Raises GrantRefused.
    """
    wanted = list(dict.fromkeys((asked or "").split()))
    if unknown := [scope for scope in wanted if scope not in INCLUDED]:
        raise GrantRefused("invalid_scope", f"There is no scope {unknown[0][:40]}; there are {', '.join(INCLUDED)}")
    granted = [scope for scope in wanted if scope in include_scopes(client.scopes)] if wanted else client.scopes
    if not granted:
        raise GrantRefused("invalid_scope", f"The client has only the scopes {', '.join(client.scopes)}")
    return list(granted)


def issue_token(key: bytes, client: Token, scopes: Sequence[str], now_s: float) -> str:
    """Issue a token to the client, good for LIFETIME_S."""
    import jwt  # here, since it brings a library along that takes longer to import than all of ours

    claims = {
        "iss": ISSUER,
        "sub": client.name,
        "scope": " ".join(scopes),
        "iat": int(now_s),
        "exp": int(now_s) + LIFETIME_S,
        "key": _name_secret(client),
        "jti": secrets.token_hex(8),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def find_issued_caller(access: Access, key: bytes | None, token: str, now_s: float) -> Caller | None:
    """Return the client that the token was issued to; None if it is wrong.

    Or expired, or its client is not in access.yaml any more with the secret that it had, or with none of its scopes.
    """
    claims = None if key is None or len(token) > TOKEN_CHARS else _read_claims(key, token)
    if claims is None or not isinstance(claims["exp"], int) or claims["exp"] <= now_s:
        return None
    for client in access.oauth_clients:
        is_same = hmac.compare_digest(str(claims["key"]).encode("utf-8", "replace"), _name_secret(client).encode())
        if client.name == claims["sub"] and is_same and client.is_valid(now_s):
            return client.make_caller(client.name, "client", str(claims["scope"]).split())
    return None


def has_ended(key: bytes | None, token: str, now_s: float) -> bool:
    """Return whether the token was issued here and its time is over."""
    claims = None if key is None or len(token) > TOKEN_CHARS else _read_claims(key, token)
    return claims is not None and isinstance(claims["exp"], int) and claims["exp"] <= now_s


def _read_claims(key: bytes, token: str) -> Mapping[str, Any] | None:
    """Return what the token says, if it was signed with the key."""
    import jwt

    options: Any = {"require": list(CLAIMS), "verify_exp": False, "verify_iat": False}
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=ISSUER, options=options)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    return claims


def _name_secret(client: Token) -> str:
    """Name the secret of a client; another one ends what was issued before."""
    return client.sha256[:16]
