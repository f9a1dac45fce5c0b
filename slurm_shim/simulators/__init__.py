"""Programs that run where a simulation runs; only the standard library.

They are copied to the cluster as plain files, so they know nothing of Sluice and run on Python 3.6 (python3 of RHEL 8).
"""

from __future__ import annotations

from pathlib import Path


def read_programs() -> dict[str, bytes]:
    """Read the programs: the name of each file, and its bytes."""
    folder = Path(__file__).parent
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"}
