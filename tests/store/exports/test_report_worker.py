"""What the formats of reports do with hostile values; charts in the page's own colours."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from store.disk.files import Files
from store.exports import report_worker
from store.exports.children import REPORT_WORKER, Bounds, Work, make_file

EVIL = "<script>$\\frac{1}{</script>"
REPORT: dict[str, Any] = {
    "type": "utilization", "title": f"Use {EVIL}", "subtitle": "of 2023", "period": {}, "generated_at": "now",
    "notes": ["A note."], "summary": [["CPU hours", 12345.67], ["GPU utilization (%)", None]],
    "tables": [{"name": "users", "title": "Users", "columns": ["user", "hours"],
                "rows": [["=cmd", 1.5], [" =cmd", 0.413], ["a; =cmd", 0.0], [EVIL, None],
                         *([f"user{number}", number] for number in range(200))]}],
    "charts": [
        {"title": EVIL, "kind": "line", "labels": [str(day) for day in range(31)], "unit": "%",
         "series": [["CPU", [None, *range(30)]], ["GPU", [0.0] * 31]]},
        {"title": "Users", "kind": "lying", "labels": [EVIL, "b"], "unit": "h", "series": [["h", [3, 4]]]},
        {"title": "States", "kind": "bar", "labels": ["COMPLETED"], "unit": "jobs", "series": [["jobs", [0]]]},
    ],
}  # fmt: skip


def make(root: Path, form: str) -> bytes:
    path = root / "reports" / "data"
    with Files(root).fill(path) as fd:
        wanted = {"format": form, "cache": str(root / "cache"), "report": REPORT}
        make_file(REPORT_WORKER, wanted, (), fd, Bounds(1500, 60, 300, 10**7), Work())
    return path.read_bytes()


def test_a_page_shows_charts_and_runs_nothing(tmp_path: Path) -> None:
    page = make(tmp_path, "html").decode()
    assert "<script" not in page and page.count("<svg") == 3
    assert "currentColor" in page and report_worker.INK not in page
    assert "color-scheme:light dark" in page and "12,345.67" in page
    assert {"<td>–</td>", "<td>0.413</td>"} <= set(re.findall("<td>[^<]*</td>", page.replace(' class="n"', "")))


def test_a_pdf_has_pages_for_all_rows(tmp_path: Path) -> None:
    data = make(tmp_path, "pdf")
    assert data.startswith(b"%PDF-") and data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= 3


def test_the_other_formats_need_no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    found = json.loads(report_worker.write_json(REPORT))
    assert found["summary"] == {"cpu_hours": 12345.67, "gpu_utilization_percent": None}
    assert found["tables"]["users"][0] == {"user": "=cmd", "hours": 1.5}
    rows = list(csv.reader(io.StringIO(report_worker.write_csv(REPORT).decode(), newline="")))
    assert ["CPU hours", "12345.67"] in rows
    assert [row[0] for row in rows if row and "cmd" in row[0]] == ["'=cmd", "' =cmd", "a;' =cmd"]
    text = report_worker.write_markdown(REPORT).decode()
    assert "<script>" not in text and "| =cmd | 1.5 |" in text
