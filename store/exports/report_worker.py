"""The numbers of a report become a file, in a child process.

worker.py runs it; the only place that loads matplotlib. Wanted:
`{"format", "cache", "report": {…}}`, where `cache` is a folder for what matplotlib remembers, and a report is

    {"title", "subtitle", "generated_at", "notes": [TEXT], "summary": [[LABEL, VALUE]],
     "tables": [{"name", "title", "columns": [NAME], "rows": [[VALUE]]}],
     "charts": [{"title", "kind": "bar" | "lying" | "line", "labels": [TEXT], "unit", "series": [[NAME, [NUMBER]]]}]}
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
from collections.abc import Iterator
from typing import Any

# As in table_worker.py, which this cannot import.
SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
FORMULA = (*SIGNS, "\t", "\r", "\n")
INNER_FORMULA = re.compile(rf"([;\t\r\n])(?=\s*[{SIGNS}])")
# Colours that are seen on light and on dark ground.
COLORS = ("#3b82c4", "#e08a2e", "#3fa36b", "#b65fa8")
# What stands for the colour of text in an SVG until the page says which it is.
INK = "#010203"
A4_INCHES = (8.27, 11.69)
LINES_A_PAGE, LINE_CHARACTERS = 76, 106
STYLE = """:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em}
h1{margin-bottom:0}.sub{opacity:.75}table{border-collapse:collapse;margin:.5em 0 1.5em;width:100%}
th,td{border-bottom:1px solid #8886;padding:.25em .7em;text-align:left;vertical-align:top}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto;color:CanvasText}dl{display:grid;
grid-template-columns:max-content auto;gap:.2em 1.5em}dt{opacity:.75}dd{margin:0}
@media print{:root{color-scheme:light}body{max-width:none;margin:0;font-size:11px}table,svg,figure{break-inside:avoid}
@page{margin:15mm}}"""


def to_text(value: Any) -> str:
    """Turn a value into text for people; numbers come rounded.

    >>> to_text(None), to_text(1234567.891), to_text(["a", "b"])
    ('–', '1,234,567.891', 'a, b')
    """
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else str(value)


def write_json(report: dict[str, Any]) -> bytes:
    """Write the numbers as they are, each row as an object."""
    tables = {
        table["name"]: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for table in report["tables"]
    }
    kept = {key: report[key] for key in ("type", "title", "period", "generated_at", "notes")}
    names = [re.sub(r"\W+", "_", label.lower().replace("%", "percent")).strip("_") for label, _ in report["summary"]]
    summary = dict(zip(names, (value for _, value in report["summary"]), strict=True))
    text = json.dumps({**kept, "summary": summary, "tables": tables}, ensure_ascii=False, indent=2)
    return text.encode() + b"\n"


def write_csv(report: dict[str, Any]) -> bytes:
    """Write the tables one below the other, each with its name above."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    summary = {"title": "Summary", "columns": ["what", "value"], "rows": report["summary"]}
    for table in (summary, *report["tables"]):
        writer.writerow([table["title"]])
        writer.writerow(table["columns"])
        writer.writerows([_to_safe_cell(value) for value in row] for row in table["rows"])
        writer.writerow([])
    return text.getvalue().encode()


def _to_safe_cell(value: Any) -> Any:
    text = ", ".join(value) if isinstance(value, list) else value
    if not isinstance(text, str):
        return "" if text is None else text
    text = INNER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


def write_markdown(report: dict[str, Any]) -> bytes:
    """Write the report as Markdown, in which nothing of a value is markup."""
    lines = [f"# {_escape_markdown(report['title'])}", "", _escape_markdown(report["subtitle"]), ""]
    lines += [f"- {_escape_markdown(label)}: {_escape_markdown(to_text(value))}" for label, value in report["summary"]]
    lines += [f"\n> {_escape_markdown(note)}" for note in report["notes"]]
    for table in report["tables"]:
        lines += ["", f"## {_escape_markdown(table['title'])}", ""]
        lines += [f"| {' | '.join(map(_escape_markdown, table['columns']))} |", "|" + " --- |" * len(table["columns"])]
        lines += [f"| {' | '.join(_escape_markdown(to_text(value)) for value in row)} |" for row in table["rows"]]
    return "\n".join([*lines, ""]).encode()


