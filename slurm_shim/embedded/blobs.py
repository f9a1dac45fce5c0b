"""Pieces of bytes in one stream, each behind its length."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def pack_blobs(blobs: Iterable[bytes]) -> bytes:
    """Pack the pieces into one."""
    return b"".join(b"%d\n%b" % (len(blob), blob) for blob in blobs)


def unpack_blobs(data: bytes) -> Iterator[bytes]:
    """Yield the pieces; ValueError where the last one is not whole."""
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        size, at = int(data[at:end]), end + 1
        if len(data) < at + size:
            raise ValueError(f"{size} bytes were announced, {len(data) - at} came")
        yield data[at : at + size]
        at += size
