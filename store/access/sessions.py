"""Sessions of browsers: cookies that stand for a token or the own user."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

from store.access.tokens import Access, Caller, hash_token
from store.documents import VERSION
from store.documents.models import ServerFileModel

COOKIE = "sluice_session"
SECRET_BYTES = 32
# Nobody has so many browsers: of more, the oldest are ended.
MOST_SESSIONS = 1000


class Session(ServerFileModel):
    """A session of a browser.

    Only the SHA-256 of its secret is kept. `token_sha256` is that of the token of access.yaml it stands for; None where
    it stands for the server's own user.
    """

    version: int = VERSION
    id: str
    sha256: str
    token_sha256: str | None
    path: str  # of the page, which the cookie is bound to
    is_secure: bool  # whether the cookie is sent over HTTPS only
    began_at: str
    expires_s: float


def make_secret() -> str:
    """Make the secret of a new session."""
    return secrets.token_urlsafe(SECRET_BYTES)


def make_session_id(secret: str) -> str:
    """Return the id of the session with this secret."""
    return hash_token(secret)[:16]


def is_secret(session: Session, secret: str) -> bool:
    """Return whether this is the secret of the session."""
    return hmac.compare_digest(session.sha256, hash_token(secret))


def read_cookie(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the secret in a request's cookies; None without one.

    >>> read_cookie([(b"cookie", b"a=1; sluice_session=x"), (b"host", b"a")]), read_cookie([])
    ('x', None)
    """
    for name, value in headers:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, given = part.strip().partition("=")
                if key == COOKIE:
                    return given
    return None


def find_session_caller(access: Access, user: Caller | None, session: Session, now_s: float) -> Caller | None:
    """Return who a session stands for; None when it has ended.

    So it does when access.yaml has its token no more.
    """
    if now_s >= session.expires_s:
        return None
    if session.token_sha256 is None:
        return user
    tokens = ((entry, "token") for entry in access.tokens)
    keys = ((entry, "key") for entry in access.api_keys)
    for entry, kind in (*tokens, *keys):
        if entry.sha256 == session.token_sha256 and entry.is_valid(now_s):
            return entry.make_caller(entry.name, kind)
    return None


def format_cookie(session: Session, secret: str, age_s: int) -> str:
    """Format the header that sets the cookie; with age 0 it is removed."""
    secure = "; Secure" if session.is_secure else ""
    return f"{COOKIE}={secret}; Path={session.path}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"
