"""What a job has written, by byte offsets, as text."""

from __future__ import annotations

import codecs
from typing import Any

from store.errors import NotFound
from store.files import read_slice

SLICE_BYTES = 1_000_000


async def since(
    stdout: str | None, stderr: str | None, *, stdout_at: int, stderr_at: int, owner: int | None
) -> dict[str, Any]:
    """`{stdout, stderr, stdout_offset, stderr_offset}`: what the files hold from these bytes on, and where to go on.

    A file that is not there yet is empty. One file for both is told as stdout alone, the offset of stderr unchanged.
    `owner` is the uid that the files must belong to; None for any.
    """
    merged = stderr is None or stderr == stdout
    out, out_at = await _stream(stdout, stdout_at, owner)
    err, err_at = ("", max(0, stderr_at)) if merged else await _stream(stderr, stderr_at, owner)
    return {"stdout": out, "stderr": err, "stdout_offset": out_at, "stderr_offset": err_at}


async def _stream(path: str | None, at: int, owner: int | None) -> tuple[str, int]:
    if path is None:
        return "", 0
    try:
        data, size_bytes = await read_slice(path, max(0, at), SLICE_BYTES, owner=owner)
    except NotFound:
        return "", 0
    start = min(max(0, at), size_bytes)
    more = start + len(data) < size_bytes
    return whole_text(data, start, more)


def whole_text(data: bytes, start: int, more: bool) -> tuple[str, int]:
    """The bytes as text and the offset after it; a character that is cut off at the end is left for the next time.

    It is left only when it may still become whole: when `more` follows, or the file may grow; bytes that are no UTF-8
    become U+FFFD.

    >>> whole_text("aé".encode()[:2], 0, True), whole_text(b"a\\xff", 10, False)
    (('a', 1), ('a�', 12))
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=False)
    pending = len(decoder.getstate()[0])
    if pending == len(data) and data and not more:
        return text + decoder.decode(b"", final=True), start + len(data)
    return text, start + len(data) - pending
