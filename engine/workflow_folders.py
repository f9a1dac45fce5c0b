"""The folders of workflows: the store's own, and one of each mount."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass
from pathlib import Path

from engine.changes import Changes
from store import errors
from store.config.profiles import Mount
from store.disk.entries import FileEntry
from store.disk.folders import Folder
from store.indexes.lists import RowList
from store.store import Store

# Where a mount has its workflows.
WORKFLOWS_PATH = Path(".srunx") / "workflows"


@dataclass(frozen=True)
class WorkflowFolder:
    """Where workflows lie.

    The folder, its rows as bytes, and the root that relative paths of its jobs start from.
    """

    folder: Folder
    rows: RowList
    root: Path | None = None

    def get_entry(self, name: str) -> FileEntry:
        """Return the workflow's file; its document is the last good one.

        Raises NotFound, Conflict for one whose file was never right, StoreUnavailable while it cannot be read.
        """
        if name not in self.folder and (wrong := self.folder.describe_problems(name)):
            if self.folder.choose_filename(name) in self.folder.list_unread():
                raise errors.StoreUnavailable(errno.EAGAIN, wrong)
            raise errors.Conflict(f"the file of workflow '{name}' is refused: {wrong}")
        return self.folder.get_entry(name)


class WorkflowFolders:
    """The store's folder of workflows, and those of mounts, by their root."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store, self._changes = store, changes
        self._of_mounts: dict[Path, WorkflowFolder] = {}
        self.own = WorkflowFolder(store.workflows, _make_rows(store.workflows))

    async def find(self, mount: str | None) -> WorkflowFolder:
        """Find the workflows of a mount, or with None those of the store.

        Raises NotFound for a mount that the profile or the disk lacks, StoreUnavailable for one that does not answer.
        """
        if mount is None:
            return self.own
        profiles = self._store.profiles
        found = await profiles.check_mount(profiles.get_mount(mount))
        root = found.root
        if root not in self._of_mounts:
            if not await found.is_there():
                raise errors.NotFound("Mount", mount, ": its folder is not there")
            folder = await self._store.add_folder(root, WORKFLOWS_PATH, self._store.workflows, mount)
            if root not in self._of_mounts:  # nobody was faster
                added = self._of_mounts[root] = WorkflowFolder(folder, _make_rows(folder), root)
                self._changes.follow_folder(folder, "workflow", lambda name: added.rows.get_row(name).data, mount)
        return self._of_mounts[root]

    async def follow_mounts(self) -> None:
        """Follow the workflows of every mount that has some."""
        await asyncio.gather(*(self._follow_mount(mount) for mount in self.list_unfollowed()))

    def list_unfollowed(self) -> list[Mount]:
        """List the mounts whose workflows are not followed yet."""
        return [mount for mount in self._store.profiles.get_mounts().values() if mount.root not in self._of_mounts]

    async def _follow_mount(self, mount: Mount) -> None:
        with contextlib.suppress(errors.StoreError):  # such as one that does not answer, which is a problem by itself
            if await mount.is_there(WORKFLOWS_PATH):
                await self.find(mount.name)


def _make_rows(folder: Folder) -> RowList:
    # A folder's workflows as answers show them, by name.
    return RowList(folder, lambda entry: entry.summary or {}, lambda row: row["name"])
