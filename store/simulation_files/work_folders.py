"""Folders in which jobs work on this machine: what is new there. Blocks.

Names come from programs of anybody, so only plain ones are told, and no link is followed, neither in place of a file
nor in place of a folder on the way.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# A name that is told of a file.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}", re.ASCII)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class ChangedFile(NamedTuple):
    """A file that is not as it was known to be.

    `state` tells this version from others, and means nothing else. `data` is None for one that is too large to be read.
    """

    state: str
    data: bytes | None


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a folder, its last two parts without following links."""
    above = os.open(path.parent, FOLDER)
    try:
        folder = os.open(path.name, FOLDER, dir_fd=above)
    finally:
        os.close(above)
    try:
        yield folder
    finally:
        os.close(folder)


def read_changed(folder: Path, known: Mapping[str, str], most_bytes: int) -> dict[str, ChangedFile]:
    """Read those of some files of a folder that changed, by name.

    `known` has the state in which each was read last, "" for none. Without the folder there are none. Raises OSError.
    """
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), open_folder(folder) as place:
        for name, state in known.items():
            try:
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and _to_state(status) != state:
                with contextlib.suppress(FileNotFoundError):
                    found[name] = _read_whole(name, place, most_bytes)
    return found


def _read_whole(name: str, place: int, most_bytes: int) -> ChangedFile:
    fd = os.open(name, FILE, dir_fd=place)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            return ChangedFile(_to_state(status), None)
        return ChangedFile(_to_state(status), os.read(fd, most_bytes))
    finally:
        os.close(fd)


def _to_state(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


def list_files(folder: Path, names: Sequence[str], ending: str, most_files: int) -> list[str]:
    """List files in these folders below one folder, as `NAME/FILE`."""
    found: list[str] = []
    for name in names:
        with contextlib.suppress(OSError), open_folder(folder / name) as place, os.scandir(place) as entries:
            found += sorted(
                f"{name}/{entry.name}"
                for entry in entries
                if entry.name.endswith(ending) and NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            )
        if len(found) >= most_files:
            break
    return found[:most_files]
