"""Cookies of a request, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_COOKIES = 20


def list_cookies(headers: Iterable[tuple[bytes, bytes]], name: re.Pattern[str]) -> list[str]:
    """List the values of a request's cookies whose name fits, as they stand.

    There may be several of one name: other servers of this host set theirs, which know no ports.

    >>> list_cookies([(b"cookie", b"a=1; b=2"), (b"host", b"x"), (b"cookie", b"a=3")], re.compile("a"))
    ['1', '3']
    """
    cookies = ";".join(value.decode("latin-1") for key, value in headers if key == b"cookie")
    pairs = (part.strip().partition("=") for part in cookies.split(";"))
    return [value for key, _, value in pairs if name.fullmatch(key)][:MOST_COOKIES]
