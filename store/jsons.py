"""JSON that callers send: parsed within bounds, or refused. Pure.

Refusals name the place of what is wrong.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from store.errors import (
    MAX_SEARCHES,
    TOLD_PROBLEMS,
    Invalid,
    NotJson,
    WrongKind,
    make_problem,
    print_text,
    suggest_word,
)

MAX_DEPTH = 64
# Of lists and objects: millions of empty ones keep Python's collector busy for seconds.
MAX_PARTS = 250_000
TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# Everything that is wrong is looked for in a value that has no more parts; of others, one problem is told.
MANY_PARTS = 2000
# As text, integers take time quadratic in their digits; Python itself takes 4,300.
MAX_DIGITS = 4000
# An answer need not send back a megabyte: so much of a value is shown.
SHOWN_CHARS = 500
LONG_NUMBER = re.compile(rb"[0-9]{19}")

# A value is named in a sentence up to here.
NAMED_CHARS = 60
# To copy so much takes a microsecond or two.
COPIED_BYTES = 32_000
# The types of JSON as sentences name them.
TYPES = {
    "integer": "an integer", "number": "a number", "string": "a string", "boolean": "true or false",
    "array": "a list", "object": "an object",
}  # fmt: skip

# The schema's keyword -> the type that errors of the srunx family have.
COMPLAINTS = {
    "required": "missing", "additionalProperties": "extra_forbidden", "pattern": "string_pattern_mismatch",
    "minLength": "string_too_short", "maxLength": "string_too_long", "minimum": "greater_than_equal",
    "maximum": "less_than_equal", "minItems": "too_short", "maxItems": "too_long", "enum": "literal_error",
    "const": "literal_error",
}  # fmt: skip


def find_other_encoding(data: bytes) -> str | None:
    """Name the encoding of a JSON text that is not UTF-8; None if it is.

    >>> find_other_encoding("{}".encode("utf-16")), find_other_encoding(b"{}")
    ('UTF-16', None)
    """
    # The first two characters of any JSON are ASCII, so zeros among the first bytes tell how wide characters are.
    if b"\0\0" in data[:4]:
        return "UTF-32"
    if len(data) > 1 and (b"\0" in data[:2] or data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"another encoding (byte {error.start})"
    return None


def parse_json(data: bytes) -> Any:
    """Parse a request's body. Raises Invalid if there is none, else NotJson.

    It is not JSON (NaN, lone surrogates), or it has too many parts or levels.
    """
    if not data:
        raise Invalid([make_problem("Field required", ["body"], type="missing")])
    if _count_brackets(data) > MAX_PARTS and _count_brackets(TEXT.sub(b"", data)) > MAX_PARTS:
        message = f"more than {MAX_PARTS} lists and objects"
        raise NotJson([make_problem(message, ["body"], type="json_invalid")])
    try:
        value = load_json(data)
    except orjson.JSONDecodeError as error:
        message = f"JSON decode error: {error.msg}"
        raise NotJson([make_problem(message, ["body", error.pos], type="json_invalid")]) from None
    # Counting brackets is cheap and enough for nearly every body.
    if _count_brackets(data) > MAX_DEPTH and measure_depth(value) > MAX_DEPTH:
        raise NotJson([make_problem(f"nested deeper than {MAX_DEPTH} levels", ["body"], type="json_invalid")])
    if not _is_surely_plain(value, data) and (key := find_repeated_key(data)) is not None:
        raise WrongKind(f"The key '{key[:100]}' stands twice in one object of the body")
    return value


def _count_brackets(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _is_surely_plain(value: Any, data: bytes) -> bool:
    """Return whether a glance shows that no key of the text stands twice.

    One object without others in it has at most a member more than there are commas.
    """
    return isinstance(value, dict) and _count_brackets(data) == 1 and len(value) == data.count(b",") + 1


def find_repeated_key(data: bytes) -> str | None:
    r"""Find a key that stands twice in one object of a JSON text.

    Parsers differ in which of the two counts; ours would take the last. Costs half as much again as parsing a large
    body, and some microseconds for a small one.

    >>> find_repeated_key(b'{"a": 1, "b": [{"c": 1, "\\u0063": 2}]}'), find_repeated_key(b'{"a": {"a": 1}}')
    ('c', None)
    """
    repeated: list[str] = []

    def check_members(members: list[tuple[str, Any]]) -> None:
        if len(dict(members)) < len(members):
            repeated.append(next(key for key, count in Counter(key for key, _ in members).items() if count > 1))

    json.loads(data.decode(), object_pairs_hook=check_members, parse_int=str, parse_float=str)
    return repeated[0] if repeated else None


def load_json(data: bytes | str) -> Any:
    """Parse JSON, integers of any size exactly. Raises orjson.JSONDecodeError."""
    has_long = LONG_NUMBER.search(data if isinstance(data, bytes) else data.encode())
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if not has_long or "infinity" not in error.msg:
            raise
    if not has_long:
        return value
    # orjson makes a float of an integer beyond 64 bits.
    try:
        value = json.loads(data, parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_parse_float)
        dump_json(value)  # refuses what only orjson is strict about, such as half a surrogate pair
    except (ValueError, TypeError) as error:
        raise orjson.JSONDecodeError(str(error), "", 0) from None
    return value


def is_json(text: str) -> bool:
    """Return whether the text is JSON."""
    try:
        load_json(text)
    except ValueError:
        return False
    return True


def _parse_float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:24]} is no finite number")
    return number


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def dump_json(value: Any, option: int = 0) -> bytes:
    """Write JSON, integers of any size exactly. Raises orjson.JSONEncodeError."""
    try:
        data = orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        if "64-bit" not in str(error):
            raise
        data = orjson.dumps(_mark_long_integers(value), option=option)
    return drop_room(data)


def drop_room(data: bytes) -> bytes:
    """Return what orjson wrote without the room that it leaves behind it.

    It is 4 KB or more: of thousands of rows that are kept it is most of what they take.
    """
    return data if len(data) > COPIED_BYTES else bytes(memoryview(data))


def _mark_long_integers(value: Any) -> Any:
    """Return the value with integers beyond 64 bits as pieces of JSON."""
    if isinstance(value, dict):
        return {key: _mark_long_integers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_long_integers(item) for item in value]
    is_long = isinstance(value, int) and not -(2**63) <= value < 2**64
    return orjson.Fragment(str(value)) if is_long else value


def find_nul_problems(value: Any, *loc: str | int) -> list[dict[str, Any]]:
    """Find texts with NUL in them, keys too: no path and no word holds one.

    >>> [problem["loc"] for problem in find_nul_problems({"a": ["b", "c\\0"]}, "body")]
    [['body', 'a', 1]]
    """
    return list(itertools.islice(_list_nul_problems(value, loc), TOLD_PROBLEMS))


def _list_nul_problems(value: Any, loc: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    if isinstance(value, str) and "\0" in value:
        yield make_problem("must not hold NUL", loc, type="nul", input=value)
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for pair in pairs:
        for part in pair:
            yield from _list_nul_problems(part, (*loc, pair[0]))


def make_printable(value: Any) -> Any:
    """Return the value, or its beginning, as any reader of JSON takes it.

    Never fails: what JSON cannot hold is named by its type.

    >>> make_printable({"a": 2**70}), make_printable("half \\ud800"), make_printable(10**5000)
    ({'a': 1180591620717411303424}, 'half \\\\ud800', 'a value of type int')
    """
    if isinstance(value, str):
        return print_text(value, SHOWN_CHARS)
    try:
        data = dump_json(value)
        is_short = len(data) <= SHOWN_CHARS and measure_depth(value) <= MAX_DEPTH
        return value if is_short else print_text(data.decode(), SHOWN_CHARS)
    except Exception:  # whatever a value can raise
        return f"a value of type {type(value).__name__}"


def measure_depth(value: Any) -> int:
    """Return how deep lists and objects are nested in each other.

    Works level by level, so no depth is too much for it.

    >>> measure_depth(1), measure_depth([]), measure_depth({"a": [[1], 2]})
    (0, 1, 3)
    """
    levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        levels += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return levels


def has_many_parts(value: Any) -> bool:
    """Return whether its lists and objects have over MANY_PARTS parts in all.

    >>> has_many_parts({"a": [1] * 3000}), has_many_parts("a" * 3000)
    (True, False)
    """
    parts, level = 0, [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        parts += sum(map(len, level))
        if parts > MANY_PARTS:
            return True
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return False


def find_nearest_error(error: Any) -> Any:
    """Return the error of the schema that the value comes nearest to.

    For a value that fits none of several schemas. The nearest is the one that goes deepest into the value before it
    complains, or does not complain of its kind as a whole.
    """
    while error.kind.name in ("oneOf", "anyOf") and any(error.kind.context):
        error = max((branch for branch in error.kind.context if branch), key=_rank_branch)[0]
    return error


def _rank_branch(branch: list[Any]) -> tuple[int, bool, bool]:
    """Return how near the value comes to one of several schemas."""
    first = branch[0]
    other = first.kind.name in ("type", "enum", "const")
    return max(len(error.instance_path) for error in branch), not other, not first.message.endswith('"null"')


def join_words(values: Sequence[Any]) -> str:
    """Write the values as a sentence does, texts in quotes.

    >>> join_words(["a", "b", 3]), join_words(["a"])
    ("'a', 'b' or 3", "'a'")
    """
    *before, last = map(repr, values)
    return f"{', '.join(before)} or {last}" if before else last


def list_problems(error: Any, schema: Mapping[str, Any], *prefix: str) -> list[dict[str, Any]]:
    """Turn an error of the JSON Schema validator into problems.

    `schema` is the one that was checked. Each unknown field is a problem of its own, with the near word.
    """
    error = find_nearest_error(error)
    keyword = error.kind.name
    kind, message, loc = COMPLAINTS.get(keyword, keyword), error.message, [*prefix, *error.instance_path]
    if keyword == "additionalProperties":
        known = list(functools.reduce(operator.getitem, error.schema_path[:-1], schema).get("properties", ()))
        what = "query parameter" if loc == ["query"] else "field"
        return [
            make_problem(
                f"unknown {what} '{name[:80]}'{suggest_word(name, known if number < MAX_SEARCHES else ())}",
                [*loc, name], type=kind, input=error.instance[name],
            )
            for number, name in enumerate(error.kind.unexpected[:TOLD_PROBLEMS])
        ]  # fmt: skip
    if keyword == "required":
        loc, message = [*loc, getattr(error.kind, "property", "").strip('"')], "Field required"
    if keyword == "type":
        wanted = re.findall(r'"(\w+)"', message.rsplit(" is not of type", 1)[-1])
        wanted = [name for name in wanted if name != "null"] or wanted
        kind = (
            "int_parsing"
            if "integer" in wanted and isinstance(error.instance, str)
            else f"{(wanted or ['value'])[0]}_type"
        )
        message = f"Input should be {' or '.join(TYPES.get(name, name) for name in wanted)}, not {_name_value(error)}"
    else:
        message = _describe_value(error, schema) or message
    if len(message) > 300:
        message = f"{message[:200]} … {message[-90:]}"
    return [make_problem(message, loc, type=kind, input=error.instance)]


def _describe_value(error: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what a value should be, in words; None for the validator's."""
    value, keyword = error.instance, error.kind.name
    if keyword == "enum":
        words = [word for word in error.kind.options if word is not None]
        near = suggest_word(value, [word for word in words if isinstance(word, str)]) if isinstance(value, str) else ""
        return f"Input should be {join_words(words)}{near}"
    if keyword in ("minLength", "minItems") and not value and error.kind.limit == 1:
        return "must not be empty"
    if keyword == "pattern":
        # A pattern is for programs: the contract has it in words beside it.
        form = functools.reduce(operator.getitem, error.schema_path[:-1], schema).get("x-form")
        return f"Input should be {form}, not {_name_value(error)}" if form else None
    return None


def _name_value(error: Any) -> str:
    """Name a wrong value: itself where that is short, else its kind."""
    value = error.instance
    if isinstance(value, list | dict):
        return TYPES["array" if isinstance(value, list) else "object"]
    text = dump_json(value).decode()
    return text if len(text) <= NAMED_CHARS else f"{text[:NAMED_CHARS]}…"
