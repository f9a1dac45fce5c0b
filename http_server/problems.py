"""What can be wrong with a request, before any operation has looked at it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# So long a body may make no progress.
BODY_PAUSE_S = 10
HEAD_BYTES, HEADERS = 65_536, 100


class UnknownPath(Exception):
    """A path that the app does not have; `hint` says so in a sentence."""

    def __init__(self, hint: str) -> None:
        super().__init__("Not Found")
        self.details = {"hint": hint}


class UnknownMethod(Exception):
    """The path does not have this method."""

    def __init__(self, allow: str) -> None:
        super().__init__("Method Not Allowed")
        self.allow = allow
        self.details = {"hint": f"This path takes {allow} only"}


class TooMany(Exception):
    """The client has tried or asked too often."""

    def __init__(self, what: str, wait_s: float) -> None:
        super().__init__(f"{what}; wait {math.ceil(wait_s)} s")
        self.wait_s = wait_s


class HeadTooLarge(Exception):
    """The path, the query and the headers are too much."""


class TooSlow(Exception):
    """The body does not come on."""

    def __init__(self) -> None:
        super().__init__(f"Nothing of the body came for {BODY_PAUSE_S} seconds")


class BrokenBody(Exception):
    """The body ended before its end, its chunks are none, or tiny and many."""

    def __init__(self, message: str = "The body did not come whole") -> None:
        super().__init__(message)


class WrongRange(Exception):
    """The file of `size_bytes` does not have the bytes that Range names."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"Range names no bytes of a file of {size_bytes} bytes")
        self.size_bytes = size_bytes


class MediaType(Exception):
    """The body is not JSON in UTF-8, or not declared so."""


class Degraded(Exception):
    """Something does not work, and the caller wants to hear of it as a status."""


class NotStarted(Exception):
    """The app runs without its lifespan, so that there is no server to ask."""

    def __init__(self) -> None:
        super().__init__("The server has not started")


class Ending(Exception):
    """The server ends and waits no longer; what was begun goes on later."""

    def __init__(self) -> None:
        super().__init__("The server is ending")


class Disconnected(Exception):
    """The client has gone; nobody is there to answer to."""


def check_head(scope: Mapping[str, Any]) -> None:
    """Refuse a head that is too large.

    Servers themselves refuse one that is far too large.
    """
    if len(scope["headers"]) > HEADERS:
        raise HeadTooLarge(f"The request has more than {HEADERS} headers")
    size_bytes = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if size_bytes + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > HEAD_BYTES:
        raise HeadTooLarge(f"The head of the request is larger than {HEAD_BYTES} bytes")


def find_body_length(headers: Mapping[bytes, bytes]) -> int:
    """Return how many bytes the body has; -1 where its head does not say."""
    length = headers.get(b"content-length", b"")
    is_known = b"transfer-encoding" not in headers and length.isdigit() and len(length) < 21
    return int(length) if is_known else -1
