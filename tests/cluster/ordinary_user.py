"""An ordinary user on a shared machine, and the folders that such a user is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

IS_ROOT = os.geteuid() == 0
_CAPABILITIES = "-dac_override,-dac_read_search"
# Begins a command that folders are closed to as to anybody else, also where root runs the tests.
PREFIX = ["setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}"] if IS_ROOT else []
# The group of a project's folder, another than the user's own where that can be had.
PROJECT = 61234 if IS_ROOT else os.getgid()


def make_project(path: Path) -> Path:
    """Make the folder of a project, in which everything belongs to the project's group."""
    path.mkdir()
    os.chown(path, -1, PROJECT)
    path.chmod(0o2775)
    return path


def _close(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


def _link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _write(path: Path) -> Path:
    path.write_text("")
    return path


# Why a job cannot use the folder, and what makes it so in an empty one.
UNUSABLE: list[tuple[str, Callable[[Path], Path]]] = [
    ("somebody's own home", lambda home: _close(home / "closed", 0o000)),
    ("below somebody's own home", lambda home: _close(home / "closed-above", 0o000) / "a" / "b"),
    ("a folder that may not be written", lambda home: _close(home / "closed-read", 0o555) / "a"),
    ("a file", lambda home: _write(home / "file")),
    ("below a file", lambda home: _write(home / "file-above") / "a" / "b"),
    ("a link to nowhere", lambda home: _link(home / "dangling", "nowhere")),
    ("below a link to nowhere", lambda home: _link(home / "dangling-above", "nowhere") / "a"),
    ("a link to itself", lambda home: _link(home / "circle", "circle")),
    ("a path that is too long", lambda home: Path((f"{home}/" + "{}/".format("y" * 200) * 21)[:4095] + "y")),
]
