"""Tokens and their scopes, and what access.yaml may say."""

from __future__ import annotations

import pytest

from store.access import tokens
from store.access.tokens import LISTS, Access, hash_token, make_token, parse_access
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


TIERS = [
    ("one that everybody has", "pro", "", None),
    ("one of its own", "lab", "rate_limits: {tiers: {lab: 50/minute}}\n", None),
    ("one without a limit", "lab", "rate_limits: {tiers: {lab: unlimited}}\n", None),
    ("one that is none", "por", "", "unknown tier 'por'; did you mean 'pro'"),
    ("a rate that is none", "lab", "rate_limits: {tiers: {lab: 50 bananas}}\n", "must be a number per time"),
    ("a rate of nothing", "lab", "rate_limits: {tiers: {lab: 0/hour}}\n", "must"),
    ("a number alone", "lab", "rate_limits: {tiers: {lab: 50}}\n", "string"),
    ("a default that is none", "pro", "rate_limits: {named: fre}\n", "unknown tier 'fre'; did you mean 'free'"),
]


@pytest.mark.parametrize(("why", "tier", "more", "reason"), TIERS, ids=[row[0] for row in TIERS])
def test_tiers(why: str, tier: str, more: str, reason: str | None) -> None:
    text = f"{more}api_keys:\n  - {{name: a, sha256: '{'0' * 64}', scopes: [read], tier: {tier}}}\n".encode()
    if reason is None:
        assert parse_access(text).api_keys[0].make_caller("a", "key").tier == tier
        return
    with pytest.raises(Invalid, match=reason) as refused:
        parse_access(text)
    assert refused.value.problems[0]["line"]


MORE_ENTRIES = [
    ("a certificate", "certificates: [{subject: 'CN=ann,O=Lab', name: ann, scopes: [read]}]", None),
    ("a certificate of nobody", "certificates: [{subject: 'CN=ann', scopes: [read]}]", "name"),
    ("a user by name", "munge: {users: [{user: ann, scopes: [read]}]}", None),
    ("a user by number", "munge: {users: [{user: 1000, scopes: [read]}]}", None),
    ("a user without scopes", "munge: {users: [{user: 1000, scopes: []}]}", "scopes"),
    ("munged elsewhere", "munge: {socket: /run/munge/other}", None),
    ("no path", "munge: {socket: other}", "socket"),
    ("a proxy", f"proxies: [{{address: '::1', sha256: '{'0' * 64}'}}]", None),
    ("a proxy without a secret", "proxies: [{address: 10.0.0.1}]", "sha256"),
    ("a proxy by name", f"proxies: [{{address: proxy, sha256: '{'0' * 64}'}}]", "address"),
]


@pytest.mark.parametrize(("why", "text", "reason"), MORE_ENTRIES, ids=[row[0] for row in MORE_ENTRIES])
def test_who_else_may_call(why: str, text: str, reason: str | None) -> None:
    if reason is None:
        parse_access(text.encode())
        return
    with pytest.raises(Invalid, match=reason):
        parse_access(text.encode())


def test_keys_clients_and_tokens_are_no_substitutes_for_each_other() -> None:
    pairs = {kind: make_token(kind) for kind in ("token", "api-key", "client")}
    assert {kind: pair[0][:4] for kind, pair in pairs.items()} == {"token": "slc_", "api-key": "slk_", "client": "slo_"}
    known = parse_access(
        "".join(
            f"{LISTS[kind]}: [{{name: a, sha256: '{pair[1]}', scopes: [read]}}]\n" for kind, pair in pairs.items()
        ).encode()
    )
    token, key, client = (pairs[kind][0] for kind in pairs)
    assert [known.find_caller(text) is not None for text in (token, key, client)] == [True, False, False]
    assert [known.find_key_caller(text) is not None for text in (token, key, client)] == [False, True, False]
    assert [known.find_client("a", text) is not None for text in (token, key, client)] == [False, False, True]
    assert known.find_client("b", client) is None, "another name"


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
