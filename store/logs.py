"""The output of a job as text, by byte offsets."""

from __future__ import annotations

import asyncio
import codecs
from typing import Any

from store.disk.reading import ReadSlices, read_slices
from store.errors import NotFound, StoreError

# As much is read from an offset on, and of the end of a file whose reader has nothing of it yet.
SLICE_BYTES = 1_000_000
TAIL_BYTES = 16_000_000


async def read_job_logs(
    stdout: str | None,
    stderr: str | None,
    *,
    stdout_at: int | None,
    stderr_at: int | None,
    owner: int | None,
    read: ReadSlices = read_slices,
) -> dict[str, Any]:
    """Read a job's output from these offsets on.

    Returns `{stdout, stderr, stdout_offset, stderr_offset, truncated}`, the offsets being those to continue at. From an
    offset on, that is SLICE_BYTES at most; where it is None, all of the file, but of one that is longer than TAIL_BYTES
    only whole lines of its end, and `truncated` says so. A file that is not there yet is empty. If both are one file,
    it is returned as stdout alone, the offset of stderr unchanged. `owner` is the uid that the files must belong to;
    None for any. `read` reads where the files lie, all in one go.
    """
    wanted = [(stdout, stdout_at), (None if stderr == stdout else stderr, stderr_at)]
    parts = [
        (path, -TAIL_BYTES, TAIL_BYTES) if at is None else (path, max(0, at), SLICE_BYTES)
        for path, at in wanted
        if path is not None
    ]
    found = iter(await read(parts, owner) if parts else [])
    slices = [None if path is None else next(found) for path, _ in wanted]
    (out, out_at, out_cut), (err, err_at, err_cut) = await asyncio.to_thread(
        lambda: [_decode_part(part, at) for part, (_, at) in zip(slices, wanted, strict=True)]
    )
    if slices[0] is None:
        out_at = 0
    return {
        "stdout": out,
        "stderr": err,
        "stdout_offset": out_at,
        "stderr_offset": err_at,
        "truncated": out_cut or err_cut,
    }


def _decode_part(part: tuple[bytes, int] | StoreError | None, at: int | None) -> tuple[str, int, bool]:
    """Return text, next offset, and whether the text begins within the file.

    A missing file is empty.
    """
    if part is None:
        return "", max(0, at or 0), False
    if isinstance(part, NotFound):
        return "", 0, False
    if isinstance(part, StoreError):
        raise part
    data, size_bytes = part
    if at is not None:
        start = min(max(0, at), size_bytes)
        return *decode_whole_characters(data, start, start + len(data) < size_bytes), False
    start = max(0, size_bytes - TAIL_BYTES)
    skipped = data.find(b"\n") + 1 if start else 0
    return *decode_whole_characters(data[skipped:], start + skipped, False), start > 0


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
