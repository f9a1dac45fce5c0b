"""Who an OAuth client says it is, and what it is refused."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus

import pytest

from engine.callers import oauth
from store.access import GrantRefused
from store.access.tokens import make_token, parse_access

SECRET, DIGEST = make_token("client")
KNOWN = parse_access(f"oauth_clients: [{{name: app+1, sha256: '{DIGEST}', scopes: [read]}}]".encode())


def basic(name: str, secret: str, quote: bool = True) -> str:
    """A header as RFC 6749 §2.3.1 wants it: both parts are encoded as in a form first."""
    pair = ":".join(map(quote_plus, (name, secret))) if quote else f"{name}:{secret}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


BODY = {"client_id": "app+1", "client_secret": SECRET}
CLIENTS = [  # why, body, header, what is refused
    ("in the body", BODY, "", None),
    ("in the header", {}, basic("app+1", SECRET), None),
    ("in the header, its name again", {"client_id": "app+1"}, basic("app+1", SECRET), None),
    ("not encoded, as many clients do it", {}, basic("app+1", SECRET, quote=False), None),
    ("twice", BODY, basic("app+1", SECRET), "invalid_request"),
    ("two names", {"client_id": "other"}, basic("app+1", SECRET), "invalid_request"),
    ("another secret", {**BODY, "client_secret": "slo_no"}, "", "invalid_client"),
    ("another name", {**BODY, "client_id": "other"}, "", "invalid_client"),
    ("nothing", {}, "", "invalid_client"),
    ("only the name", {"client_id": "app+1"}, "", "invalid_client"),
    ("the hash", {**BODY, "client_secret": DIGEST}, "", "invalid_client"),
    ("a wrong header, a right body", BODY, "Bearer x", "invalid_client"),
    ("no base64", {}, "Basic ###", "invalid_client"),
    ("no colon", {}, "Basic YQ==", "invalid_client"),
]


@pytest.mark.parametrize(("why", "body", "header", "error"), CLIENTS, ids=[row[0] for row in CLIENTS])
def test_who_asks(why: str, body: dict[str, Any], header: str, error: str | None) -> None:
    if error is None:
        assert oauth.find_client(KNOWN, body, header).name == "app+1"
        return
    with pytest.raises((oauth.InvalidClient, GrantRefused)) as refused:
        oauth.find_client(KNOWN, body, header)
    assert refused.value.details == {"error": error}  # type: ignore[attr-defined]
