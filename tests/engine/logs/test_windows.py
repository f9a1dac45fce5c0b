"""How much of a log is read for a window of it, and where it goes on."""

from __future__ import annotations

import pytest

from engine.logs import windows
from engine.logs.windows import FIRST_BYTES, LONGEST_BYTES, MOST_BYTES, SENT_BYTES
from tests.engine.logs.made_log import MadeLog
from tests.pretended import asynchronous


@pytest.mark.parametrize(
    ("why", "line_bytes", "count", "found", "asked"),
    [
        ("a small file", 10, 100, 100, [1000]),
        ("enough in its end", 100, 50_000, 500, [FIRST_BYTES]),
        ("more than that", 10_000, 1000, 500, [FIRST_BYTES, MOST_BYTES]),
        ("a long line", 8_000_000, 3, 1, [FIRST_BYTES, MOST_BYTES, LONGEST_BYTES]),
    ],
)
@asynchronous
async def test_as_much_is_read_as_is_needed(
    why: str, line_bytes: int, count: int, found: int, asked: list[int]
) -> None:
    log = MadeLog((b"x" * (line_bytes - 1) + b"\n") * count)
    log.size_bytes = line_bytes * count
    window = await windows.read_end(log, None, 500)
    assert log.asked == asked, why
    assert len(window.lines) == min(found, SENT_BYTES // (line_bytes + 100) or 1), why
    assert window.next_offset == log.size_bytes


@asynchronous
async def test_windows_from_an_offset_on_give_all_of_a_file() -> None:
    data = b"".join(b"x" * (number * 7919 % 30_000) + b"\n" for number in range(500)) + b"end"
    log = MadeLog(data)
    log.size_bytes = len(data)
    at, lines = 0, []
    while True:
        window = await windows.read_on(log, at, 100)
        lines += window.lines
        if window.next_offset == window.lines[-1].begin:
            break
        at = window.next_offset
    assert [(line.begin, line.end) for line in lines] == [
        (line.begin, line.end) for line in windows.log_lines.split_lines(data, 0)
    ]


@asynchronous
async def test_a_line_that_is_not_counted_yet_has_none() -> None:
    log = MadeLog(b"line\n" * 1000)
    log.size_bytes = 5000
    assert (await windows.read_line(log, 500, 10)).lines == []
    await log.find_counts()
    await log.count_on(None, 1.0)
    assert (await windows.read_line(log, 500, 10)).lines[0].begin == 499 * 5
    assert await windows.number_line(log, 499 * 5, windows.Window([], 0, b"", 9999)) == 500
