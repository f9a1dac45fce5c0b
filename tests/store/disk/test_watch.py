"""What people and programs do to the files from outside, and that it is seen; with the kernel's reports and without."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from store.disk import watch
from store.disk.files import Files
from store.disk.folders import Folder
from store.disk.watch import Watch
from store.documents import Config, Run, to_json
from store.errors import StoreUnavailable
from store.store import Store
from store.yaml.reader import load_yaml

pytestmark = pytest.mark.anyio

DEADLINE_S = 120.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["events", "scanning"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store that follows the disk, in both ways of doing so."""
    store = Store(tmp_path / "data", poll=request.param == "scanning")
    store.open()
    await store.workflows.delete("hello")
    await store.start()
    await until(lambda: store.summarize()["watch"]["mode"] == request.param)
    yield store
    await store.close()


async def until(condition: Callable[[], Any]) -> None:
    """Returns when the condition holds; fails after a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def move_in(path: Path, text: str) -> None:
    """Move a whole file to its place, as vim and rsync do."""
    beside = path.with_name(f".{path.name}.Xy12ab")
    beside.write_text(text)
    beside.rename(path)


def copied_in(path: Path, text: str) -> None:
    subprocess.run(["sh", "-c", 'printf %s "$1" > "$2"', "sh", text, path], check=True)


def write_in_two_steps(path: Path, text: str) -> None:
    """Write in two steps, as a slow writer does."""
    with path.open("w") as file:
        file.write(text[:3])
        file.flush()
        os.fsync(file.fileno())
        file.write(text[3:])


@pytest.mark.parametrize("write", [write_in_place, move_in, copied_in, write_in_two_steps])
async def test_a_file_made_changed_and_removed(store: Store, write: Callable[[Path, str], None]) -> None:
    path = store.join_path("workflows", "w.yaml")
    for text, value in (("a: 1", {"a": 1}), ("a: 2", {"a": 2}), ("a: {b: 30}", {"a": {"b": 30}})):
        write(path, text)
        await until(lambda wanted=value: "w" in store.workflows and store.workflows.get("w") == wanted)
    path.unlink()
    await until(lambda: "w" not in store.workflows)
    assert store.list_problems() == []


async def test_a_file_renamed_to_another_name(store: Store) -> None:
    write_in_place(store.join_path("workflows", "a.yaml"), "x: 1")
    await until(lambda: store.workflows.list_names() == ["a"])
    store.join_path("workflows", "a.yaml").rename(store.join_path("workflows", "b.yaml"))
    await until(lambda: store.workflows.list_names() == ["b"])


async def test_every_folder_is_followed(store: Store) -> None:
    write_in_place(store.join_path("templates", "t.sh"), "#!/bin/sh")
    store.join_path("runs", "r.json").write_bytes(to_json(Run(id="r", workflow_name="w")))
    write_in_place(store.join_path("config.yaml"), "log_dir: mine")
    write_in_place(store.join_path("access.yaml"), "allowed_hosts: [example.org]")
    await until(lambda: "t" in store.templates and "r" in store.runs)
    await until(lambda: store.config.log_dir == "mine" and store.access.allowed_hosts == ["example.org"])
    store.join_path("config.yaml").unlink()
    await until(lambda: store.config == Config())


async def test_half_a_file_is_told_and_heals(store: Store) -> None:
    path = store.join_path("workflows", "w.yaml")
    write_in_place(path, "a: 1")
    await until(lambda: "w" in store.workflows)
    write_in_place(path, "a: [1,\n")
    await until(lambda: [problem["path"] for problem in store.list_problems()] == ["workflows/w.yaml"])
    assert store.workflows.get("w") == {"a": 1}
    write_in_place(path, "a: [1,\n 2]")
    await until(lambda: store.workflows.get("w") == {"a": [1, 2]})
    assert store.list_problems() == []


async def test_a_bad_config_leaves_the_good_one_in_force(store: Store) -> None:
    path = store.join_path("config.yaml")
    write_in_place(path, "log_dir: mine")
    await until(lambda: store.config.log_dir == "mine")
    write_in_place(path, "log_dirr: other")
    # It may be seen empty first.
    await until(lambda: any("did you mean 'log_dir'" in problem["reason"] for problem in store.list_problems()))
    assert store.config.log_dir == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
async def test_a_file_that_may_not_be_read(store: Store) -> None:
    path = store.join_path("workflows", "w.yaml")
    write_in_place(path, "a: 1")
    await until(lambda: "w" in store.workflows)
    path.chmod(0)
    await until(lambda: bool(store.list_problems()))
    assert store.workflows.get("w") == {"a": 1}
    path.chmod(0o600)
    await until(lambda: not store.list_problems())


async def test_what_is_none_of_ours_is_left_alone(store: Store) -> None:
    heard: list[str] = []
    store.workflows.listeners.append(lambda name, old, new: heard.append(name))
    for name in (".hidden.yaml", "w.yaml~", "w.yaml.swp", "4913", "notes.txt", "#w.yaml#"):
        write_in_place(store.join_path("workflows", name), "a: [")
    write_in_place(store.join_path("workflows", "last.yaml"), "a: 1")
    await until(lambda: "last" in store.workflows)
    assert store.workflows.list_names() == ["last"] and store.list_problems() == []
    assert heard == ["last"]


async def test_a_folder_that_is_removed_and_made_again(store: Store) -> None:
    write_in_place(store.join_path("workflows", "a.yaml"), "x: 1")
    await until(lambda: "a" in store.workflows)
    shutil.rmtree(store.join_path("workflows"))
    await until(lambda: store.workflows.list_names() == [])
    await until(lambda: store.join_path("workflows").is_dir())
    write_in_place(store.join_path("workflows", "b.yaml"), "x: 1")
    await until(lambda: store.workflows.list_names() == ["b"])


async def test_many_files_at_once(store: Store) -> None:
    for i in range(1000):
        write_in_place(store.join_path("workflows", f"w{i}.yaml"), f"n: {i}")
    await until(lambda: len(store.workflows) == 1000)
    for i in range(0, 1000, 2):
        store.join_path("workflows", f"w{i}.yaml").unlink()
    await until(lambda: len(store.workflows) == 500)
    assert {store.workflows.get(f"w{i}")["n"] for i in range(1, 1000, 2)} == set(range(1, 1000, 2))


async def test_own_writes_are_not_read_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Folder._parse_entry
    monkeypatch.setattr(Folder, "_parse_entry", lambda self, name, data: read.append(name) or whole(self, name, data))
    heard: list[str] = []
    store.runs.listeners.append(lambda name, old, new: heard.append(name))
    for i in range(20):
        await store.runs.put("r", Run(id="r", workflow_name="w", error=str(i)))
    # The report of a later change comes after those of the earlier ones.
    store.join_path("runs", "foreign.json").write_bytes(to_json(Run(id="foreign", workflow_name="w")))
    await until(lambda: "foreign" in store.runs)
    assert set(read) == {"foreign.json"}
    assert heard == ["r"] * 20 + ["foreign"]


async def test_an_edit_among_own_writes_is_not_lost(store: Store) -> None:
    path = store.join_path("workflows", "w.yaml")
    for i in range(20):
        await store.workflows.put("w", b"ours: %d" % i)
    write_in_place(path, "theirs: 1")
    await until(lambda: store.workflows.get("w") == {"theirs": 1})


# --- when the kernel does not report ---------------------------------------------------------------------------------


def folder_of(path: Path) -> Folder:
    path.mkdir(exist_ok=True)
    return Folder(path, "workflow", Files(path.parent), lambda data, name: load_yaml(data).value, suffixes=(".yaml",))


async def test_when_no_watches_are_left_the_folders_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RETRY_S", 0.05)
    refusals = iter([OSError(errno.ENOSPC, "OS file watch limit reached")] * 3)

    def source(paths: list[Path], stop: asyncio.Event) -> Any:
        for refusal in refusals:
            raise refusal
        return watch.watch_folders(paths, stop)

    folder = folder_of(tmp_path / "workflows")
    following = Watch(tmp_path, [folder], make_dirs=folder.files.make_dirs, source=source)
    await following.start()
    await until(lambda: following.summarize()["mode"] == "scanning")
    assert "watch limit" in following.summarize()["reason"]
    write_in_place(folder.path / "w.yaml", "a: 1")
    await until(lambda: "w" in folder)
    await until(lambda: following.summarize()["mode"] == "events")
    assert following.summarize()["reason"] is None
    await following.close()


async def test_a_folder_that_comes_back_is_watched_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RETRY_S", 10_000)
    root = tmp_path / "data"
    root.mkdir()
    folder = folder_of(root / "workflows")

    def require_dir(path: Path) -> None:
        if not path.is_dir():
            raise StoreUnavailable(f"{path} is gone")

    folder.files.require_store = require_dir  # type: ignore[method-assign]
    root.rename(tmp_path / "away")
    following = Watch(root, [folder], make_dirs=require_dir)
    await following.start()
    await until(lambda: following.summarize()["mode"] == "scanning" and following.error)
    (tmp_path / "away").rename(root)
    following.scan_wanted.set()
    await until(lambda: following.summarize()["mode"] == "events")
    await following.close()


async def test_what_changed_before_the_watches_stood_is_seen(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "workflows")

    def source(paths: list[Path], stop: asyncio.Event) -> Any:
        write_in_place(folder.path / "w.yaml", "a: 1")
        return watch.watch_folders(paths, stop)

    following = Watch(tmp_path, [folder], make_dirs=folder.files.make_dirs, source=source)
    await following.start()
    await until(lambda: "w" in folder)
    await following.close()


async def test_a_report_that_never_came_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "NET_S", 0.05)

    async def silent(paths: list[Path], stop: asyncio.Event) -> Any:
        await stop.wait()
        return
        yield

    folder = folder_of(tmp_path / "workflows")
    following = Watch(tmp_path, [folder], make_dirs=folder.files.make_dirs, source=silent)
    write_in_place(folder.path / "before.yaml", "a: 1")
    await following.start()
    await until(lambda: "before" in folder)  # the comparison at the start is over, which would see the next file too
    write_in_place(folder.path / "w.yaml", "a: 1")
    await until(lambda: "w" in folder)
    assert following.summarize()["mode"] == "events"
    await following.close()


async def test_a_burst_of_reports_is_followed_by_a_comparison(tmp_path: Path) -> None:
    folder, go = folder_of(tmp_path / "workflows"), asyncio.Event()

    async def overflowing(paths: list[Path], stop: asyncio.Event) -> Any:
        await go.wait()
        yield {(1, str(folder.path / f"gone{number}.yaml")) for number in range(watch.BURST)}
        await stop.wait()

    following = Watch(tmp_path, [folder], make_dirs=folder.files.make_dirs, source=overflowing)
    write_in_place(folder.path / "before.yaml", "a: 1")
    await following.start()
    await until(lambda: "before" in folder)  # by the comparison at the start
    write_in_place(folder.path / "w.yaml", "a: 1")  # its report is lost
    go.set()
    await until(lambda: "w" in folder)
    await following.close()


async def test_a_signal_is_given_for_each_change_of_its_folder(tmp_path: Path) -> None:
    given: list[str] = []
    folder, signalled = folder_of(tmp_path / "workflows"), tmp_path / "deep" / "ended"
    signals = {signalled: lambda: given.append("ended")}
    following = Watch(tmp_path, [folder], make_dirs=folder.files.make_dirs, signals=signals)
    await following.start()
    await until(lambda: following.summarize()["mode"] == "events")
    write_in_place(folder.path / "w.yaml", "a: 1")
    await until(lambda: "w" in folder)
    assert not given, "another folder has changed"
    for count in (1, 2):
        (signalled / "last").touch()
        await until(lambda count=count: len(given) == count)
    shutil.rmtree(signalled)
    await until(signalled.is_dir)
    await following.close()


async def test_a_disk_that_is_gone_takes_nothing_out_of_force(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data")
    write_in_place(folder.path / "w.yaml", "a: 1")
    folder.load()
    following = Watch(folder.path, [folder], make_dirs=folder.files.make_dirs, poll=True)
    folder.path.rename(tmp_path / "elsewhere")
    await following.scan()
    assert folder.get("w") == {"a": 1}
    assert "No such file" in following.summarize()["error"]
    (tmp_path / "elsewhere").rename(folder.path)
    await following.scan()
    assert following.summarize()["error"] is None


async def test_the_setting_for_disks_that_report_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_WATCH", "poll")
    store = Store(tmp_path / "data")
    store.open()
    await store.start()
    assert store.summarize()["watch"]["mode"] == "scanning"
    await store.close()


async def test_after_the_end_another_server_may_open_the_store(tmp_path: Path) -> None:
    for _ in range(3):
        store = Store(tmp_path / "data")
        store.open(wait_s=0)
        await store.start()
        await store.runs.put("r", Run(id="r", workflow_name="w"))
        await store.close()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("store-")}
