"""A window of a log: its end, lines by number, or from an offset on."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.logs.log_files import LogFile, open_log, open_reported
from engine.server import Server
from store import access
from store.rules.logs import lines as log_lines
from store.rules.logs.counts import PART_BYTES

# So much of a file's end is read at first; more where that has too few lines.
FIRST_BYTES, MOST_BYTES = 256_000, 4_000_000
# Of longer lines than this the middle is not looked at.
LONGEST_BYTES = 16_000_000
# So much text is sent at once.
SENT_BYTES = 1_000_000
# So long the lines of a file are counted for one request: a little where their numbers are not asked for.
LITTLE_S, LONG_S = 0.1, 1.0


class Window(NamedTuple):
    """Some lines, and the data that they were found in, from `begin` on."""

    lines: list[log_lines.Line]
    next_offset: int
    data: bytes
    begin: int


async def get_lines(
    server: Server,
    job_id: str,
    stream: str,
    line: int | None,
    offset: int | None,
    before: int | None,
    lines: int,
    count: bool,
    caller: access.Caller,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Get lines of a job's output; raise NotFound, Denied."""
    return await read_window(
        await open_log(server, cluster, job_id, stream, caller), line, offset, before, lines, count
    )


async def get_reported_lines(
    server: Server,
    job_id: str,
    file: str,
    line: int | None,
    offset: int | None,
    before: int | None,
    lines: int,
    count: bool,
) -> dict[str, Any]:
    """Get lines of a log that a job sent; raise NotFound."""
    return await read_window(await open_reported(server, job_id, file), line, offset, before, lines, count)


async def read_window(
    log: LogFile, line: int | None, offset: int | None, before: int | None, lines: int, count: bool
) -> dict[str, Any]:
    """Read some lines of a log, with their numbers as far as they are known."""
    await log.find_counts()
    if line is not None:
        await log.count_on(line, LONG_S)
        window = await read_line(log, line, lines)
    elif offset is not None:
        window = await read_on(log, offset, lines)
    else:
        window = await read_end(log, before, lines)
    await log.count_on(None, LONG_S if count else LITTLE_S)
    first = window.lines[0].begin if window.lines else window.next_offset
    known = log.counts
    is_counted = known.end >= log.size_bytes
    return {
        **log.describe(),
        "line_count": known.line_count + (known.end > 0 and not known.tail.endswith(b"\n")) if is_counted else None,
        "counted_bytes": known.end,
        "first_line": await number_line(log, first, window),
        "next_offset": window.next_offset,
        "lines": [log_lines.show_line(each) for each in window.lines],
    }


async def read_end(log: LogFile, before: int | None, count: int) -> Window:
    """Read the last lines of a file, or those before an offset."""
    end = log.size_bytes if before is None else min(before, log.size_bytes)
    data = b""
    for wanted in (FIRST_BYTES, MOST_BYTES, LONGEST_BYTES):
        begin = max(0, end - wanted)
        (data,) = await log.read((begin, end - begin))
        enough = data.count(b"\n") > (count if wanted == FIRST_BYTES else 1)
        if begin == 0 or enough:
            break
    end = begin + len(data)
    at = log_lines.find_last_lines(data, count) if count else len(data)
    if begin and at == 0:  # it may begin within a line, which is left out unless it is the only one
        after = data.find(b"\n") + 1
        at = after if 0 < after < len(data) else 0
    found = list(log_lines.split_lines(data[at:], begin + at))
    found = _take_some(found[::-1])[::-1]
    if begin and at == 0 and found and len(found[0].first) > log_lines.WHOLE_BYTES:
        found[0] = await _complete_line(log, found[0])
    next_offset = end if not found or data.endswith(b"\n") else found[-1].begin  # it may get its end yet
    return Window(found, next_offset, data, begin)


async def _complete_line(log: LogFile, line: log_lines.Line) -> log_lines.Line:
    """Give a long line that was read at its end alone its beginning, if known."""
    known, begin, first = log.counts, line.begin, b""
    if known.end >= begin:
        at = known.find_part(min(begin, known.end - 1))
        wanted = known.lines[at]
        while at > 0 and known.lines[at - 1] == wanted:
            at -= 1
        start = known.starts[max(0, at - 1)]
        (data,) = await log.read((start, min(2 * PART_BYTES, begin - start)))
        begin = start + data.rfind(b"\n") + 1
        first = data[begin - start :][: log_lines.ENDS_BYTES]
    return log_lines.Line(begin, line.end, first, line.first[-log_lines.ENDS_BYTES :])


async def read_line(log: LogFile, line: int, count: int) -> Window:
    """Read lines from one on; none where it is not counted, or not there."""
    known, size_bytes = log.counts, log.size_bytes
    if known.line_count < line - 1:
        return Window([], min(known.end, size_bytes), b"", size_bytes)
    at, line_feeds = known.find_line(line)
    while line_feeds:
        (data,) = await log.read((at, PART_BYTES))
        if not data:
            return Window([], size_bytes, b"", size_bytes)
        after = log_lines.find_after(data, line_feeds)
        line_feeds -= data.count(b"\n") if after < 0 else line_feeds
        at += len(data) if after < 0 else after
    return await read_on(log, at, count)


async def read_on(log: LogFile, offset: int, count: int) -> Window:
    """Read lines from an offset on."""
    data, size_bytes = b"", log.size_bytes
    while count and offset + len(data) < size_bytes:
        (piece,) = await log.read((offset + len(data), PART_BYTES if data else FIRST_BYTES))
        data += piece
        line_feeds = data.count(b"\n")
        if not piece or line_feeds >= count or (line_feeds and len(data) > SENT_BYTES) or len(data) > LONGEST_BYTES:
            break
    end = log_lines.find_after(data, count)
    is_last = offset + len(data) >= log.size_bytes
    if end < 0:
        end = len(data) if is_last else (data.rfind(b"\n") + 1 or len(data))
    found = _take_some(list(log_lines.split_lines(data[:end], offset)))
    if not found:
        return Window([], min(offset, log.size_bytes), data, offset)
    is_whole = found[-1].end < offset + end or not is_last
    return Window(found, min(found[-1].end + 1, offset + end) if is_whole else found[-1].begin, data, offset)


def _take_some(found: list[log_lines.Line]) -> list[log_lines.Line]:
    """Take the first lines that are sent at once, one at least."""
    total = 0
    for taken, each in enumerate(found):
        total += min(each.end - each.begin, log_lines.WHOLE_BYTES) + 100
        if total > SENT_BYTES and taken:
            return found[:taken]
    return found


async def number_line(log: LogFile, offset: int, window: Window) -> int | None:
    """Find the number of the line at an offset; None where it is not counted."""
    known, begin = log.counts, window.begin
    if offset > known.end and not begin <= known.end <= begin + len(window.data):
        return None
    if begin <= known.end <= begin + len(window.data) and begin <= offset:
        data = window.data
        if offset <= known.end:
            return known.line_count - data.count(b"\n", offset - begin, known.end - begin) + 1
        return known.line_count + data.count(b"\n", known.end - begin, offset - begin) + 1
    at = known.find_part(offset)
    if at < 0:
        return 1
    number, start = known.lines[at] + 1, known.starts[at]
    while start < offset:
        (data,) = await log.read((start, min(PART_BYTES, offset - start)))
        if not data:
            return None
        number, start = number + data.count(b"\n"), start + len(data)
    return number
