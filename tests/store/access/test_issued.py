"""Tokens for OAuth clients: what is in them, and when they count."""

from __future__ import annotations

import base64
import json

import jwt
import pytest

from store.access import issued
from store.access.tokens import Access, Token, make_token, parse_access

NOW_S = 1_800_000_000.0
KEY, OTHER_KEY = b"a" * 64, b"b" * 64
SECRET, DIGEST = make_token("client")


def clients(*rows: str) -> Access:
    """An access.yaml with these OAuth clients."""
    return parse_access(("oauth_clients:\n" + "".join(f"  - {{{row}}}\n" for row in rows)).encode())


USUAL = f"name: app, sha256: {DIGEST}, scopes: [write]"
KNOWN = clients(USUAL)
APP: Token = KNOWN.oauth_clients[0]


def issue(scopes: str = "read", key: bytes = KEY) -> str:
    return issued.issue_token(key, APP, scopes.split(), NOW_S)


def test_a_token_counts_for_an_hour() -> None:
    token = issue("read report")
    assert issued.is_issued_token(token)
    for later_s, counts in ((0, True), (3599, True), (3600, False), (10**6, False)):
        caller = issued.find_issued_caller(KNOWN, KEY, token, NOW_S + later_s)
        assert (caller is not None) == counts, later_s
        assert issued.has_ended(KEY, token, NOW_S + later_s) != counts, later_s
        assert not issued.has_ended(OTHER_KEY, token, NOW_S + later_s), "then it may be a guess"
    caller = issued.find_issued_caller(KNOWN, KEY, token, NOW_S)
    assert caller is not None and (caller.name, caller.kind, caller.scopes) == ("app", "client", {"read", "report"})


REVOKED = [
    ("the client is gone", "name: other, sha256: " + DIGEST + ", scopes: [write]", None),
    ("it has another secret", f"name: app, sha256: '{'0' * 64}', scopes: [write]", None),
    ("it has expired", f"{USUAL}, expires: 2020-01-01", None),
    ("it may do less now", f"name: app, sha256: {DIGEST}, scopes: [report]", {"report"}),
    ("it may do more now", f"name: app, sha256: {DIGEST}, scopes: [admin]", {"read", "report", "write"}),
]


@pytest.mark.parametrize(("why", "row", "scopes"), REVOKED, ids=[row[0] for row in REVOKED])
def test_access_yaml_decides_at_each_call(why: str, row: str, scopes: set[str] | None) -> None:
    caller = issued.find_issued_caller(clients(row), KEY, issue("write"), NOW_S)
    assert (None if caller is None else caller.scopes) == scopes


def forge(head: dict[str, object], claims: dict[str, object], key: bytes = KEY) -> str:
    """A token with this head, signed with HS256 all the same."""
    algorithm = str(head.get("alg", "HS256"))
    return jwt.encode(claims, key if algorithm != "none" else None, algorithm=algorithm, headers=dict(head))


CLAIMS: dict[str, object] = {
    "iss": "sluice", "sub": "app", "scope": "read", "exp": int(NOW_S) + 60, "key": DIGEST[:16], "jti": "x",
}  # fmt: skip
FORGED = [
    ("as it should be", forge({}, CLAIMS), True),
    ("another key", forge({}, CLAIMS, OTHER_KEY), False),
    ("no signature at all", forge({"alg": "none"}, CLAIMS), False),
    ("another algorithm", forge({"alg": "HS512"}, CLAIMS), False),
    ("another issuer", forge({}, {**CLAIMS, "iss": "other"}), False),
    ("no end", forge({}, {key: value for key, value in CLAIMS.items() if key != "exp"}), False),
    ("an end that is no number", forge({}, {**CLAIMS, "exp": "never"}), False),
    ("an end that is no whole number", forge({}, {**CLAIMS, "exp": 1e300}), False),
    ("a list for a name", forge({}, {**CLAIMS, "sub": ["app"]}), False),
    ("no secret", forge({}, {**CLAIMS, "key": ""}), False),
    ("a secret of another kind", forge({}, {**CLAIMS, "key": 7}), False),
    ("not yet", forge({}, {**CLAIMS, "nbf": 10**11}), False),
    ("cut short", issue()[:-2], False),
    ("far too long", issue() + "A" * 5000, False),
    ("nothing in it", "eyJ..", False),
    ("no JSON in it", "eyJhbGciOiJIUzI1NiJ9." + base64.urlsafe_b64encode(b"[[[").decode() + ".c2ln", False),
]


@pytest.mark.parametrize(("why", "token", "counts"), FORGED, ids=[row[0] for row in FORGED])
def test_what_is_no_token_of_ours(why: str, token: str, counts: bool) -> None:
    assert (issued.find_issued_caller(KNOWN, KEY, token, NOW_S) is not None) == counts


def test_without_a_key_no_token_counts() -> None:
    assert issued.find_issued_caller(KNOWN, None, issue(), NOW_S) is None
    assert issued.find_issued_caller(KNOWN, issued.make_key(), issue(), NOW_S) is None


def test_a_token_holds_no_secret() -> None:
    body = json.loads(base64.urlsafe_b64decode(issue().split(".")[1] + "=="))
    assert set(body) == {"iss", "sub", "scope", "iat", "exp", "key", "jti"}
    assert SECRET not in json.dumps(body) and DIGEST not in json.dumps(body)


ASKED = [  # why, what is asked for, what is granted; or the error
    ("nothing: all that the client has", None, ["write"]),
    ("an empty text", "", ["write"]),
    ("less", "read", ["read"]),
    ("several", "report read", ["report", "read"]),
    ("twice", "read read", ["read"]),
    ("too much: what it has of that", "read admin", ["read"]),
    ("only too much", "admin", "has only the scopes write"),
    ("a word that is none", "reed", "no scope reed"),
    ("a line break", "read\nadmin", ["read"]),
]


@pytest.mark.parametrize(("why", "asked", "granted"), ASKED, ids=[row[0] for row in ASKED])
def test_scopes_are_narrowed(why: str, asked: str | None, granted: list[str] | str) -> None:
    if isinstance(granted, list):
        assert issued.narrow_scopes(APP, asked) == granted
        return
    with pytest.raises(issued.GrantRefused, match=granted) as refused:
        issued.narrow_scopes(APP, asked)
    assert refused.value.details == {"error": "invalid_scope"}


KEYS = [
    ("as it is made", issued.make_key(), True),
    ("empty", b"", False),
    ("cut short", issued.make_key()[:20], False),
    ("something else", b"x" * 65, False),
]


@pytest.mark.parametrize(("why", "data", "good"), KEYS, ids=[row[0] for row in KEYS])
def test_what_counts_as_a_key(why: str, data: bytes, good: bool) -> None:
    assert issued.is_key(data) is good
