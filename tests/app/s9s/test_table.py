"""The table of the S9S API: it has all that the document names, in the document's order, and tests that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests import ROOT
from tests.app.s9s import document

PAGE = (ROOT / "docs" / "cluster-api-table.md").read_text()
# What stands below each heading, by the endpoints that the heading names, or by its words.
SECTIONS = {title: text for title, _, text in (part.partition("\n") for part in PAGE.split("\n## ")[1:])}
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| endpoint, ")]
TESTS = {
    (path.name, name)
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in ["", *re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)]
}
# What another section tells of the same object.
TOLD_BEFORE = {
    "GET /v1/jobs/{job_id}": "GET /v1/jobs",
    "GET /v1/exports/{export_id}": "POST /v1/export",
}
# Their names are not those of the API, but of the job and of SLURM.
FREE_NAMES = {"environment", "job_counts", "node_counts"}


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:60] for row in ROWS])
def test_the_tests_of_a_row_are_there(row: str) -> None:
    assert row.count(" | ") == 2, "three columns"
    places = re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)(?:::(\w+))?`", row)
    assert places, "which test shows it?"
    assert [place for place in places if place not in TESTS] == []


def read_names(*operations: str) -> set[str]:
    """What the first columns below the endpoints' headings name; a field of an object counts without it too."""
    names: set[str] = set()
    for title, text in SECTIONS.items():
        if any(f"`{operation}`" in title for operation in operations):
            first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
            names |= {part for word in re.findall(r"`([^`]+)`", " ".join(first)) for part in word.split(".")}
    return names


def list_names(value: Any) -> Iterator[str]:
    """The names of all fields."""
    for row in value if isinstance(value, list) else [value]:
        if isinstance(row, Mapping):
            for key, inner in row.items():
                yield key
                if key not in FREE_NAMES:
                    yield from list_names(inner)


@pytest.mark.parametrize("operation", document.ENDPOINTS)
def test_the_table_has_all_that_the_document_names(operation: str) -> None:
    assert f"`{operation}`" in PAGE
    wanted = set(document.ENDPOINTS[operation].split())
    for _, named, _, body, example in document.EXAMPLES:
        if named == operation:
            wanted |= {*list_names(json.loads(body or "{}")), *list_names(json.loads(example))}
    assert wanted - read_names(operation, TOLD_BEFORE.get(operation, operation)) == set()


def test_the_table_has_the_words_of_the_document() -> None:
    wanted = {*document.ERROR_CODES, *document.RATE_HEADERS, *document.CHANNELS}
    wanted |= {*list_names(json.loads(document.ERROR))}
    assert [word for word in wanted if f"`{word}`" not in PAGE] == []
    missing = [str(status) for status in document.STATUSES[2:] if not re.search(rf"^\| .*{status}", PAGE, re.MULTILINE)]
    assert missing == []


def test_the_table_is_in_the_order_of_the_document() -> None:
    places = [PAGE.index(f"`{operation}`", PAGE.index("\n## ")) for operation in document.ENDPOINTS]
    assert places == sorted(places)
