"""Where the folder of a mount may not lie, here and over there.

What counts is where it really lies: links are followed each time it is asked.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

# What the kernel makes up, devices, and the processes' own views of the file system.
KERNEL = ("/proc", "/sys", "/dev")


def explain_root(root: Path) -> str | None:
    """Explain why a folder of this machine can be no mount; None if it can.

    Asks the disk, which may not answer.
    """
    home = Path("~").expanduser()
    if why := explain_path(root, home):
        return why
    try:
        return explain_path(Path(os.path.realpath(root)), Path(os.path.realpath(home)))
    except OSError:
        return "behind a link that cannot be followed"


def explain_path(path: Path, home: Path) -> str | None:
    """Explain why a folder can be no mount by its path; None if it can."""
    normal = Path(os.path.normpath(path))
    if why := explain_remote_root(str(path)):
        return why
    if normal.is_relative_to(home) and any(part.startswith(".") for part in normal.relative_to(home).parts):
        return "a hidden folder of the home directory"
    return None


def explain_store(root: Path, store: Path) -> str | None:
    """Explain that a path lies in the store, beside the jobs' own work/."""
    real, kept = Path(os.path.realpath(root)), Path(os.path.realpath(store))
    return "in the store" if real.is_relative_to(kept) and not real.is_relative_to(kept / "work") else None


def find_store_inside(root: Path, store: Path) -> str | None:
    """Find where in a folder the store lies; None if it does not."""
    real, kept = Path(os.path.realpath(root)), Path(os.path.realpath(store))
    return str(kept.relative_to(real)) if kept.is_relative_to(real) else None


def explain_remote_root(path: str) -> str | None:
    """Explain why a folder can be no mount by its path; None if it can."""
    normal = PurePosixPath("/", os.path.normpath(path).lstrip("/"))
    if normal == PurePosixPath("/"):
        return "the top of the file system"
    top = next((top for top in KERNEL if normal.is_relative_to(top)), None)
    return f"in {top}" if top else None
