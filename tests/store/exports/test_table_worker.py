"""What the formats of exports do with hostile and odd values."""

from __future__ import annotations

import csv
import gc
import io
import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.exports import table_worker
from store.exports.table_worker import FORMULA, WRITERS, Unfit

COLUMNS = [["name", "text"], ["count", "whole"], ["nodes", "list"]]
Cell = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8")))


def write(form: str, rows: list[list[Any]], tmp_path: Path = Path("/tmp"), **more: Any) -> bytes:
    out = io.BytesIO()
    wanted = {
        "format": form, "title": "<b>jobs</b>", "columns": COLUMNS, "headers": True, "delimiter": ",",
        "scratch": str(tmp_path),
    }  # fmt: skip
    WRITERS[form](out, wanted | more, rows)
    return out.getvalue()


CELLS = [
    ("a formula", "=1+1", "'=1+1"),
    ("a sum", "+1", "'+1"),
    ("a difference", "-1", "'-1"),
    ("a function of old", "@SUM(A1)", "'@SUM(A1)"),
    ("a tab before it", "\tx", "'\tx"),
    ("an end of line before it", "\rx", "'\rx"),
    ("a blank before it", " =1", "' =1"),
    ("a blank that does not break before it", "\u00a0=1", "'\u00a0=1"),
    ("a byte order mark before it", "\ufeff=1", "'\ufeff=1"),
    ("a wide sign", "\uff1d1+1", "'\uff1d1+1"),
    ("behind another delimiter", "a;=1; -2;b", "a;'=1;' -2;b"),
    ("behind an end of line", "a\n@b", "a\n'@b"),
    ("a number is one", -1, "-1"),
    ("inside it is harmless", "a=1", "a=1"),
    ("a list that begins so", ["=a", "b"], "'=a,b"),
    ("nothing", None, ""),
    ("yes", True, "true"),
]


@pytest.mark.parametrize(("why", "value", "cell"), CELLS, ids=[row[0] for row in CELLS])
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_cell_is_no_formula(form: str, delimiter: str, why: str, value: Any, cell: str) -> None:
    data = write(form, [[value, 1, []]]).decode()
    assert list(csv.reader(io.StringIO(data, newline=""), delimiter=delimiter))[1][0] == cell


@given(st.text(" ,;\t\r\n=+-@a'\""), st.sampled_from(",;\t|"))
def test_cut_at_other_delimiters_no_cell_is_a_formula_either(value: str, delimiter: str) -> None:
    cell = table_worker.to_safe_cell(value.replace(delimiter, ""), delimiter)
    assert not any(part.strip().startswith(FORMULA) for part in re.split(r"[,;\t\r\n]", cell))


@given(st.lists(st.tuples(Cell, Cell, st.lists(st.text(st.characters(codec="utf-8")), max_size=3)), max_size=5))
def test_csv_can_be_read_back_and_holds_no_formula(rows: list[Any]) -> None:
    data = write("csv", [list(row) for row in rows]).decode()
    found = list(csv.reader(io.StringIO(data, newline=""), strict=True))
    assert len(found) == len(rows) + 1 and data.endswith("\r\n")
    for row, cells in zip(rows, found[1:], strict=True):
        for value, cell in zip(row, cells, strict=True):
            assert not (isinstance(value, str | list) and cell.startswith(FORMULA))
            assert not isinstance(value, int) or isinstance(value, bool) or cell == str(value)


@given(st.lists(st.tuples(Cell, Cell, st.lists(st.text(), max_size=2)), max_size=4))
def test_json_is_what_went_in(rows: list[Any]) -> None:
    expected = [{"name": row[0], "count": row[1], "nodes": row[2]} for row in rows]
    rows = json.loads(json.dumps(rows))
    try:
        data = write("json", rows)
    except UnicodeEncodeError:
        return  # a lone surrogate, which the server's own JSON never holds
    assert json.loads(data) == expected
    assert [json.loads(line) for line in write("jsonl", rows).splitlines()] == expected or b"\xe2\x80" in data


def test_markup_is_escaped() -> None:
    row = ["<img src=x onerror=y>|`*_[a](b)\n# c", 1, ["</td>"]]
    page = write("html", [row]).decode()
    assert "<img" not in page and "<b>" not in page and "&lt;/td&gt;" in page
    table = write("md", [row]).decode().splitlines()
    assert len(table) == 5 and table[-1].startswith(r"| &lt;img src=x onerror=y&gt;\|\`\*\_\[a\](b) \# c | 1 |")


def test_text_has_no_signs_that_a_terminal_acts_upon() -> None:
    text = write("txt", [["\x1b[31mred\u202e", 1, []], ["a", None, ["n1", "n2"]]]).decode()
    assert text == "NAME       COUNT  NODES\n?[31mred?  1      -\na          -      n1,n2\n"


def test_a_sheet_holds_texts_and_numbers(tmp_path: Path) -> None:
    rows = [["=1+1", 5, ["a", "b"]], ["x" * 40_000, None, []], ["\x01", True, []]]
    sheet = zipfile.ZipFile(io.BytesIO(write("xlsx", rows, tmp_path))).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet and "<t>=1+1</t>" in sheet and "<v>5</v>" in sheet
    assert f"<t>{'x' * 32_767}</t>" in sheet and "\x01" not in sheet
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_worker, "SHEET_ROWS", 3)
    write("xlsx", [["a", 1, []]] * 2, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of its scratch file: the child just ends
        with pytest.raises(Unfit, match="at most 3 rows"):
            write("xlsx", [["a", 1, []]] * 3, tmp_path)
        gc.collect()
