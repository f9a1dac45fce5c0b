"""What a job leaves behind: the JSON object that it writes to `$SLUICE_RESULT`."""

from __future__ import annotations

from typing import Any

import orjson

from store.disk.files import ReadSlices, read_slices
from store.errors import NotFound, StoreError

# Every answer must be able to hold it; what writes JSON stops at 254.
DEPTH = 32


async def read_result(
    path: str, limit_bytes: int, slices: ReadSlices = read_slices
) -> tuple[dict[str, Any] | None, str | None]:
    """The object in the file and None, or None and why it cannot be taken; None twice when there is no file.

    `slices` reads where the file lies.
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
    level = [value]
    for _ in range(depth):
        lists = (list(one.values()) if isinstance(one, dict) else one for one in level)
        level = [inner for one in lists for inner in one if isinstance(inner, dict | list)]
    return bool(level)
