"""Reads a share of a folder's files for a server that starts: `python -m store.disk.load_worker ROOT FOLDER NUMBER`.

The names come over stdin, separated by NULs; those of the segments (see store.disk.checkpoint) go to stdout, each as
soon as it is there. Changes nothing else, and needs no lock: what it writes is only believed as far as it agrees with
the files.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from store.store import Store


def main(root: str, folder: str, number: str) -> None:
    """Nothing; reads the names and then the files."""
    gc.disable()  # everything that is made here stays until its segment is written, and is not in cycles
    names = [os.fsdecode(name) for name in sys.stdin.buffer.read().split(b"\0") if name]
    for path in Store(Path(root)).checkpoints[folder].read_share(names, int(number)):
        print(path.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
