"""What changed in a work folder, as both machines tell it: the shell over there, and the reader of the store here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.remote import work_folders as remote
from store.simulation_files import work_folders as local

MARK = "0123456789abcdef"
MOST = 100
Read = Callable[[Path, Mapping[str, str]], Any]


def run_shell(block: str) -> bytes:
    """Run a block as the account's shell does; it complains of nothing."""
    ended = subprocess.run(["sh", "-c", f"T=\n{block}"], capture_output=True, check=False)
    assert ended.stderr == b""
    return ended.stdout


def read_over_there(folder: Path, known: Mapping[str, str]) -> Any:
    out = run_shell(remote.build_changes_block(str(folder), known, MOST, 500, MARK))
    return remote.parse_changes(out, known, MOST, MARK)


def read_here(folder: Path, known: Mapping[str, str]) -> Any:
    return local.read_changed(folder, known, MOST)


both = pytest.mark.parametrize("read", [read_over_there, read_here])


@both
def test_only_what_changed_of_what_is_wanted_is_read(tmp_path: Path, read: Read) -> None:
    folder = tmp_path / "it's work" / "tasks"
    folder.mkdir(parents=True)
    for number in range(1, 5):
        (folder / f"{number:04d}.json").write_text(f'{{"task_id": {number}}}\n\n')
    (folder / "0001").mkdir()
    wanted = dict.fromkeys(["0001.json", "0003.json", "0009.json"], "")
    first = read(folder, wanted)
    assert {name: file.data for name, file in first.items()} == {
        "0001.json": b'{"task_id": 1}\n\n',
        "0003.json": b'{"task_id": 3}\n\n',
    }
    states = wanted | {name: file.state for name, file in first.items()}
    assert read(folder, states) == {}
    (folder / "new").write_text("{}")
    (folder / "new").replace(folder / "0003.json")
    (folder / "0009.json").write_bytes(b"")
    assert {name: file.data for name, file in read(folder, states).items()} == {"0003.json": b"{}", "0009.json": b""}


@both
def test_what_is_hostile_is_not_read(tmp_path: Path, read: Read) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (tmp_path / "secret").write_text("{}")
    (folder / "0001.json").symlink_to(tmp_path / "secret")
    (folder / "0002.json").write_bytes(b"x" * (MOST + 1))
    os.mkfifo(folder / "0003.json")
    (folder / "0004.json").mkdir()
    (folder / "0005.json 1 2 3").write_text("{}")
    (folder / "0005.json\n1 2 3").write_text("{}")
    names = [f"{number:04d}.json" for number in range(1, 6)]
    found = read(folder, dict.fromkeys(names, ""))
    assert {name: file.data for name, file in found.items()} == {"0002.json": None}, "it is told that it is too large"
    assert read(folder, dict.fromkeys(names, "") | {"0002.json": found["0002.json"].state}) == {}
    (tmp_path / "link").symlink_to(folder)
    assert read(tmp_path / "link", {"0002.json": ""}) == {}, "a link in place of the folder"
    assert read(tmp_path / "none", {"0002.json": ""}) == {}


def test_a_file_that_is_replaced_while_it_is_read_is_asked_for_again() -> None:
    out = f"\n{MARK} 0001.json 5 9 1.5\nshort\n{MARK} 0002.json 6 2 1.5\n{{}}".encode()
    found = remote.parse_changes(out, {"0001.json": "", "0002.json": ""}, MOST, MARK)
    assert found == {"0002.json": remote.ChangedFile("6 2 1.5", b"{}")}


@pytest.mark.parametrize("where", ["there", "here"])
def test_files_are_listed_by_plain_names(tmp_path: Path, where: str) -> None:
    for name in ("0001/a.log", "0001/b.txt", "0001/.c.log", "0001/d e.log", "0002/-f.log", "0002/g.log", "0003/h.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "0001" / "deep.log").mkdir()
    (tmp_path / "0001" / "link.log").symlink_to(tmp_path / "0003" / "h.log")
    (tmp_path / "0004").symlink_to(tmp_path / "0003")
    names = ["0001", "0002", "0004", "0005"]
    if where == "there":
        out = run_shell(remote.build_listing_block(str(tmp_path), names, ".log", 50))
        found = remote.parse_listing(out, str(tmp_path), names)
    else:
        found = local.list_files(tmp_path, names, ".log", 50)
    assert found == ["0001/a.log", "0002/g.log"]


def test_a_folder_is_removed_with_all_in_it_but_not_what_links_lead_to(tmp_path: Path) -> None:
    work, kept = tmp_path / "-rf *", tmp_path / "kept"
    (work / "a" / "b").mkdir(parents=True)
    kept.mkdir()
    (work / "a" / "link").symlink_to(kept)
    run_shell(remote.build_removal_block(str(work)))
    assert not work.exists() and kept.is_dir()
