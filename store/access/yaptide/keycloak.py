"""Tokens of a realm of Keycloak: what signs them, what they say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.documents.configuration import KeycloakConfig
from store.errors import Denied
from store.jsons import parse_json

ALGORITHM = "RS256"
CLAIMS = ("exp", "iat", "iss", "preferred_username")
# A realm has a few keys; its tokens grow with what they say of a user.
MOST_KEYS, KEY_BITS, TOKEN_CHARS = 50, 2048, 16_000
# Clocks of two machines may differ by so much.
LEEWAY_S = 30


class TokenRefused(Denied):
    """The token of Keycloak does not count; the text says why."""


def make_certs_url(config: KeycloakConfig) -> str:
    """Return the URL of the keys that sign the realm's tokens."""
    return f"{_make_realm_url(config)}/protocol/openid-connect/certs"


def _make_realm_url(config: KeycloakConfig) -> str:
    return f"{config.base_url.rstrip('/')}/realms/{config.realm}"


def parse_keys(data: bytes) -> dict[str, Any]:
    """Parse the keys of a realm (RFC 7517), by their ids.

    Only those that can sign by RS256. Raises ValueError where there is none.
    """
    from jwt.algorithms import RSAAlgorithm

    said = parse_json(data)
    rows = said.get("keys") if isinstance(said, dict) else None
    keys: dict[str, Any] = {}
    for row in rows[:MOST_KEYS] if isinstance(rows, list) else ():
        if not isinstance(row, dict) or row.get("kty") != "RSA" or row.get("use", "sig") != "sig":
            continue
        if row.get("alg", ALGORITHM) != ALGORITHM or not isinstance(row.get("kid"), str):
            continue
        try:
            key: Any = RSAAlgorithm.from_jwk({name: row[name] for name in ("kty", "n", "e")})
        except Exception:  # noqa: S112 - of a key that is none, the libraries raise what they like
            continue
        if key.key_size >= KEY_BITS:
            keys[row["kid"]] = key
    if not keys:
        raise ValueError("it names no key that signs by RS256")
    return keys


def find_key_id(token: str) -> str:
    """Find the id of the key that has signed a token. Raises TokenRefused."""
    import jwt

    if len(token) > TOKEN_CHARS:
        raise TokenRefused("Invalid token.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenRefused("Invalid token.") from None
    key_id = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
        raise TokenRefused("Invalid token.")
    return key_id


def read_token(token: str, key: Any, config: KeycloakConfig, now_s: float) -> Mapping[str, Any]:
    """Return what a token says that this key has signed.

    It is an access token of the realm, for the client that config.yaml names. Raises TokenRefused.
    """
    import jwt

    issuer = config.issuer or _make_realm_url(config)
    options: Any = {
        "require": list(CLAIMS),
        **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud"), False),
    }
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=issuer, options=options)
    except jwt.InvalidIssuerError:  # the signature was right, so its sender may know
        raise TokenRefused(f"Invalid token. It is not of the issuer {issuer}.") from None
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenRefused("Invalid token.") from None
    times = [claims["exp"], claims["iat"], claims.get("nbf", 0)]
    if any(isinstance(time, bool) or not isinstance(time, int | float) for time in times):
        raise TokenRefused("Invalid token.")
    if claims["exp"] <= now_s:
        raise TokenRefused("Signature expired.")
    if max(times[1:]) > now_s + LEEWAY_S:
        raise TokenRefused("Invalid token. It does not count yet.")
    _check_purpose(claims, config)
    return claims


def _check_purpose(claims: Mapping[str, Any], config: KeycloakConfig) -> None:
    """Check that it is an access token for our client. Raises TokenRefused.

    Keycloak names the client in `azp`; an ID token or one for another service of the realm is none.
    """
    given = claims.get("aud", [])
    audience = given if isinstance(given, list) else [given]
    client = claims.get("azp")
    is_client = config.client_id in audience if client is None else client == config.client_id
    if not is_client:
        raise TokenRefused(f"Invalid token. It is not for the client {config.client_id}.")
    if config.audience is not None and config.audience not in audience:
        raise TokenRefused(f"Invalid token. It is not for the audience {config.audience}.")
    if claims.get("typ", "Bearer") != "Bearer":
        raise TokenRefused("Invalid token. It is no access token.")


def has_access(claims: Mapping[str, Any], config: KeycloakConfig) -> bool:
    """Return whether the token says that its user may use this service."""
    given = claims.get(config.access_claim, [])
    return config.access_value in (given if isinstance(given, list) else [given])
