"""What a server holds: memory, descriptors, threads; and what it has left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Reading:
    """What is held at one moment; strays are processes of this store that no living server knows."""

    memory_mb: float = 0.0
    descriptors: int = 0
    threads: int = 0
    zombies: int = 0
    strays: int = 0

    def list_excess(self, first: Reading) -> list[str]:
        """List what is more than at first by more than pools that fill late and lists that grow explain."""
        return [
            f"{field.name}: {getattr(self, field.name)} after {getattr(first, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) > getattr(first, field.name) + getattr(MARGIN, field.name)
        ]


# A program under way has some six descriptors and three threads, and on a busy machine there are always a few.
MARGIN = Reading(memory_mb=40.0, descriptors=24, threads=12)


def list_processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the state of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # ended while we looked
                continue
            found[int(entry.name)] = (int(fields[1]), fields[0])
    return found


def mentions(pid: int, folder: Path) -> bool:
    """Whether a process was started with this folder in its words or its variables."""
    process = Path(f"/proc/{pid}")
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except OSError:
        return False


def list_descendants(pid: int, processes: dict[int, tuple[int, str]]) -> Iterator[int]:
    """Yield the process and everything that it started, and these in turn."""
    yield pid
    for child, (parent, _) in processes.items():
        if parent == pid:
            yield from list_descendants(child, processes)


def read(pid: int | None, folder: Path) -> Reading:
    """Read what the server holds (None: it has ended), and count what else there is of this folder."""
    processes = list_processes()
    own = set(list_descendants(pid, processes)) if pid is not None else set()
    strays = sum(mentions(other, folder) for other in processes.keys() - own - {os.getpid()})
    if pid is None:
        return Reading(strays=strays)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Reading(
        memory_mb=round(int(status["VmRSS"].split()[0]) / 1024, 1),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        zombies=sum(processes[other][1] == "Z" for other in own),
        strays=strays,
    )
