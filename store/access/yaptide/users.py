"""Users of the YAPTIDE family: users/ID.json, one for each.

A file may be edited by hand, which counts at once: `"batch": true` allows simulations on a cluster, without `logins`
nobody is logged in any more, and without the file there is no such user.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

from store.access.tokens import hash_token
from store.documents import VERSION, from_json
from store.documents.models import ServerFileModel
from store.errors import Invalid, make_problem

Source = Literal["local", "keycloak"]
NAME_CHARS, PASSWORD_CHARS = 64, 1000
# Characters that cannot be seen, or mean nothing (yet): two names must not look the same.
UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
# Letters and marks that are not shown either (Default_Ignorable_Code_Point), and the empty pattern of Braille.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# Of more logins of one user, the oldest end.
MOST_LOGINS = 50


class Login(ServerFileModel):
    """One login, in a browser or a program, until its last token ends."""

    id: str
    ends_s: float


class User(ServerFileModel):
    """A user. `password_hash` is by Argon2id; None where he has none here.

    `batch` is whether he may run simulations on a cluster by SLURM. Users of Keycloak and local ones of the same name
    are two users.
    """

    version: int = VERSION
    id: str
    username: str
    source: Source = "local"
    password_hash: str | None = None
    batch: bool = False
    created_at: str
    logins: list[Login] = []  # noqa: RUF012 - pydantic copies it


def parse_user(data: bytes, name: str) -> User:
    """Parse users/NAME.json. Raises Invalid."""
    user = from_json(User, data, name)
    if make_user_id(user.source, user.username) != name:
        raise Invalid([make_problem(f"the file of '{user.username}' has another name", ["username"])])
    return user


def fold_name(username: str) -> str:
    """Return what is the same for all ways to write a user's name.

    >>> fold_name("Ann"), fold_name("ａｎｎ"), fold_name("Straße") == fold_name("STRASSE")
    ('ann', 'ann', True)
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def make_user_id(source: Source, username: str) -> str:
    """Return the id of the user with this name, however it is written.

    >>> make_user_id("local", "Ann"), make_user_id("local", "ann") == make_user_id("keycloak", "ann")
    ('ann-37adabaad555ca2c', False)
    """
    folded = fold_name(username)
    readable = re.sub("[^a-z0-9]+", "-", folded)[:40].strip("-") or "user"
    return f"{readable}-{hash_token(f'{source}:{folded}')[:16]}"


def check_name(username: str) -> None:
    """Refuse a name that no user may have. Raises Invalid.

    A colon would make it look like another caller's.
    """
    problem = None
    if not username or len(username) > NAME_CHARS or len(fold_name(username)) > NAME_CHARS:
        problem = f"a user name has 1 to {NAME_CHARS} characters"
    elif ":" in username or ":" in fold_name(username):
        problem = "a user name has no colon"
    elif BLANK.search(username) or any(unicodedata.category(letter) in UNSEEN for letter in username):
        problem = "a user name has no control characters, nor others that cannot be seen"
    elif " ".join(fold_name(username).split()) != fold_name(username):
        problem = "a user name has no blanks at its ends, nor two in a row"
    if problem is not None:
        raise Invalid([make_problem(problem, ["body", "username"], input=username[:NAME_CHARS])])


def check_password(password: str) -> None:
    """Refuse a password that is empty or very long. Raises Invalid."""
    if not 0 < len(password) <= PASSWORD_CHARS:
        raise Invalid([make_problem(f"a password has 1 to {PASSWORD_CHARS} characters", ["body", "password"])])


def add_login(user: User, login: Login, now_s: float) -> User:
    """Return the user with one more login, and without those that have ended."""
    return user.model_copy(update={"logins": [*_list_open(user.logins, now_s), login][-MOST_LOGINS:]})


def remove_logins(user: User, ids: Iterable[str], now_s: float) -> User:
    """Return the user without these logins, and those that have ended."""
    ended = set(ids)
    kept = [login for login in _list_open(user.logins, now_s) if login.id not in ended]
    return user.model_copy(update={"logins": kept})


def _list_open(logins: Iterable[Login], now_s: float) -> list[Login]:
    return [login for login in logins if login.ends_s > now_s]
