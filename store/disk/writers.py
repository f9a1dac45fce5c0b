"""Whether somebody still writes a file, as far as the kernel tells.

A read lease (fcntl(2), F_SETLEASE) is refused while the file is open for writing. That is exact where every writer goes
through this kernel; on network filesystems a lease says nothing of writers elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
from pathlib import Path

# Filesystems that only this machine writes to.
LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
MOUNTS = Path("/proc/self/mountinfo")
OCTAL = re.compile(r"\\([0-7]{3})")  # how proc(5) writes blanks in there


def is_open_for_writing(path: Path) -> bool | None:
    """Return whether anybody has a file of a local folder open for writing.

    None where that cannot be known, as for files of other users.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Whoever opens the file during the lease breaks it by a signal: one that is ignored, unlike the usual SIGIO.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)  # which ends the lease
    return False


def is_local(folder: Path) -> bool:
    """Return whether only this machine writes to the folder's filesystem."""
    found, longest, path = "", 0, folder.resolve()
    with contextlib.suppress(OSError):
        for line in MOUNTS.read_text(errors="replace").splitlines():
            place, _, source = line.partition(" - ")
            point = OCTAL.sub(lambda code: chr(int(code[1], 8)), place.split(" ")[4])
            if len(point) >= longest and path.is_relative_to(point):  # what is mounted later lies above
                found, longest = source.split(" ")[0], len(point)
    return found in LOCAL
