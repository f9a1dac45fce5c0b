"""Sessions of browsers: cookies that stand for a token or the own user."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from store.access.cookies import list_cookies
from store.access.tokens import Access, Caller, hash_token
from store.documents import VERSION
from store.documents.models import ServerFileModel

COOKIE = "sluice_session"
NAME = re.compile(f"{COOKIE}(_[0-9a-f]{{8}})?")
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


def has_secret(session: Session, secret: str) -> bool:
    """Return whether the session has this secret."""
    return hmac.compare_digest(session.sha256, hash_token(secret))


def make_cookie_name(root: Path) -> str:
    """Return the name of the cookie of this store's server.

    Cookies know no ports: with one name, two servers of a host would sign each other's browsers out.
    """
    return f"{COOKIE}_{hash_token(f'{socket.gethostname()}:{root}')[:8]}"


def list_secrets(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """List the secrets in a request's cookies.

    There may be those of other servers of this host.

    >>> list_secrets([(b"cookie", b"a=1; sluice_session=x; sluice_session_0a1b2c3d=y"), (b"host", b"a")])
    ['x', 'y']
    """
    return list_cookies(headers, NAME)


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


def format_cookie(name: str, session: Session, secret: str, age_s: int) -> str:
    """Format the header that sets the cookie; with age 0 it is removed."""
    secure = "; Secure" if session.is_secure else ""
    return f"{name}={secret}; Path={session.path}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"
