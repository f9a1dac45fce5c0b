"""Cookies of browsers: what is read from them, whom they stand for, how they are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.access.sessions import (
    Session,
    find_session_caller,
    format_cookie,
    has_secret,
    list_secrets,
    make_cookie_name,
    make_secret,
    make_session_id,
)
from store.access.tokens import INCLUDED, Access, Caller, Token, hash_token

USER = Caller("ada", INCLUDED["admin"], "user")
NOW_S = 1_800_000_000.0
ACCESS = Access(
    tokens=[
        Token(name="ann", sha256=hash_token("slc_a"), scopes=["read"]),
        Token(name="old", sha256=hash_token("slc_old"), scopes=["read"], expires="2020-01-01"),
    ],
    api_keys=[Token(name="bob", sha256=hash_token("slk_b"), scopes=["write"], tier="free")],
)


def make_session(token: str | None, **more: object) -> Session:
    """A session for this token, that has not ended."""
    given = {"id": "1", "sha256": "2", "path": "/", "is_secure": False, "began_at": "", "expires_s": NOW_S + 1, **more}
    return Session.model_validate({**given, "token_sha256": None if token is None else hash_token(token)})


@pytest.mark.parametrize(
    ("why", "token", "name"),
    [
        ("a token", "slc_a", "ann"),
        ("an API key", "slk_b", "bob"),
        ("the printed link", None, "ada"),
        ("a token that has expired", "slc_old", None),
        ("a token that access.yaml has no more", "slc_gone", None),
    ],
)
def test_whom_a_session_stands_for(why: str, token: str | None, name: str | None) -> None:
    caller = find_session_caller(ACCESS, USER, make_session(token), NOW_S)
    assert (caller and caller.name) == name, why
    assert find_session_caller(ACCESS, USER, make_session(token), NOW_S + 1) is None, "it has ended"


def test_it_may_what_its_token_may() -> None:
    caller = find_session_caller(ACCESS, USER, make_session("slk_b"), NOW_S)
    assert caller == Caller("bob", INCLUDED["write"], "key", "free")


def test_only_the_hash_of_the_secret_is_kept() -> None:
    secret = make_secret()
    session = make_session(None, id=make_session_id(secret), sha256=hash_token(secret))
    assert secret not in session.model_dump_json() and has_secret(session, secret)
    assert not has_secret(session, secret[:-1]) and not has_secret(session, session.sha256)
    assert len({make_secret() for _ in range(100)}) == 100 and len(secret) >= 43


@pytest.mark.parametrize(
    ("why", "headers", "secret"),
    [
        ("none", [], None),
        ("others", [(b"cookie", b"a=1; b=2")], None),
        ("among others", [(b"cookie", b"a=1; sluice_session=x; b=2")], "x"),
        ("in a header of its own, as HTTP/2 may send it", [(b"cookie", b"a=1"), (b"cookie", b"sluice_session=x")], "x"),
        ("a longer name", [(b"cookie", b"my_sluice_session=x; sluice_sessions=y")], None),
        ("empty", [(b"cookie", b"sluice_session=")], ""),
        ("of a store", [(b"cookie", b"sluice_session_0a1b2c3d=x; sluice_session_0A=y")], "x"),
        ("no cookie's header", [(b"x-cookie", b"sluice_session=x")], None),
        ("not ASCII", [(b"cookie", b"sluice_session=\xff")], "\xff"),
    ],
)
def test_the_cookie_is_read(why: str, headers: list[tuple[bytes, bytes]], secret: str | None) -> None:
    assert list_secrets(headers) == ([] if secret is None else [secret]), why


def test_each_store_of_a_host_has_its_own_cookie() -> None:
    mine, other = make_cookie_name(Path("/home/ann/sluice")), make_cookie_name(Path("/home/bob/sluice"))
    assert mine != other and list_secrets([(b"cookie", f"{mine}=x; {other}=y".encode())]) == ["x", "y"]


def test_how_the_cookie_is_set() -> None:
    session = make_session(None, path="/slurm/")
    assert format_cookie("n", session, "s", 60) == "n=s; Path=/slurm/; Max-Age=60; HttpOnly; SameSite=Strict"
    assert format_cookie("n", session.model_copy(update={"is_secure": True}), "", 0) == (
        "n=; Path=/slurm/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
    )
