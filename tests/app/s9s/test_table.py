"""The table of the S9S API: the tests that it names are there."""

from __future__ import annotations

import re

import pytest

from tests import ROOT

ROWS = [line for line in (ROOT / "docs" / "cluster-api-table.md").read_text().splitlines() if line.startswith("| ")][1:]
TESTS = {
    (path.name, name)
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in ["", *re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)]
}


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:60] for row in ROWS])
def test_the_tests_of_a_row_are_there(row: str) -> None:
    named = re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)(?:::(\w+))?`", row)
    assert named, "which test shows it?"
    assert [place for place in named if place not in TESTS] == []
