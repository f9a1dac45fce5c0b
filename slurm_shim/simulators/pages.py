"""Files of estimators: JSON whose lines can be read one by one.

    {"name": "dose", "metadata": {…}, "pages": [
    {"dimensions": 1,
    "axis_dim1": {"name": "Position (Z)", "unit": "cm", "values": [
    0.5,1.5,…
    ]},
    "metadata": {…},
    "data": {"name": "Dose", "unit": "MeV/g", "errors": [
    0.01,0.02,…
    ,0.01,…
    ], "values": [
    0.5,0.25,…
    ,0.125,…
    ]}}
    ]}

Every JSON reader takes such a file whole. A line holds at most LINE_VALUES numbers, so that hundreds of files of any
size are read side by side in little memory. `errors` (standard errors of the mean) may be absent: `"values": [` then
ends the line of the data. A value that is not a number is null. The same form is written by simulators
(`form: pages`), by convert.py and by merge.py.
"""

import hashlib
import itertools
import json
import math
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional

LINE_VALUES = 1024
PAGES_BEGIN, ERRORS_BEGIN, VALUES_BEGIN, ERRORS_END = '"pages": [', '"errors": [', '"values": [', '], "values": ['
PAGE_BEGIN, METADATA, DATA, AXIS_END = '{"dimensions": ', '"metadata": ', '"data": ', "]},"
PAGE_END, FILE_END = "]}}", "]}"
# Longer than any line of ours; more is no file of estimators.
LINE_BYTES = 16 << 20

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
        self.write_line(_leave_open({"name": name, "metadata": metadata}, PAGES_BEGIN, "}"))

    def __enter__(self) -> "PagesWriter":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.write_line(FILE_END)
            self.file.flush()
            os.fsync(self.file.fileno())
        self.file.close()
        if kind is None:
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink()

    def begin_page(self, page: Dict[str, Any], errors: bool) -> None:
        """Begin a page; its errors come first, or there are none."""
        self.write_line(("," if self.pages else "") + PAGE_BEGIN + json.dumps(page.get("dimensions", 0)) + ",")
        for name, axis in page.items():
            if name in ("dimensions", "metadata", "data"):
                continue
            if isinstance(axis, dict) and isinstance(axis.get("values"), list):
                head = {key: value for key, value in axis.items() if key != "values"}
                self.write_line(json.dumps(name) + ": " + _leave_open(head, VALUES_BEGIN, "}"))
                self.lines = 0
                self.write_numbers(axis["values"])
                self.write_line(AXIS_END)
            else:
                self.write_line(json.dumps(name) + ": " + json.dumps(axis) + ",")
        self.begin_data(page.get("metadata") or {}, page["data"], errors)

    def begin_data(self, metadata: Dict[str, Any], data: Dict[str, Any], errors: bool) -> None:
        """Begin the numbers of a page whose axes are written."""
        self.write_line(METADATA + json.dumps(metadata, ensure_ascii=False) + ",")
        head = {name: value for name, value in data.items() if name not in ("values", "errors")}
        self.write_line(DATA + _leave_open(head, ERRORS_BEGIN if errors else VALUES_BEGIN, "}"))
        self.pages += 1
        self.lines = 0

    def write_line(self, line: str) -> None:
        """Write a line."""
        self.file.write(line + "\n")

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
            self.write_line(("," if self.lines else "") + text[1:-1])
            self.lines += 1

    def begin_values(self) -> None:
        """End the errors and begin the values."""
        self.write_line(ERRORS_END)
        self.lines = 0

    def end_page(self) -> None:
        """End the page."""
        self.write_line(PAGE_END)

    def write_page(self, page: Dict[str, Any]) -> None:
        """Write a whole page that is in memory."""
        errors = page["data"].get("errors")
        self.begin_page(page, errors is not None)
        if errors is not None:
            self.write_numbers(errors)
            self.begin_values()
        self.write_numbers(page["data"]["values"])
        self.end_page()


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

    def read_page(self, copy: Optional[Callable[[str], Any]] = None) -> Optional[Dict[str, Any]]:
        """Read the next page without its numbers; None after the last.

        `shape` stands for its dimensions, axes and data: it is the same where these are. The lines of dimensions and
        axes, which may be many, are only given to `copy`.
        """
        line = self._read_line()
        if line == FILE_END:
            return None
        begin = line[1:] if line.startswith(",") else line
        if not begin.startswith(PAGE_BEGIN):
            raise UnreadablePages("a page does not begin as a page")
        page = self._parse_head(begin[:-1], "}")
        shape = hashlib.sha256()
        is_axis = False
        while is_axis or not line.startswith(METADATA):
            shape.update(line.encode() + b"\n")
            if copy is not None:
                copy(line)
            line = self._read_line()
            is_axis = self._check_axis(line, is_axis)
        page.update(self._parse_head("{" + line[:-1], "}"))
        line = self._read_line()
        self.has_errors = line.endswith(ERRORS_BEGIN)
        if not line.startswith(DATA) or not (self.has_errors or line.endswith(VALUES_BEGIN)):
            raise UnreadablePages("a page has no data")
        page.update(self._parse_head("{" + line, "]}}"))
        begin = ERRORS_BEGIN if self.has_errors else VALUES_BEGIN
        del page["data"][begin.split('"')[1]]
        shape.update(json.dumps(page["data"], sort_keys=True).encode())
        page["shape"] = shape.hexdigest()
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

    def _check_axis(self, line: str, is_axis: bool) -> bool:
        """Check a line of an axis; return whether numbers of it may follow."""
        if is_axis and line != AXIS_END:
            self._parse_head("[" + line.lstrip(","), "]")
            return True
        if line.endswith(VALUES_BEGIN):
            self._parse_head("{" + line, "]}}")
            return True
        return False

    @staticmethod
    def _parse_head(line: str, closing: str) -> Dict[str, Any]:
        try:
            return json.loads(line + closing)
        except ValueError:
            raise UnreadablePages("a line is torn") from None


def _leave_open(head: Dict[str, Any], begin: str, closing: str) -> str:
    """Return an object as JSON that goes on with a list."""
    text = json.dumps(head, ensure_ascii=False)
    cut = text[: -len(closing)]
    return cut + ("" if cut.endswith("{") else ", ") + begin


def clean_values(values: Iterable[Any]) -> Numbers:
    """Replace what is not a number by None."""
    return [value if isinstance(value, (int, float)) and math.isfinite(value) else None for value in values]


def _drop_constant(_: str) -> None:
    return None
