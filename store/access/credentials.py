"""Who calls, and whether they may."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from store.access.proxies import is_forwarded
from store.access.tokens import INCLUDED, Access, Caller
from store.errors import Denied, suggest_word


class Unauthenticated(Exception):
    """Nobody knows who calls."""


class WrongCredentials(Unauthenticated):
    """The credentials sent are wrong; such failures are counted."""


class Facts(NamedTuple):
    """What is known of a request before it is let in."""

    headers: Mapping[bytes, bytes]  # by name, in small letters
    peer_uid: int | None  # of the process at the other end of a loopback connection
    access: Access
    own: Caller | None  # the server's own user; None where he needs credentials too


# Who calls, by one way of saying so; None where the request does not use it, WrongCredentials where it does so wrongly.
Credential = Callable[[Facts], Caller | None]
OWN_UID = os.getuid()
WRONG = "Missing or invalid bearer token"


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
    if facts.peer_uid != OWN_UID:
        return None
    if facts.own is None:
        raise Unauthenticated("This server asks everybody for a token")
    if is_forwarded(facts.headers):
        raise Unauthenticated("Requests through a proxy need a bearer token")
    return facts.own


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
        raise Denied(NEEDS_SCOPE.format(requirement.scope))
    return caller


NEEDS_SCOPE = "This needs the scope {}"


def require_admin(caller: Caller, why: str) -> None:
    """Refuse who lacks the scope admin, where not every call needs it."""
    if "admin" not in caller.scopes:
        raise Denied(f"{NEEDS_SCOPE.format('admin')}: {why}")
