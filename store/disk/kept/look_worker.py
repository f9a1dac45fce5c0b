"""A process that looks at files while the server starts.

Run as `python -S -m store.disk.kept.look_worker FOLDER`. Over stdin come lists of file names, separated by NULs, each
after its size in four bytes; for each list the states of the files go to stdout. It loads nothing but what it needs, so
that it is ready at once.
"""

from __future__ import annotations

import os
import struct
import sys

# A mark (store/disk/entries.py), and when the inode changed last, in ns: no program can set it.
STATE = struct.Struct("<QQqIIIq")
SIZE_BYTES = 4
GONE = bytes(STATE.size)


def pack_state(status: os.stat_result) -> bytes:
    """Return all by which a change of the file can be told."""
    return STATE.pack(
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_ctime_ns,
    )


def look_at(filename: str | bytes, folder: int) -> bytes:
    """Return the state of a file in an open folder, GONE if it is gone."""
    try:
        return pack_state(os.stat(filename, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return GONE


def main(path: str) -> None:
    """Answer until there are no more questions."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    while size := sys.stdin.buffer.read(SIZE_BYTES):
        filenames = sys.stdin.buffer.read(int.from_bytes(size, "big")).split(b"\0")
        sys.stdout.buffer.write(b"".join([look_at(filename, folder) for filename in filenames]))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
