"""What processes take of a processor and of memory, as /proc tells (proc(5))."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int | str) -> int:
    """Return the resident memory of a process (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def read_stat(pid: int | str) -> list[str]:
    """Read the fields of /proc/PID/stat from the third on, the state; none of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_cpu_s(pid: int | str) -> float:
    """Read the CPU of a process itself, with all of its threads; 0 of one that is gone."""
    return sum(map(int, read_stat(pid)[11:13])) / TICKS


def read_tree_cpu_s(pid: int) -> float:
    """Read the CPU of a process, of its living children, and of those that they have waited for."""
    below: list[str] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            below += path.read_text().split()
    # The children first: one that ends meanwhile is then among those that were waited for.
    return sum(read_tree_cpu_s(int(child)) for child in below) + sum(map(int, read_stat(pid)[11:15])) / TICKS


def list_family(pid: int) -> dict[int, str]:
    """The processes that this one, or one of its own, has started: number and command line."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat, line = read_stat(entry.name), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if not stat:
                continue
            parents[int(entry.name)] = int(stat[1])
            lines[int(entry.name)] = line.replace(b"\0", b" ").decode("utf-8", "replace")
    found, added = {pid}, True
    while added:
        added = bool(more := {child for child, parent in parents.items() if parent in found} - found)
        found |= more
    return {child: lines[child] for child in found - {pid}}


def measure_mb(pid: int) -> float:
    """The memory of the process and of all that it has started, in MB; what they share counts once."""
    total_kb = 0
    for number in (pid, *list_family(pid)):
        try:
            text = Path(f"/proc/{number}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended meanwhile
        total_kb += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total_kb / 1000
