"""Users: which names and passwords there may be, when two names are one, and what a file may say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from store.access.yaptide import users
from store.access.yaptide.users import Login, User, make_user_id
from store.errors import Invalid


def make_user(**more: Any) -> User:
    """A user with some of the fields set otherwise."""
    return User(**{"id": make_user_id("local", "ann"), "username": "ann", "created_at": "2026-11-30T12:00:00Z", **more})


@pytest.mark.parametrize(
    ("why", "name", "problem"),
    [
        ("usual", "ann", None),
        ("with a blank", "Ann Other", None),
        ("an address", "ann@example.org", None),
        ("of another script", "Łukasz", None),
        ("as long as may be", "a" * 64, None),
        ("empty", "", "1 to 64"),
        ("too long", "a" * 65, "1 to 64"),
        ("too long once its letters are taken apart", "ﷺ" * 10, "1 to 64"),
        ("it would look like another caller", "token:ci", "no colon"),
        ("also with a wide colon", "token：ci", "no colon"),
        ("a line break", "ann\nbob", "control"),
        ("a NUL", "ann\0", "control"),
        ("nothing that is seen", "ann\u200b", "cannot be seen"),
        ("a variant of a letter", "ann\ufe0f", "cannot be seen"),
        ("a joiner", "ann\u034f", "cannot be seen"),
        ("a letter that is a blank", "\u3164", "cannot be seen"),
        ("no dots", "ann\u2800", "cannot be seen"),
        ("turned around", "\u202eann", "cannot be seen"),
        ("no character", "\ufdd0", "cannot be seen"),
        ("half a character", "\ud800", "cannot be seen"),
        ("blanks before it", " ann", "no blanks"),
        ("behind it, of another kind", "ann\u00a0", "no blanks"),
        ("two in a row", "ann  other", "no blanks"),
    ],
)
def test_which_names_there_are(why: str, name: str, problem: str | None) -> None:
    if problem is None:
        users.check_name(name)
    else:
        with pytest.raises(Invalid, match=problem):
            users.check_name(name)


@pytest.mark.parametrize(("password", "counts"), [("x", True), ("p" * 1000, True), ("", False), ("p" * 1001, False)])
def test_which_passwords_there_are(password: str, counts: bool) -> None:
    if counts:
        users.check_password(password)
    else:
        with pytest.raises(Invalid, match="1 to 1000"):
            users.check_password(password)


@pytest.mark.parametrize(
    ("why", "name", "other", "is_same"),
    [
        ("large letters", "Ann", "aNN", True),
        ("wide letters", "ann", "ａｎｎ", True),
        ("a letter in one piece or two", "é", "e\u0301", True),
        ("two ways to write it", "Straße", "STRASSE", True),
        ("a ligature", "ﬁn", "fin", True),
        ("another name", "ann", "anna", False),
        ("what the readable part leaves out counts too", "a.b", "a-b", False),
        ("letters that it does not have", "Łukasz", "Żukasz", False),
    ],
)
def test_which_names_are_the_same(why: str, name: str, other: str, is_same: bool) -> None:
    assert (make_user_id("local", name) == make_user_id("local", other)) is is_same, why
    assert make_user_id("local", name) != make_user_id("keycloak", name)


@pytest.mark.parametrize("name", ["..", "/etc/passwd", "a/b", ".", "%2e", "Łukasz", "💥", "-" * 60])
def test_an_id_is_the_name_of_a_file(name: str) -> None:
    made = make_user_id("local", name)
    assert made.replace("-", "").isalnum() and made.isascii() and len(made) <= 57


@pytest.mark.parametrize(
    ("why", "change", "problem"),
    [
        ("as it was written", {}, None),
        ("edited by hand", {"batch": True, "logins": [], "note": "ours"}, None),
        ("of another name than its file", {"username": "bob"}, "another name"),
        ("of no known source", {"source": "ldap"}, "source"),
        ("of a later version", {"version": 99}, "version"),
    ],
)
def test_what_a_file_may_say(why: str, change: dict[str, Any], problem: str | None) -> None:
    user = make_user()
    data = orjson.dumps(user.model_dump(mode="json") | change)
    if problem is None:
        assert users.parse_user(data, user.id).model_dump() == user.model_dump() | change
    else:
        with pytest.raises(Invalid, match=problem):
            users.parse_user(data, user.id)


def test_logins_are_bounded_and_go_when_they_end() -> None:
    user = make_user()
    for number in range(60):
        user = users.add_login(user, Login(id=str(number), ends_s=1000 + number), 0)
    assert [login.id for login in user.logins] == [str(number) for number in range(10, 60)]
    assert [login.id for login in users.add_login(user, Login(id="x", ends_s=2000), 1057).logins] == ["58", "59", "x"]
    assert [login.id for login in users.remove_logins(user, ["58"], 1057).logins] == ["59"]
