"""Which pages of other origins may use the server, and how (CORS). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]
# What a page may read beside the body.
READABLE = (
    b"ETag, Retry-After, X-Change, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-RateLimit-Window, "
    b"X-Request-ID, X-Snapshot-Age, X-Total-Count"
)
EXPOSED = (b"access-control-expose-headers", READABLE)
CREDENTIALS = (b"access-control-allow-credentials", b"true")
VARY = (b"vary", b"origin")
READING, ALL = (b"GET", b"HEAD"), (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE")
SENT = b"authorization, if-none-match, last-event-id, x-request-id"


class Sharing(NamedTuple):
    """What a page of another origin may do.

    `headers` are those of every answer, `methods` those that it may use, `is_partner` whether it may send cookies.
    """

    headers: Headers = ()
    methods: tuple[bytes, ...] = ()
    is_partner: bool = False

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a browser asks beforehand what such a page may."""
        return method == "OPTIONS" and headers.get(b"access-control-request-method") in self.methods

    def list_preflight_headers(self) -> list[tuple[bytes, bytes]]:
        """List what the answer to a preflight has beside other headers."""
        sent = SENT + b", content-type, idempotency-key" if self.is_partner else SENT
        return [(b"access-control-allow-methods", b", ".join(self.methods)), (b"access-control-allow-headers", sent)]


NOT_SHARED = Sharing()


def share_answers(headers: Mapping[bytes, bytes], readers: Collection[str], partners: Collection[str]) -> Sharing:
    """Return what the page that calls may do.

    Pages of `readers` (origins, or `*`) may read, and say who they are in a header. Those of `partners` may also change
    things, and send their cookies; only they are named one by one, whatever else may read.
    """
    if not readers and not partners:
        return NOT_SHARED
    given = headers.get(b"origin")
    # What a browser itself takes for a page of ours needs no leave.
    origin = None if given is None or headers.get(b"sec-fetch-site") == b"same-origin" else given.decode("latin-1")
    if given is not None and origin in partners:
        return Sharing((VARY, (b"access-control-allow-origin", given), CREDENTIALS, EXPOSED), ALL, True)
    if "*" in readers:
        return Sharing((*((VARY,) if partners else ()), (b"access-control-allow-origin", b"*"), EXPOSED), READING)
    if given is None or origin not in readers:
        return Sharing((VARY,))
    return Sharing((VARY, (b"access-control-allow-origin", given), EXPOSED), READING)