def _escape_markdown(text: str) -> str:
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{sign}" if sign in r"\`*_[]|#~!" else sign for sign in text)


def write_html(report: dict[str, Any]) -> bytes:
    """Write a page that needs nothing else, with its charts inside."""
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(report["title"])}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{html.escape(report['title'])}</h1>"
        f'<p class="sub">{html.escape(report["subtitle"])}</p>\n<dl>'
    ]
    parts += [
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(to_text(value))}</dd>" for label, value in report["summary"]
    ]
    parts += ["</dl>", *(f"<p>{html.escape(note)}</p>" for note in report["notes"])]
    parts += [f"<figure>{draw_svg(chart)}</figure>" for chart in report["charts"]]
    parts += [_format_table(table) for table in report["tables"]]
    return "\n".join([*parts, "</body></html>\n"]).encode()


def _format_table(table: dict[str, Any]) -> str:
    numbers = {
        at for at in range(len(table["columns"])) if any(isinstance(row[at], int | float) for row in table["rows"])
    }
    marks = [' class="n"' if at in numbers else "" for at in range(len(table["columns"]))]
    head = "".join(f"<th{mark}>{html.escape(name)}</th>" for mark, name in zip(marks, table["columns"], strict=True))
    lines = []
    for row in table["rows"]:
        cells = (f"<td{mark}>{html.escape(to_text(value))}</td>" for mark, value in zip(marks, row, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    rows = "\n".join(lines)
    title = html.escape(table["title"])
    return f"<h2>{title}</h2>\n<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def load_matplotlib() -> Any:
    """Load matplotlib without a screen; texts of others are no formulas."""
    import matplotlib

    settings: Any = matplotlib.rcParams
    matplotlib.use("agg")
    settings.update(
        {
            "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "sluice", "font.size": 9,
            "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42,
            **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
            "axes.edgecolor": INK, "axes.labelcolor": INK,
        }
    )  # fmt: skip
    from matplotlib.figure import Figure

    return Figure


def draw_chart(axes: Any, chart: dict[str, Any]) -> None:
    """Draw one chart into these axes."""
    labels, series = [_shorten_label(label) for label in chart["labels"]], chart["series"]
    places = range(len(labels))
    for at, (name, values) in enumerate(series):
        values = [float("nan") if value is None else value for value in values]
        color = COLORS[at % len(COLORS)]
        if chart["kind"] == "line":
            axes.plot(places, values, color=color, label=name, marker="o" if len(values) < 40 else "", markersize=3)
        elif chart["kind"] == "lying":
            axes.barh(places, values, color=color, label=name)
        else:
            width = 0.8 / len(series)
            axes.bar(
                [place + (at - (len(series) - 1) / 2) * width for place in places],
                values,
                width,
                color=color,
                label=name,
            )
    axes.set_title(chart["title"], loc="left", fontsize=11)
    if chart["kind"] == "lying":
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.set_xlabel(chart["unit"])
        axes.set_xlim(left=0)
    else:
        step = max(1, len(labels) // 12)
        axes.set_xticks(list(places)[::step], labels[::step], rotation=30 if len(labels) > 6 else 0)
        axes.set_ylabel(chart["unit"])
        axes.set_ylim(bottom=0)
    if len(series) > 1:
        axes.legend(frameon=False)


def _shorten_label(label: str) -> str:
    label = "".join(sign if sign.isprintable() else "?" for sign in label)
    return label if len(label) <= 24 else f"{label[:23]}…"


def draw_svg(chart: dict[str, Any]) -> str:
    """Draw a chart as a part of a page, in the page's own colours."""
    figure = load_matplotlib()(figsize=(8, _find_height(chart)), layout="constrained")
    draw_chart(figure.subplots(), chart)
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def _find_height(chart: dict[str, Any]) -> float:
    return max(2.5, 0.28 * len(chart["labels"]) + 1.2) if chart["kind"] == "lying" else 3.0


def write_pdf(report: dict[str, Any]) -> bytes:
    """Write pages of A4: charts first, then the tables as lines of text."""
    new_figure = load_matplotlib()
    from matplotlib.backends.backend_pdf import PdfPages

    out = io.BytesIO()
    about = {"Title": report["title"], "Creator": "Sluice", "Producer": "matplotlib", "CreationDate": None}
    lines = [f"{label:<28}{to_text(value)}" for label, value in report["summary"]] + ["", *report["notes"]]
    with PdfPages(out, metadata=about) as pages:
        figure = new_figure(figsize=A4_INCHES)
        figure.text(0.08, 0.95, report["title"], fontsize=18, color="black")
        figure.text(0.08, 0.928, report["subtitle"], fontsize=9, color="black")
        figure.text(0.08, 0.91, "\n".join(_wrap_lines(lines)), fontsize=8, family="monospace", va="top", color="black")
        drawn = report["charts"][:3]
        for at, chart in enumerate(drawn):
            draw_chart(figure.add_axes((0.14 if chart["kind"] != "lying" else 0.28, 0.5 - 0.22 * at, 0.6, 0.15)), chart)
        pages.savefig(figure)
        for page in _split_pages(report["tables"]):
            figure = new_figure(figsize=A4_INCHES)
            figure.text(
                0.06, 0.95, "\n".join(page), fontsize=7, family="monospace", va="top", color="black", linespacing=1.5
            )
            pages.savefig(figure)
    return out.getvalue().replace(INK.encode(), b"#000000")


def _wrap_lines(lines: list[str]) -> list[str]:
    return [line[at : at + 90] for line in lines for at in range(0, max(1, len(line)), 90)][:24]


def _split_pages(tables: list[dict[str, Any]]) -> list[list[str]]:
    """Split all tables, as lines of text, into pages."""
    lines: list[str] = []
    for table in tables:
        cells = [table["columns"], *([_shorten_label(to_text(value)) for value in row] for row in table["rows"])]
        widths = [max(len(row[at]) for row in cells) for at in range(len(table["columns"]))]
        lines += [table["title"].upper(), ""]
        for row, values in zip(cells, [table["columns"], *table["rows"]], strict=True):
            padded = [
                cell.rjust(width) if isinstance(value, int | float) else cell.ljust(width)
                for cell, width, value in zip(row, widths, values, strict=True)
            ]
            lines.append("  ".join(padded).rstrip()[:LINE_CHARACTERS])
        lines += ["", ""]
    return [lines[at : at + LINES_A_PAGE] for at in range(0, len(lines), LINES_A_PAGE)]


WRITERS = {"json": write_json, "csv": write_csv, "md": write_markdown, "html": write_html, "pdf": write_pdf}


def write_file(out: Any, wanted: dict[str, Any], rows: Iterator[Any]) -> None:
    """Write the report; it has no rows."""
    next(rows, None)
    os.environ["MPLCONFIGDIR"] = wanted["cache"]
    out.write(WRITERS[wanted["format"]](wanted["report"]))
