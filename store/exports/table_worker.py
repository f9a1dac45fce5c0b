"""Rows become a table in a file, in a child process.

worker.py runs it; nothing of Sluice is imported. A row is an array of its values.

Wanted: `{"format", "title", "columns": [[NAME, TYPE], …], "headers": bool, "delimiter", "scratch"}`; types are text,
whole, number, list, and time (RFC 3339). `scratch` is a folder for what a format needs until its end.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

Row = list[Any]
# A spreadsheet takes a cell that begins so for a formula, also with blanks before it; some take the wide signs too.
SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
FORMULA = (*SIGNS, "\t", "\r", "\n")
# Where a spreadsheet that guesses another delimiter, as in countries with a decimal comma, begins a cell with one.
INNER_FORMULA = re.compile(rf"([,;\t\r\n])(?=\s*[{SIGNS}])")
# What one cell and one sheet of a spreadsheet hold, with the line of names.
CELL_CHARACTERS, SHEET_ROWS = 32_767, 1_048_576
GROUP_ROWS = 10_000
MEASURED_ROWS = 200
WIDEST = 60
STYLE = """:root{color-scheme:light dark}body{font:14px/1.4 system-ui,sans-serif;margin:2em}
table{border-collapse:collapse}th,td{border:1px solid #8884;padding:.2em .6em;text-align:left;vertical-align:top}
th{position:sticky;top:0;background:Canvas}tr:nth-child(even){background:#8881}
@media print{th{position:static}body{margin:0;font-size:10px}}"""


class Unfit(Exception):
    """The format cannot hold these rows; the text says why."""

    is_told = True


def flatten_value(value: Any) -> Any:
    """Turn a list or an object into text; leave all else as it is.

    >>> flatten_value(["a", "b"]), flatten_value([{"a": 1}]), flatten_value(1.5), flatten_value(None)
    ('a,b', '[{"a":1}]', 1.5, None)
    """
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value


def to_text(value: Any) -> str:
    """Turn a value into text for people."""
    value = flatten_value(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def to_safe_cell(value: Any, delimiter: str = ",") -> str:
    """Turn a value into a cell that no spreadsheet takes for a formula.

    >>> to_safe_cell("=1+1"), to_safe_cell(" @a"), to_safe_cell(-5), to_safe_cell("a-b"), to_safe_cell("a;=1;b")
    ("'=1+1", "' @a", '-5', 'a-b', "a;'=1;b")
    """
    text = to_text(value)
    if not isinstance(value, str | list | dict):
        return text
    text = INNER_FORMULA.sub(lambda match: match[1] if match[1] == delimiter else f"{match[1]}'", text)
    begins = (text, text.removeprefix("\ufeff").lstrip())  # a byte order mark at the beginning of a file is skipped
    return f"'{text}" if any(begin.startswith(FORMULA) for begin in begins) else text


def write_separated(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write CSV or TSV as RFC 4180 says."""
    delimiter = "\t" if wanted["format"] == "tsv" else wanted["delimiter"]
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=False)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    if wanted["headers"]:
        writer.writerow([name for name, _ in wanted["columns"]])
    writer.writerows([to_safe_cell(value, delimiter) for value in row] for row in rows)
    text.flush()
    text.detach()


def write_json(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write an array of objects, or an object on each line."""
    names = [name for name, _ in wanted["columns"]]
    is_array, before = wanted["format"] == "json", b"[\n"
    for row in rows:
        line = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, separators=(",", ":")).encode()
        out.write(before + line if is_array else line + b"\n")
        before = b",\n"
    if is_array:
        out.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def write_markdown(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write a table of Markdown, in which nothing of a value is markup."""
    names = [name for name, _ in wanted["columns"]]
    marks = ["--:" if kind in ("whole", "number") else "---" for _, kind in wanted["columns"]]
    if wanted["headers"]:
        out.write(f"# {escape_markdown(wanted['title'])}\n\n".encode())
    for cells in ([escape_markdown(name) for name in names], marks):
        out.write(f"| {' | '.join(cells)} |\n".encode())
    for row in rows:
        out.write(f"| {' | '.join(escape_markdown(to_text(value)) for value in row)} |\n".encode())


def escape_markdown(text: str) -> str:
    r"""Escape what Markdown, or the HTML in it, would take for markup.

    >>> escape_markdown("a|b_<i>\n")
    'a\\|b\\_&lt;i&gt; '
    """
    text = html.escape(" ".join(text.splitlines()) + (" " if text.endswith(("\n", "\r")) else ""), quote=False)
    return "".join(f"\\{sign}" if sign in r"\`*_[]|#~!" else sign for sign in text)


def write_html(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write a page with a table, for light and dark screens and for print."""
    title = html.escape(wanted["title"])
    head = "".join(f"<th>{html.escape(name)}</th>" for name, _ in wanted["columns"]) if wanted["headers"] else ""
    out.write(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<table><thead><tr>{head}</tr></thead><tbody>\n".encode()
    )
    for row in rows:
        cells = "".join(f"<td>{html.escape(to_text(value))}</td>" for value in row)
        out.write(f"<tr>{cells}</tr>\n".encode())
    out.write(b"</tbody></table></body></html>\n")


def write_text(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write columns of text, as wide as the first rows are."""
    names, rows = [name for name, _ in wanted["columns"]], iter(rows)
    first = [[to_line(value) for value in row] for row, _ in zip(rows, range(MEASURED_ROWS), strict=False)]
    measured = [*first, names] if wanted["headers"] else first
    widths = [min(WIDEST, max((len(cells[at]) for cells in measured), default=0)) for at in range(len(names))]
    lines = [[name.upper() for name in names]] if wanted["headers"] else []
    for cells in (*lines, *first):
        out.write(_pad_cells(cells, widths))
    for row in rows:
        out.write(_pad_cells([to_line(value) for value in row], widths))


def to_line(value: Any) -> str:
    """Turn a value into text without signs that a terminal acts upon."""
    return "".join(sign if sign.isprintable() else "?" for sign in to_text(value)) or "-"


def _pad_cells(cells: list[str], widths: list[int]) -> bytes:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"{'  '.join(padded).rstrip()}\n".encode()


def write_sheet(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write a spreadsheet; texts are texts, whatever they begin with."""
    import xlsxwriter  # type: ignore[import-untyped]

    options = {
        "constant_memory": True, "tmpdir": wanted["scratch"], "strings_to_formulas": False, "strings_to_urls": False,
        "strings_to_numbers": False, "nan_inf_to_errors": True,
    }  # fmt: skip
    book = xlsxwriter.Workbook(out, options)
    sheet = book.add_worksheet()
    row_at = 0
    if wanted["headers"]:
        bold = book.add_format({"bold": True})
        for at, (name, _) in enumerate(wanted["columns"]):
            sheet.write_string(0, at, name, bold)
        sheet.freeze_panes(1, 0)
        row_at = 1
    for row in rows:
        if row_at >= SHEET_ROWS:
            raise Unfit(f"a sheet of xlsx has at most {SHEET_ROWS} rows; export less, or as csv")
        for at, value in enumerate(map(flatten_value, row)):
            if isinstance(value, bool):
                sheet.write_boolean(row_at, at, value)
            elif isinstance(value, int | float):
                sheet.write_number(row_at, at, value)
            elif value is not None:
                sheet.write_string(row_at, at, value[:CELL_CHARACTERS])
        row_at += 1
    book.close()


def write_parquet(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write a Parquet file in groups of rows; times and lists are no texts."""
    import pyarrow
    import pyarrow.parquet

    text, time = pyarrow.string(), pyarrow.timestamp("ms", tz="UTC")
    types = {
        "whole": pyarrow.int64(), "number": pyarrow.float64(), "text": text, "list": pyarrow.list_(text), "time": time,
    }  # fmt: skip
    kinds = [kind for _, kind in wanted["columns"]]
    schema = pyarrow.schema([(name, types[kind]) for name, kind in wanted["columns"]])
    with pyarrow.parquet.ParquetWriter(out, schema) as writer:
        for group in _split_groups(rows):
            columns = [[to_parquet_value(kind, row[at]) for row in group] for at, kind in enumerate(kinds)]
            writer.write_table(pyarrow.table(columns, schema=schema))


def to_parquet_value(kind: str, value: Any) -> Any:
    """Turn a value into what a column of this kind holds.

    >>> to_parquet_value("list", ["a", {"b": 1}]), to_parquet_value("time", "2026-01-01T00:00:00Z").year
    (['a', '{"b":1}'], 2026)
    """
    if value is None:
        return None
    if kind == "list":
        return [to_text(part) for part in value]
    return datetime.fromisoformat(value) if kind == "time" else flatten_value(value)


def _split_groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == GROUP_ROWS:
            yield group
            group = []
    yield group


WRITERS: dict[str, Callable[[Any, dict[str, Any], Iterable[Row]], None]] = {
    "csv": write_separated, "tsv": write_separated, "json": write_json, "jsonl": write_json, "md": write_markdown,
    "html": write_html, "txt": write_text, "xlsx": write_sheet, "parquet": write_parquet,
}  # fmt: skip


def write_file(out: Any, wanted: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write the rows as they are wanted."""
    WRITERS[wanted["format"]](out, wanted, rows)
