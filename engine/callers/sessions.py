"""Sessions of browsers: they begin with a token or a code, and end."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable
from typing import Any

from engine.server import Server
from store import access
from store.access import sessions
from store.access.sessions import Session
from store.access.tokens import hash_token
from store.errors import NotFound
from store.indexes.bodies import Answer
from store.times import to_rfc3339


def find_session(server: Server, headers: Iterable[tuple[bytes, bytes]]) -> Session | None:
    """Return the session whose cookie was sent; None if there is none."""
    for secret in sessions.list_secrets(headers):
        found = _get_kept(server, sessions.make_session_id(secret))
        if found is not None and sessions.has_secret(found, secret):
            return found
    return None


def find_kept(server: Server, session: Session | None) -> Session | None:
    """Return the session as it is kept now; None where it was removed."""
    return None if session is None else _get_kept(server, session.id)


def _get_kept(server: Server, session_id: str) -> Session | None:
    kept = server.store.sessions
    found: Session | None = kept.get(session_id) if session_id in kept else None
    return found


async def create_session(server: Server, base_url: str, body: dict[str, Any]) -> Answer:
    """Begin a session for a token, an API key, or the printed code.

    Raises WrongCredentials; failures are counted. Over HTTPS the cookie is for HTTPS, whatever the page knows of it.
    """
    known, now_s = server.store.access, time.time()
    token = body.get("token")
    if token is not None:
        right = (known.find_caller(token, now_s) or known.find_key_caller(token, now_s)) is not None
        wrong = "This token is wrong, or has expired"
    else:
        right = server.codes.use(body["code"])
        wrong = "This link is used up; a token also signs in, and a new link is printed at the server's next start"
    if not right:
        raise access.WrongCredentials(wrong)
    secret = sessions.make_secret()
    session = Session(
        id=sessions.make_session_id(secret),
        sha256=hash_token(secret),
        token_sha256=None if token is None else hash_token(token),
        path=body["path"],
        is_secure=body["secure"] or base_url.startswith("https:"),
        began_at=to_rfc3339(now_s) or "",
        expires_s=now_s + known.session_hours * 3600,
    )
    await remove_ended(server, now_s)
    await server.store.sessions.create(session.id, session)
    caller = sessions.find_session_caller(known, server.callers.user, session, now_s)
    assert caller is not None
    name = sessions.make_cookie_name(server.store.root)
    cookie = sessions.format_cookie(name, session, secret, known.session_hours * 3600)
    return Answer(describe_caller(server, caller, session), is_secret=True, caller=caller.name, cookies=[cookie])


def get_session(server: Server, caller: access.Caller, facts: access.Facts) -> dict[str, Any]:
    """Get who calls, what they may, and which server this is."""
    signed_in = facts.session is not None and not access.has_credentials(facts.headers)
    return describe_caller(server, caller, facts.session if signed_in else None)


async def delete_session(server: Server, facts: access.Facts) -> Answer:
    """End the session of the cookie that was sent."""
    session = facts.session
    if session is None:
        raise NotFound("session", "sluice_session", " among the cookies")
    await server.store.sessions.delete(session.id)
    name = sessions.make_cookie_name(server.store.root)
    return Answer(None, cookies=[sessions.format_cookie(name, session, "", 0)])


def describe_caller(server: Server, caller: access.Caller, session: Session | None) -> dict[str, Any]:
    """Describe a caller to the page."""
    now = datetime.datetime.now().astimezone()
    offset = now.utcoffset() or datetime.timedelta()
    return {
        "user": caller.name,
        "kind": caller.kind,
        "scopes": sorted(caller.scopes),
        "has_session": session is not None,
        "expires_at": None if session is None else to_rfc3339(int(session.expires_s)),
        "cluster": server.cluster.name,
        "job_user": server.cluster.slurm.get_user(),
        "time": to_rfc3339(now.timestamp()),
        "utc_offset_minutes": int(offset.total_seconds() // 60),
    }


async def remove_ended(server: Server, now_s: float) -> None:
    """Remove sessions that have ended, and the oldest of too many."""
    kept: list[Session] = [server.store.sessions.get(name) for name in server.store.sessions.list_names()]
    kept.sort(key=lambda session: session.expires_s)
    known, user = server.store.access, server.callers.user
    for number, session in enumerate(kept):
        has_ended = sessions.find_session_caller(known, user, session, now_s) is None
        if has_ended or len(kept) - number >= sessions.MOST_SESSIONS:
            await server.store.sessions.delete(session.id)
