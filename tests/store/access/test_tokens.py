"""Tokens and their scopes, and what access.yaml may say."""

from __future__ import annotations

import pytest

from store.access import tokens
from store.access.tokens import Access, describe_token, hash_token, make_token, parse_access
from store.errors import Invalid

NOW_S = 1_800_000_000.0


def file_with(*entries: str) -> Access:
    return parse_access(("tokens:\n" + "".join(f"  - {entry}\n" for entry in entries)).encode())


def test_a_token_is_known_by_its_hash_only() -> None:
    (token, digest), (other, _) = make_token(), make_token()
    assert token != other and token.startswith("slc_") and len(token) > 40
    assert digest == hash_token(token) and token not in digest
    known = file_with(f"{{name: ci, sha256: {digest}, scopes: [write]}}")
    caller = known.find_caller(token)
    assert caller is not None and caller.name == "ci"
    assert caller.scopes == {"report", "read", "write"}
    for wrong in (other, digest, "", token + "x", token[:-1], token.upper(), "\ud800"):
        assert known.find_caller(wrong) is None, wrong


SCOPES = [
    ("read only reads", "[read]", {"read"}),
    ("report only reports", "[report]", {"report"}),
    ("write also reads and reports", "[write]", {"report", "read", "write"}),
    ("admin does everything", "[admin]", {"report", "read", "write", "admin"}),
    ("several", "[read, report]", {"report", "read"}),
    ("several, one includes the other", "[read, admin]", {"report", "read", "write", "admin"}),
]


@pytest.mark.parametrize(("why", "scopes", "may"), SCOPES, ids=[row[0] for row in SCOPES])
def test_scopes(why: str, scopes: str, may: set[str]) -> None:
    token, digest = make_token()
    caller = file_with(f"{{name: a, sha256: {digest}, scopes: {scopes}}}").find_caller(token)
    assert caller is not None and caller.scopes == may


EXPIRY = [
    ("for ever", None, True),
    ("later", "2027-01-15T08:00:01Z", True),
    ("this very moment", "2027-01-15T08:00:00Z", False),
    ("in another zone", "2027-01-15T09:59:00+02:00", False),
    ("a day in the past", "2027-01-15", False),
    ("a day to come", "2027-01-16", True),
]


@pytest.mark.parametrize(("why", "expires", "good"), EXPIRY, ids=[row[0] for row in EXPIRY])
def test_expiry(why: str, expires: str | None, good: bool) -> None:
    token, digest = make_token()
    end = f", expires: {expires}" if expires else ""
    known = file_with(f"{{name: a, sha256: {digest}, scopes: [read]{end}}}")
    assert (known.find_caller(token, NOW_S) is not None) == good


WRONG = [
    ("the token itself", "{name: a, sha256: slc_abc, scopes: [read]}", "sha256"),
    ("no scope", f"{{name: a, sha256: {'0' * 64}, scopes: []}}", "scopes"),
    ("a scope that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [root]}}", "scopes"),
    ("a date that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [read], expires: soon}}", "expires"),
    ("a key that is none", f"{{name: a, sha256: {'0' * 64}, scopes: [read], scope: x}}", "did you mean 'scopes'"),
]


@pytest.mark.parametrize(("why", "entry", "reason"), WRONG, ids=[row[0] for row in WRONG])
def test_entries_that_are_refused(why: str, entry: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as refused:
        file_with(entry)
    assert refused.value.problems[0]["line"] == 2


CORS = [
    ("one of the families", "cors: {srtslurm: ['http://localhost:3000']}", None),
    ("nobody", "cors: {}", None),
    ("a family that is none", "tokens: []\ncors:\n  srtslum: ['http://localhost:3000']", "did you mean 'srtslurm'"),
    ("no origin", "cors: {srtslurm: ['localhost:3000']}", "cors"),
    ("every origin", "cors: {srtslurm: ['*']}", None),
    ("every origin of a domain", "cors: {srtslurm: ['https://*.example']}", "cors"),
    ("a path", "cors: {srtslurm: ['http://localhost:3000/x']}", "cors"),
]


@pytest.mark.parametrize(("why", "text", "reason"), CORS, ids=[row[0] for row in CORS])
def test_origins_that_may_read(why: str, text: str, reason: str | None) -> None:
    if reason is None:
        assert parse_access(text.encode(), families=["srunx", "srtslurm"]).tokens == []
        return
    with pytest.raises(Invalid, match=reason) as refused:
        parse_access(text.encode(), families=["srunx", "srtslurm"])
    assert refused.value.problems[0]["line"]


NEW_TOKENS = [
    ("one scope", "ci:read", '{name: "ci", sha256: "HASH", scopes: [read]}'),
    ("several", "ci:report,read", '{name: "ci", sha256: "HASH", scopes: [report, read]}'),
    ("none", "ci", '{name: "ci", sha256: "HASH", scopes: [write]}'),
    ("a name like a number", "123:read", '{name: "123", sha256: "HASH", scopes: [read]}'),
    ("a name like a truth value", "true:read", '{name: "true", sha256: "HASH", scopes: [read]}'),
    ("a name like nothing", "null:read", '{name: "null", sha256: "HASH", scopes: [read]}'),
    ("an unknown one", "ci:read,wirte", "unknown scope 'wirte'; did you mean 'write'"),
    ("an empty one", "ci:read,", "unknown scope ''"),
    ("no name", ":read", "the name '' is not one"),
    ("a name with a blank", "a b:read", "the name 'a b' is not one"),
]


@pytest.mark.parametrize(("why", "text", "result"), NEW_TOKENS, ids=[row[0] for row in NEW_TOKENS])
def test_new_tokens(why: str, text: str, result: str) -> None:
    if result.startswith("{"):
        token, entry = describe_token(text)
        assert entry.replace(hash_token(token), "HASH") == f"  - {result}"
        assert parse_access(f"tokens:\n{entry}\n".encode()).find_caller(token) is not None
        return
    with pytest.raises(ValueError, match=result):
        describe_token(text)


def test_every_entry_is_compared_whatever_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [make_token() for _ in range(5)]
    known = file_with(*(f"{{name: n{i}, sha256: {pair[1]}, scopes: [read]}}" for i, pair in enumerate(pairs)))
    compared: list[str] = []
    compare = tokens.hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: compared.append(b) or compare(a, b))
    for token, _ in (pairs[0], pairs[4], make_token()):
        del compared[:]
        known.find_caller(token)
        assert compared == [digest for _, digest in pairs]
