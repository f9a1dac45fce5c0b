"""A job's output as lines: pieces of a file, decoded. Pure."""

from __future__ import annotations

from typing import NamedTuple

from store.logs import decode_whole_characters

# So much is sent at once.
MOST_BYTES = 4_000_000
# So much of a file's end is read at first; more where that has too few lines.
FIRST_BYTES = 256_000


class Piece(NamedTuple):
    """Some whole lines of a file.

    `offset` is where the file goes on behind them, `truncated` says that lines before them were left out.
    """

    text: str = ""
    offset: int = 0
    truncated: bool = False


def take_last_lines(data: bytes, size_bytes: int, lines: int) -> Piece:
    """Take the last lines of the end of a file that has so many bytes."""
    start = size_bytes - len(data)
    if not lines or not data:
        return Piece("", size_bytes, size_bytes > 0)
    at = _find_last_lines(data, lines)
    if start and at == 0:  # it may begin within a line, which is left out unless it is the only one
        first_end = data.find(b"\n") + 1
        at = first_end if 0 < first_end < len(data) else 0
    text, offset = decode_whole_characters(data[at:], start + at, False)
    return Piece(text, offset, start + at > 0)


def has_enough_lines(data: bytes, lines: int) -> bool:
    """Tell whether the end of a file has so many whole lines."""
    return data.count(b"\n") > lines


def take_next_lines(data: bytes, start: int, size_bytes: int, lines: int) -> Piece:
    """Take the first lines of what a file has from `start` on."""
    end = 0
    for _ in range(lines):
        if (at := data.find(b"\n", end)) < 0:
            end = len(data)
            break
        end = at + 1
    text, offset = decode_whole_characters(data[:end], start, start + end < size_bytes)
    return Piece(text, offset)


def _find_last_lines(data: bytes, lines: int) -> int:
    """Find where the last so many lines begin."""
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def split_lines(text: str) -> list[str]:
    """Split a text at line feeds; the last line may have none.

    >>> split_lines("a\\nb\\n"), split_lines("a\\n\\nb"), split_lines("")
    (['a', 'b'], ['a', '', 'b'], [])
    """
    parts = text.split("\n")
    return parts[:-1] if not parts[-1] else parts
