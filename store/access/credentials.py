"""Who calls, and whether they may."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from store.access import issued
from store.access.proxies import is_forwarded
from store.access.sessions import Session, find_session_caller
from store.access.tokens import INCLUDED, Access, Caller
from store.access.yaptide.logins import Logins
from store.errors import Denied, suggest_word


class Unauthenticated(Exception):
    """Nobody knows who calls.

    `challenge` is how to say so where no scheme of the family counts.
    """

    challenge: bytes | None = None


class WrongCredentials(Unauthenticated):
    """The credentials sent are wrong; such failures are counted."""


class ScopeMissing(Denied):
    """The caller lacks the scope that this needs."""

    def __init__(self, scope: str, why: str = "") -> None:
        super().__init__(f"This needs the scope {scope}{why}")
        self.scope = scope


class MungeIdentity(NamedTuple):
    """Whose a MUNGE credential is; or, without a uid, why it is refused."""

    uid: int | None
    problem: str


class Facts(NamedTuple):
    """What is known of a request before it is let in."""

    headers: Mapping[bytes, bytes]  # by name, in small letters
    peer_uid: int | None  # of the process at the other end of a loopback connection
    access: Access
    own: Caller | None  # the server's own user; None where he needs credentials too
    user: Caller | None = None  # the server's own user in any case
    address: str = ""  # where the connection comes from
    subject: str | None = None  # of the client certificate that the server has checked
    munge: MungeIdentity | None = None  # asked for where such a credential was sent
    signing_key: bytes | None = None  # of the tokens that the server issues
    session: Session | None = None  # whose cookie was sent
    logins: Logins | None = None  # reads the cookies of those who log in with a name and a password


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


def check_any_bearer(facts: Facts) -> Caller | None:
    """Return the caller with a token of access.yaml, or one that was issued."""
    given = facts.headers.get(b"authorization")
    token = None if given is None else read_bearer(given)
    if token is None or not issued.is_issued_token(token):
        return check_bearer(facts)
    caller = issued.find_issued_caller(facts.access, facts.signing_key, token, time.time())
    if caller is None:
        if issued.has_ended(facts.signing_key, token, time.time()):  # nobody has guessed that
            raise Unauthenticated("The token has expired")
        raise WrongCredentials(WRONG)
    return caller


def check_api_key(facts: Facts) -> Caller | None:
    """Return the caller whose key is sent as `X-API-Key`.

    A header Authorization goes first, whatever it says.
    """
    given = facts.headers.get(b"x-api-key")
    if given is None or b"authorization" in facts.headers:
        return None
    caller = facts.access.find_key_caller(given.decode("latin-1").strip())
    if caller is None:
        raise WrongCredentials("Invalid API key")
    return caller


def check_munge(facts: Facts) -> Caller | None:
    """Return the user who made the MUNGE credential that was sent.

    The server's own user counts as itself; others may what access.yaml says.
    """
    if facts.munge is None:
        return None
    if facts.munge.uid is None:
        raise WrongCredentials(facts.munge.problem)
    if facts.munge.uid == OWN_UID and facts.user is not None:
        return facts.user
    return facts.access.find_munge_user(facts.munge.uid, time.time())


def check_certificate(facts: Facts) -> Caller | None:
    """Return the caller whose client certificate was checked.

    By this server, or by a proxy that access.yaml names. Other credentials go first.
    """
    if has_credentials(facts.headers):
        return None
    subject = facts.subject if facts.subject is not None else read_proxy_subject(facts)
    if not subject:
        return None
    caller = facts.access.find_certificate(subject, time.time())
    if caller is None:  # no guess: an authority has signed it
        raise Unauthenticated(f"No entry of access.yaml counts for the certificate with the subject {subject}")
    return caller


def read_proxy_subject(facts: Facts) -> str | None:
    """Return the subject that a proxy of access.yaml has checked, or None."""
    subject, secret = facts.headers.get(b"x-ssl-client-s-dn"), facts.headers.get(b"x-proxy-secret")
    if subject is None or secret is None or facts.headers.get(b"x-ssl-client-verify", b"SUCCESS") != b"SUCCESS":
        return None
    if not facts.access.is_proxy(facts.address, secret.decode("latin-1")):
        raise WrongCredentials("No such proxy is known")
    # Proxies send UTF-8, where they do not escape.
    return subject.decode("utf-8", "replace")


def has_credentials(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request says in a header of its own who calls."""
    return b"authorization" in headers or b"x-api-key" in headers


