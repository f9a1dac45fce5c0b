"""One server per store: a lock held until all its children ended.

`flock` belongs to the open file, not to the process: an sbatch that was started with the lock's descriptor keeps it
held after its server was killed, so the next server does not look for jobs before that sbatch has ended.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from store.errors import Locked, from_os_error

LOCK_NAME = ".lock"
WAIT_S = 30.0
STEP_S = 0.05
OWN_S = 0.5


class Lock:
    """The held lock.

    Children that inherit `fd` (as `pass_fds`) keep it: no other server starts before they have ended.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path
        self.name = str(path)
        # No other file gets this identity while this one is open.
        self.identity: tuple[int, int] | None = _read_identity(os.fstat(fd))
        # While the folder is open, no other one gets its number, also after it was deleted.
        self.root_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def find_loss(self) -> str | None:
        """Find out why the store is not the one that was locked; None if it is.

        The folder may have been deleted, renamed or replaced meanwhile, and so may the lock file.
        """
        try:
            # As text, since each answer of /health asks.
            if _read_identity(os.stat(self.name)) == self.identity:  # noqa: PTH116
                return None
        except (FileNotFoundError, NotADirectoryError):
            pass  # which of the two is gone is found out below
        except OSError as error:
            return f"the store {self.path.parent} cannot be reached: {error.strerror}"
        if self._is_root_ours():
            return f"the lock file {self.path} was removed or replaced"
        what = "replaced by another one" if self.path.parent.exists() else "removed or renamed"
        return f"the folder of the store, {self.path.parent}, was {what}"

    def _is_root_ours(self) -> bool:
        try:
            return os.path.samestat(self.path.parent.stat(), os.fstat(self.root_fd))
        except OSError:
            return False

    def acquire_again(self) -> None:
        """Lock the store again where only its lock file was removed."""
        if not self._is_root_ours():
            return
        with contextlib.suppress(OSError):  # tried again later
            fd = _open_lock_file(self.path)
            try:
                if _try_lock(fd):  # else another server has it by now
                    _write_owner(fd)
                    os.dup2(fd, self.fd, inheritable=False)  # the number that children inherit
                    self.identity = _read_identity(os.fstat(fd))
            finally:
                os.close(fd)

    def release(self) -> None:
        """Give the lock up; children that inherited it go on holding it.

        The file stays, because others may be waiting on it.
        """
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self.root_fd)
            self.fd, self.identity = -1, None


def acquire_lock(root: Path, wait_s: float = WAIT_S, pause: Callable[[float], None] = time.sleep) -> Lock:
    """Lock the store at `root`. Raises Locked if another server has it.

    When the server named in the file is dead, one of its children still has the lock: that is waited for up to
    `wait_s`.
    """
    path = root / LOCK_NAME
    try:
        fd = _open_lock_file(path)
    except OSError as error:
        raise from_os_error(error, "open the lock file of the store") from error
    try:
        waited_s = 0.0
        while not _try_lock(fd):
            owner = os.pread(fd, 64, 0).decode("ascii", "replace").split()
            # A child that this process is starting holds the lock for a moment, until exec.
            own = bool(owner) and owner[0] == str(os.getpid()) and waited_s < OWN_S
            if owner and _is_alive(owner) and not own:
                raise Locked(
                    f"another server (pid {owner[0]}) uses the store {root}; stop it, or choose another folder"
                )
            if waited_s >= wait_s:
                pid = owner[0] if owner else "unknown"
                raise Locked(f"a server that is gone (pid {pid}) has left a command running on {root}; try again later")
            pause(STEP_S)
            waited_s += STEP_S
        _write_owner(fd)
        return Lock(fd, path)
    except OSError as error:
        os.close(fd)
        raise from_os_error(error, "lock the store") from error
    except BaseException:
        os.close(fd)
        raise


def _read_identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _open_lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write_owner(fd: int) -> None:
    """Write which process holds the lock."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {_read_start_ticks(os.getpid()) or 0}\n".encode(), 0)


def _try_lock(fd: int) -> bool:
    """Try to lock the file; return whether that succeeded."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _is_alive(owner: list[str]) -> bool:
    """Tell whether the process that wrote the file still runs.

    A zombie does not count, nor another process that got the same number.
    """
    if not owner[0].isdigit():
        return True
    pid = int(owner[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    started = _read_start_ticks(pid)
    if started is None:
        return not Path("/proc/self/stat").exists()
    return len(owner) < 2 or owner[1] in ("0", str(started))


def _read_start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot.

    From proc(5), stat field 22; None when the process is gone or dead.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
