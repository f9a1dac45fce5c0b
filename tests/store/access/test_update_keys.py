"""The keys of the programs on nodes: what is in them, and when they count."""

from __future__ import annotations

import jwt
import pytest

from store.access import update_keys
from store.access.update_keys import SPARE_S, UNLIMITED_S, check_update_key, make_update_key

NOW_S, HOUR_S = 1_800_000_000.0, 3600.0
SIGNING, OTHER = b"a" * 64 + b"\n", b"b" * 64 + b"\n"
ONE, TWO = "20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT", "20261121-163917-twoBATCH"
KEY = make_update_key(SIGNING, ONE, NOW_S, HOUR_S)


def sign(signing: bytes = SIGNING, algorithm: str = "HS256", **changes: object) -> str:
    """Sign as we do, with other claims; None leaves one out."""
    claims = {"iat": int(NOW_S), "exp": int(NOW_S) + 9, "simulation_id": ONE} | changes
    key = None if algorithm == "none" else update_keys._make_key(signing)
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm=algorithm)


def test_a_key_counts_for_its_simulation_and_a_week_longer_than_a_task() -> None:
    assert make_update_key(SIGNING, ONE, NOW_S, HOUR_S) == KEY, "what is written again is the same"
    for later_s, counts in ((0, True), (HOUR_S + SPARE_S - 1, True), (HOUR_S + SPARE_S, False), (1e12, False)):
        assert check_update_key(SIGNING, KEY, ONE, NOW_S + later_s) == counts, later_s
    unlimited = make_update_key(SIGNING, ONE, NOW_S, None)
    assert check_update_key(SIGNING, unlimited, ONE, NOW_S + UNLIMITED_S)


WRONG = [
    ("another simulation's", KEY, TWO, SIGNING),
    ("before there is a key to sign with", KEY, ONE, None),
    ("signed by another server", KEY, ONE, OTHER),
    ("no key", "", ONE, SIGNING),
    ("no JWT", "x.y.z", ONE, SIGNING),
    ("longer than any", KEY + "x" * 500, ONE, SIGNING),
    ("not ASCII", KEY[:-1] + "é", ONE, SIGNING),
    ("half a pair", KEY + "\ud800", ONE, SIGNING),
    ("signed by nobody", sign(algorithm="none"), ONE, SIGNING),
    ("for ever", sign(exp=None), ONE, SIGNING),
    ("until some time", sign(exp="x"), ONE, SIGNING),
    ("until true", sign(exp=True), ONE, SIGNING),
    ("for no simulation", sign(simulation_id=None), ONE, SIGNING),
    ("for a number", sign(simulation_id=7), ONE, SIGNING),
    ("for several", sign(simulation_id=[ONE]), ONE, SIGNING),
    ("the key of tokens", jwt.encode(jwt.decode(KEY, options={"verify_signature": False}), SIGNING), ONE, SIGNING),
]


@pytest.mark.parametrize(("why", "key", "simulation_id", "signing"), WRONG, ids=[row[0] for row in WRONG])
def test_keys_that_do_not_count(why: str, key: str, simulation_id: str, signing: bytes | None) -> None:
    assert not check_update_key(signing, key, simulation_id, NOW_S)


def test_what_we_signed_is_taken() -> None:
    assert check_update_key(SIGNING, sign(), ONE, NOW_S)


@pytest.mark.filterwarnings("ignore:The HMAC key")
def test_a_key_signed_in_another_way_does_not_count() -> None:
    assert not check_update_key(SIGNING, sign(algorithm="HS512"), ONE, NOW_S)
