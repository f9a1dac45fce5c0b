"""Tokens of Keycloak: which keys and which tokens count."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from store.access.yaptide import keycloak
from store.access.yaptide.keycloak import TokenRefused
from store.documents.configuration import KeycloakConfig
from store.errors import StoreError
from tests.engine.callers.yaptide.oidc_server import CLIENT, REALM, Realm, describe_key, make_key

NOW_S = 1_800_000_000
SSO = Realm(now=lambda: NOW_S)
CONFIG = KeycloakConfig(base_url=f"{SSO.base_url}/", realm=REALM, client_id=CLIENT)
OTHER_ISSUER = f"Invalid token. It is not of the issuer {SSO.base_url}/realms/{REALM}."
SMALL, OTHER = make_key(1024), make_key()


def read(token: str, config: KeycloakConfig = CONFIG, now_s: float = NOW_S) -> str:
    """Whose the token is, or why it does not count."""
    keys = keycloak.parse_keys(SSO.show_keys())
    try:
        key = keys.get(keycloak.find_key_id(token))
        if key is None:
            return "unknown key"
        return str(keycloak.read_token(token, key, config, now_s)["preferred_username"])
    except TokenRefused as problem:
        return str(problem)


@pytest.mark.parametrize(
    ("why", "claims", "said"),
    [
        ("as Keycloak makes it", {}, "ann"),
        ("for several services", {"aud": ["account", "x"]}, "ann"),
        ("for our client by its audience", {"azp": None, "aud": [CLIENT]}, "ann"),
        ("without its kind", {"typ": None}, "ann"),
        ("our clock is a little late", {"iat": NOW_S + 20, "nbf": NOW_S + 20}, "ann"),
        ("for another client of the realm", {"azp": "wiki"}, f"Invalid token. It is not for the client {CLIENT}."),
        (
            "for another one that names ours",
            {"azp": "wiki", "aud": CLIENT},
            f"Invalid token. It is not for the client {CLIENT}.",
        ),
        ("for nobody", {"azp": None, "aud": None}, f"Invalid token. It is not for the client {CLIENT}."),
        ("it only says who he is", {"typ": "ID"}, "Invalid token. It is no access token."),
        ("it only refreshes", {"typ": "Refresh"}, "Invalid token. It is no access token."),
        ("of another realm", {"iss": f"{SSO.base_url}/realms/other"}, OTHER_ISSUER),
        ("of another server", {"iss": f"https://evil.example/realms/{REALM}"}, OTHER_ISSUER),
        ("of nobody", {"iss": None}, "Invalid token."),
        ("its time is over", {"exp": NOW_S}, "Signature expired."),
        ("it never ends", {"exp": None}, "Invalid token."),
        ("its end is no time", {"exp": "later"}, "Invalid token."),
        ("its end is no number", {"exp": True}, "Invalid token."),
        ("it is from the future", {"iat": NOW_S + 60}, "Invalid token. It does not count yet."),
        ("it is for the future", {"nbf": NOW_S + 60}, "Invalid token. It does not count yet."),
        ("it names nobody", {"preferred_username": None}, "Invalid token."),
    ],
)
def test_what_a_token_says(why: str, claims: dict[str, Any], said: str) -> None:
    assert read(SSO.sign(**claims)) == said, why


def forge(key: Any, algorithm: str = "RS256", **headers: Any) -> str:
    """A token with right claims that was signed otherwise."""
    return jwt.encode(SSO.make_claims(), key, algorithm=algorithm, headers={"kid": SSO.current, **headers})


def forge_by_hand(secret: bytes, **header: Any) -> str:
    """A token with right claims and a header as the library would not make it, signed by HS256."""
    parts = [orjson.dumps({"typ": "JWT", **header}), orjson.dumps(SSO.make_claims())]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, text, "sha256")
    return b".".join((text, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


PUBLIC = SSO.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("why", "token", "said"),
    [
        ("with another key", lambda: forge(OTHER), "Invalid token."),
        ("with a key of another name", lambda: forge(OTHER, kid="second"), "unknown key"),
        ("without a name of a key", lambda: forge_by_hand(b"x", alg="RS256"), "Invalid token."),
        ("with what everybody knows", lambda: forge_by_hand(PUBLIC, alg="HS256", kid="first"), "Invalid token."),
        ("not at all", lambda: forge(None, "none"), "Invalid token."),
        ("by another algorithm", lambda: forge(SSO.keys["first"], "RS512"), "Invalid token."),
        ("by a padding that is not pinned", lambda: forge(SSO.keys["first"], "PS256"), "Invalid token."),
        ("with a key that it brings along", lambda: forge(OTHER, jwk=describe_key("first", OTHER)), "Invalid token."),
        ("nothing", lambda: "", "Invalid token."),
        ("nonsense", lambda: "a.b.c", "Invalid token."),
        ("no letters", lambda: "\xff.\xff.\xff", "Invalid token."),
        ("a very long one", lambda: "eyJ" * 10_000, "Invalid token."),
        ("another body", lambda: ".".join(_swap(SSO.sign(), SSO.sign("bob"))), "Invalid token."),
    ],
)  # fmt: skip
def test_how_a_token_is_signed(why: str, token: Callable[[], str], said: str) -> None:
    assert read(token()) == said, why


def _swap(first: str, second: str) -> list[str]:
    """The parts of a token with the body of another."""
    head, _, signature = first.split(".")
    return [head, second.split(".")[1], signature]


@pytest.mark.parametrize(
    ("why", "more", "claims", "said"),
    [
        ("an audience is asked for", {"audience": "sluice"}, {"aud": ["account", "sluice"]}, "ann"),
        ("and not there", {"audience": "sluice"}, {}, "Invalid token. It is not for the audience sluice."),
        ("behind another name", {"issuer": "https://sso.lan/realms/lab"}, {"iss": "https://sso.lan/realms/lab"}, "ann"),
        ("which alone counts then", {"issuer": "https://sso.lan/realms/lab"}, {},
         "Invalid token. It is not of the issuer https://sso.lan/realms/lab."),
    ],
)  # fmt: skip
def test_what_config_yaml_says(why: str, more: dict[str, Any], claims: dict[str, Any], said: str) -> None:
    assert read(SSO.sign(**claims), CONFIG.model_copy(update=more)) == said, why


@pytest.mark.parametrize(
    ("claims", "config", "may"),
    [
        ({}, {}, True),
        ({"plgridAccessServices": "PLG_YAPTIDE_ACCESS"}, {}, True),
        ({"plgridAccessServices": []}, {}, False),
        ({"plgridAccessServices": ["PLG_YAPTIDE_ACCESS2"]}, {}, False),
        ({"plgridAccessServices": "PLG_YAPTIDE_ACCESS PLG"}, {}, False),
        ({"plgridAccessServices": None}, {}, False),
        ({"groups": ["physics"]}, {"access_claim": "groups", "access_value": "physics"}, True),
        ({}, {"access_claim": "groups", "access_value": "physics"}, False),
    ],
)
def test_who_has_access(claims: dict[str, Any], config: dict[str, Any], may: bool) -> None:
    assert keycloak.has_access(SSO.make_claims(**claims), CONFIG.model_copy(update=config)) is may


@pytest.mark.parametrize(
    ("why", "rows", "known"),
    [
        ("usual", [describe_key("a", OTHER)], ["a"]),
        ("beside one to encrypt with", [describe_key("b", OTHER, use="enc"), describe_key("a", OTHER)], ["a"]),
        ("beside one of another algorithm", [describe_key("b", OTHER, alg="RS512"), describe_key("a", OTHER)], ["a"]),
        ("beside one of a curve", [{"kid": "b", "kty": "EC", "crv": "P-256"}, describe_key("a", OTHER)], ["a"]),
        ("beside what is none", [7, None, {"kid": "b", "kty": "RSA"}, describe_key("a", OTHER)], ["a"]),
        ("with odd numbers", [describe_key("b", OTHER, n="!!", e=7), describe_key("a", OTHER)], ["a"]),
        ("too small a key", [describe_key("b", SMALL), describe_key("a", OTHER)], ["a"]),
        ("without a name", [describe_key("b", OTHER, kid=None)], None),
        ("none", [], None),
    ],
)
def test_which_keys_count(why: str, rows: list[Any], known: list[str] | None) -> None:
    data = orjson.dumps({"keys": rows})
    if known is None:
        with pytest.raises(ValueError, match="no key"):
            keycloak.parse_keys(data)
    else:
        assert list(keycloak.parse_keys(data)) == known, why


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"7", b"{}", b'{"keys": 7}', b'{"keys": {"a": 1}}', b"\xff"])
def test_rubbish_has_no_keys(data: bytes) -> None:
    with pytest.raises((ValueError, StoreError)):
        keycloak.parse_keys(data)


def test_where_the_keys_are() -> None:
    assert keycloak.make_certs_url(CONFIG) == f"{SSO.issuer}/protocol/openid-connect/certs"
