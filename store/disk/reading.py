"""Reading files that others may have made, with care."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiofiles.os import wrap  # type: ignore[import-untyped]

from store.errors import Denied, NotFound, StoreError, TooLarge, from_os_error

NOT_A_PLAIN_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM})

Stamp = tuple[int, int, int, int, int, int]
# Takes a descriptor and its status; raises Denied for a file that is not to be read.
Check = Callable[[int, os.stat_result], None]


def to_stamp(status: os.stat_result) -> Stamp:
    """Return inode, size, modification time in ns, mode, and owners of a file.

    Two stamps tell two states of a file apart without reading it.
    """
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid, status.st_gid)


def open_regular_file(path: Path | str, owner: int | None = None) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; return descriptor and status.

    Never waits on a pipe and follows no link. Raises NotFound; Denied for links, pipes, sockets, devices, folders,
    files that may not be read or, with `owner`, belong to another user id.
    """
    name = Path(path).name
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("file", name) from None
    except ValueError as error:  # a NUL in the path
        raise NotFound("file", repr(name)) from error
    except OSError as error:
        if error.errno in NOT_A_PLAIN_FILE:
            why = "is a symbolic link" if error.errno == errno.ELOOP else "cannot be opened for reading"
            raise Denied(f"{name} {why}") from error
        if error.errno == errno.ENAMETOOLONG:
            raise NotFound("file", name[:80]) from None
        raise from_os_error(error, f"read {name}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Denied(f"{name} is not a regular file")
        if owner is not None and status.st_uid != owner:
            raise Denied(f"{name} belongs to somebody else")
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def read_file(path: Path, limit_bytes: int, check: Check | None = None) -> tuple[bytes, Stamp]:
    """Read the whole file; return its bytes and the stamp of that state.

    `check` may refuse the open file. Raises NotFound, Denied, TooLarge, StoreUnavailable.
    """
    fd, status = open_regular_file(path)
    try:
        if check is not None:
            check(fd, status)
        for _ in range(5):
            if status.st_size > limit_bytes:
                raise TooLarge(limit_bytes, f"the file {path.name}")
            data = read_at(fd, 0, limit_bytes + 1)
            after = os.fstat(fd)
            # Somebody is writing into the file: try again; later changes are reported by the watch.
            if to_stamp(after) == to_stamp(status) and len(data) == after.st_size:
                break
            status = after
        return data, to_stamp(status)
    except OSError as error:
        raise from_os_error(error, f"read {path.name}") from error
    finally:
        os.close(fd)


def read_slice_blocking(
    path: Path | str, offset: int, limit_bytes: int, owner: int | None = None, check: Check | None = None
) -> tuple[bytes, int]:
    """Read part of a file in the calling thread; see `read_slice`.

    `check` may refuse the open file.
    """
    fd, status = open_regular_file(path, owner)
    try:
        if check is not None:
            check(fd, status)
        start = max(0, status.st_size + offset) if offset < 0 else offset
        data = read_at(fd, start, limit_bytes) if start < 2**63 else b""
        # From the end: which end that was, since the file may have grown meanwhile.
        return data, status.st_size if offset < 0 else os.fstat(fd).st_size
    except OSError as error:
        raise from_os_error(error, f"read {Path(path).name}") from error
    finally:
        os.close(fd)


_read_slice_in_thread = wrap(read_slice_blocking)


async def read_slice(path: Path | str, offset: int, limit_bytes: int, *, owner: int | None = None) -> tuple[bytes, int]:
    """Read part of a file off the event loop; return bytes and file size.

    At most `limit_bytes` from `offset` (negative: counted from the end). Empty bytes when the file is shorter than
    `offset`: it was truncated, and its size says so. Raises NotFound, Denied (links, pipes, devices, folders, no
    permission, another owner than the uid `owner`), StoreUnavailable.
    """
    result: tuple[bytes, int] = await _read_slice_in_thread(path, offset, limit_bytes, owner)
    return result


# Takes (path, offset, limit in bytes) of each slice and the uid that the files must belong to (None: any); returns for
# each slice its bytes and the size of the whole file, or an error.
ReadSlices = Callable[[Sequence[tuple[str, int, int]], int | None], Awaitable[list[tuple[bytes, int] | StoreError]]]


async def read_slices(
    wanted: Sequence[tuple[str, int, int]], owner: int | None = None
) -> list[tuple[bytes, int] | StoreError]:
    """Read several slices; return for each its result, NotFound or Denied."""

    async def read_part(path: str, offset: int, limit_bytes: int) -> tuple[bytes, int] | StoreError:
        try:
            return await read_slice(path, offset, limit_bytes, owner=owner)
        except (NotFound, Denied) as error:
            return error

    return [await read_part(*part) for part in wanted]


def read_at(fd: int, offset: int, limit_bytes: int) -> bytes:
    """Read up to `limit_bytes` from `offset`, in as many calls as it takes."""
    parts, left = [], limit_bytes
    while left > 0 and (part := os.pread(fd, min(left, 1 << 20), offset)):
        parts.append(part)
        offset += len(part)
        left -= len(part)
    return b"".join(parts)
