"""Results that a worker sends: taken apart and written as the merge does.

Their numbers are copied as text and never become numbers here: one page may have millions of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from slurm_shim.simulators.convert import clean_name
from slurm_shim.simulators.pages import (
    AXIS_END,
    DATA,
    ERRORS_BEGIN,
    ERRORS_END,
    FILE_END,
    LINE_BYTES,
    METADATA,
    PAGE_BEGIN,
    PAGE_END,
    PAGES_BEGIN,
    VALUES_BEGIN,
)
from store import jsons
from store.disk.files import Files
from store.errors import Invalid, make_problem
from store.rules.simulations.advance import MOST_ESTIMATORS, MOST_PAGES, is_file_name

# What stands between the brackets of a list of numbers that is JSON.
NUMBERS = re.compile(rb"\[[\s0-9eE.,+nul-]*\]")
# Of what is neither a list of numbers nor a page.
PART_BYTES = 1_000_000
MOST_DIMENSIONS = 9

Part = dict[str, msgspec.Raw]


class Posted(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request with results."""

    simulation_id: str | int | None = None
    sim_id: str | int | None = None
    update_key: str | None = None
    estimators: list[msgspec.Raw] | None = None


class PostedEstimator(msgspec.Struct, forbid_unknown_fields=True):
    """One estimator, its pages not taken apart yet."""

    name: str
    pages: list[msgspec.Raw]
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


def parse_posted(data: Any) -> Posted:
    """Parse the body. Raises Invalid."""
    return _parse_part(data, Posted, "body")


def write_estimators(
    posted: Sequence[msgspec.Raw], outputs: Sequence[str], folder: Path, files: Files
) -> list[dict[str, Any]]:
    """Write each estimator into its file; return what is known of them.

    In the order of their names; an editor's job has its outputs' names instead. Blocks. Raises Invalid before anything
    is written, StoreUnavailable, StoreFull.
    """
    if len(posted) > MOST_ESTIMATORS:
        raise _make_error(f"there are more than {MOST_ESTIMATORS} estimators", "estimators")
    found = sorted((_parse_part(raw, PostedEstimator, "estimators") for raw in posted), key=lambda row: row.name)
    if sum(len(estimator.pages) for estimator in found) > MOST_PAGES:
        raise _make_error(f"there are more than {MOST_PAGES} pages", "estimators")
    names = sorted(outputs) if len(outputs) == len(found) else [estimator.name for estimator in found]
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    for estimator, shown_name in zip(found, names, strict=True):
        name = clean_name(shown_name)
        while name in taken:
            name += "_"
        if not is_file_name(name):
            raise _make_error("too many of them have the same long name", "estimators")
        taken.add(name)
        # Read once before anything is written, and once more then: what is wrong is known in time, and little is kept.
        pages = [_describe_page(raw, number) for number, raw in enumerate(estimator.pages)]
        _parse_small(estimator.metadata, "metadata")
        rows.append({"name": name, "pages": pages})
    for row, estimator in zip(rows, found, strict=True):
        with files.fill(folder / f"{row['name']}.json") as fd, os.fdopen(os.dup(fd), "wb") as file:
            for line in _format_estimator(row["name"], estimator):
                file.write(line)
                file.write(b"\n")
    return rows


def _describe_page(raw: msgspec.Raw, position: int) -> dict[str, Any]:
    """Check a page, and tell what is known of it without its numbers."""
    page = _parse_part(raw, Part, "pages")
    data = _parse_part(page.get("data"), Part, "data")
    for name, part in page.items():
        for lists in ("values", "errors") if name == "data" else ("values",):
            numbers = _find_numbers(part, lists)
            if name == "data" and lists == "values" and numbers is None:
                raise _make_error("a page has no list of numbers", "values")
    said = _parse_small(page.get("metadata"), "metadata").get("page_number")
    text = str(said)
    dimensions = _parse_small(page.get("dimensions", b"0"), "dimensions", of=int)
    if not 0 <= dimensions <= MOST_DIMENSIONS:
        raise _make_error(f"is not between 0 and {MOST_DIMENSIONS}", "dimensions")
    return {
        "page_number": int(text) if text.isascii() and text.isdigit() and len(text) < 10 else position,
        "page_name": str(_parse_small(data.get("name", b'""'), "name", of=object))[:200],
        "page_dimension": dimensions,
    }


