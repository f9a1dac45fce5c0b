"""A store that is deleted, renamed or replaced under a running server: nothing is written in its place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.disk.audit import Audit
from store.documents import Run
from store.errors import Locked, StoreUnavailable
from store.store import Store
from tests.app_client import serving
from tests.app_server import Server
from tests.pretended import asynchronous
from tests.waiting import eventually

JOB = {"name": "x", "script_content": "#!/bin/bash\ntrue\n"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "data")
    made.open()
    yield made
    if made.lock is not None:
        made.lock.release()


def a_run(name: str) -> Run:
    return Run(id=name, workflow_name="flow")


def list_all(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(path), path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


def replace_by_copy(root: Path) -> None:
    root.rename(root.with_name("away"))
    shutil.copytree(root.with_name("away"), root)


def replace_by_empty(root: Path) -> None:
    root.rename(root.with_name("away"))
    root.mkdir()


def make_again(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()  # often with the same inode number


LOSSES: list[tuple[str, Callable[[Path], object], str]] = [
    ("deleted", shutil.rmtree, "removed or renamed"),
    ("deleted and made again", make_again, "replaced by another one"),
    ("renamed", lambda root: root.rename(root.with_name("away")), "removed or renamed"),
    ("an empty one in its place", replace_by_empty, "replaced by another one"),
    ("a copy in its place", replace_by_copy, "replaced by another one"),
    ("a file in its place", lambda root: (shutil.rmtree(root), root.write_text("")), "replaced by another one"),
]


@pytest.mark.parametrize(("lose", "words"), [row[1:] for row in LOSSES], ids=[row[0] for row in LOSSES])
@asynchronous
async def test_nothing_is_written_to_what_is_not_our_store(
    lose: Callable[[Path], object], words: str, store: Store
) -> None:
    await store.runs.put("r1", a_run("r1"))
    root, away = store.root, store.root.with_name("away")
    lose(root)
    left = list_all(root)
    audit = Audit(root / "audit", store.files)
    with pytest.raises(StoreUnavailable, match=words):
        await store.runs.put("r2", a_run("r2"))
    with pytest.raises(StoreUnavailable, match=words):
        await store.runs.delete("r1")
    with pytest.raises(StoreUnavailable, match=words):
        store.files.make_dirs(root / "work" / "r2")
    with pytest.raises(StoreUnavailable, match=words):
        await store.files.write_at(root / "streams" / "1", 0, b"x")
    assert not await audit.append({"what": "x"}) and words in audit.problem
    await store.runs.refresh(["r1.json"])
    store.renew_lock()
    store.renew_lock()
    assert words in (store.files.failure or "")
    assert list_all(root) == left, "neither made again nor touched"
    assert store.runs.list_names() == ["r1"], "what was read stays in force"
    if away.exists():
        with pytest.raises(Locked):
            Store(away).open()
        shutil.rmtree(root, ignore_errors=True)
        away.rename(root)
        await store.runs.put("r2", a_run("r2"))
        assert store.files.failure is None
    elif root.is_dir():
        other = Store(root)
        other.open()
        await other.close()


@asynchronous
async def test_a_lock_file_that_was_removed_is_made_again(store: Store) -> None:
    path = store.root / ".lock"
    path.unlink()
    with pytest.raises(StoreUnavailable, match="lock file"):
        await store.runs.put("r1", a_run("r1"))
    store.renew_lock()
    assert not path.exists(), "somebody may be deleting all of it"
    store.renew_lock()
    await store.runs.put("r1", a_run("r1"))
    with pytest.raises(Locked):
        Store(store.root).open()


@asynchronous
async def test_a_lock_that_another_server_took_meanwhile_is_his(store: Store) -> None:
    (store.root / ".lock").unlink()
    other = Store(store.root)
    other.open()
    for _ in range(3):
        store.renew_lock()
    with pytest.raises(StoreUnavailable, match="lock file"):
        await store.runs.put("r1", a_run("r1"))
    await other.runs.put("r1", a_run("r1"))
    await other.close()
    store.renew_lock()
    await store.runs.put("r2", a_run("r2"))


@asynchronous
async def test_a_single_folder_is_made_again(store: Store) -> None:
    for name in ("runs", "audit"):
        shutil.rmtree(store.root / name)
    await store.runs.put("r1", a_run("r1"))
    assert await Audit(store.root / "audit", store.files).append({"what": "x"})
    assert [path.name for path in (store.root / "runs").iterdir()] == ["r1.json"]


def test_the_folder_of_the_embedded_cluster_is_made_again(tmp_path: Path) -> None:
    """What ran there is lost with it; what comes then runs."""
    with serving(tmp_path / "store", "embedded") as client:
        client.job(client.submit("#!/bin/sh\ntrue"))
        # In one step: a program that is under way would fill a folder that is just being emptied.
        (client.store / "cluster").rename(tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone", ignore_errors=True)
        answer = eventually(lambda: (got := client.post("/api/jobs", JOB)).status_code == 201 and got, 60)
        eventually(lambda: client.get(f"/api/jobs/{answer.json()['job_id']}").json()["status"] == "COMPLETED", 60)
        assert client.get("/health").json()["slurm"]["answers"] is True


@asynchronous
async def test_a_store_that_cannot_be_reached_says_why(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", fail)
        assert "cannot be reached: Stale file handle" in (store.files.failure or "")
    assert store.files.failure is None


def test_two_servers_and_one_place(tmp_path: Path) -> None:
    first, second = Server(tmp_path / "store", "embedded"), Server(tmp_path / "other", "embedded")
    away = tmp_path / "away"
    try:
        first.start()
        assert first.http.post("/api/jobs", json=JOB).status_code == 201
        first.store.rename(away)
        second.store.rename(first.store)
        second.store = first.store
        refused = first.http.post("/api/jobs", json=JOB)
        assert refused.status_code == 503 and "replaced by another one" in refused.text, refused.text
        eventually(lambda: not first.http.get("/health").json()["slurm"]["answers"], 30, "its cluster is gone too")
        refused = first.http.post("/api/jobs", json=JOB)
        assert refused.status_code == 503 and "replaced by another one" in refused.text, refused.text
        second.start()
        assert second.http.post("/api/jobs", json={**JOB, "name": "theirs"}).status_code == 201
        health = first.http.get("/health").json()
        assert health["status"] == "degraded" and "replaced by another one" in health["store"]["error"]
        eventually(lambda: not first.http.get("/health").json()["slurm"]["answers"], 30, "not the other's cluster")
        assert first.http.delete("/api/jobs/1").status_code == 503
        names = {row["job_name"] for row in first.http.get("/api/history").json()}
        assert names == {"x"}, "reads go on, from what was read of its own"
        second.close()
        first.store.rename(tmp_path / "other")
        away.rename(first.store)
        eventually(lambda: first.http.get("/health").json()["status"] == "healthy", 60, first.log())
        assert first.http.post("/api/jobs", json=JOB).status_code == 201
    finally:
        if second.process is not None:
            second.close()
        first.close()
