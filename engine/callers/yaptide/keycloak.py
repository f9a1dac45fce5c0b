"""Users of a realm of Keycloak, which config.yaml names, log in."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from engine.callers.yaptide.login import change_user, format_cookies
from engine.server import Server
from store import access
from store.access.credentials import read_bearer
from store.access.yaptide import keycloak, logins, users
from store.access.yaptide.users import User
from store.errors import Denied, Exists, Invalid
from store.indexes.bodies import Answer
from store.times import to_rfc3339


async def log_in(
    server: Server, body: dict[str, Any], facts: access.Facts, base_url: str, authorization: str
) -> Answer:
    """Begin a login for a token of Keycloak; set its cookie.

    The name must be the token's own. Raises Denied, Unauthenticated, KeycloakUnreachable, TooManyWaiting.
    """
    config = server.store.config.yaptide.keycloak
    if config is None:
        raise Denied("Service is not available: config.yaml names no realm (yaptide.keycloak)")
    token = read_bearer(authorization.encode("latin-1"))
    if token is None:
        raise access.Unauthenticated("No token provided")
    key = await server.realm_keys.find_key(keycloak.make_certs_url(config), keycloak.find_key_id(token))
    if key is None:
        raise keycloak.TokenRefused("Invalid token.")
    claims = keycloak.read_token(token, key, config, server.logins.now())
    username = body["username"]
    if claims["preferred_username"] != username:
        raise Denied("The user name is not that of the token")
    if not keycloak.has_access(claims, config):
        raise Denied(f"User {username} has no access to our service")
    user_id = await ensure_user(server, username)
    key_bytes, login = await server.signing_key.ensure(), server.logins.begin(logins.KEYCLOAK_S)
    user = await change_user(server, user_id, lambda user: users.add_login(user, login, server.logins.now()))
    if user is None:
        raise Denied("User not found")
    issued = server.logins.issue(key_bytes, user, login, "access", logins.KEYCLOAK_S)
    cookies = format_cookies(server, facts, base_url, {"access": issued})
    found = {"message": "Successfully logged in", "access_exp": issued.ends_s * 1000}
    return Answer(found, is_secret=True, caller=username, cookies=cookies)


async def ensure_user(server: Server, username: str) -> str:
    """Return the id of the user of Keycloak, who is added if he is new.

    He may run simulations on clusters, until his file says otherwise. Raises Denied.
    """
    try:
        users.check_name(username)
    except Invalid as problem:
        raise Denied(f"User {username} has no access to our service: {problem.problems[0]['msg']}") from None
    user_id = users.make_user_id("keycloak", username)
    if user_id not in server.store.users:
        now = to_rfc3339(int(time.time())) or ""
        with contextlib.suppress(Exists):  # a second login at the same moment
            await server.store.users.create(
                user_id, User(id=user_id, username=username, source="keycloak", batch=True, created_at=now)
            )
    return user_id
