"""The WebSocket that a function of `x-websocket` speaks over.

Such a function has the operation's parameters, and `server`, `caller` and `socket`. What it raises before it first uses
the socket is refused as other requests are; a return closes with 1000. Its task is cancelled when the client leaves and
when the server ends, so it needs to receive only what it wants to know.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from store.access import Unauthenticated
from store.errors import StoreError
from store.jsons import parse_json

# A credential is never longer: headers have less room.
CREDENTIAL_CHARACTERS = 16_000
# The fields of a first message, and the header that says the same.
HEADERS = (("token", b"authorization", "Bearer "), ("api_key", b"x-api-key", ""))


class Socket(Protocol):
    """One WebSocket, accepted when it is first used."""

    async def receive(self) -> str:
        """Return the next message as text.

        Messages beyond a few wait at the client until somebody receives them.
        """

    async def send(self, message: str | bytes) -> None:
        """Send text, or bytes as a binary message.

        Returns when the client's connection has taken it: one that reads nothing is waited for.
        """


class SocketClosed(Exception):
    """The socket is to be closed with this code (RFC 6455, 7.4) and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class SocketNeeded(Exception):
    """A plain request for what only a WebSocket answers."""

    def __init__(self) -> None:
        super().__init__("This address answers WebSockets only: ask for an upgrade")


def require_socket() -> None:
    """Refuse a plain request."""
    raise SocketNeeded


def find_credentials(message: str) -> dict[bytes, bytes]:
    """Return what a first message says of its client, as the header for it.

    Raises Unauthenticated for any other message.

    >>> find_credentials('{"action": "auth", "token": "slc_x"}')
    {b'authorization': b'Bearer slc_x'}
    """
    found = None
    if len(message) <= CREDENTIAL_CHARACTERS:
        with contextlib.suppress(StoreError, ValueError):
            found = parse_json(message.encode(errors="surrogatepass"))
    if isinstance(found, dict) and found.get("action") == "auth":
        for key, header, scheme in HEADERS:
            text = found.get(key)
            if isinstance(text, str) and text.isascii() and text.isprintable():
                return {header: (scheme + text).encode()}
    raise Unauthenticated("The first message must be an auth action with a token or an api_key")
