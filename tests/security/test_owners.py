"""Whose files count: a store of one's own, and files in it that nobody else may have written."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from store.disk import owners
from store.disk.folders import Folder
from store.errors import Foreign
from store.rules import inbox
from store.rules.inbox import Inbox
from store.store import Store
from tests import ROOT
from tests.app_server import Server
from tests.cluster.ordinary_user import IS_ROOT
from tests.waiting import eventually

STRANGER = 61235
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make files that belong to others")
WORKFLOW = "name: flow\njobs: [{name: say, command: [echo, %s]}]\n"

Spoil = Callable[[Path], object]


def give(path: Path) -> None:
    """Make the file a stranger's."""
    os.chown(path, STRANGER, -1)


def share(path: Path) -> None:
    """Let everybody write."""
    path.chmod(path.stat().st_mode | 0o002)


def share_in_group(path: Path) -> None:
    """Let a group of several people write."""
    if IS_ROOT:
        os.chown(path, -1, STRANGER)
    path.chmod(path.stat().st_mode | 0o020)


def share_by_list(path: Path) -> None:
    """Let one stranger write, by an access list."""
    entries = [(0x01, 6, -1), (0x02, 6, STRANGER), (0x04, 6, -1), (0x10, 6, -1), (0x20, 4, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, owners.ACCESS_LIST, struct.pack("<I", 2) + packed)
    except OSError:
        pytest.skip("the file system has no access lists")


# --- the store itself ------------------------------------------------------------------------------------------------

# Why a store is refused, what makes it so (given a folder, returns the store), and what the line says.
REFUSED = [
    ("it is a stranger's", lambda at: make(at / "data", give), "data belongs to", "chown -R"),
    ("everybody may write", lambda at: make(at / "data", share), "data may be written by everybody", "chmod go-w"),
    ("a group may write", lambda at: make(at / "data", share_in_group), "data may be written by the group", "chmod"),
    ("the inbox is a stranger's", lambda at: make(at / "data" / "inbox", give).parent, "inbox belongs to", "chown -R"),
    ("everybody may drop requests", lambda at: make(at / "data" / "inbox", share).parent, "inbox may be", "chmod go-w"),
    ("the jobs that wait are a stranger's", lambda at: make_waiting(at, "state.db", give), "state.db belongs", "chown"),
    ("everybody may change their scripts", lambda at: make_waiting(at, "spool", share), "spool may be", "chmod go-w"),
    ("the folder above is a stranger's", lambda at: make(at / "a", give) / "data", "could replace", "--store"),
    ("everybody may write above", lambda at: make(at / "a", share) / "data", "a may be written by everybody", "chmod"),
    ("a project's group may write above", lambda at: make(at / "a", share_in_group) / "b" / "data", "group", "chmod"),
    ("a link leads through such a folder", lambda at: link(at, share), "open may be written by everybody", "chmod"),
    ("the link itself is a stranger's", lambda at: link(at, lambda path: None, give_link), "could replace", "--store"),
]  # fmt: skip


def make(path: Path, spoil: Spoil) -> Path:
    path.mkdir(parents=True)
    spoil(path)
    return path


def make_waiting(at: Path, name: str, spoil: Spoil) -> Path:
    """Make what the embedded cluster keeps of waiting jobs; return the store."""
    return make(at / "data" / "cluster" / name, spoil).parent.parent


def give_link(path: Path) -> None:
    os.chown(path, STRANGER, -1, follow_symlinks=False)


def link(at: Path, spoil: Spoil, spoil_link: Spoil = lambda path: None) -> Path:
    """Make a store that a link in an open folder leads to; return the way over two links."""
    (at / "real").mkdir()
    make(at / "open", spoil)
    (at / "open" / "inner").symlink_to("../real")
    (at / "outer").symlink_to(at / "open" / "inner")
    spoil_link(at / "outer")
    return at / "outer" / "data"


@needs_root
@pytest.mark.parametrize(("why", "prepare", "said", "mend"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_store_that_others_could_change_is_refused(
    why: str, prepare: Callable[[Path], Path], said: str, mend: str, tmp_path: Path
) -> None:
    store = Store(prepare(tmp_path))
    with pytest.raises(Foreign) as problem:
        store.open(0)
    text = str(problem.value)
    assert said in text and mend in text and "\n" not in text, why
    assert store.lock is None or store.lock.fd == -1, "and the next server is not kept waiting"


USABLE: list[tuple[str, Spoil]] = [
    ("a folder of one's own", lambda at: None),
    ("made with umask 002", lambda at: (at / "data").mkdir() or (at / "data").chmod(0o775)),
    ("that others may look at", lambda at: (at / "data").mkdir() or (at / "data").chmod(0o755)),
    ("in a folder like /tmp", lambda at: at.chmod(0o1777)),
    ("behind a link of one's own", lambda at: (at / "far").mkdir() or (at / "data").symlink_to("far")),
]


@pytest.mark.parametrize(("why", "prepare"), USABLE, ids=[row[0] for row in USABLE])
def test_an_ordinary_store_is_taken(why: str, prepare: Spoil, tmp_path: Path) -> None:
    prepare(tmp_path)
    store = Store(tmp_path / "data")
    store.open(0)
    assert store.lock is not None, why
    store.lock.release()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_start_ends_with_one_line(tmp_path: Path) -> None:
    store = make(tmp_path / "data", share)
    command = [sys.executable, str(ROOT / "app.py"), "--store", str(store), "--port", "0", "--cluster", "embedded"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 3 and not list(store.iterdir())
    errors = [line for line in said.stderr.splitlines() if not line.startswith("WARNING sluice: running as root")]
    assert errors == [f"ERROR sluice: the store is refused: {store} may be written by everybody: chmod go-w {store}"]


# --- files in it -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store, which is told what to look at."""
    store = Store(tmp_path / "data")
    store.open()
    yield store
    store.files.close()
    assert store.lock is not None
    store.lock.release()


FILES = [
    ("requests", "inbox/a.yaml", "workflow: hello\n"),
    ("workflows", "workflows/a.yaml", WORKFLOW % "a"),
    ("templates", "templates/a.sh", "#!/bin/sh\n"),
    ("settings", "config.yaml", "version: 1\n"),
    ("clusters", "profiles.yaml", "version: 1\n"),
    ("tokens", "access.yaml", "tokens: []\n"),
    ("runs", "runs/a.json", '{"id": "a", "workflow_name": "w"}'),
    ("sweeps", "sweeps/1.json", "{}"),
    ("jobs", "jobs/a.json", '{"id": "a", "name": "n"}'),
    ("syncs", "syncs/a.json", "{}"),
    ("watches", "watches/1.json", "{}"),
    ("deliveries", "deliveries/1.json", "{}"),
]
SPOILED = [
    pytest.param("a stranger's", give, id="stranger", marks=needs_root),
    pytest.param("of everybody", share, id="everybody"),
    pytest.param("of a group", share_in_group, id="group", marks=needs_root),
    pytest.param("of one more by a list", share_by_list, id="list"),
]


def find_folder(store: Store, path: Path) -> Folder:
    return next(folder for folder in store.folders if folder.path == path.parent and folder.parse_filename(path.name))


@pytest.mark.parametrize(("why", "spoil"), SPOILED)
@pytest.mark.parametrize(("what", "name", "text"), FILES, ids=[row[0] for row in FILES])
@pytest.mark.anyio
async def test_a_new_file_of_others_does_not_count(
    store: Store, what: str, name: str, text: str, why: str, spoil: Spoil
) -> None:
    path = store.root / name
    folder = find_folder(store, path)
    path.unlink(missing_ok=True)
    await folder.refresh([path.name])
    path.write_text(text)
    spoil(path)
    await folder.refresh([path.name])
    assert path.stem not in folder, (what, why)
    (problem,) = [row for row in store.list_problems() if row["path"] == name]
    assert "so it does not count" in problem["reason"] and path.read_text() == text


@pytest.mark.parametrize(("why", "spoil"), SPOILED)
@pytest.mark.anyio
async def test_the_last_good_version_stays_until_the_file_is_mended(store: Store, why: str, spoil: Spoil) -> None:
    path = store.root / "workflows" / "a.yaml"
    path.write_text(WORKFLOW % "ours")
    await store.workflows.refresh(["a.yaml"])
    ours = store.workflows.get("a")
    if spoil is share_by_list:
        path.chmod(0o664)  # the bits of the mode alone would be those of a umask of 002
        await store.workflows.refresh(["a.yaml"])
        assert not store.workflows.list_problems()
        path.chmod(0o600)
    spoil(path)
    path.write_text(WORKFLOW % "theirs")
    await store.workflows.refresh(await store.workflows.find_differing())
    assert store.workflows.get("a") == ours and store.workflows.list_problems(), why
    with suppress(OSError):
        os.removexattr(path, owners.ACCESS_LIST)
    os.chown(path, os.geteuid(), os.getegid())
    path.chmod(0o664)
    await store.workflows.refresh(await store.workflows.find_differing())
    assert store.workflows.get("a") != ours and not store.workflows.list_problems()


@pytest.mark.anyio
async def test_files_in_a_folder_that_was_opened_to_others_do_not_count(store: Store) -> None:
    (store.root / "workflows" / "a.yaml").write_text(WORKFLOW % "ours")
    await store.workflows.refresh(["a.yaml"])
    share(store.root / "workflows")
    for name in ("a.yaml", "b.yaml"):
        (store.root / "workflows" / name).write_text(WORKFLOW % "moved here by anybody")
    await store.workflows.refresh(await store.workflows.find_differing())
    assert "ours" in store.workflows.get_raw("a")[0].decode() and "b" not in store.workflows
    assert "the folder may be written by everybody" in store.workflows.describe_problems("b")
    (store.root / "workflows").chmod(0o700)
    await store.workflows.refresh(await store.workflows.find_differing())
    assert "b" in store.workflows and "anybody" in store.workflows.get_raw("a")[0].decode()


@pytest.mark.parametrize(("why", "spoil"), SPOILED)
def test_a_request_of_others_never_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str, spoil: Spoil
) -> None:
    monkeypatch.setattr(inbox, "SETTLED_S", -1)
    for name in ("ours.yaml", "theirs.yaml"):
        (tmp_path / name).write_text("workflow: hello\n")
    spoil(tmp_path / "theirs.yaml")
    assert [request.path.name for request in Inbox(tmp_path).list_ready()] == ["ours.yaml"], why
    share(tmp_path)
    assert Inbox(tmp_path).list_ready() == [], "who may write in the folder may have moved any file there"


@needs_root
def test_what_others_drop_stays_and_is_told_until_it_is_ours(tmp_path: Path) -> None:
    """While it runs: the kernel tells of a new owner, though no byte changes."""
    server = Server(tmp_path / "data", "embedded")
    (server.store / "workflows" / "flow.yaml").write_text(WORKFLOW % "done")
    try:
        _drop_and_give_back(server.start())
    finally:
        server.close()


def _drop_and_give_back(server: Server) -> None:
    dropped = server.store / "inbox" / "a.yaml"
    aside = dropped.with_name(".a")
    aside.write_text("workflow: flow\n")
    give(aside)
    aside.rename(dropped)

    def list_reasons() -> list[str]:
        return [row["reason"] for row in server.http.get("/api/store/problems").json() if row["path"] == "inbox/a.yaml"]

    assert "belongs to" in eventually(list_reasons)[0]
    assert server.http.get("/api/workflows/runs").json() == [] and dropped.exists()
    os.chown(dropped, os.geteuid(), -1)
    eventually(lambda: server.http.get("/api/workflows/runs").json())
    eventually(lambda: not list_reasons() and not dropped.exists())
