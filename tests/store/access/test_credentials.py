"""Who calls, and whether they may."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest

from store import access
from store.access import Access, make_token, parse_access
from store.errors import Denied

SCHEMES = {"bearer": access.check_bearer, "basic": access.check_basic}
SECURITY = [
    ("nothing is said", None, "does not say who may call it"),
    ("nobody", [], "does not say who may call it"),
    ("another scheme", [{"baerer": ["read"]}], "unknown scheme baerer; did you mean 'bearer'"),
    ("another scope", [{"bearer": ["reed"]}], "unknown scope reed"),
    ("no scope", [{"bearer": []}, {}], "unknown scope none"),
    ("two scopes", [{"bearer": ["read", "write"]}], "unknown scope read, write"),
    ("schemes that differ", [{"bearer": ["read"]}, {"basic": ["write"]}], "different scopes: read, write"),
    ("both at once", [{"bearer": ["read"], "basic": ["read"]}], "several schemes at once"),
]


@pytest.mark.parametrize(("why", "security", "reason"), SECURITY, ids=[row[0] for row in SECURITY])
def test_security_that_is_not_clear(why: str, security: Any, reason: str) -> None:
    with pytest.raises(RuntimeError, match=f"^get_thing .*{reason}"):
        access.compile_security("get_thing", security, SCHEMES)


def test_security_is_compiled() -> None:
    compiled = access.compile_security("get_thing", [{}, {"basic": ["read"]}, {"bearer": ["read"]}], SCHEMES)
    assert compiled == ((access.check_basic, access.check_bearer, access.check_own_user), "read"), "own user last"
    assert access.compile_security("get_thing", [{}], SCHEMES) is access.OPEN
    assert (
        access.identify_caller(access.OPEN, access.Facts({}, None, Access(), access.Caller("me", frozenset()))) is None
    )


def basic(token: str, user: str = "u") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{token}".encode())


OWN, OTHER = os.getuid(), os.getuid() + 1
GOOD, DIGEST = make_token()
ADMITTED = [  # why, schemes, headers, uid of the other end, who is let in or what is raised
    ("a right token", ["bearer"], {b"authorization": b"Bearer " + GOOD.encode()}, OTHER, "ci"),
    ("as a password", ["basic"], {b"authorization": basic(GOOD)}, OTHER, "ci"),
    ("as a user", ["basic"], {b"authorization": basic("", GOOD)}, OTHER, "ci"),
    ("a password where none is taken", ["bearer"], {b"authorization": basic(GOOD)}, OWN, access.WrongCredentials),
    ("a wrong token", ["bearer"], {b"authorization": b"Bearer no"}, OTHER, access.WrongCredentials),
    ("a wrong token of the own user", ["bearer"], {b"authorization": b"Bearer no"}, OWN, access.WrongCredentials),
    ("a wrong token, then another way", ["bearer", "basic"], {b"authorization": b"Bearer no"}, OWN,
     access.WrongCredentials),
    ("an unknown scheme", ["bearer"], {b"authorization": b"Digest x"}, OWN, access.WrongCredentials),
    ("the own user", ["bearer"], {}, OWN, "me"),
    ("another user", ["bearer"], {}, OTHER, access.Unauthenticated),
    ("from another machine", ["bearer"], {}, None, access.Unauthenticated),
    ("through a proxy", ["bearer"], {b"x-forwarded-for": b"127.0.0.1"}, OWN, access.Unauthenticated),
    ("through a proxy with a token", ["bearer"],
     {b"x-forwarded-for": b"127.0.0.1", b"authorization": b"Bearer " + GOOD.encode()}, OWN, "ci"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "schemes", "headers", "uid", "result"), ADMITTED, ids=[row[0] for row in ADMITTED])
def test_who_is_let_in(why: str, schemes: list[str], headers: dict[bytes, bytes], uid: int | None, result: Any) -> None:
    known = parse_access(f"tokens:\n  - {{name: ci, sha256: {DIGEST}, scopes: [read]}}\n".encode())
    own = access.Caller("me", access.INCLUDED["admin"])
    needed = access.compile_security("get_thing", [*({scheme: ["read"]} for scheme in schemes), {}], SCHEMES)
    facts = access.Facts(headers, uid, known, own)
    if isinstance(result, str):
        caller = access.identify_caller(needed, facts)
        assert caller is not None and caller.name == result
        return
    with pytest.raises(result) as refused:
        access.identify_caller(needed, facts)
    assert refused.type is result


@pytest.mark.parametrize("given", ["report", "read", "write", "admin"])
@pytest.mark.parametrize("needed", ["report", "read", "write", "admin"])
def test_a_scope_is_enough_or_not(given: str, needed: str) -> None:
    facts = access.Facts({}, OWN, Access(), access.Caller("me", access.INCLUDED[given]))
    requirement = access.compile_security("get_thing", [{"bearer": [needed]}, {}], SCHEMES)
    if needed in access.INCLUDED[given]:
        assert access.identify_caller(requirement, facts) == facts.own
        access.admit_caller(requirement, facts.own)
        return
    with pytest.raises(Denied, match=f"scope {needed}$"):
        access.admit_caller(requirement, access.identify_caller(requirement, facts))
