"""A process that reads a share of a folder's files for a start.

Run as `python -m store.disk.kept.load_worker ROOT FOLDER NUMBER`. File names come over stdin, separated by NULs; the
names of the segments it writes (see store.disk.kept.checkpoint) go to stdout, each as soon as it is ready. It changes
nothing else and needs no lock: its segments are only believed as far as they agree with the files.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from store.store import Store


def main(root: str, folder: str, number: str) -> None:
    """Read the names from stdin, then the files."""
    gc.disable()  # all objects stay until their segment is written, and none are in cycles
    names = [os.fsdecode(name) for name in sys.stdin.buffer.read().split(b"\0") if name]
    for path in Store(Path(root)).checkpoints[folder].read_share(names, int(number)):
        print(path.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
