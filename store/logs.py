"""The output of a job as text, by byte offsets."""

from __future__ import annotations

import asyncio
import codecs
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import orjson

from store.disk.reading import ReadSlices, read_slices
from store.disk.turns import Turn
from store.errors import NotFound, StoreError

# As much is read from an offset on, and of the end of a file whose reader has nothing of it yet.
SLICE_BYTES = 1_000_000
TAIL_BYTES = 16_000_000
# A long text is written as JSON in pieces of so many characters.
PIECE_CHARS = 100_000
# So many bytes before an offset tell whether it is still the same log, for so many offsets.
REMEMBERED_BYTES = 64
MOST_REMEMBERED = 4096


class Tails:
    """The last bytes before the offsets at which readers go on.

    By them a log is recognised that was written anew and is long enough again. The oldest are forgotten.
    """

    def __init__(self) -> None:
        self._tails: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get_before(self, path: str, at: int | None) -> bytes:
        """Get what stood before this offset; b"" if nobody has read up to it."""
        return self._tails.get((path, at or 0), b"")

    def keep_before(self, path: str, at: int, read: bytes) -> None:
        """Keep the end of what was read up to this offset."""
        self._tails.pop((path, at), None)
        self._tails[path, at] = read[-REMEMBERED_BYTES:]
        if len(self._tails) > MOST_REMEMBERED:
            self._tails.popitem(last=False)


class Part(NamedTuple):
    """The text of a stream, and the offset to continue at.

    `truncated` says that the text begins within the file, `restarted` that the file is not what was read so far.
    """

    text: str = ""
    offset: int = 0
    truncated: bool = False
    restarted: bool = False


async def read_job_logs(
    stdout: str | None,
    stderr: str | None,
    *,
    stdout_at: int | None,
    stderr_at: int | None,
    owner: int | None,
    tails: Tails,
    read: ReadSlices = read_slices,
) -> dict[str, Any]:
    """Read a job's output from these offsets on.

    Returns text, offset to continue at and `restarted` of both streams, and `truncated`. From an offset on, that is
    SLICE_BYTES at most; where it is None, all of the file, but of one that is longer than TAIL_BYTES only whole lines
    of its end, and `truncated` says so. A file that is shorter than its offset, or has other bytes before it than those
    in `tails`, was written anew and is read from its beginning. A file that is not there yet is empty. If both are one
    file, it is returned as stdout alone, the offset of stderr unchanged. `owner` is the uid that the files must belong
    to; None for any. `read` reads where the files lie, all in one go.
    """

    async def read_parts(wanted: dict[str, int | None]) -> dict[str, Part | None]:
        before = {path: tails.get_before(path, at) for path, at in wanted.items()}
        slices = [
            (path, -TAIL_BYTES, TAIL_BYTES)
            if at is None
            else (path, at - len(before[path]), SLICE_BYTES + len(before[path]))
            for path, at in wanted.items()
        ]
        found = await read(slices, owner) if slices else []
        return await asyncio.to_thread(
            lambda: {
                path: _decode_part(path, part, at, before[path], tails)
                for part, (path, at) in zip(found, wanted.items(), strict=True)
            }
        )

    offsets = {stdout: stdout_at, **({stderr: stderr_at} if stderr != stdout else {})}
    offsets = {path: at if at is None else max(0, at) for path, at in offsets.items()}
    parts = await read_parts({path: at for path, at in offsets.items() if path is not None})
    anew: dict[str, int | None] = {path: 0 for path, part in parts.items() if part is None}
    parts |= {path: part._replace(restarted=True) for path, part in (await read_parts(anew)).items() if part}
    out = parts.get(stdout or "") or Part(restarted=bool(offsets[stdout]))
    err = None if stderr == stdout else parts.get(stderr or "")
    err = err or Part(offset=max(0, stderr_at or 0))
    return {
        "stdout": out.text,
        "stderr": err.text,
        "stdout_offset": out.offset,
        "stderr_offset": err.offset,
        "stdout_restarted": out.restarted,
        "stderr_restarted": err.restarted,
        "truncated": out.truncated or err.truncated,
    }


def _decode_part(
    path: str, found: tuple[bytes, int] | StoreError, at: int | None, before: bytes, tails: Tails
) -> Part | None:
    """Decode what was read of a file; None if it was written anew.

    What stood before the offset comes first. A missing file is empty.
    """
    if isinstance(found, NotFound):
        return Part(restarted=bool(at))
    if isinstance(found, StoreError):
        raise found
    data, size_bytes = found
    skipped, more = len(before), False
    if at is None:
        start = max(0, size_bytes - TAIL_BYTES)
        skipped = data.find(b"\n") + 1 if start else 0
    elif at > size_bytes or not data.startswith(before):
        return None
    else:
        start = at - skipped
        more = start + len(data) < size_bytes
    text, end = decode_whole_characters(data[skipped:], start + skipped, more)
    tails.keep_before(path, end, data[: end - start])
    return Part(text, end, at is None and start > 0)


async def iterate_json(value: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """Write an object whose values may be long texts, in pieces.

    Nothing else goes on while one is written, and a text of NUL characters takes six times its length.
    """
    before, turn = b"{", Turn()
    for key, item in value.items():
        yield before + orjson.dumps(key) + b":"
        if isinstance(item, str):
            yield b'"'
            for at in range(0, len(item), PIECE_CHARS):
                await turn.yield_in_time()
                yield orjson.dumps(item[at : at + PIECE_CHARS])[1:-1]
            yield b'"'
        else:
            yield orjson.dumps(item)
        before = b","
    yield b"}" if value else b"{}"


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
