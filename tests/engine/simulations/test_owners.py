"""Whose a simulation is."""

from __future__ import annotations

import pytest

from engine.simulations import owners
from store.access import Caller
from store.errors import Denied, NotFound
from tests.store.rules.simulations.samples import ID, make_simulation

WRITE = frozenset({"read", "write"})


@pytest.mark.parametrize(
    ("why", "kind", "owner"),
    [
        ("a user of YAPTIDE", "yaptide", "ann"),
        ("one of the same name that Keycloak knows", "keycloak", "keycloak:ann"),
        ("a token called so", "token", "token:ann"),
        ("the server's own user", "user", "user:ann"),
    ],
)
def test_names_of_owners_are_never_the_same(why: str, kind: str, owner: str) -> None:
    assert owners.make_owner(Caller("ann", WRITE, kind)) == owner, why


@pytest.mark.parametrize(
    ("why", "caller", "platform", "refused"),
    [
        ("its owner", Caller("ann", WRITE, "yaptide"), None, None),
        ("on its platform", Caller("ann", WRITE, "yaptide"), "DIRECT", None),
        ("on the other one", Caller("ann", WRITE, "yaptide"), "BATCH", NotFound),
        ("a token of that name", Caller("ann", WRITE, "token"), None, Denied),
        ("somebody else, who does not learn its platform", Caller("bob", WRITE, "yaptide"), "BATCH", Denied),
        ("the scope admin", Caller("bob", WRITE | {"admin"}, "token"), None, None),
    ],
)
def test_who_may_see_a_simulation(
    why: str, caller: Caller, platform: str | None, refused: type[Exception] | None
) -> None:
    simulation = make_simulation(owner="ann")
    if refused is None:
        owners.check_owner(simulation, ID, caller, platform)
    else:
        with pytest.raises(refused):
            owners.check_owner(simulation, ID, caller, platform)
