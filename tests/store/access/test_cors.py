"""What pages of other origins may do."""

from __future__ import annotations

import pytest

from store.access.cors import ALL, READING, share_answers

UI, BOARD, EVIL = "http://localhost:3000", "https://board.example.org", "https://evil.example"


@pytest.mark.parametrize(
    ("why", "origin", "readers", "partners", "allowed", "methods", "credentials", "vary"),
    [
        ("nobody may", UI, [], [], None, (), False, False),
        ("a partner may all, with cookies", UI, [], [UI], UI, ALL, True, True),
        ("another page may nothing", EVIL, [], [UI], None, (), False, True),
        ("nor one whose origin only begins so", f"{UI}0", [], [UI], None, (), False, True),
        ("nor one that hides where it is from", "null", [], [UI], None, (), False, True),
        ("no page calls", None, [], [UI], None, (), False, True),
        ("a reader reads, without cookies", BOARD, [BOARD], [UI], BOARD, READING, False, True),
        ("everybody reads, without cookies", EVIL, ["*"], [], "*", READING, False, False),
        ("everybody reads, beside a partner", EVIL, ["*"], [UI], "*", READING, False, True),
        ("the partner is named all the same", UI, ["*"], [UI], UI, ALL, True, True),
        ("an asterisk is no partner", EVIL, [], ["*"], None, (), False, True),
    ],
)
def test_who_may_what(
    why: str, origin: str | None, readers: list[str], partners: list[str], allowed: str | None,
    methods: tuple[bytes, ...], credentials: bool, vary: bool,
) -> None:  # fmt: skip
    found = share_answers({} if origin is None else {b"origin": origin.encode()}, readers, partners)
    headers = dict(found.headers)
    assert headers.get(b"access-control-allow-origin") == (None if allowed is None else allowed.encode()), why
    assert (headers.get(b"access-control-allow-credentials") == b"true") is credentials is found.is_partner
    assert (headers.get(b"vary") == b"origin") is vary
    assert found.methods == methods
    asked = {b"access-control-request-method": b"PUT"}
    assert found.is_preflight("OPTIONS", asked) is (b"PUT" in methods)
    assert not found.is_preflight("GET", asked) and not found.is_preflight("OPTIONS", {})


def test_our_own_page_is_no_other_ones() -> None:
    found = share_answers({b"origin": UI.encode(), b"sec-fetch-site": b"same-origin"}, [], [UI])
    assert not found.is_partner


def test_what_a_partner_may_send() -> None:
    said = dict(share_answers({b"origin": UI.encode()}, [], [UI]).list_preflight_headers())
    assert said[b"access-control-allow-methods"] == b"GET, HEAD, POST, PUT, DELETE"
    assert b"content-type" in said[b"access-control-allow-headers"]
    said = dict(share_answers({b"origin": UI.encode()}, [UI], []).list_preflight_headers())
    assert said[b"access-control-allow-methods"] == b"GET, HEAD"
    assert b"content-type" not in said[b"access-control-allow-headers"]
