"""The folders of workflows: which one a mount means, and that each is followed once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from store.errors import NotFound
from tests.engine.servers.pretended import FLOW, WORKFLOW, open_server
from tests.pretended import asynchronous

PROFILES = "current: here\nprofiles:\n  here:\n    mounts:\n      - {{name: ml, local: {root}/ml, remote: /r/ml}}\n"
OWN = "ml/.srunx/workflows/own.yaml"


def write_mount(root: Path) -> dict[str, str]:
    """Make the files of a store with one mount that has a workflow."""
    return {**FLOW, "store/profiles.yaml": PROFILES.format(root=root), OWN: WORKFLOW.replace("flow", "own")}


@asynchronous
async def test_a_mount_has_workflows_of_its_own(tmp_path: Path) -> None:
    async with open_server(tmp_path, write_mount(tmp_path)) as world:
        folders = world.server.workflow_folders
        own, mounted = await folders.find(None), await folders.find("ml")
        assert own is folders.own and own.root is None and mounted.root == tmp_path / "ml"
        names = [[row["name"] for row in orjson.loads(folder.rows.get_all().data)] for folder in (own, mounted)]
        assert names == [["flow"], ["own"]]
        assert await folders.find("ml") is mounted


@asynchronous
async def test_changes_of_a_mount_name_it(tmp_path: Path) -> None:
    async with open_server(tmp_path, write_mount(tmp_path)) as world:
        mounted = await world.server.workflow_folders.find("ml")
        world.read_changes("workflow")
        await mounted.folder.delete("own")
        change = world.reader.take()
        assert change is not None and (change.id, change.action, change.parent) == ("own", "deleted", "ml")


@pytest.mark.parametrize("why", ["the profile has none of this name", "the disk has no such folder"])
@asynchronous
async def test_a_mount_that_is_not_there(tmp_path: Path, why: str) -> None:
    files = FLOW if "profile" in why else {**FLOW, "store/profiles.yaml": PROFILES.format(root=tmp_path)}
    async with open_server(tmp_path, files) as world:
        with pytest.raises(NotFound):
            await world.server.workflow_folders.find("ml")


@asynchronous
async def test_a_mount_that_may_not_be_entered_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def refuse(path: Path, **named: Any) -> Any:
        if path.is_relative_to(tmp_path / "ml"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(path, **named)

    async with open_server(tmp_path, write_mount(tmp_path)) as world:
        folders = world.server.workflow_folders
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", refuse)
            await folders.follow_mounts()
            with pytest.raises(NotFound, match="its folder is not there"):
                await folders.find("ml")
        await folders.follow_mounts()
        assert (await folders.find("ml")).root == tmp_path / "ml"
