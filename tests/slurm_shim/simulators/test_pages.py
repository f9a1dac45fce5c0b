"""Files of estimators: one JSON document, and lines that are read one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.simulators.pages import LINE_VALUES, PagesReader, PagesWriter, UnreadablePages, clean_values
from tests.slurm_shim.simulators.work_folders import build_page

MANY = [float(number) / 7 for number in range(LINE_VALUES * 2 + 5)]


def write_pages(path: Path, found: list[dict[str, Any]]) -> Path:
    """Write pages as an estimator."""
    with PagesWriter(path, "dose", {"a": "b"}) as writer:
        for page in found:
            writer.write_page(page)
    return path


def read_pages(path: Path) -> list[tuple[dict[str, Any], list[Any] | None, list[Any]]]:
    """Read pages line by line: each with its errors and its values."""
    reader = PagesReader(path)
    found = []
    try:
        while (page := reader.read_page()) is not None:
            errors: list[Any] | None = None
            if reader.has_errors:
                errors = []
                while (numbers := reader.read_numbers()) is not None:
                    errors += numbers
                reader.begin_values()
            values: list[Any] = []
            while (numbers := reader.read_numbers()) is not None:
                assert len(numbers) <= LINE_VALUES
                values += numbers
            reader.end_page()
            found.append((page, errors, values))
    finally:
        reader.close()
    return found


@pytest.mark.parametrize(
    ("why", "values", "errors"),
    [
        ("a scalar", [1.5], None),
        ("with errors", [1.5, 2.5], [0.1, 0.2]),
        ("no value at all", [], None),
        ("exactly one line", MANY[:LINE_VALUES], MANY[:LINE_VALUES]),
        ("several lines", MANY, MANY),
        ("a hole", [1.0, None], None),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, why: str, values: list[Any], errors: list[Any] | None) -> None:
    page = build_page(values, errors)
    path = write_pages(tmp_path / "dose.json", [page, page])
    assert json.loads(path.read_text()) == {"name": "dose", "metadata": {"a": "b"}, "pages": [page, page]}, why
    assert [(errors, values) for _, errors, values in read_pages(path)] == [(errors, values)] * 2, why


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20), st.text(max_size=20))
def test_any_number_and_name_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], name: str
) -> None:
    path = tmp_path_factory.mktemp("pages") / "x.json"
    page = build_page(values)
    page["data"]["name"] = name.encode(errors="replace").decode()
    write_pages(path, [page])
    assert read_pages(path)[0][2] == values and json.loads(path.read_text())["pages"] == [page]


def test_what_is_no_number_becomes_null(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "x.json", [build_page([1.0, float("nan"), float("inf")])])
    assert read_pages(path)[0][2] == [1.0, None, None]
    assert clean_values([1, "x", None, float("-inf")]) == [1, None, None, None]


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_torn_file_is_never_taken_for_a_whole_one(tmp_path: Path, cut: int) -> None:
    path = write_pages(tmp_path / "x.json", [build_page(MANY[:3], MANY[:3]), build_page(MANY)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * cut // 14])
    with pytest.raises(UnreadablePages):
        read_pages(path)


@pytest.mark.parametrize(
    ("why", "old", "new"),
    [
        ("a line of a crash", b"0.0,", b"\0\0\0\0"),
        ("no text", b"MeV", b"\xff\xfe\xfd"),
        ("a page without data", b'"data"', b'"date"'),
        ("no page", b'{"dimensions"', b'["dimensions"'),
        ("no dimensions", b'{"dimensions": 1', b'{"dimensions": x'),
        ("no metadata", b'"metadata": {},', b'"metadata": {,'),
        ("an axis that does not end", b"]},", b""),
        ("another head", b'"pages": [', b'"page": ['),
        ("values that do not end", b"]}}", b"]}"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, why: str, old: bytes, new: bytes) -> None:
    path = write_pages(tmp_path / "x.json", [build_page(MANY[:3])])
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(UnreadablePages):
        read_pages(path)


def test_a_file_that_was_not_finished_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), PagesWriter(tmp_path / "x.json", "x", {}) as writer:
        writer.write_page(build_page([1.0]))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
