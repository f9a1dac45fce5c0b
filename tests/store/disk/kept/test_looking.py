"""Looking at files beside other work: the same is told with a process that helps, without it, and when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.disk.entries import MARK, pack_stamp
from store.disk.kept.look_worker import GONE, STATE, pack_state
from store.disk.kept.looking import Looker
from store.disk.reading import to_stamp

NAMES = ["a", "ü €", "gone", "link", *map(str, range(3_000))]


def make_folder(folder: Path) -> bytes:
    """Make a folder with these files; return their states."""
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    (folder / "gone").unlink()
    (folder / "link").unlink()
    (folder / "link").symlink_to("a")
    return b"".join(GONE if name == "gone" else pack_state(os.lstat(folder / name)) for name in NAMES)


@pytest.mark.parametrize(
    ("why", "with_helper", "python"),
    [
        ("in a process of its own", True, None),
        ("by the caller", False, None),
        ("the process ends at once", True, "/bin/false"),
        ("it cannot be started", True, "/nonexistent"),
    ],
)
def test_states_are_those_of_the_files(
    why: str, with_helper: bool, python: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = make_folder(tmp_path / "files")
    if python:
        monkeypatch.setattr("sys.executable", python)
    with Looker(tmp_path / "files", with_helper=with_helper) as looker:
        assert looker.take() == b"", why
        for _ in range(2):
            looker.ask(NAMES)
            assert looker.take() == states, why
        looker.ask(["a"])
        (tmp_path / "files/gone").write_text("back")
        assert looker.take() == states[: STATE.size], why
        looker.ask(["gone"])
        assert looker.take() == pack_state(os.lstat(tmp_path / "files/gone")), why


def test_a_state_begins_with_the_mark_of_the_file(tmp_path: Path) -> None:
    status = tmp_path.stat()
    assert pack_state(status)[: MARK.size] == pack_stamp(to_stamp(status))
