"""Hashes of passwords."""

from __future__ import annotations

from typing import Any

import argon2
import pytest

from store.access.yaptide import passwords


def test_a_password_is_known_by_its_hash_alone() -> None:
    first, second = passwords.hash_password("secret"), passwords.hash_password("secret")
    assert first != second and first.startswith("$argon2id$v=19$m=19456,t=2,p=1$") and "secret" not in first
    assert passwords.is_password("secret", first) and passwords.is_password("secret", second)


@pytest.mark.parametrize(
    ("why", "password", "hashed"),
    [
        ("another one", "Secret", "right"),
        ("more of it", "secret ", "right"),
        ("no user", "secret", None),
        ("nobody's own", "the password of nobody", None),
        ("no hash", "secret", "plain"),
        ("an empty one", "", ""),
        ("a hash that is cut off", "secret", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"),
    ],
)
def test_what_is_not_the_password(why: str, password: str, hashed: str | None) -> None:
    kept = passwords.hash_password("secret") if hashed == "right" else hashed
    assert not passwords.is_password(password, kept), why


def test_an_unknown_user_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords.is_password("x", None)  # what is made once is there
    checked: list[str] = []

    def verify(self: argon2.PasswordHasher, hashed: str, password: str) -> Any:
        checked.append(hashed)
        raise argon2.exceptions.VerifyMismatchError

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    known = passwords.hash_password("secret")
    passwords.is_password("wrong", known)
    passwords.is_password("wrong", None)
    parameters = [argon2.extract_parameters(hashed) for hashed in checked]
    assert len(parameters) == 2 and parameters[0] == parameters[1], "one check each, as costly"


@pytest.mark.parametrize(("passes", "memory_kb"), [(1, 4_194_304), (4_000_000, 1000)])
def test_no_file_of_a_user_asks_for_all_of_the_memory(passes: int, memory_kb: int) -> None:
    costly = f"$argon2id$v=19$m={memory_kb},t={passes},p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2g"
    assert not passwords.is_password("secret", costly)
