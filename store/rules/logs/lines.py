"""Lines of a log as they are sent, long ones without their middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from store.logs import decode_whole_characters

# Of a longer line only its beginning and its end are sent.
WHOLE_BYTES, ENDS_BYTES = 16_384, 8192


class Line(NamedTuple):
    """One line: where it begins and ends, and what is known of it.

    `end` is behind it, without its line feed. Of one whose middle was not read, `last` are its last bytes and `first`
    its first ones, which may be none.
    """

    begin: int
    end: int
    first: bytes
    last: bytes = b""


def split_lines(data: bytes, offset: int) -> Iterator[Line]:
    """Split what a file has from an offset on; the last line may have no end.

    >>> [line[:3] for line in split_lines(b"a\\n\\nb", 5)]
    [(5, 6, b'a'), (7, 7, b''), (8, 9, b'b')]
    """
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        yield Line(offset + at, offset + end, data[at:end])
        at = end + 1


def show_line(line: Line) -> dict[str, Any]:
    """Show a line: its text, or the two ends of one that is long."""
    size_bytes = line.end - line.begin
    first, last = line.first, line.last
    if not last and size_bytes > WHOLE_BYTES:
        first, last = line.first[:ENDS_BYTES], line.first[-ENDS_BYTES:]
    if not last:
        text = first.decode("utf-8", "replace")
        return {"offset": line.begin, "size_bytes": size_bytes, "text": text, "end": None, "left_out_bytes": 0}
    text, whole = decode_whole_characters(first, 0, True)
    # A character that is cut off at the beginning is left out, as at the end.
    skipped = next((at for at in range(min(4, len(last))) if last[at] & 0xC0 != 0x80), 0)
    return {
        "offset": line.begin,
        "size_bytes": size_bytes,
        "text": text,
        "end": last[skipped:].decode("utf-8", "replace"),
        "left_out_bytes": size_bytes - whole - (len(last) - skipped),
    }


def find_after(data: bytes, line_feeds: int) -> int:
    """Find where data goes on after so many line feeds; -1 if it has fewer.

    >>> find_after(b"a\\nb\\nc", 2), find_after(b"a", 0), find_after(b"a", 1)
    (4, 0, -1)
    """
    at = 0
    for _ in range(line_feeds):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return -1
    return at


def find_last_lines(data: bytes, count: int) -> int:
    """Find where the last so many lines begin.

    >>> find_last_lines(b"a\\nb\\n", 1), find_last_lines(b"a\\nb", 1), find_last_lines(b"a\\nb", 5)
    (2, 2, 0)
    """
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(count):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1
