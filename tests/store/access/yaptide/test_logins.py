"""Tokens of logins: which count for what, and when they end."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from store.access import issued, tokens, update_keys
from store.access.yaptide import logins
from store.access.yaptide.logins import IssuedToken, LoginEnded, Logins, Use
from store.access.yaptide.users import Login, User, add_login
from tests.store.access.yaptide.test_users import make_user

KEY, NOW_S = issued.make_key(), 1_800_000_000.0


class Desk:
    """Logins with one user, and a clock that is set by hand."""

    def __init__(self, **more: Any) -> None:
        self.now_s, self.key = NOW_S, KEY
        self.logins = Logins(lambda user_id: self.users.get(user_id), lambda: self.key, lambda: self.now_s)
        self.login = self.logins.begin(logins.REFRESH_S)
        user = add_login(make_user(password_hash="$argon2id$1", **more), self.login, NOW_S)
        self.users: dict[str, User] = {user.id: user}
        self.user = user

    def issue(self, use: Use = "access", lifetime_s: float = logins.ACCESS_S) -> IssuedToken:
        """A token of the login."""
        return self.logins.issue(KEY, self.user, self.login, use, lifetime_s)

    def read(self, token: str, use: Use = "access") -> str:
        """Who is let in by the token, or why nobody is."""
        headers = {b"cookie": f"{logins.COOKIES[use]}={token}".encode()}
        try:
            caller = self.logins.find_caller(headers, use)
        except LoginEnded as problem:
            return str(problem)
        assert caller is not None and caller.scopes == {"read", "write"}
        return f"{caller.kind} {caller.name}"


def test_a_login_lets_in_by_two_tokens_for_two_purposes() -> None:
    desk = Desk()
    access, refresh = desk.issue(), desk.issue("refresh", logins.REFRESH_S)
    assert (access.ends_s, refresh.ends_s) == (NOW_S + 600, NOW_S + 7200)
    assert desk.read(access.text) == desk.read(refresh.text, "refresh") == "yaptide ann"
    assert desk.read(refresh.text) == "Refresh access token. Invalid token."
    assert desk.read(access.text, "refresh") == "Log in again. Invalid token."
    assert jwt.decode(access.text, options={"verify_signature": False})["sub"] == desk.user.id


def test_a_user_of_keycloak_is_another_kind_of_caller() -> None:
    assert Desk(source="keycloak").read(Desk(source="keycloak").issue().text) == "Refresh access token. Invalid token."
    desk = Desk(source="keycloak")
    assert desk.read(desk.issue().text) == "keycloak ann", "whose simulations are not those of a local user"


@pytest.mark.parametrize(
    ("why", "use", "after_s", "said"),
    [
        ("it counts to its end", "access", 599, "yaptide ann"),
        ("not longer", "access", 600, "Refresh access token. Signature expired."),
        ("refreshing is longer", "refresh", 7199, "yaptide ann"),
        ("and ends too", "refresh", 7200, "Log in again. Signature expired."),
    ],
)
def test_when_it_ends(why: str, use: Use, after_s: float, said: str) -> None:
    desk = Desk()
    token = desk.issue(use, {"access": 600, "refresh": 7200}[use])
    desk.now_s += after_s
    assert desk.read(token.text, use) == said, why


def test_no_token_outlives_its_login() -> None:
    desk = Desk()
    desk.now_s += 7000
    assert desk.issue().ends_s == NOW_S + 7200
    found = [login.model_copy(update={"ends_s": desk.now_s}) for login in desk.user.logins]
    token = desk.issue()
    desk.users = {desk.user.id: desk.user.model_copy(update={"logins": found})}
    assert desk.read(token.text) == "Refresh access token. Invalid token."


@pytest.mark.parametrize(
    ("why", "change", "said"),
    [
        ("he has logged out", {"logins": []}, "Refresh access token. Invalid token."),
        ("he has logged in anew", {"logins": [Login(id="f" * 32, ends_s=2e9)]}, "Refresh access token. Invalid token."),
        ("he has another password", {"password_hash": "$argon2id$2"}, "Refresh access token. Invalid token."),
        ("he may more now", {"batch": True}, "yaptide ann"),
        ("he was removed", None, "User not found"),
    ],
)
def test_his_file_decides_at_each_call(why: str, change: dict[str, Any] | None, said: str) -> None:
    desk = Desk()
    token = desk.issue().text
    desk.users = {} if change is None else {desk.user.id: desk.user.model_copy(update=change)}
    assert desk.read(token) == said, why


def make_tokens() -> dict[str, str]:
    """What is no access token of ours, by what it is."""
    desk = Desk()
    right = jwt.decode(desk.issue().text, options={"verify_signature": False})
    own_key = logins._make_key(KEY)
    client = tokens.Token(name="ci", sha256="0" * 64, scopes=["admin"])
    head, body, signature = desk.issue().text.split(".")
    other = jwt.encode({**right, "sub": "bob"}, own_key, algorithm="HS256").split(".")
    return {
        "nothing": "",
        "no token": "x",
        "two dots": "..",
        "a very long one": "e" * 100_000,
        "letters that no token has": "\xff\xfe",
        "signed with another key": jwt.encode(right, b"k" * 32, algorithm="HS256"),
        "with the key of OAuth clients itself": jwt.encode(right, KEY, algorithm="HS256"),
        "by another algorithm": jwt.encode(right, own_key + own_key, algorithm="HS512"),
        "not at all": jwt.encode(right, None, algorithm="none"),
        "not at all, with words of ours": f"{head}.{body}.",
        "of another body": f"{head}.{other[1]}.{signature}",
        "a token of an OAuth client": issued.issue_token(KEY, client, ["admin"], NOW_S),
        "the key of a task": update_keys.make_update_key(KEY, "x", NOW_S, None),
        **{
            f"without {name}": jwt.encode(
                {key: value for key, value in right.items() if key != name}, own_key, algorithm="HS256"
            )
            for name in right
        },
        "with an odd end": jwt.encode({**right, "exp": True}, own_key, algorithm="HS256"),
        "of an odd login": jwt.encode({**right, "sid": [desk.login.id]}, own_key, algorithm="HS256"),
    }


@pytest.mark.parametrize("what", make_tokens())
def test_what_is_no_token_of_ours(what: str) -> None:
    assert Desk().read(make_tokens()[what]).endswith("Invalid token."), what


def test_it_is_no_token_of_anything_else() -> None:
    token = Desk().issue().text
    client = tokens.Token(name="ann", sha256="0" * 64, scopes=["admin"])
    assert issued.find_issued_caller(tokens.Access(oauth_clients=[client]), KEY, token, NOW_S) is None
    assert not update_keys.check_update_key(KEY, token, "x", NOW_S)


def test_without_a_key_nobody_is_let_in() -> None:
    desk = Desk()
    token = desk.issue().text
    desk.key = None  # type: ignore[assignment]
    assert desk.read(token) == "Refresh access token. Invalid token."


@pytest.mark.parametrize(
    ("why", "cookies", "said"),
    [
        ("beside others", "a=b; access_token={}; c=d", "yaptide ann"),
        ("another server of this host has one too", "access_token=x; access_token={}", "yaptide ann"),
        ("no other name counts", "Access_Token={}; access_token2={}", None),
        ("nor that of the page", "sluice_session={}", None),
        ("no cookies", "", None),
    ],
)
def test_which_cookie_counts(why: str, cookies: str, said: str | None) -> None:
    desk = Desk()
    caller = desk.logins.find_caller({b"cookie": cookies.replace("{}", desk.issue().text).encode()}, "access")
    assert (caller and f"{caller.kind} {caller.name}") == said, why


@pytest.mark.parametrize(
    ("use", "token", "path", "is_secure", "header"),
    [
        (
            "access", IssuedToken("a.b.c", 1_800_000_600), "", False,
            "access_token=a.b.c; Path=/; Expires=Fri, 15 Jan 2027 08:10:00 GMT; HttpOnly; SameSite=Lax",
        ),
        (
            "refresh", None, "/slurm", True,
            "refresh_token=; Path=/slurm; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax; Secure",
        ),
    ],
)  # fmt: skip
def test_cookies(use: Use, token: IssuedToken | None, path: str, is_secure: bool, header: str) -> None:
    assert logins.format_cookie(use, token, path, is_secure) == header
