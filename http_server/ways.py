"""What heads of requests lead to, remembered for those that come again.

Which operation a head means, with which arguments, and whether host and origin may, follow from its bytes and from what
access.yaml and config.yaml say. Who calls does not: that is asked for each request.
"""

from __future__ import annotations

import contextlib
from collections.abc import MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
# What is known of a call then, by the names that it has there.
Way = dict[str, Any]
# By all of a head, each with the access.yaml and config.yaml with which alone it counts.
Ways = dict[tuple[Any, ...], tuple[Any, Any, Way]]

NAMES = ("headers", "method", "path", "path_params", "family", "endpoint", "cors")
REMEMBERED = frozenset({"GET", "HEAD"})
# So many are remembered, and none of a head that is longer.
MOST_WAYS, HEAD_BYTES = 1000, 2000


def find_way(ways: Ways, scope: Scope, access: Any, config: Any) -> Way | None:
    """Find what the same head led to before; None where that is not known."""
    try:
        known = ways.get(_read_head(scope)) if scope["type"] == "http" and scope["method"] in REMEMBERED else None
    except TypeError:  # from servers whose headers cannot be looked up
        return None
    return known[2] if known is not None and known[0] is access and known[1] is config else None


def remember_way(ways: Ways, scope: Scope, call: Any, config: Any) -> Way | None:
    """Remember what the head of a call has led to; return it.

    The call has passed all that is asked of its head alone. None for one that will not come again, or is long.
    """
    headers = call.headers
    may_come_again = call.method in REMEMBERED and not call.has_unread and b"x-request-id" not in headers
    size_bytes = len(scope["path"]) + len(scope["query_string"])
    size_bytes += sum(len(name) + len(value) for name, value in scope["headers"])
    # Without a Host the client's address counts.
    if not may_come_again or not headers.get(b"host") or size_bytes > HEAD_BYTES:
        return None
    if len(ways) >= MOST_WAYS:
        ways.clear()
    way = {name: getattr(call, name) for name in NAMES}
    with contextlib.suppress(TypeError):
        ways[_read_head(scope)] = call.access, config, way
    return way


def _read_head(scope: Scope) -> tuple[Any, ...]:
    return (scope["method"], scope["path"], scope["query_string"], scope.get("root_path"), *scope["headers"])
