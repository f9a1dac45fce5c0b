"""Passwords, kept as hashes by Argon2id. It takes long on purpose."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# OWASP's first choice for Argon2id: 19 MB for each of the few that are checked at once.
MEMORY_KB, PASSES, LANES = 19_456, 2, 1
# A hash that was written by hand may be more costly, within bounds: what one of them asks for, every try would take.
MOST_MEMORY_KB, MOST_PASSES, MOST_LANES = 262_144, 16, 16


@functools.cache
def _get_hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # here, since few servers have such users

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KB, parallelism=LANES)


@functools.cache
def _get_nobodys_hash() -> str:
    return _get_hasher().hash("the password of nobody")


def hash_password(password: str) -> str:
    """Return the hash of a password, with a salt of its own."""
    return _get_hasher().hash(password)


def is_password(password: str, hashed: str | None) -> bool:
    """Return whether the password has this hash.

    None is the hash of a user who does not exist, for whom it takes as long.
    """
    from argon2.exceptions import Argon2Error, InvalidHashError

    nobodys = _get_nobodys_hash()
    if hashed is not None and not _is_affordable(hashed):
        hashed = None
    try:
        _get_hasher().verify(nobodys if hashed is None else hashed, password)
    except (Argon2Error, InvalidHashError):
        return False
    return hashed is not None


def _is_affordable(hashed: str) -> bool:
    """Return whether this is a hash of Argon2 that may be checked."""
    from argon2 import extract_parameters
    from argon2.exceptions import InvalidHashError

    try:
        cost = extract_parameters(hashed)
    except (InvalidHashError, ValueError):
        return False
    return cost.memory_cost <= MOST_MEMORY_KB and cost.time_cost <= MOST_PASSES and cost.parallelism <= MOST_LANES
