"""Whose files count in a mount: everybody's that not everybody may write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.disk.folders import Folder
from store.errors import Denied
from store.rendering.templates import read_script
from store.store import Store
from tests.app_client import Client
from tests.cluster.ordinary_user import make_project
from tests.security.test_owners import SPOILED, WORKFLOW, Spoil, share

WORKFLOWS = Path(".srunx/workflows")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A mount with a workflow, settings and a script."""
    project = tmp_path / "project"
    (project / WORKFLOWS).mkdir(parents=True)
    (project / WORKFLOWS / "a.yaml").write_text(WORKFLOW % "ours")
    (project / "srunx.json").write_text('{"log_dir": "ours"}')
    (project / "go.sh").write_text("#!/bin/sh\necho ours\n")
    for path in (project, *project.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return project


@pytest.fixture
def store(project: Path) -> Store:
    return Store(project.parent / "data")


@pytest.fixture(params=["workflows", "settings"])
async def kept(request: pytest.FixtureRequest, store: Store, project: Path) -> tuple[Folder, Path]:
    """The folder, and a file in it that starts something."""
    if request.param == "workflows":
        return await store.add_folder(project, WORKFLOWS, store.workflows, "it"), project / WORKFLOWS / "a.yaml"
    return store.configuration.get_project_folder(project), project / "srunx.json"


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.anyio
async def test_the_last_good_version_stays(kept: tuple[Folder, Path], place: str) -> None:
    folder, path = kept
    await folder.refresh([path.name])
    assert "ours" in folder.get_raw(path.stem)[0].decode() and not folder.list_problems()
    path.write_text(path.read_text().replace("ours", "theirs"))
    share(path if place == "file" else path.parent)
    await folder.refresh([path.name])
    assert "ours" in folder.get_raw(path.stem)[0].decode()
    assert [row["reason"] for row in folder.list_problems() if "not count" in row["reason"]]


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.anyio
async def test_what_never_counted_is_not_there(project: Path, store: Store, place: str) -> None:
    """From the first look on: as the server starts, a folder's files are read another way."""
    share(project / WORKFLOWS / "a.yaml" if place == "file" else project / WORKFLOWS)
    folder = await store.add_folder(project, WORKFLOWS, store.workflows, "it")
    assert "a" not in folder
    (row,) = store.list_problems()
    assert row["mount"] == "it" and "not count" in row["reason"]


@pytest.mark.anyio
async def test_an_open_folder_without_settings_is_no_problem(project: Path, store: Store) -> None:
    share(project)
    (project / "srunx.json").unlink()
    folder = store.configuration.get_project_folder(project)
    await folder.refresh(folder.only)
    assert not folder.file_states


@pytest.mark.parametrize("place", ["go.sh", "."])
def test_a_script_of_everybody_is_not_used(project: Path, store: Store, place: str) -> None:
    assert "ours" in read_script("go.sh", project, store.root)
    share(project / place)
    with pytest.raises(Denied, match="not count"):
        read_script("go.sh", project, store.root)


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize(("why", "spoil"), [row for row in SPOILED if row.values[1] is not share])
@pytest.mark.anyio
async def test_who_shares_a_mount_shares_what_it_runs(
    kept: tuple[Folder, Path], project: Path, store: Store, why: str, spoil: Spoil, place: str
) -> None:
    folder, path = kept
    for spoiled in (path, project / "go.sh"):
        spoil(spoiled if place == "file" else spoiled.parent)
    await folder.refresh([path.name])
    assert path.stem in folder and not folder.list_problems(), why
    assert "ours" in read_script("go.sh", project, store.root), why


@pytest.fixture
def loose() -> Iterator[None]:
    """A umask of 002, with which people work who share files."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("loose")
@pytest.mark.anyio
async def test_what_is_made_here_counts(tmp_path: Path) -> None:
    """Where everything belongs to a group, and the folder and the file are made by the server."""
    shared = make_project(tmp_path / "shared")
    store = Store(tmp_path / "data")
    folder = await store.add_folder(shared, WORKFLOWS, store.workflows, "it")
    for text in ("first", "second"):
        await folder.put("a", (WORKFLOW % text).encode())
    again = Store(tmp_path / "again")
    found = await again.add_folder(shared, WORKFLOWS, again.workflows, "it")
    assert "second" in found.get_raw("a")[0].decode() and not again.list_problems()


# Where the workflows of a mount really lie, and a script below it: none of these becomes one.
LINKS = [
    ("outside, by the mount", "../outside", ".srunx/workflows/go.sh"),
    ("outside, by itself", "../outside", "{tmp}/outside/go.sh"),
    ("in a hidden folder", ".ssh", ".ssh/go.sh"),
    ("in a hidden folder, in full", ".ssh", "{tmp}/project/.ssh/go.sh"),
]


@pytest.mark.parametrize(("why", "target", "path"), LINKS, ids=[row[0] for row in LINKS])
def test_linked_workflows_open_no_other_folder_to_scripts(project: Path, why: str, target: str, path: str) -> None:
    far = project / target
    far.mkdir()
    (far / "go.sh").write_text("#!/bin/sh\n")
    (far / "flow.yaml").write_text(
        f"name: flow\njobs: [{{name: a, script_path: '{path.format(tmp=project.parent)}'}}]\n"
    )
    (project / WORKFLOWS / "a.yaml").unlink()
    (project / WORKFLOWS).rmdir()
    (project / WORKFLOWS).symlink_to(far.resolve())
    client = Client(project.parent / "store", "embedded")
    client.store.mkdir()
    text = f"current: here\nprofiles: {{here: {{mounts: [{{name: it, local: '{project}', remote: /far}}]}}}}\n"
    (client.store / "profiles.yaml").write_text(text)
    try:
        said = client.start().post("/api/workflows/flow/run?mount=it", json={"dry_run": True})
        assert said.status_code == 403 and "Script path" in said.text, (why, said.text)
    finally:
        client.stop()


def test_a_script_beside_the_workflows_is_used(project: Path, store: Store) -> None:
    (project / WORKFLOWS / "go.sh").write_text("#!/bin/sh\n")
    for path in (".srunx/workflows/go.sh", str(project / WORKFLOWS / "go.sh")):
        assert read_script(path, project, store.root, WORKFLOWS) == "#!/bin/sh\n"
        with pytest.raises(Denied, match="hidden"):
            read_script(path, project, store.root)
