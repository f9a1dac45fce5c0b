"""The output of a job as text, by byte offsets."""

from __future__ import annotations

import codecs
from typing import Any

from store.disk.files import ReadSlices, read_slices
from store.errors import NotFound, StoreError

SLICE_BYTES = 1_000_000


async def read_job_logs(
    stdout: str | None,
    stderr: str | None,
    *,
    stdout_at: int,
    stderr_at: int,
    owner: int | None,
    read: ReadSlices = read_slices,
) -> dict[str, Any]:
    """Read a job's output from these offsets on.

    Returns `{stdout, stderr, stdout_offset, stderr_offset}`, the offsets being those to continue at. A file that is not
    there yet is empty. If both are one file, it is returned as stdout alone, the offset of stderr unchanged. `owner` is
    the uid that the files must belong to; None for any. `read` reads where the files lie, all in one go.
    """
    wanted = [(stdout, stdout_at), (None if stderr == stdout else stderr, stderr_at)]
    parts = [(path, max(0, at), SLICE_BYTES) for path, at in wanted if path is not None]
    found = iter(await read(parts, owner) if parts else [])
    out, out_at = _decode_part(next(found), stdout_at) if wanted[0][0] is not None else ("", 0)
    err, err_at = _decode_part(next(found), stderr_at) if wanted[1][0] is not None else ("", max(0, stderr_at))
    return {"stdout": out, "stderr": err, "stdout_offset": out_at, "stderr_offset": err_at}


def _decode_part(part: tuple[bytes, int] | StoreError, at: int) -> tuple[str, int]:
    """Return text and next offset of a slice; a missing file is empty."""
    if isinstance(part, NotFound):
        return "", 0
    if isinstance(part, StoreError):
        raise part
    data, size_bytes = part
    start = min(max(0, at), size_bytes)
    return decode_whole_characters(data, start, start + len(data) < size_bytes)


def decode_whole_characters(data: bytes, start: int, more: bool) -> tuple[str, int]:
    """Decode the bytes; return the text and the offset after it.

    A character that is cut off at the end is left for the next read, but only if it may still become whole: when `more`
    follows, or the file may grow. Bytes that are not UTF-8 become U+FFFD.

    >>> decode_whole_characters("aé".encode()[:2], 0, True), decode_whole_characters(b"a\\xff", 10, False)
    (('a', 1), ('a�', 12))
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=False)
    pending = len(decoder.getstate()[0])
    if pending == len(data) and data and not more:
        return text + decoder.decode(b"", final=True), start + len(data)
    return text, start + len(data) - pending
