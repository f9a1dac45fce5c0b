"""The old file behind one that was written, which is removed after the answer."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from store.disk.files import Files
from store.errors import StoreUnavailable
from tests.faulty_disk import Faulty
from tests.pretended import asynchronous


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@asynchronous
async def test_who_writes_does_not_wait_until_the_old_file_is_removed(tmp_path: Path) -> None:
    may_remove = threading.Event()
    files = Files(tmp_path, Faulty(lambda _number, call: may_remove.wait() and None if call == "unlink" else None))
    try:
        path = tmp_path / "a.json"
        await files.write(path, b"1")
        await files.write(path, b"2")
        assert path.read_bytes() == b"2"
        assert len(list_names(tmp_path)) == 2, "the old one is there yet"
    finally:
        may_remove.set()
        files.close()
    assert list_names(tmp_path) == ["a.json"], "nothing is left at the end"


@asynchronous
async def test_old_files_of_many_writes_are_all_removed(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for number in range(20):
        await files.write(tmp_path / f"{number % 3}.json", b"%d" % number)
    files.close()
    assert list_names(tmp_path) == ["0.json", "1.json", "2.json"]


@asynchronous
async def test_an_old_file_that_is_waiting_to_be_removed_is_not_put_back(tmp_path: Path) -> None:
    """A write that fails puts back what was there before it, not what was there before others."""
    failing = threading.Event()
    faulty = Faulty(lambda _number, call: errno.EIO if call == "fsync" and failing.is_set() else None)
    files = Files(tmp_path, faulty)
    try:
        path = tmp_path / "a.json"
        await files.write(path, b"1")
        await files.write(path, b"2")
        failing.set()
        with pytest.raises(StoreUnavailable):
            await files.write(path, b"3")
    finally:
        files.close()
    assert path.read_bytes() == b"2" and list_names(tmp_path) == ["a.json"]
