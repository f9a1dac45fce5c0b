"""Results of jobs: the JSON object that a job writes to `$SLUICE_RESULT`."""

from __future__ import annotations

from typing import Any

import orjson

from store.disk.files import ReadSlices, read_slices
from store.errors import NotFound, StoreError

# Answers nest the result a few levels deeper, and orjson writes at most 254 levels.
DEPTH = 32


async def read_result(
    path: str, limit_bytes: int, slices: ReadSlices = read_slices
) -> tuple[dict[str, Any] | None, str | None]:
    """Read a result; return the object, or None and the reason.

    (None, None) means that there is no file. `slices` reads files where the job ran.
    """
    try:
        part = (await slices([(path, 0, limit_bytes)], None))[0]
    except StoreError as error:
        part = error
    if isinstance(part, StoreError):
        return None, None if isinstance(part, NotFound) else str(part)
    data, size_bytes = part
    if size_bytes > limit_bytes:
        return None, f"the result has {size_bytes} bytes, more than the {limit_bytes} that are kept"
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return None, f"the result is no JSON: {error.msg} at byte {error.pos}"
    if not isinstance(value, dict):
        return None, "the result is JSON, but not an object"
    if _is_deeper(value, DEPTH):
        return None, f"the result is nested more than {DEPTH} deep"
    return value, None


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether the value is nested deeper than this."""
    level = [value]
    for _ in range(depth):
        children = (list(node.values()) if isinstance(node, dict) else node for node in level)
        level = [child for siblings in children for child in siblings if isinstance(child, dict | list)]
    return bool(level)