def _format_estimator(name: str, estimator: PostedEstimator) -> Iterator[bytes]:
    """Format an estimator line by line, in the form of pages.py."""
    head = jsons.dump_json({"name": name, "metadata": _parse_small(estimator.metadata, "metadata")})
    yield head[:-1] + b", " + PAGES_BEGIN.encode()
    for number, raw in enumerate(estimator.pages):
        page = _parse_part(raw, Part, "pages")
        yield (b"," if number else b"") + PAGE_BEGIN.encode() + bytes(page.get("dimensions", b"0")) + b","
        for key, part in page.items():
            if key not in ("dimensions", "metadata", "data"):
                yield from _format_axis(key, part)
        metadata = _parse_small(page.get("metadata"), "metadata")
        yield METADATA.encode() + jsons.dump_json({**metadata, "page_number": str(number)}) + b","
        yield from _format_data(page["data"])
        yield PAGE_END.encode()
    yield FILE_END.encode()


def _format_axis(key: str, part: msgspec.Raw) -> Iterator[bytes]:
    name = jsons.dump_json(key) + b": "
    numbers = _find_numbers(part, "values")
    if numbers is None:
        yield name + jsons.dump_json(_parse_small(part, key, of=object)) + b","
        return
    yield name + _leave_open(_parse_head(part), VALUES_BEGIN)
    yield from _split_numbers(numbers)
    yield AXIS_END.encode()


def _format_data(part: msgspec.Raw) -> Iterator[bytes]:
    errors, values = _find_numbers(part, "errors"), _find_numbers(part, "values")
    assert values is not None  # it was described before
    yield DATA.encode() + _leave_open(_parse_head(part), VALUES_BEGIN if errors is None else ERRORS_BEGIN)
    if errors is not None:
        yield from _split_numbers(errors)
        yield ERRORS_END.encode()
    yield from _split_numbers(values)


def _parse_head(part: msgspec.Raw) -> dict[str, Any]:
    """Parse what stands beside the numbers."""
    fields = _parse_part(part, Part, "data")
    return {key: _parse_small(fields[key], key, of=object) for key in fields if key not in ("values", "errors")}


def _leave_open(head: Mapping[str, Any], begin: str) -> bytes:
    text = jsons.dump_json(head)[:-1]
    return text + (b"" if text.endswith(b"{") else b", ") + begin.encode()


def _find_numbers(part: msgspec.Raw, key: str) -> bytes | None:
    """Find a list of numbers by its key; None where there is none."""
    if bytes(memoryview(part)[:1]) != b"{":
        return None
    found = _parse_part(part, Part, key).get(key)
    if found is None or bytes(found) == b"null":
        return None
    numbers = bytes(found)
    if NUMBERS.fullmatch(numbers) is None:
        raise _make_error("is no list of numbers", key)
    return numbers


def _split_numbers(numbers: bytes) -> Iterator[bytes]:
    """Split a list into lines, each of which its readers take."""
    text = numbers[1:-1].strip().replace(b"\n", b" ").replace(b"\r", b" ")
    begin, most = 0, LINE_BYTES // 16
    while len(text) - begin > most:
        end = text.index(b",", begin + most // 2)
        yield text[begin:end]
        begin = end
    if text:
        yield text[begin:]


def _parse_small(raw: Any, key: str, of: type = dict) -> Any:
    """Parse what is no list of numbers, within bounds; {} for none."""
    if raw is None:
        return {}
    data = bytes(raw)
    if len(data) > PART_BYTES:
        raise _make_error(f"is larger than {PART_BYTES} bytes", key)
    value = jsons.parse_json(data)
    if not isinstance(value, of) or (of is int and isinstance(value, bool)):
        raise _make_error(f"is no {'object' if of is dict else 'whole number'}", key)
    return value


def _parse_part(raw: Any, kind: Any, key: str) -> Any:
    if raw is None:
        raise _make_error("a page has none", key)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise _make_error(str(problem), key) from None


def _make_error(message: str, key: str) -> Invalid:
    return Invalid([make_problem(message, ("body",) if key == "body" else ("body", key))])
