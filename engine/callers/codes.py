"""The code in the link that the server prints at its start."""

from __future__ import annotations

import secrets
import time

CODE_S = 3600.0


class Codes:
    """The code that the server prints at its start, good once and for an hour.

    It stands for the server's own user, who alone reads what is printed.
    """

    def __init__(self) -> None:
        self.code: str | None = None
        self.expires_s = 0.0

    def make(self) -> str:
        """Make the code; the one before is void."""
        self.code, self.expires_s = secrets.token_urlsafe(24), time.monotonic() + CODE_S
        return self.code

    def use(self, given: str) -> bool:
        """Return whether this is the code, which is void then."""
        is_right = self.code is not None and secrets.compare_digest(self.code.encode(), given.encode())
        if not is_right or time.monotonic() >= self.expires_s:
            return False
        self.code = None
        return True
