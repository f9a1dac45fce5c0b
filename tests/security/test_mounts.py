"""Mounts: what a listing hides is reached by no way, and none shows the machine, the home's secrets or the store."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.remote import rsync
from store.config import mount_roots
from store.errors import Denied, Invalid
from store.outside_files import mount_files
from store.rendering.templates import read_script
from store.store import Store
from tests.app_client import Client
from tests.security.test_job_files import refuse_to_follow

SECRET = "TOKEN=for nobody's eyes"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hidden things in it, and links that lead to them."""
    project = tmp_path_factory.mktemp("mounts") / "project"
    for name in (".env", ".ssh/id", "a/.netrc", "a/.b/c/deep"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(SECRET)
    (project / "a" / "seen").write_text("seen\n")
    links = {
        "file": ".env", "folder": ".ssh", "inner": "a/.b/c", "absolute": str(project / ".env"), "chain": "file",
        "round": "a/../.env", "through": ".ssh/../a/seen", "good": "a/seen",
    }  # fmt: skip
    for name, target in links.items():
        (project / name).symlink_to(target)
    return project


@pytest.fixture(scope="module")
def client(project: Path) -> Iterator[Client]:
    """The app, with the project as a mount."""
    client = Client(project.parent / "store", "embedded")
    text = f"current: here\nprofiles: {{here: {{mounts: [{{name: it, local: '{project}', remote: /far}}]}}}}\n"
    client.store.mkdir()
    (client.store / "profiles.yaml").write_text(text)
    yield client.start()
    client.stop()


# Why a path leads to something hidden, as it stands in the URL.
HIDDEN = [
    ("a file", ".env"),
    ("a folder", ".ssh"),
    ("in a folder", ".ssh/id"),
    ("below another", "a/.netrc"),
    ("deep below a hidden folder", "a/.b/c/deep"),
    ("behind a point", "./.env"),
    ("behind empty names", "a//..//.env"),
    ("with its point as an escape", "%2eenv"),
    ("with a slash as an escape", "a%2F.netrc"),
    ("in upper case", "%2EENV"),
    ("a link to a file", "file"),
    ("a link to a folder", "folder/id"),
    ("a link into a hidden folder", "inner/deep"),
    ("an absolute link", "absolute"),
    ("a link to a link", "chain"),
    ("a link with steps back", "round"),
    ("a link through a hidden folder", "through"),
    ("one that is not there", ".nothing"),
]
# Names that are no hidden ones: decoded once, and compared as they are.
ABSENT = [
    ("escaped twice", "%252eenv"),
    ("a full-width point", "%EF%BC%8Eenv"),
]


@pytest.mark.parametrize(("why", "path"), HIDDEN, ids=[row[0] for row in HIDDEN])
def test_what_is_hidden_is_neither_read_nor_listed(client: Client, why: str, path: str) -> None:
    for call in ("read", "browse"):
        said = client.get(f"/api/files/{call}?mount=it&path={path}")
        assert said.status_code == 403 and SECRET not in said.text, (why, call, said.text)


@pytest.mark.parametrize(("why", "path"), ABSENT, ids=[row[0] for row in ABSENT])
def test_other_spellings_are_other_names(client: Client, why: str, path: str) -> None:
    assert client.get(f"/api/files/read?mount=it&path={path}").status_code == 404, why


def test_links_to_hidden_things_are_shown_as_closed(project: Path) -> None:
    rows = {row["name"]: row for row in mount_files.list_folder(project, "")["entries"]}
    assert set(rows) == {"a", "absolute", "chain", "file", "folder", "good", "inner", "round", "through"}
    assert {name for name, row in rows.items() if row["accessible"]} == {"good"}
    assert mount_files.read_text(project, "good") == "seen\n"


@pytest.mark.parametrize("path", [".env", "file", "folder/id", "a/.netrc", "inner/deep"])
def test_what_is_hidden_is_no_script(project: Path, path: str) -> None:
    with pytest.raises(Denied, match="hidden file"):
        read_script(path, project, project.parent / "store")
    assert read_script("good", project, project.parent / "store") == "seen\n"


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("delete", [False, True])
def test_what_is_hidden_is_not_copied(project: Path, tmp_path: Path, delete: bool) -> None:
    """rsync's own rules, on this machine: nothing hidden goes, and what is hidden over there stays."""
    far = tmp_path / "far"
    (far / "a").mkdir(parents=True)
    (far / ".theirs").write_text("kept")
    copy_here(rsync.Folders(str(project), str(far)), delete=delete)
    there = {str(path.relative_to(far)) for path in far.rglob("*") if not path.is_symlink()}
    assert there == {"a", "a/seen", ".theirs"}


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app, launched with its store in a project that is a mount."""
    project = tmp_path_factory.mktemp("around") / "project [1]"
    client = Client(project / "data", "embedded")
    (client.store / "work" / "a").mkdir(parents=True)
    (client.store / "work" / "a" / "out").write_text("seen\n")
    (client.store / "work" / "a" / ".netrc").write_text(SECRET)
    (project / "train.py").write_text("seen\n")
    for name, target in {"link": "data/access.yaml", "stored": "data", "back": "data/work/../access.yaml"}.items():
        (project / name).symlink_to(target)
    text = f"current: here\nprofiles: {{here: {{mounts: [{{name: it, local: '{project}', remote: /far}}]}}}}\n"
    (client.store / "profiles.yaml").write_text(text)
    client.store.chmod(0o700)
    yield client.start()
    client.stop()


# What a path of the mount leads to, and whether that is shown.
IN_STORE = [
    ("another file", "train.py", True),
    ("jobs' work", "data/work/a/out", True),
    ("jobs' work through a link", "stored/work/a/out", True),
    ("who may do what", "data/access.yaml", False),
    ("what is not there", "data/nothing", False),
    ("records", "data/runs", False),
    ("a link", "link", False),
    ("a link to the store", "stored/access.yaml", False),
    ("a link with steps back", "back", False),
    ("steps back", "data/work/../access.yaml", False),
    ("what is hidden in jobs' work", "data/work/a/.netrc", False),
]


@pytest.mark.parametrize(("why", "path", "is_shown"), IN_STORE, ids=[row[0] for row in IN_STORE])
def test_a_mount_around_the_store_shows_jobs_work_alone(around: Client, why: str, path: str, is_shown: bool) -> None:
    answer = around.get(f"/api/files/read?mount=it&path={path}")
    assert answer.status_code == (200 if is_shown else 403) and "sha256" not in answer.text, (why, answer.text)
    if not is_shown:
        job = around.post("/api/jobs", {"name": "x", "script_path": path, "mount_name": "it"})
        assert job.status_code in (403, 404, 422) and "sha256" not in job.text, (why, job.text)


def test_the_store_in_a_mount_is_not_listed(around: Client) -> None:
    names = lambda path: {row["name"] for row in mount_files.list_folder(project, path, around.store)["entries"]}  # noqa: E731
    project = around.store.parent
    assert names("data") == {"work"} and names("data/work") == {"a"} and "train.py" in names("")
    rows = around.get("/api/files/browse?mount=it&path=data").json()["entries"]
    assert [row["name"] for row in rows] == ["work"]
    rows = around.get("/api/files/browse?mount=it&path=").json()["entries"]
    assert {row["name"]: row["accessible"] for row in rows if row["type"] == "symlink"} == {
        "back": False, "link": False, "stored": True,
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_the_store_in_a_mount_is_not_copied(around: Client, tmp_path: Path) -> None:
    project = around.store.parent
    hidden = mount_roots.find_store_inside(project, around.store)
    copy_here(rsync.Folders(str(project), str(tmp_path / "far"), (), hidden))
    there = {str(path.relative_to(tmp_path / "far")) for path in (tmp_path / "far").rglob("*") if not path.is_symlink()}
    assert there == {"train.py", "data", "data/work", "data/work/a", "data/work/a/out"}


def copy_here(folders: rsync.Folders, *, delete: bool = False) -> None:
    """Copy on this machine by rsync's own rules."""
    words = rsync.build_argv(folders, ["ssh"], "host", delete=delete)
    at = words.index("-e")
    subprocess.run(
        [*words[:at], *words[at + 2 : -1], f"{folders.remote}/"], check=True, capture_output=True, timeout=120
    )


# --- where a mount may lie -------------------------------------------------------------------------------------------

ROOTS: list[tuple[str, str, str | None]] = [
    ("the top", "/", "top of the file system"),
    ("the top by two slashes", "//", "top of the file system"),
    ("the top by steps back", "/tmp/..", "top of the file system"),
    ("the top as a process sees it", "/proc/self/root", "in /proc"),
    ("below that", "/proc/self/root/tmp", "in /proc"),
    ("processes", "/proc/1", "in /proc"),
    ("the kernel", "/sys/kernel", "in /sys"),
    ("devices", "/dev", "in /dev"),
    ("shared memory", "/dev/shm", "in /dev"),
    ("open files", "/dev/fd", "in /dev"),
    ("keys", "~/.ssh", "hidden folder of the home"),
    ("a folder of keys' folder", "~/.config/x", "hidden folder of the home"),
    ("a link to the top", "{tmp}/top", "top of the file system"),
    ("a link to keys", "{tmp}/keys", "hidden folder of the home"),
    ("a link that leads out of our sight", "{tmp}/closed/x", "link that cannot be followed"),
    ("the store", "{tmp}/data", "in the store"),
    ("a folder of the store", "{tmp}/data/inbox", "in the store"),
    ("a link to the store", "{tmp}/stored", "in the store"),
    ("around the store", "{tmp}", None),
    ("jobs' work", "{tmp}/data/work/x", None),
    ("a project", "{tmp}/project", None),
    ("a project that is not there yet", "{tmp}/nothing", None),
    ("the home", "~", None),
    ("a folder of the home", "~/project", None),
    ("a name that begins alike", "/processes", None),
]  # fmt: skip


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a store and a project, with links between them."""
    home, far = tmp_path / "home", tmp_path / "far"
    for folder in (home / ".ssh", home / "project", far / "data", far / "project"):
        folder.mkdir(parents=True)
    for name, target in {"top": "/", "keys": home / ".ssh", "stored": far / "data"}.items():
        (far / name).symlink_to(target)
    monkeypatch.setenv("HOME", str(home))
    (far / "closed").symlink_to(home)
    refuse_to_follow(monkeypatch, far / "closed")
    return far


@pytest.mark.parametrize(("why", "local", "said"), ROOTS, ids=[row[0] for row in ROOTS])
@pytest.mark.anyio
async def test_where_a_mount_may_lie(places: Path, why: str, local: str, said: str | None) -> None:
    """As profiles.yaml is read, and as a mount is added: both go this way."""
    store = Store(places / "data")
    text = f"profiles: {{p: {{mounts: [{{name: it, local: '{local.format(tmp=places)}', remote: /far}}]}}}}\n"
    if said is None:
        await store.single["profiles"].put("profiles", text.encode())
        return
    with pytest.raises(Invalid) as problem:
        await store.single["profiles"].put("profiles", text.encode())
    assert said in str(problem.value) and "mounts.0.local" in str(problem.value), why


@pytest.mark.parametrize(("why", "target", "said"), [
    ("the machine", "/", "top of the file system"),
    ("processes", "/proc", "in /proc"),
    ("keys", "{tmp}/keys", "hidden folder"),
    ("the store", "{tmp}/data", "in the store"),
], ids=str)  # fmt: skip
@pytest.mark.anyio
async def test_a_mount_that_became_a_link_is_not_used(places: Path, why: str, target: str, said: str) -> None:
    store = Store(places / "data")
    local = places / "project"
    text = f"current: p\nprofiles: {{p: {{mounts: [{{name: it, local: '{local}', remote: /far}}]}}}}\n"
    await store.single["profiles"].put("profiles", text.encode())
    mount = store.profiles.get_mount("it")
    assert (await store.profiles.check_mount(mount)).root == local
    local.rmdir()
    local.symlink_to(target.format(tmp=places))
    with pytest.raises(Denied, match=said):
        await store.profiles.check_mount(mount)


@pytest.mark.parametrize(("remote", "bad"), [
    ("/", True), ("//", True), ("/a/..", True), ("/proc/1", True), ("/x/../sys", True), ("/dev/shm", True),
    ("/home/me/ml", False), ("/devices", False),
])  # fmt: skip
def test_where_a_mount_may_lie_over_there(remote: str, bad: bool) -> None:
    assert (mount_roots.explain_remote_root(remote) is not None) is bad


def test_the_api_says_which_field_is_wrong(client: Client) -> None:
    body: dict[str, Any] = {"name": "all", "local": "/proc/self/root", "remote": "/far"}
    said = client.post("/api/config/ssh/profiles/here/mounts", json=body)
    assert said.status_code == 422 and "not in /proc" in said.text and "local" in said.text
    said = client.post("/api/config/ssh/profiles/here/mounts", json=body | {"local": str(client.store / "runs")})
    assert said.status_code == 422 and "in the store" in said.text
