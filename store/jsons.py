"""JSON that callers send: parsed within bounds, or refused with the place of what is wrong. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from store.errors import Invalid, problem

MAX_DEPTH = 64


def parse(data: bytes) -> Any:
    """The value of a request's body; Invalid when there is none, it is no JSON (NaN, lone surrogates), or too deep."""
    if not data:
        raise Invalid([problem("Field required", ["body"], type="missing")])
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        message = f"JSON decode error: {error.msg}"
        raise Invalid([problem(message, ["body", error.pos], type="json_invalid")]) from None
    # Counting brackets is cheap and settles it for nearly every body.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise Invalid([problem(f"nested deeper than {MAX_DEPTH} levels", ["body"], type="json_invalid")])
    return value


def depth(value: Any) -> int:
    """How deep lists and objects are nested in each other; walked level by level, so no depth is too much for it.

    >>> depth(1), depth([]), depth({"a": [[1], 2]})
    (0, 1, 3)
    """
    levels, level = 0, [value]
    while level := [one for one in level if isinstance(one, list | dict)]:
        levels += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return levels
