"""Processes, identified by pid, start time and boot (proc(5))."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_boot: list[str] = []


def read_boot_id() -> str:
    """Read a text that changes with every start of the machine."""
    if not _boot:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot.append(file.read().strip())
    return _boot[0]


def read_stat(pid: int) -> tuple[str, int, int, int] | None:
    """Read a process's state letter, parent, session and start time.

    The start time is in clock ticks after boot. None when the process is gone.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None  # gone in between
    return fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19])


def read_start_ticks(pid: int) -> int:
    """Read the start time of a living process; 0 when it is gone."""
    found = read_stat(pid)
    return found[3] if found else 0


def is_alive(pid: int | None, ticks: int | None, boot: str | None) -> bool:
    """Return whether exactly this process still runs; a zombie does not."""
    if not pid or boot != read_boot_id():
        return False
    found = read_stat(pid)
    return found is not None and found[3] == ticks and found[0] not in "ZX"


def list_job_processes(raw_id: int, conf_path: str, session: int | None) -> list[tuple[int, bool]]:
    """List the job's processes as (pid, belongs to a step of srun).

    Those of its session, and those that carry its environment.

    The environment finds what left the session (setsid, daemons), even after the supervisor is gone.
    """
    marks = (f"SLURM_JOB_ID={raw_id}".encode(), f"SLURM_CONF={conf_path}".encode("utf-8", "surrogateescape"))
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        facts = read_stat(int(entry))
        if facts is None or facts[0] in "ZX" or int(entry) == os.getpid():
            continue
        words = _read_environment(entry)
        if all(mark in words for mark in marks) or (session and facts[2] == session):
            found.append((int(entry), any(word.startswith(b"SLURM_STEP_ID=") for word in words)))
    return found


def _read_environment(pid: str) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []  # another user's process, or gone


def send_signal(pids: Iterable[int], number: int) -> int:
    """Send the signal; return how many of the processes took it."""
    count = 0
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
        count += 1
    return count
