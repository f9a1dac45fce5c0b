"""What an ended job has left: its result, and the end of its log.

A result is the JSON object that a job writes to `$SLUICE_RESULT`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from store.disk.reading import ReadSlices, read_slices
from store.errors import Invalid, NotFound, StoreError, make_problem
from store.jsons import load_json

# Answers nest the result a few levels deeper, and orjson writes at most 254 levels.
DEPTH = 32
# So much of a log's end is looked at, and so many of its lines and characters are kept.
END_BYTES = 8000
END_LINES = 10
END_CHARACTERS = 1000
# A text, which is left as it is, or a number that JSON cannot hold.
NO_NUMBER = re.compile(rb'("(?:[^"\\]|\\.)*")|(?<![\w.+-])(NaN|-?Infinity)(?![\w.+-])', re.DOTALL)
NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})
# What steers a terminal: colours, movements, titles (ECMA-48, xterm).
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


async def read_result(
    path: str, limit_bytes: int, slices: ReadSlices = read_slices, owner: int | None = None
) -> tuple[dict[str, Any] | None, str | None]:
    """Read a result; return the object, or None and the reason.

    (None, None) means that there is no file. `slices` reads files where the job ran, `owner` is the job's.
    """
    try:
        part = (await slices([(path, 0, limit_bytes)], owner))[0]
    except StoreError as error:
        part = error
    if isinstance(part, StoreError):
        return None, None if isinstance(part, NotFound) else str(part)
    data, size_bytes = part
    if size_bytes > limit_bytes:
        return None, f"the result has {size_bytes} bytes, more than the {limit_bytes} that are kept"
    try:
        value = load_result(data)
    except orjson.JSONDecodeError as error:
        return None, f"the result is no JSON: {error.msg} at byte {error.pos}"
    if not isinstance(value, dict):
        return None, "the result is JSON, but not an object"
    if _is_deeper(value, DEPTH):
        return None, f"the result is nested more than {DEPTH} deep"
    return value, None


def load_result(data: bytes) -> Any:
    """Parse a result. Raises orjson.JSONDecodeError.

    Numbers that are none, which Python's json and others write as they are (a loss of NaN), are kept as texts.

    >>> load_result(b'{"loss": NaN, "best": -Infinity, "say": "NaN"}')
    {'loss': 'NaN', 'best': '-Infinity', 'say': 'NaN'}
    """
    try:
        return load_json(data)
    except orjson.JSONDecodeError:
        quoted = NO_NUMBER.sub(lambda found: found[1] or b'"%b"' % found[2], data)
        if quoted == data:
            raise
        return load_json(quoted)


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether the value is nested deeper than this."""
    level = [value]
    for _ in range(depth):
        children = (list(node.values()) if isinstance(node, dict) else node for node in level)
        level = [child for siblings in children for child in siblings if isinstance(child, dict | list)]
    return bool(level)


def order_rows(rows: Sequence[dict[str, Any]], order_by: str) -> list[dict[str, Any]]:
    """Order the rows of a sweep's results by one of their values.

    `order_by` names a result, an arg or a column; `-` before it puts the largest first. The last part of a result's
    name is enough where no other ends so. Numbers come before texts, cells without the value or with none that is
    finite last; what is equal keeps its order. Raises Invalid for a name that no row has, unless there are no results
    yet.
    """
    name = order_by.removeprefix("-")
    keys = dict.fromkeys(key for row in rows for key in row["result"])
    columns = [{**row, **row["args"], **row["result"]} for row in rows]
    matching = [key for key in keys if key.endswith(f".{name}")]
    key = matching[0] if len(matching) == 1 and not any(name in values for values in columns) else name
    if keys and not any(key in values for values in columns):
        known = matching or [*(rows[0]["args"] if rows else ()), *keys]
        message = f"no cell has a value '{name}'; there is {', '.join(known[:20])}"
        raise Invalid([make_problem(message, ("query", "order_by"), input=order_by)])
    ranked = [(values.get(key), row) for values, row in zip(columns, rows, strict=True)]
    ordered = [pair for pair in ranked if _has_rank(pair[0])]
    ordered.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=order_by.startswith("-"))
    return [row for _, row in [*ordered, *(pair for pair in ranked if not _has_rank(pair[0]))]]


def _has_rank(value: Any) -> bool:
    """Return whether rows can be put in order by the value."""
    return isinstance(value, int | float | str) and value not in NO_NUMBERS


async def read_log_end(paths: Sequence[str], slices: ReadSlices = read_slices, owner: int | None = None) -> str | None:
    """Read the last lines of the first of these logs that has any."""
    for part in await slices([(path, -END_BYTES, END_BYTES) for path in paths], owner) if paths else []:
        text = None if isinstance(part, StoreError) else to_last_lines(part[0], part[1] > END_BYTES)
        if text:
            return text
    return None


def to_last_lines(data: bytes, is_cut: bool) -> str:
    r"""Convert the end of a log to its last lines, as plain text.

    Of a line that was written over, as progress bars are, the last words count. `is_cut` says that more came before.

    >>> to_last_lines(b"10%\r99%\r\n\x1b[31mno \x00memory\x1b[0m\n\n", False)
    '99%\nno memory'
    """
    lines = ESCAPES.sub("", data.decode("utf-8", "replace")).split("\n")[1 if is_cut and b"\n" in data else 0 :]
    last = (line.rstrip().rpartition("\r")[2] for line in lines)
    plain = ["".join(letter for letter in line if letter.isprintable() or letter == "\t") for line in last]
    text = "\n".join([line for line in plain if line.strip()][-END_LINES:])
    return text if len(text) <= END_CHARACTERS else f"…{text[-END_CHARACTERS:]}"
