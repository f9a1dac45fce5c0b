"""Users of the YAPTIDE family over HTTP: they register, log in and out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine.server import Server
from store import access
from store.access.proxies import is_forwarded
from store.access.yaptide import logins, users
from store.access.yaptide.logins import IssuedToken, LoginEnded, Use
from store.access.yaptide.users import Login, User
from store.errors import Changed, Denied, Exists
from store.indexes.bodies import Answer
from store.kinds import Key
from store.times import to_rfc3339

# Nobody has so many; there is an end to what strangers may fill the store with.
MOST_USERS = 10_000
MAX_TRIES = 5
CLOSED = "Registration is switched off; `yaptide: {registration: true}` in config.yaml switches it on"


class WrongLogin(access.WrongCredentials):
    """The name or the password is wrong; such failures are counted."""


async def register_user(server: Server, body: dict[str, Any], facts: access.Facts) -> dict[str, Any]:
    """Add a user with a password.

    Raises Denied where that is switched off, for a name that somebody has, and for one too many.
    """
    if not can_register(server, facts):
        raise Denied(CLOSED)
    username, password = body["username"], body["password"]
    users.check_name(username)
    users.check_password(password)
    server.passwords.count_registration(access.name_client(facts.address, facts.peer_uid))
    user_id = users.make_user_id("local", username)
    # Who takes the name of a user that was removed would get what that one left.
    if user_id in server.store.users or server.simulation_index.has_owner(username):
        raise Denied("User existing")
    if len(server.store.users) >= MOST_USERS:
        raise Denied("There are too many users")
    hashed = await server.passwords.hash_password(password)
    user = User(id=user_id, username=username, password_hash=hashed, created_at=to_rfc3339(int(time.time())) or "")
    try:
        await server.store.users.create(user_id, user)
    except Exists:
        raise Denied("User existing") from None
    return {"message": "User created"}


def can_register(server: Server, facts: access.Facts) -> bool:
    """Return whether strangers may add users.

    Where config.yaml does not say it, only the server's own user may, over loopback: jobs of those who register run as
    this user.
    """
    said = server.store.config.yaptide.registration
    if said is not None:
        return said
    is_own = facts.own is not None and facts.peer_uid == access.OWN_UID and not is_forwarded(facts.headers)
    return is_own and access.is_loopback(server.settings.host)


async def log_in(server: Server, body: dict[str, Any], facts: access.Facts, base_url: str) -> Answer:
    """Begin a login for a name and a password; set its cookies.

    Raises WrongLogin, TooManyTries, TooManyWaiting.
    """
    client, user_id = access.name_client(facts.address, facts.peer_uid), users.make_user_id("local", body["username"])
    server.passwords.count_try(client, user_id)
    known = server.find_user(user_id)
    hashed = None if known is None else known.password_hash
    if not await server.passwords.is_password(body["password"], hashed):
        raise WrongLogin("Invalid login or password")
    server.passwords.forget_try(client, user_id)
    key, login = await server.signing_key.ensure(), server.logins.begin(logins.REFRESH_S)

    def add_login(user: User) -> User:
        if user.password_hash != hashed:
            raise WrongLogin("Invalid login or password")
        return users.add_login(user, login, server.logins.now())

    user = await change_user(server, user_id, add_login)
    if user is None:
        raise WrongLogin("Invalid login or password")
    issued: dict[Use, IssuedToken] = {
        "access": server.logins.issue(key, user, login, "access", logins.ACCESS_S),
        "refresh": server.logins.issue(key, user, login, "refresh", logins.REFRESH_S),
    }
    found = {
        "message": "Successfully logged in",
        **{f"{use}_exp": token.ends_s * 1000 for use, token in issued.items()},
    }
    return Answer(found, is_secret=True, caller=user.username, cookies=format_cookies(server, facts, base_url, issued))


async def change_user(server: Server, user_id: str, change: Callable[[User], User]) -> User | None:
    """Change a user as the file says him now; return him, None without him."""
    async with server.locks.hold(Key("user", user_id)):
        for tries_left in reversed(range(MAX_TRIES)):
            if user_id not in server.store.users:
                return None
            entry = server.store.users.get_entry(user_id)
            changed = change(entry.document)
            try:
                await server.store.users.put(user_id, changed, entry.etag)
            except Changed:
                # Somebody has edited the file by hand, or removed it.
                if not tries_left:
                    raise
            else:
                return changed
    return None


def format_cookies(
    server: Server, facts: access.Facts, base_url: str, issued: Mapping[Use, IssuedToken | None]
) -> list[str]:
    """Format the headers that set these cookies, or remove them (None)."""
    # A proxy that ends TLS says so; whoever only pretends it gets a cookie that his browser does not send.
    is_secure = base_url.startswith("https:") or facts.headers.get(b"x-forwarded-proto", b"").lower() == b"https"
    path = server.settings.root_path
    return [logins.format_cookie(use, token, path, is_secure) for use, token in issued.items()]


def get_status(caller: access.Caller) -> dict[str, Any]:
    """Get who has logged in."""
    return {"message": "User status", "username": caller.name}


async def refresh_login(server: Server, facts: access.Facts, base_url: str) -> Answer:
    """Issue another access token for the login of the cookie."""
    found = server.logins.find_login(facts.headers, "refresh")
    if found is None:
        raise access.Unauthenticated("No token provided")
    token = server.logins.issue(await server.signing_key.ensure(), *found, "access", logins.ACCESS_S)
    cookies = format_cookies(server, facts, base_url, {"access": token})
    return Answer({"message": "User refreshed", "access_exp": token.ends_s * 1000}, is_secret=True, cookies=cookies)


async def log_out(server: Server, facts: access.Facts, base_url: str) -> Answer:
    """End the logins of the cookies, if they have any, and remove both."""
    found: dict[str, list[Login]] = {}
    for use in logins.COOKIES:
        with contextlib.suppress(LoginEnded):
            if known := server.logins.find_login(facts.headers, use):
                found.setdefault(known[0].id, []).append(known[1])
    for user_id, ended in found.items():
        ids, now_s = [login.id for login in ended], server.logins.now()
        await change_user(server, user_id, lambda user: users.remove_logins(user, ids, now_s))  # noqa: B023
    cookies = format_cookies(server, facts, base_url, dict.fromkeys(logins.COOKIES))
    return Answer({"message": "User logged out"}, is_secret=True, cookies=cookies)


def update_user() -> dict[str, Any]:
    """Accept an update of the user, of whom there is nothing to change."""
    return {"message": "User updated"}
