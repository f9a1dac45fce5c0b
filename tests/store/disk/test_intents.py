"""What is about to be done: on disk before, a file afterwards or at the next start, and nothing left over."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from store.disk import intents
from store.documents import JobRecord, to_json
from store.errors import StoreFull
from store.store import Store
from tests.faulty_disk import Faulty

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def record(name: str, **more: Any) -> JobRecord:
    return JobRecord(id=name, cluster="here", name="n", tag=f"tag-{name}", **more)


def open_store(root: Path, ops: Any = None) -> Store:
    store = Store(root) if ops is None else Store(root, ops=ops)
    store.open(wait_s=10)
    return store


def leave(store: Store) -> None:
    """Let go of a store as if its server had been killed."""
    store.files.close()
    assert store.lock is not None
    store.lock.release()


def read_names(root: Path) -> list[str]:
    """Read the names of what is noted, in all logs."""
    logs = sorted((root / "intents").glob("*.jsonl"))
    return [json.loads(line)[0] for log in logs for line in log.read_text().splitlines()]


async def wait_until_empty(root: Path) -> None:
    async with asyncio.timeout(60):
        while list((root / "intents").iterdir()):
            await asyncio.sleep(0.01)


async def test_a_line_is_there_until_it_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intents, "IDLE_S", 0.01)
    store = open_store(tmp_path)
    await asyncio.gather(*(store.intents.note(name, record(name)) for name in "abc"))
    assert sorted(read_names(tmp_path)) == ["a", "b", "c"] and list(store.intents.pending) == ["a", "b", "c"]
    assert len(store.jobs) == 0 and not list((tmp_path / "jobs").iterdir())
    for name in "ab":
        store.intents.settle(name)
    await store.jobs.put("c", record("c"))
    store.intents.settle("c")
    await wait_until_empty(tmp_path)
    await store.intents.note("d", record("d"))
    assert read_names(tmp_path) == ["d"]
    await store.close()


async def test_many_share_one_fsync(tmp_path: Path) -> None:
    ops = Faulty()
    store = open_store(tmp_path, ops)
    await store.intents.note("first", record("first"))
    ops.calls.clear()
    await asyncio.gather(*(store.intents.note(f"r{number}", record(f"r{number}")) for number in range(32)))
    assert ops.calls.count("fsync") <= 2, "of two batches at the most"
    await store.close()


async def test_what_a_killed_server_left_becomes_files(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in "abc":
        await store.intents.note(name, record(name))
    await store.jobs.put("b", record("b", job_id="7"))
    store.intents.settle("b")
    leave(store)
    log = next((tmp_path / "intents").iterdir())
    log.write_bytes(log.read_bytes() + b'["d", "{')
    again = open_store(tmp_path)
    assert sorted(again.jobs.list_names()) == ["a", "b", "c"]
    assert again.jobs.get_raw("a")[0] == to_json(record("a")) and again.jobs.get("b").job_id == "7"
    assert not list((tmp_path / "intents").iterdir()) and not again.intents.pending
    await again.close()


async def test_at_the_end_what_is_pending_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in "ab":
        await store.intents.note(name, record(name))
    store.intents.settle("a")
    await store.close()
    assert read_names(tmp_path) == ["a", "b"]
    store = open_store(tmp_path)
    store.intents.settle("b")
    await store.close()
    assert not list((tmp_path / "intents").iterdir())


async def test_nothing_is_pending_that_could_not_be_noted(tmp_path: Path) -> None:
    ops = Faulty()
    store = open_store(tmp_path, ops)
    ops.decide = lambda _number, call: errno.ENOSPC if call == "write" else None
    with pytest.raises(StoreFull):
        await store.intents.note("a", record("a"))
    assert not store.intents.pending
    ops.decide = lambda _number, _call: None
    await store.intents.note("a", record("a"))
    assert read_names(tmp_path) == ["a"]
    await store.close()


async def test_what_the_disk_refuses_at_a_start_is_pending(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await store.intents.note("a", record("a"))
    leave(store)
    ops = Faulty(lambda _number, call: errno.ENOSPC if call == "write" else None)
    again = open_store(tmp_path, ops)
    assert again.intents.pending["a"].tag == "tag-a" and read_names(tmp_path) == ["a"]  # type: ignore[attr-defined]
    with pytest.raises(StoreFull):
        await again.intents.write("a")
    assert "a" in again.intents.pending
    ops.decide = lambda _number, _call: None
    await again.intents.note("b", record("b"))
    await again.intents.write("a")
    assert again.jobs.get("a").tag == "tag-a" and list(again.intents.pending) == ["b"]
    await again.close()
    assert read_names(tmp_path) == ["b"]


async def test_a_file_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await store.intents.note("a", record("a"))
    await store.jobs.put("a", record("a", job_id="7"))
    await store.intents.write("a")
    assert store.jobs.get("a").job_id == "7" and not store.intents.pending
    await store.close()


async def test_a_long_document_is_a_file_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await store.intents.note("a", record("a", script="x" * intents.LINE_BYTES))
    assert "a" in store.jobs and not store.intents.pending and not list((tmp_path / "intents").iterdir())
    await store.close()


async def test_a_log_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intents, "LOG_BYTES", 2_000)
    monkeypatch.setattr(intents, "IDLE_S", 0.01)
    store = open_store(tmp_path)
    await store.intents.note("stays", record("stays"))
    for number in range(20):
        await store.intents.note(f"r{number}", record(f"r{number}"))
        store.intents.settle(f"r{number}")
    async with asyncio.timeout(60):
        while len(list((tmp_path / "intents").glob("*.jsonl"))) > 1:
            await asyncio.sleep(0.01)
    (log,) = (tmp_path / "intents").iterdir()
    assert log.stat().st_size <= 2_000 and "stays" in read_names(tmp_path)
    await store.close()


async def test_a_log_of_others_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path)
    await store.intents.note("a", record("a"))
    leave(store)
    log = next((tmp_path / "intents").iterdir())
    log.chmod(0o666)
    again = open_store(tmp_path)
    assert len(again.jobs) == 0 and log.exists() and "does not count" in caplog.text
    await again.intents.note("b", record("b"))
    log.chmod(0o600)
    leave(again)
    last = open_store(tmp_path)
    assert sorted(last.jobs.list_names()) == ["a", "b"]
    await last.close()
