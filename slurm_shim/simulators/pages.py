"""Files of estimators: JSON whose lines can be read one by one.

    {"name": "dose", "metadata": {…}, "pages": [
    {"dimensions": 1, "axis_dim1": {…}, "metadata": {…}, "data": {"name": "Dose", "unit": "MeV/g", "errors": [
    0.01,0.02,…
    ,0.01,…
    ], "values": [
    0.5,0.25,…
    ,0.125,…
    ]}}
    ]}

Every JSON reader takes such a file whole. A line holds at most LINE_VALUES numbers, so that hundreds of files of any
size are read side by side in little memory. `errors` (standard errors of the mean) may be absent: `"values": [` then
ends the line of the page. A value that is not a number is null. The same form is written by simulators
(`form: pages`), by convert.py and by merge.py.
"""

import itertools
import json
import math
import os
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

LINE_VALUES = 1024
PAGES_BEGIN, ERRORS_BEGIN, VALUES_BEGIN, ERRORS_END = '"pages": [', '"errors": [', '"values": [', '], "values": ['
PAGE_END, FILE_END = "]}}", "]}"
# Longer than any line of ours but that of a page's axes; more is no file of estimators.
LINE_BYTES = 64 << 20

Numbers = List[Optional[float]]


class UnreadablePages(Exception):
    """The file is torn, or it is not in this form."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write the file so that readers find the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write the value as JSON, all of it or nothing."""
    write_bytes(path, json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n")


class PagesWriter:
    """Writes a file of estimators; it has its name only when it is complete."""

    def __init__(self, path: Path, name: str, metadata: Dict[str, Any]) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self.pages = 0
        self.lines = 0
        self.file = self.temporary.open("w", encoding="utf-8")
        self._write_head({"name": name, "metadata": metadata}, "", PAGES_BEGIN, "}")

    def __enter__(self) -> "PagesWriter":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.file.write(FILE_END + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())
        self.file.close()
        if kind is None:
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink()

    def begin_page(self, page: Dict[str, Any], errors: bool) -> None:
        """Begin a page; its errors come first, or there are none."""
        head = {name: value for name, value in page.items() if name != "data"}
        head["data"] = {name: value for name, value in page["data"].items() if name not in ("values", "errors")}
        self._write_head(head, "," if self.pages else "", ERRORS_BEGIN if errors else VALUES_BEGIN, "}}")
        self.pages += 1
        self.lines = 0

    def write_numbers(self, numbers: Iterable[Optional[float]]) -> None:
        """Write numbers.

        Files can be merged if all calls but the last give a multiple of LINE_VALUES.
        """
        numbers = iter(numbers)
        while True:
            line = list(itertools.islice(numbers, LINE_VALUES))
            if not line:
                return
            try:
                text = json.dumps(line, allow_nan=False, separators=(",", ":"))
            except ValueError:  # not every number is one
                text = json.dumps(clean_values(line), separators=(",", ":"))
            self.file.write(("," if self.lines else "") + text[1:-1] + "\n")
            self.lines += 1

    def begin_values(self) -> None:
        """End the errors and begin the values."""
        self.file.write(ERRORS_END + "\n")
        self.lines = 0

    def end_page(self) -> None:
        """End the page."""
        self.file.write(PAGE_END + "\n")

    def write_page(self, page: Dict[str, Any]) -> None:
        """Write a whole page that is in memory."""
        errors = page["data"].get("errors")
        self.begin_page(page, errors is not None)
        if errors is not None:
            self.write_numbers(errors)
            self.begin_values()
        self.write_numbers(page["data"]["values"])
        self.end_page()

    def _write_head(self, head: Dict[str, Any], comma: str, begin: str, closing: str) -> None:
        text = json.dumps(head, ensure_ascii=False)
        cut = text[: -len(closing)]
        self.file.write(comma + cut + ("" if cut.endswith("{") else ", ") + begin + "\n")


class PagesReader:
    """Reads a file of estimators line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("rb")
        try:
            head = self._read_line()
            if not head.endswith(PAGES_BEGIN):
                raise UnreadablePages("it does not begin as a file of estimators")
            self.head = self._parse_head(head, "]}")
        except BaseException:
            self.file.close()
            raise
        self.name = str(self.head.get("name", ""))
        self.metadata = dict(self.head.get("metadata") or {})
        self.has_errors = False
        self._line = ""

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def read_page(self) -> Optional[Dict[str, Any]]:
        """Read the next page without its numbers; None after the last."""
        line = self._read_line()
        if line == FILE_END:
            return None
        self.has_errors = line.endswith(ERRORS_BEGIN)
        if not self.has_errors and not line.endswith(VALUES_BEGIN):
            raise UnreadablePages("a page does not begin as a page")
        begin = ERRORS_BEGIN if self.has_errors else VALUES_BEGIN
        page = self._parse_head(line[1:] if line.startswith(",") else line, "]}}")
        if not isinstance(page.get("data"), dict):
            raise UnreadablePages("a page has no data")
        del page["data"][begin.split('"')[1]]
        self._line = self._read_line()
        return page

    def read_numbers(self) -> Optional[Numbers]:
        """Read the next line of errors, or of values; None at their end."""
        line = self._line
        if line.startswith("]"):
            return None
        try:
            numbers = json.loads("[%s]" % (line[1:] if line.startswith(",") else line), parse_constant=_drop_constant)
        except ValueError:
            raise UnreadablePages("a line of numbers is torn") from None
        self._line = self._read_line()
        return numbers

    def begin_values(self) -> None:
        """Go on from the end of the errors to the values."""
        if self._line != ERRORS_END:
            raise UnreadablePages("the errors of a page do not end")
        self._line = self._read_line()

    def end_page(self) -> None:
        """Make sure that the page ends here."""
        if self._line != PAGE_END:
            raise UnreadablePages("a page does not end as a page")

    def _read_line(self) -> str:
        line = self.file.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            raise UnreadablePages("the file ends too early")
        try:
            return line[:-1].decode()
        except UnicodeDecodeError:
            raise UnreadablePages("a line is not text") from None

    @staticmethod
    def _parse_head(line: str, closing: str) -> Dict[str, Any]:
        try:
            return json.loads(line + closing)
        except ValueError:
            raise UnreadablePages("a line is torn") from None


def clean_values(values: Iterable[Any]) -> Numbers:
    """Replace what is not a number by None."""
    return [value if isinstance(value, (int, float)) and math.isfinite(value) else None for value in values]


def _drop_constant(_: str) -> None:
    return None