def check_session(facts: Facts) -> Caller | None:
    """Return the caller who has signed in. Other credentials go first."""
    if facts.session is None or has_credentials(facts.headers):
        return None
    return find_session_caller(facts.access, facts.user, facts.session, time.time())


def check_login(facts: Facts) -> Caller | None:
    """Return the user of YAPTIDE who has logged in.

    Other credentials go first. Raises LoginEnded for a cookie that does not count.
    """
    if facts.logins is None or has_credentials(facts.headers):
        return None
    return facts.logins.find_caller(facts.headers, "access")


def check_refresh(facts: Facts) -> Caller | None:
    """Return the user of YAPTIDE whose login may go on, as `check_login`."""
    return None if facts.logins is None else facts.logins.find_caller(facts.headers, "refresh")


def check_own_user(facts: Facts) -> Caller | None:
    """Return the server's own user for a call without credentials.

    Over loopback only.
    """
    if has_credentials(facts.headers):
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
    pair = read_basic_pair(authorization)
    return None if pair is None else pair[1] or pair[0]


def read_basic_pair(authorization: bytes) -> tuple[str, str] | None:
    """Return user and password in a Basic header; None for another scheme."""
    kind, _, given = authorization.decode("latin-1").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def read_munge(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the MUNGE credential that is sent; None for another scheme.

    >>> read_munge({b"authorization": b"MUNGE MUNGE:AwQ=:"}), read_munge({b"authorization": b"Bearer x"})
    ('MUNGE:AwQ=:', None)
    """
    if b"authorization" not in headers:
        return None
    kind, _, given = headers[b"authorization"].decode("latin-1").partition(" ")
    return given.strip() if kind.lower() == "munge" else None


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
            if schemes[scheme] not in credentials:
                credentials.append(schemes[scheme])
            needed.update(scopes)
    if len(needed) != 1:
        raise RuntimeError(f"{operation_id} needs different scopes: {', '.join(sorted(needed))}")
    own = (check_own_user,) if {} in security else ()
    return Requirement((*credentials, *own), needed.pop())


def identify_caller(requirement: Requirement, facts: Facts) -> Caller | None:
    """Find out who calls; None where everybody may.

    Raises Unauthenticated, WrongCredentials.
    """
    if not requirement.credentials:
        return None
    for credential in requirement.credentials:
        caller = credential(facts)
        if caller is not None:
            return caller
    raise (WrongCredentials if has_credentials(facts.headers) else Unauthenticated)(WRONG)


def admit_caller(requirement: Requirement, caller: Caller | None) -> None:
    """Admit the caller. Raises Denied for one without the scope."""
    if caller is not None and requirement.scope not in caller.scopes:
        raise ScopeMissing(requirement.scope)


def require_admin(caller: Caller, why: str) -> None:
    """Refuse who lacks the scope admin, where not every call needs it."""
    if "admin" not in caller.scopes:
        raise ScopeMissing("admin", f": {why}")


# How a client may say who it is, by the scheme's name in the contract; keys and certificates have no scheme of HTTP.
CHALLENGES = {"bearer": b'Bearer realm="Sluice"', "basic": b'Basic realm="Sluice"', "s9s_munge": b"MUNGE"}


def list_challenges(schemes: Iterable[str], headers: Mapping[bytes, bytes], problem: Exception) -> list[bytes]:
    """List how the caller may say who it is (RFC 9110 §11.6.1).

    What is wrong with a bearer token stands beside its scheme (RFC 6750 §3.1).
    """
    bearer = CHALLENGES["bearer"]
    has_bearer = read_bearer(headers.get(b"authorization", b"")) is not None
    if isinstance(problem, ScopeMissing):
        return [b'%s, error="insufficient_scope", scope="%s"' % (bearer, problem.scope.encode())] if has_bearer else []
    if not isinstance(problem, Unauthenticated):
        return []
    if problem.challenge is not None:
        return [problem.challenge]
    found = [CHALLENGES[scheme] for scheme in schemes if scheme in CHALLENGES] or [bearer]
    if has_bearer:
        why = b'%s, error="invalid_token", error_description="The token is wrong or has expired"' % bearer
        return [why if challenge is bearer else challenge for challenge in found]
    return found
