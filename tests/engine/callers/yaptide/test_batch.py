"""Who may run simulations on a cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.callers.yaptide.batch import check_batch_allowed
from store.access import INCLUDED, Caller
from store.access.yaptide.logins import SCOPES
from store.access.yaptide.users import Source, User, make_user_id
from store.errors import Denied


def make_user(name: str, source: Source, batch: bool) -> User:
    """A user as the store has him."""
    return User(
        id=make_user_id(source, name), username=name, source=source, batch=batch, created_at="2026-11-30T12:00:00Z"
    )


USERS = [
    make_user("ann", "local", False),
    make_user("bob", "local", True),
    make_user("ann", "keycloak", True),
    make_user("cat", "keycloak", False),
]
SERVER: Any = SimpleNamespace(logins=SimpleNamespace(find_user={user.id: user for user in USERS}.get))


@pytest.mark.parametrize(
    ("why", "kind", "name", "scopes", "may"),
    [
        ("a local user may not at first", "yaptide", "ann", SCOPES, False),
        ("one whose file says so may", "yaptide", "bob", SCOPES, True),
        ("a user of Keycloak may", "keycloak", "ann", SCOPES, True),
        ("unless his file says otherwise", "keycloak", "cat", SCOPES, False),
        ("a user who was removed may not", "yaptide", "dan", SCOPES, False),
        ("a name is not enough", "keycloak", "bob", SCOPES, False),
        ("the server's own user may", "user", "ann", INCLUDED["admin"], True),
        ("a token may what its scope says, which is asked for elsewhere", "token", "ann", INCLUDED["read"], True),
    ],
)
def test_who_may(why: str, kind: str, name: str, scopes: frozenset[str], may: bool) -> None:
    if may:
        check_batch_allowed(SERVER, Caller(name, scopes, kind))
    else:
        with pytest.raises(
            Denied, match=r'^User is not allowed to use this endpoint: "batch" is not true in users/[a-z0-9-]+\.json'
        ):
            check_batch_allowed(SERVER, Caller(name, scopes, kind))
