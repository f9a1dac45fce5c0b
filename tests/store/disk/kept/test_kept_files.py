"""Files that are as a checkpoint has them: a name and a number each, until somebody asks or something changes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from store.disk import folders
from store.disk.entries import FileEntry
from store.disk.kept import checkpoint
from store.documents import to_json
from store.errors import Exists, NotFound
from store.indexes.lists import RunList
from store.store import Store
from store.views import srunx
from tests.store.disk.archive_samples import NOW, a_run, prepare_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store with 30 runs, all as its checkpoint has them."""
    for name, number in (("SEGMENT_ROWS", 10), ("MIN_SEGMENT_ROWS", 5), ("SAVE_FROM_ROWS", 10)):
        monkeypatch.setattr(checkpoint, name, number)
    root = tmp_path / "data"
    prepare_store(root, *(a_run(f"r{n:03}", 10 + n) for n in range(30)), retention="{}")
    for path in (root / "runs").iterdir():
        os.utime(path, (NOW, NOW))
    for _ in range(2):
        opened = Store(root)
        opened.open(wait_s=10)
        if len(opened.runs.kept) < 30:
            await opened.close()
    yield opened
    await opened.close()


async def test_an_entry_is_the_same_as_long_as_anybody_has_it(store: Store) -> None:
    runs = store.runs
    assert (len(runs.kept), len(runs), runs.file_states, runs.filenames) == (30, 30, {}, {})
    entry = runs.get_entry("r003")
    assert runs.get_entry("r003") is entry and runs.get("r003") is runs.get("r003")
    assert (entry.name, entry.facts.status, entry.document.id) == ("r003", "completed", "r003")
    assert sorted(entry.name for entry in runs.iterate_entries()) == runs.list_names()
    assert len(runs.kept) == 30, "to be asked changes nothing"
    with pytest.raises(NotFound):
        runs.get_entry("r030")
    assert "r030" not in runs and "r003.json" not in runs


async def test_a_comparison_finds_what_differs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "COMPARED_AT_ONCE", 7)
    place = store.runs.path
    assert await store.runs.find_differing() == []
    (place / "r004.json").write_bytes(to_json(a_run("r004", 3, error="edited")))
    (place / "r005.json").unlink()
    (place / "r030.json").write_bytes(to_json(a_run("r030", 3)))
    (place / ".hidden.json").write_bytes(b"{")
    assert await store.runs.find_differing() == ["r004.json", "r005.json", "r030.json"]
    await store.runs.refresh(["r004.json", "r005.json", "r030.json"])
    assert store.runs.get("r004").error == "edited" and "r005" not in store.runs and "r030" in store.runs
    assert (len(store.runs.kept), len(store.runs)) == (28, 30)
    # Their files are young: they are looked at once more.
    assert set(await store.runs.find_differing()) <= {"r004.json", "r030.json"}


async def test_a_kept_file_is_written_and_deleted_like_any_other(store: Store) -> None:
    runs, changes = store.runs, list[tuple[Any, ...]]()

    def note(name: str, *versions: FileEntry | None) -> None:
        changes.append((name, *(version and version.facts.status for version in versions)))

    runs.listeners.append(note)
    with pytest.raises(Exists):
        await runs.create("r003", a_run("r003"))
    etag = runs.get_raw("r003")[1]
    await runs.put("r003", a_run("r003", 2, "failed"), if_match=etag)
    await runs.delete("r004", if_match=runs.get_raw("r004")[1])
    await runs.delete("r003")
    assert changes == [("r003", "completed", "failed"), ("r004", "completed", None), ("r003", "failed", None)]
    assert len(runs) == 28 and not {"r003", "r004"} & set(runs.list_names())


async def test_another_file_of_the_name_is_refused(store: Store) -> None:
    (store.runs.path / "r003.JSON").write_bytes(to_json(a_run("r003", 3, error="other")))
    await store.runs.refresh(await store.runs.find_differing())
    assert "r003.json already has the name" in store.runs.describe_problems("r003")
    assert store.runs.get("r003").error is None
    await store.runs.put("r003", a_run("r003", 3, error="own"))
    assert store.runs.get("r003").error == "own" and (store.runs.path / "r003.json").is_file()


async def test_lists_read_documents_beside_the_event_loop(store: Store) -> None:
    threads: set[str] = set()
    view = lambda run: threads.add(threading.current_thread().name) or srunx.to_run_json(run)  # noqa: E731
    rows, total = await RunList(store.runs, view).get_window(20)
    assert total == 30 and rows.data.count(b'"id"') == 20
    assert threads and threading.main_thread().name not in threads


async def test_what_is_asked_for_by_many_at_once_is_one_entry(store: Store) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(store.runs.get_raw, "r007") for _ in range(20)))
    assert set(found) == {store.runs.get_raw("r007")}
