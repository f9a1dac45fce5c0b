"""Tokens for OAuth clients: RFC 6749, client credentials."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote_plus

from engine.server import Server
from store import access
from store.access import issued
from store.access.credentials import read_basic_pair
from store.indexes.bodies import Answer


class InvalidClient(access.WrongCredentials):
    """The client's id or secret is wrong; such failures are counted."""

    details = {"error": "invalid_client"}  # noqa: RUF012 - an exception's own words, never changed
    challenge = b'Basic realm="Sluice"'


async def create_token(server: Server, body: dict[str, Any], authorization: str) -> Answer:
    """Create an access token for the client with these credentials."""
    given = {name: text for name, text in body.items() if text != ""}  # RFC 6749 §3.1: as if it were left out
    client = find_client(server.store.access, given, authorization)
    if "grant_type" not in given:
        raise access.GrantRefused("invalid_request", "grant_type is missing")
    if given["grant_type"] != "client_credentials":
        raise access.GrantRefused("unsupported_grant_type", "grant_type must be client_credentials")
    scopes = issued.narrow_scopes(client, given.get("scope"))
    token = issued.issue_token(await server.signing_key.ensure(), client, scopes, time.time())
    found = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": issued.LIFETIME_S,
        "scope": " ".join(scopes),
    }
    return Answer(found, is_secret=True, caller=client.name)


def find_client(known: access.Access, given: dict[str, Any], authorization: str) -> issued.Token:
    """Return the client that asks. Raises InvalidClient, GrantRefused.

    It says who it is in a header Authorization (Basic), or in the body.
    """
    if authorization:
        pair = read_basic_pair(authorization.encode("latin-1"))
        if pair is None:
            raise InvalidClient("Only Basic is taken in the header Authorization")
        # RFC 6749 §2.3.1 wants both parts encoded as in a form; many clients send them as they are.
        pairs = [(unquote_plus(pair[0]), unquote_plus(pair[1])), pair]
        if "client_secret" in given or ("client_id" in given and given["client_id"] not in [name for name, _ in pairs]):
            raise access.GrantRefused("invalid_request", "The client says twice who it is")
    else:
        pairs = [(given.get("client_id", ""), given.get("client_secret", ""))]
    client = next(filter(None, (known.find_client(*pair) for pair in pairs)), None)
    if client is None:
        raise InvalidClient("The client is unknown, or its secret is wrong")
    return client
