"""The code in the link that the server prints at its start."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable

from store.access.tokens import hash_token

CODE_S = 3600.0


class Codes:
    """The code that the server prints at its start, good once and for an hour.

    It stands for the server's own user, who alone reads what is printed. Only its hash is kept. `now` is for tests.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._sha256, self._expires_s = now, "", 0.0

    def make(self) -> str:
        """Make the code; the one before is void."""
        code = secrets.token_urlsafe(24)
        self._sha256, self._expires_s = hash_token(code), self._now() + CODE_S
        return code

    def use(self, given: str) -> bool:
        """Return whether this is the code, which is void then."""
        if not hmac.compare_digest(self._sha256, hash_token(given)) or self._now() >= self._expires_s:
            return False
        self._sha256 = ""
        return True
