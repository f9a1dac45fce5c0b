"""The store as its users see it: names, reading, writing, what people change beside it, and files that are wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import stat
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from store import documents
from store.disk.files import check_name
from store.disk.folders import Folder
from store.disk.locks import acquire_lock
from store.disk.reading import read_file, read_slice
from store.documents import Config, JobRecord, Run, to_json
from store.errors import Changed, Conflict, Denied, Exists, Invalid, Locked, NotFound, TooLarge
from store.indexes.bodies import ITEM_BYTES
from store.outside_files import mount_calls
from store.rules import workflows
from store.store import EXAMPLES, Store
from store.yaml import reader
from tests import ROOT

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    """An open store without a watcher: what it knows of the disk it finds out by itself."""
    store = Store(root, summaries={"runs": lambda run: {"status": run.status}})
    store.open()
    yield store
    store.files.close()
    if store.lock:
        store.lock.release()


def a_run(name: str = "r1", **fields: Any) -> Run:
    return Run(id=name, workflow_name="flow", **fields)


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = [
    ("a plain word", "train", True),
    ("what runs are called", "4c9d61a2-0f0b-4f3d-9a39-0c8c9b3b1f66", True),
    ("letters of any alphabet", "größe_1", True),
    ("points and signs inside", "a.b@c+d-e", True),
    ("nothing", "", False),
    ("this folder", ".", False),
    ("the folder above", "..", False),
    ("a hidden file", ".hidden", False),
    ("an option", "-rf", False),
    ("a path", "a/b", False),
    ("an absolute path", "/etc/passwd", False),
    ("a backslash", "a\\b", False),
    ("a blank", "a b", False),
    ("a line's end at the end", "a\n", False),
    ("a NUL", "a\0", False),
    ("half a surrogate pair", "a\ud800", False),
    ("128 bytes", "a" * 128, True),
    ("129 bytes", "a" * 129, False),
    ("129 bytes of 65 letters", "ä" * 65, False),
]


@pytest.mark.parametrize(("why", "name", "good"), NAMES, ids=[row[0] for row in NAMES])
async def test_names(store: Store, why: str, name: str, good: bool) -> None:
    if good:
        assert check_name(name) == name
        await store.workflows.create(name, b"a: 1")
        assert store.workflows.get(name) == {"a": 1}
        return
    with pytest.raises(Invalid, match="must start with"):
        await store.workflows.create(name, b"a: 1")
    with pytest.raises(NotFound):
        store.workflows.get(name)


async def rescan(folder: Folder) -> None:
    """Compare the whole folder with the index."""
    await folder.refresh(await folder.find_differing())


# --- reading and writing ---------------------------------------------------------------------------------------------


async def test_what_is_put_is_read_and_on_the_disk(store: Store, root: Path) -> None:
    heard: list[str] = []
    store.runs.listeners.append(lambda name, old, new: heard.append(name))
    entry = await store.runs.put("r1", a_run(error="é"))
    assert store.runs.get("r1").error == "é"
    assert (root / "runs/r1.json").read_bytes() == store.runs.get_raw("r1")[0] == to_json(a_run(error="é"))
    assert store.runs.get_raw("r1")[1] == entry.etag
    assert store.runs.list_names() == ["r1"] and "r1" in store.runs and len(store.runs) == 1
    assert {entry.name: entry.summary for entry in store.runs.iterate_entries()} == {"r1": {"status": "syncing"}}
    assert heard == ["r1"]


async def test_files_are_for_their_owner_only(store: Store, root: Path) -> None:
    await store.runs.put("r1", a_run())
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in (root, root / "runs", root / "runs/r1.json", root / ".lock")
    }
    assert modes == {root: 0o700, root / "runs": 0o700, root / "runs/r1.json": 0o600, root / ".lock": 0o600}


async def test_a_name_is_created_once(store: Store) -> None:
    made = await asyncio.gather(
        *(store.runs.create("r1", a_run(error=str(i))) for i in range(20)), return_exceptions=True
    )
    assert [type(outcome).__name__ for outcome in made].count("Exists") == 19
    winner = next(outcome for outcome in made if not isinstance(outcome, BaseException))
    assert store.runs.get_raw("r1")[1] == winner.etag


async def test_create_sees_a_file_that_somebody_made_a_moment_ago(store: Store, root: Path) -> None:
    (root / "workflows/new.yaml").write_text("theirs: 1")
    with pytest.raises(Exists):
        await store.workflows.create("new", b"ours: 1")
    assert store.workflows.get("new") == {"theirs": 1}


async def test_delete_takes_the_file_away(store: Store, root: Path) -> None:
    await store.runs.put("r1", a_run())
    await store.runs.delete("r1")
    assert "r1" not in store.runs and not list((root / "runs").iterdir())
    for name in ("r1", "never"):
        with pytest.raises(NotFound, match=f"Run '{name}' not found"):
            await store.runs.delete(name)


async def test_a_change_of_what_somebody_else_changed_is_refused(store: Store, root: Path) -> None:
    seen = (await store.workflows.put("w", b"a: 1")).etag
    await store.workflows.put("w", b"a: 2", if_match=seen)
    for etag in (seen, "0" * 64):
        with pytest.raises(Changed):
            await store.workflows.put("w", b"a: 3", if_match=etag)
        with pytest.raises(Changed):
            await store.workflows.delete("w", if_match=etag)
    with pytest.raises(Changed):
        await store.workflows.put("none", b"a: 3", if_match=seen)
    assert store.workflows.get("w") == {"a": 2}


async def test_an_edit_that_was_not_seen_yet_is_not_written_over(store: Store, root: Path) -> None:
    seen = (await store.workflows.put("w", b"a: 1")).etag
    (root / "workflows/w.yaml").write_text("a: by hand")
    with pytest.raises(Changed):
        await store.workflows.put("w", b"a: 3", if_match=seen)
    assert store.workflows.get("w") == {"a": "by hand"}


async def test_no_update_is_lost_among_50_writers(store: Store) -> None:
    await store.workflows.put("n", b"count: 0")

    async def add() -> None:
        while True:
            value, etag = store.workflows.get("n")["count"], store.workflows.get_raw("n")[1]
            try:
                await store.workflows.put("n", b"count: %d" % (value + 1), if_match=etag)
            except Changed:
                continue
            return

    versions: list[int] = []
    store.workflows.listeners.append(lambda name, old, new: versions.append(new.document["count"] if new else -1))
    await asyncio.gather(*(add() for _ in range(50)))
    assert versions == list(range(1, 51))
    assert not store.workflows.name_locks, "nobody's turn is kept"


async def test_a_caller_that_goes_away_leaves_no_half_done_write(store: Store, root: Path) -> None:
    tasks = [asyncio.create_task(store.runs.put(f"r{i}", a_run(f"r{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.runs.close()
    on_disk = sorted(path.stem for path in (root / "runs").iterdir())
    assert store.runs.list_names() == on_disk != []
    assert all(orjson.loads(path.read_bytes())["id"] == path.stem for path in (root / "runs").iterdir())


def test_indexes_are_called_once_all_folders_are_loaded(root: Path) -> None:
    (root / "runs").mkdir(parents=True, mode=0o700)
    (root / "runs" / "r1.json").write_bytes(to_json(a_run()))
    store, found = Store(root), list[bool]()
    store.workflows.when_loaded.append(lambda: found.append("r1" in store.runs))
    store.open()
    assert found == [True]
    store.files.close()
    assert store.lock is not None
    store.lock.release()


async def test_listeners_hear_of_each_change_once(store: Store, root: Path) -> None:
    heard: list[Any] = []
    store.workflows.listeners.append(
        lambda name, old, new: heard.append((name, old and old.document, new and new.document))
    )
    await store.workflows.put("w", b"a: 1")
    await store.workflows.put("w", b"a: 1")
    await rescan(store.workflows)
    (root / "workflows/w.yaml").write_text("a: 2")
    await rescan(store.workflows)
    await store.workflows.delete("w")
    await rescan(store.workflows)
    assert heard == [("w", None, {"a": 1}), ("w", {"a": 1}, {"a": 2}), ("w", {"a": 2}, None)]


async def test_a_listener_that_fails_stops_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    store.workflows.listeners.append(lambda name, old, new: 1 / 0)
    store.workflows.listeners.append(lambda name, old, new: heard.append(name))
    await store.workflows.put("w", b"a: 1")
    assert heard == ["w"] and "ZeroDivisionError" in caplog.text


async def test_a_workflow_that_does_not_parse_is_not_written(store: Store, root: Path) -> None:
    await store.workflows.put("w", b"a: 1")
    with pytest.raises(Invalid, match="twice"):
        await store.workflows.put("w", b"a: 1\na: 2")
    assert (root / "workflows/w.yaml").read_bytes() == b"a: 1"
    assert store.list_problems() == []


async def test_a_run_goes_only_under_its_own_name(store: Store) -> None:
    with pytest.raises(Invalid, match="is not the name"):
        await store.runs.put("r2", a_run("r1"))


async def test_documents_kept_as_bytes_come_back_whole(store: Store) -> None:
    jobs = [documents.RunJob(name=f"j{i}", script="x" * 1000) for i in range(3)]
    for i in range(5):
        await store.runs.put(f"r{i}", a_run(f"r{i}", jobs=jobs, args={"i": i}))
    kept = store.runs.recent.parsed
    kept.clear()
    kept.limit_bytes = 2 * (len(store.runs.get_raw("r4")[0]) + ITEM_BYTES)
    assert [store.runs.get(name).args["i"] for name in store.runs.list_names()] == [0, 1, 2, 3, 4]
    assert store.runs.get("r4") is store.runs.get("r4")
    assert [name for name in store.runs.list_names() if kept.get(name)] == ["r3", "r4"], "bounded by bytes"
    kept.limit_bytes = 1
    assert store.runs.get("r0") is store.runs.get("r0"), "one that is larger than all that may stay"


async def test_a_replaced_version_does_not_stay_parsed(store: Store) -> None:
    await store.runs.put("r1", a_run("r1", args={"i": 0}))
    old = store.runs.get_entry("r1")
    first = weakref.ref(old.document)
    await store.runs.put("r1", a_run("r1", args={"i": 1}))
    assert store.runs.get("r1").args["i"] == 1
    gc.collect()
    assert first() is None
    assert old.document.args["i"] == 0, "who still holds the old version can read it"
    assert store.runs.get("r1").args["i"] == 1
    await store.runs.delete("r1")
    assert store.runs.recent.parsed.size_bytes == 0


# --- files that are wrong --------------------------------------------------------------------------------------------

WHOLE = to_json(a_run("x"))
WRONG = [
    ("nothing in it", "runs/x.json", b"", 1, "empty"),
    ("blanks", "runs/x.json", b" \n", 1, "empty"),
    ("NUL after a crash", "runs/x.json", b"\0" * 512, 1, "NUL"),
    ("cut off", "runs/x.json", to_json(a_run("x"))[:80], 5, "Invalid JSON"),
    ("a tail of something else", "runs/x.json", WHOLE + b"}", WHOLE.count(b"\n") + 1, "Invalid JSON"),
    ("not UTF-8", "runs/x.json", b'{"id": "\xff"}', 1, "Invalid JSON"),
    ("a list", "runs/x.json", b"[]", 1, "mapping"),
    ("a field of another type", "runs/x.json", b'{\n"id": "x",\n"workflow_name": 5}', 3, "workflow_name"),
    ("a missing field", "runs/x.json", b'{"id": "x"}', 1, "workflow_name"),
    ("a status that is none", "jobs/x.json", b'{"id": "x",\n"name": "n",\n"history": [{"at": 1}]}', 3, "history"),
    ("a newer version", "runs/x.json", b'{"version": 2, "what": "ever"}', None, "version 2"),
    ("under another name", "runs/x.json", to_json(a_run("y")), 3, "the id inside is 'y'"),
    ("YAML with a key twice", "workflows/x.yaml", b"a: 1\na: 2", 2, "twice"),
    ("half a YAML", "workflows/x.yaml", b"a: [1,\n", 2, "is missing"),
    ("a name with a blank", "workflows/my flow.yaml", b"a: 1", None, "must start with"),
    ("an unknown setting", "config.yaml", b"resources:\n  node: 2\n", 2, "did you mean 'nodes'?"),
    ("a setting out of bounds", "config.yaml", b"poll: {min_s: 0.1}", 1, "greater than or equal to 1"),
    ("a newer config", "config.yaml", b"version: 9\n", 1, "version 9"),
    ("a token that is no hash", "access.yaml", b"tokens:\n- {name: a, sha256: abc, scopes: [read]}", 2, "sha256"),
]


@pytest.mark.parametrize(("why", "path", "data", "line", "reason"), WRONG, ids=[row[0] for row in WRONG])
async def test_a_wrong_file_is_told_and_left_alone(
    root: Path, why: str, path: str, data: bytes, line: int | None, reason: str
) -> None:
    (root / path).parent.mkdir(parents=True)
    job = to_json(JobRecord(id="good", name="n"))
    for good, text in (
        ("runs/good.json", to_json(a_run("good"))),
        ("workflows/good.yaml", b"a: 1"),
        ("jobs/good.json", job),
    ):
        (root / good).parent.mkdir(exist_ok=True)
        (root / good).write_bytes(text)
    (root / path).write_bytes(data)
    store = Store(root)
    store.open()
    try:
        first = store.list_problems()[0]
        assert (first["path"], first["line"]) == (path, line)
        assert reason in first["reason"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["since"])
        assert {problem["path"] for problem in store.list_problems()} == {path}
        assert [folder.list_names() for folder in (store.workflows, store.runs, store.jobs)] == [["good"]] * 3
        assert store.config == Config()
        if path.startswith("runs"):
            with pytest.raises(Conflict, match="cannot be read"):
                await store.runs.put("x", a_run("x"))
            with pytest.raises(Exists):
                await store.runs.create("x", a_run("x"))
            with pytest.raises(Conflict):
                await store.runs.delete("x")
        assert (root / path).read_bytes() == data
    finally:
        await store.close()


GOOD = [
    ("a byte order mark", "runs/x.json", b"\xef\xbb\xbf" + to_json(a_run("x"))),
    ("DOS line ends", "runs/x.json", to_json(a_run("x")).replace(b"\n", b"\r\n")),
    ("keys that we do not know", "runs/x.json", b'{"id": "x", "workflow_name": "w", "note": "mine"}'),
    ("only comments", "config.yaml", b"# nothing\n"),
    ("an empty section", "config.yaml", b"resources:\n#  nodes: 2\n"),
]


@pytest.mark.parametrize(("why", "path", "data"), GOOD, ids=[row[0] for row in GOOD])
def test_harmless_oddities_are_taken(root: Path, why: str, path: str, data: bytes) -> None:
    (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes(data)
    store = Store(root)
    store.open()
    assert store.list_problems() == []
    assert path == "config.yaml" or store.runs.get("x").id == "x"
    asyncio.run(store.close())


async def test_keys_that_we_do_not_know_survive_a_change(store: Store, root: Path) -> None:
    (root / "runs/x.json").write_bytes(b'{"id": "x", "workflow_name": "w", "note": "mine"}')
    await rescan(store.runs)
    await store.runs.put("x", store.runs.get("x").model_copy(update={"status": "running"}))
    assert orjson.loads((root / "runs/x.json").read_bytes())["note"] == "mine"


async def test_the_last_good_version_stays_in_force_until_the_file_is_good_or_gone(store: Store, root: Path) -> None:
    path = root / "workflows/w.yaml"
    await store.workflows.put("w", b"a: 1")
    path.write_bytes(b"a: [")
    await rescan(store.workflows)
    since = store.list_problems()[0]["since"]
    assert store.workflows.get("w") == {"a": 1}
    path.write_bytes(b"a: [[")
    await rescan(store.workflows)
    assert [problem["since"] for problem in store.list_problems()] == [since]
    with pytest.raises(Conflict):
        await store.workflows.put("w", b"a: 9")
    path.write_bytes(b"a: 2")
    await rescan(store.workflows)
    assert store.workflows.get("w") == {"a": 2} and store.list_problems() == []
    path.write_bytes(b"a: [")
    await rescan(store.workflows)
    path.unlink()
    await rescan(store.workflows)
    assert "w" not in store.workflows and store.list_problems() == []


async def test_problems_are_gathered_anew_once_something_changes(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_reasons() -> list[str]:
        rows, body = store.list_problems(), store.get_problems_body()
        assert store.get_problems_body() is body and orjson.loads(body) == rows
        return [row["reason"] for row in rows]

    folder = root.parent / "mount"
    folder.mkdir()
    mount = f"{{name: m, local: {folder}, remote: /r}}"
    (root / "profiles.yaml").write_text(f"current: here\nprofiles: {{here: {{mounts: [{mount}]}}}}\n")
    await rescan(store.single["profiles"])
    assert list_reasons() == []
    (root / "workflows/w.yaml").write_bytes(b"a: [")
    await rescan(store.workflows)
    (wrong,) = list_reasons()
    store.note_problems("jobs", {"jobs/a.json": "lost"})
    assert list_reasons() == ["lost", wrong]
    assert store.summarize()["problems"] == 2
    monkeypatch.setattr(mount_calls, "find_hang", lambda _root: 1.0)
    assert list_reasons() == ["lost", "the file system of mount 'm' does not answer", wrong]
    store.note_problems("jobs", {})
    (root / "workflows/w.yaml").unlink()
    await rescan(store.workflows)
    monkeypatch.undo()
    store.environment = {"SRUNX_SSH_PROFILE": "none"}
    (selected,) = list_reasons()
    assert "SRUNX_SSH_PROFILE" in selected and store.summarize()["problems"] == 1


async def test_two_files_of_one_name(store: Store, root: Path) -> None:
    (root / "workflows/w.yaml").write_bytes(b"a: 1")
    (root / "workflows/w.yml").write_bytes(b"a: 2")
    await rescan(store.workflows)
    assert store.workflows.get("w") == {"a": 1}
    assert "w.yaml already has the name" in store.list_problems()[0]["reason"]
    (root / "workflows/w.yaml").unlink()
    await rescan(store.workflows)
    assert store.workflows.get("w") == {"a": 2} and store.list_problems() == []
    await store.workflows.put("w", b"a: 3")
    assert (root / "workflows/w.yml").read_bytes() == b"a: 3"


async def test_a_parser_with_a_defect_is_one_files_trouble(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    def parse(data: bytes, name: str) -> Any:
        return {"one": 1}[reader.load_yaml(data).value["a"]]

    store = Store(root, parsers={"workflows": parse})
    store.open()
    for name in ("one", "two"):
        (root / f"workflows/{name}.yaml").write_text(f"a: {name}")
    await rescan(store.workflows)
    assert store.workflows.list_names() == ["one"]
    assert "workflows/two.yaml" in [problem["path"] for problem in store.list_problems()]
    assert "KeyError" in caplog.text
    await store.close()


def links(path: Path, target: Path) -> None:
    path.symlink_to(target)


STRANGE = [
    ("a link", links, "symbolic link"),
    ("a pipe", lambda path, target: os.mkfifo(path), "not a regular file"),
    ("a folder", lambda path, target: path.mkdir(), "not a regular file"),
    ("a link to nothing", lambda path, target: path.symlink_to("nothing"), "symbolic link"),
]


@pytest.mark.parametrize(("why", "make", "reason"), STRANGE, ids=[row[0] for row in STRANGE])
async def test_what_is_no_plain_file_is_told_and_not_read(
    store: Store, root: Path, tmp_path: Path, why: str, make: Any, reason: str
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: x")
    make(root / "workflows/w.yaml", secret)
    await rescan(store.workflows)
    assert "w" not in store.workflows
    assert [(problem["path"], reason in problem["reason"]) for problem in store.list_problems()] == [
        ("workflows/w.yaml", True)
    ]


# --- reading slices of what jobs write -------------------------------------------------------------------------------


async def test_slices(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    table = [
        ("from the start", 0, 4, b"0123"),
        ("from the middle", 4, 100, b"456789"),
        ("at the end", 10, 100, b""),
        ("behind the end: it was truncated", 50, 100, b""),
        ("from the end", -3, 100, b"789"),
        ("from before the start", -99, 2, b"01"),
        ("nothing asked", 0, 0, b""),
        ("an offset beyond any file", 2**70, 5, b""),
    ]
    for why, offset, limit, data in table:
        assert await read_slice(path, offset, limit) == (data, 10), why


async def test_slices_of_what_is_not_a_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("pipe", "link", "socket", ".", "/dev/zero"):
            with pytest.raises(Denied):
                await read_slice(tmp_path / name, 0, 10)
    for name in ("none", "file/below", "a\0b", "x" * 300):
        with pytest.raises(NotFound):
            await read_slice(tmp_path / name, 0, 10)
    with pytest.raises(Denied, match="somebody else"):
        await read_slice(tmp_path / "file", 0, 10, owner=os.getuid() + 1)
    with pytest.raises(TooLarge):
        read_file(tmp_path / "file", 0)


# --- one server per store --------------------------------------------------------------------------------------------

HOLD = """
import sys, subprocess
from pathlib import Path
from store.disk.locks import acquire_lock
held = acquire_lock(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[held.fd]) if len(sys.argv) > 2 else None
print("held", child.pid if child else 0, flush=True)
sys.stdin.read()
"""


def holder(root: Path, *extra: str) -> tuple[subprocess.Popen[bytes], int]:
    """Another process that has the lock, and the pid of its child that shares it."""
    command = [sys.executable, "-c", HOLD, str(root), *extra]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    word, child = process.stdout.readline().split()
    assert word == b"held"
    return process, int(child)


def test_a_second_server_is_refused_and_told_why(root: Path) -> None:
    root.mkdir()
    other, _ = holder(root)
    with other:
        with pytest.raises(Locked, match=rf"pid {other.pid}\).*{re.escape(str(root))}"):
            Store(root).open()
        other.kill()
    acquire_lock(root, wait_s=0).release()


def test_two_stores_in_one_process_are_two_servers(store: Store, root: Path) -> None:
    with pytest.raises(Locked):
        Store(root).open()


def test_a_command_of_a_killed_server_is_waited_for(root: Path) -> None:
    root.mkdir()
    dead, child = holder(root, "60")
    with dead:
        dead.kill()
    steps: list[float] = []
    with pytest.raises(Locked, match=rf"gone \(pid {dead.pid}\)"):
        acquire_lock(root, wait_s=1.0, pause=steps.append)
    assert sum(steps) == pytest.approx(1.0, abs=0.1)
    # The command ends while it is waited for.
    acquire_lock(root, wait_s=30, pause=lambda pause_s: (os.kill(child, 9), time.sleep(pause_s))).release()


def test_the_lock_file_of_a_process_whose_number_is_reused(root: Path) -> None:
    root.mkdir()
    dead, child = holder(root, "60")
    with dead:
        dead.kill()
    # The number now belongs to this process, which started at another time.
    (root / ".lock").write_text(f"{os.getpid()} 1\n")
    with pytest.raises(Locked, match="gone"):
        acquire_lock(root, wait_s=0)
    os.kill(child, 9)


# --- the first launch ------------------------------------------------------------------------------------------------


def test_the_first_launch_furnishes_the_store_and_later_ones_do_not(root: Path) -> None:
    for expected in (["hello"], []):
        store = Store(root)
        store.open()
        assert store.workflows.list_names() == expected
        assert store.list_problems() == []
        assert (root / "config.yaml").exists()
        asyncio.run(store.close())
        (root / "workflows/hello.yaml").unlink(missing_ok=True)


def test_a_folder_that_is_there_is_not_furnished(root: Path) -> None:
    (root / "workflows").mkdir(parents=True)
    (root / "config.yaml").write_text("log_dir: mine\n")
    store = Store(root)
    store.open()
    assert store.workflows.list_names() == [] and store.config.log_dir == "mine"
    asyncio.run(store.close())


def test_the_example_workflow_is_one() -> None:
    for path in (EXAMPLES / "workflows").iterdir():
        assert workflows.parse_workflow(path.read_bytes(), stem=path.stem)


def test_left_over_temporary_files_are_swept_and_no_others(root: Path) -> None:
    (root / "runs").mkdir(parents=True)
    swept = [".sluice-0123456789abcdef.new", ".sluice-0123456789abcdef.old", ".sluice-0123456789abcdef.gone"]
    kept = [".sluice-0123.new", ".keep", "sluice-0123456789abcdef.new", ".sluice-0123456789abcdef.new.bak"]
    for name in swept + kept:
        (root / "runs" / name).write_text("x")
    store = Store(root)
    store.open()
    assert sorted(path.name for path in (root / "runs").iterdir()) == sorted(kept)
    assert store.runs.list_names() == [] and store.list_problems() == []
    asyncio.run(store.close())
