"""What processes take of a processor and of memory, as /proc tells (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int | str) -> int:
    """Return the resident memory of a process (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def read_cpu_s(pid: int | str) -> float:
    """Seconds of a processor that the process itself has taken, with all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def list_family(pid: int) -> dict[int, str]:
    """The processes that this one, or one of its own, has started: number and command line."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status, line = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
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
