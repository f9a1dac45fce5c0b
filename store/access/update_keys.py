"""The keys with which the programs on nodes report to us. Pure.

Each lets in reports of one simulation. It is signed like the tokens of OAuth clients, with a key made of theirs that
signs nothing else, so neither counts as the other.
"""

from __future__ import annotations

import hmac

ALGORITHM = "HS256"
PURPOSE = b"update key of a simulation"
CLAIMS = ("iat", "exp", "simulation_id")
# So long after a task was to end it may still report.
SPARE_S = 7 * 86_400
# Of simulations whose tasks have no time limit that we know.
UNLIMITED_S = 365 * 86_400
# More than any of ours has.
KEY_CHARS = 500


def make_update_key(signing_key: bytes, simulation_id: str, created_s: float, longest_s: float | None) -> str:
    """Make the key of a simulation, the same one each time.

    `longest_s` is how long a task may take, None for unknown.
    """
    import jwt  # here, since it brings a library along that takes longer to import than all of ours

    lifetime_s = (UNLIMITED_S if longest_s is None else longest_s) + SPARE_S
    claims = {"iat": int(created_s), "exp": int(created_s + lifetime_s), "simulation_id": simulation_id}
    return jwt.encode(claims, _make_key(signing_key), algorithm=ALGORITHM)


def check_update_key(signing_key: bytes | None, update_key: str, simulation_id: str, now_s: float) -> bool:
    """Return whether this is a key of the simulation that still counts."""
    import jwt

    if signing_key is None or len(update_key) > KEY_CHARS or not update_key.isascii():
        return False
    options: jwt.types.Options = {"require": list(CLAIMS), "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(update_key, _make_key(signing_key), algorithms=[ALGORITHM], options=options)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return False
    is_same = hmac.compare_digest(str(claims["simulation_id"]).encode(), simulation_id.encode("utf-8", "replace"))
    return is_same and isinstance(claims["exp"], int) and claims["exp"] > now_s


def _make_key(signing_key: bytes) -> bytes:
    """Make the key that only signs update keys."""
    return hmac.digest(signing_key, PURPOSE, "sha256")
