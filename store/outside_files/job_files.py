"""Which files may be read as those of a job, and reading them here.

The paths come from whoever submitted the job, so they are believed nothing. A job's file is a regular file below a
folder of the job, a mount or the home without its hidden files; it belongs to the job's user, and was last written
after the job was submitted. It is no link, and what counts is where it really lies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from store.config.mount_roots import KERNEL
from store.disk.reading import ReadSlices, read_slice_blocking
from store.errors import Denied, NotFound, StoreError, StoreUnavailable
from store.outside_files import mount_calls

# Clocks differ: SLURM bears 5 minutes between machines, and a file server may be as far off again.
CLOCKS_S = 600


@dataclass(frozen=True)
class JobPlace:
    """Where the files of one job may lie, as absolute paths.

    `folders` are the job's, `mounts` always open, `own` are folders for jobs' work that Sluice made, also hidden ones;
    `store` is the rest of it, None where there is none. `since` (epoch) is when the job was submitted, None if unknown.
    """

    folders: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    home: str = ""
    store: str | None = None
    since: float | None = None

    def list_roots(self) -> list[str]:
        """List all folders of it, to be looked up at once."""
        return [*self.folders, *self.mounts, *self.own, self.home, *([self.store] if self.store else [])]

    def resolve(self, real: Callable[[str], str]) -> JobPlace:
        """Return the place with all folders as they really are."""
        folders, mounts, own = (tuple(map(real, group)) for group in (self.folders, self.mounts, self.own))
        # What these two close stays closed.
        store, home = self.store and (real(self.store) or self.store), real(self.home) or self.home
        return replace(self, folders=folders, mounts=mounts, own=own, home=home, store=store)

    def explain_refusal(self, path: str, modified_at: float | None = None) -> str | None:
        """Explain why this real path is none of the job's; None if it may be."""
        if any(_is_below(path, top) for top in KERNEL):
            return "is none that a job writes"
        if PurePath(path).name.startswith("."):
            return "is a hidden file"
        if not any(_is_below(path, folder) for folder in self.own):
            if self.store and _is_below(path, self.store):
                return "lies in the store"
            if not any(self._is_open(path, folder) for folder in (*self.folders, *self.mounts, self.home)):
                return "lies outside of the job's folders, or in a hidden folder of the home"
        if self.since is not None and modified_at is not None and modified_at < self.since - CLOCKS_S:
            return "was last written before the job was submitted"
        return None

    def _is_open(self, path: str, folder: str) -> bool:
        """Tell whether a folder opens the path.

        A project may have hidden folders of its own for logs; the home, and what is around it, opens none.
        """
        if not _is_below(path, folder):
            return False
        is_inside = _is_below(folder, self.home) and folder != self.home and not self._is_hidden(folder)
        return is_inside or not self._is_hidden(path)

    def _is_hidden(self, path: str) -> bool:
        """Tell whether the path is, or lies in, something hidden of the home."""
        return _is_below(path, self.home) and any(
            part.startswith(".") for part in PurePath(path).relative_to(self.home).parts
        )


def _is_below(path: str, folder: str) -> bool:
    return bool(folder) and PurePath(path).is_relative_to(folder)


# Hears the modification time (epoch) and the inode of a file that is read; 0 where nobody knows it.
Notice = Callable[[float, int], None]


def make_reader(place: JobPlace, notice: Notice | None = None) -> ReadSlices:
    """Return a function that reads files of this job on this machine."""

    async def read(wanted: Sequence[tuple[str, int, int]], owner: int | None) -> list[tuple[bytes, int] | StoreError]:
        real_place = await asyncio.to_thread(place.resolve, lambda folder: _find_real(folder, place.mounts))
        # Where nobody says whose job it was it is our own.
        owner = os.geteuid() if owner is None else owner
        patience_s = mount_calls.LONG_PATIENCE_S
        return [
            await mount_calls.run_below(
                place.mounts, part[0], _read_part, real_place, *part, owner, notice, patience_s=patience_s
            )
            for part in wanted
        ]

    return read


def _find_real(folder: str, mounts: Sequence[str]) -> str:
    """Find where a folder really lies; "" where nobody says so.

    Its mount does not answer, or a link cannot be followed, such as that of another user's process. It opens nothing.
    """
    try:
        return mount_calls.ask_below(mounts, folder, os.path.realpath, folder)
    except (StoreUnavailable, OSError):
        return ""


def _read_part(
    place: JobPlace, path: str, offset: int, limit_bytes: int, owner: int | None, notice: Notice | None = None
) -> tuple[bytes, int] | StoreError:
    name = PurePath(path).name

    def check(fd: int, status: os.stat_result) -> None:
        # Where it was when it was opened: a folder on the way may have become a link since it was looked up.
        if why := place.explain_refusal(os.path.realpath(f"/proc/self/fd/{fd}"), status.st_mtime):
            raise Denied(f"{name} {why}")
        if notice is not None:
            notice(status.st_mtime, status.st_ino)

    try:
        if not (folder := _find_real(os.path.dirname(path), ())):  # noqa: PTH120
            raise Denied(f"{name} lies behind a link that cannot be followed")
        # A link in place of the file itself is refused when it is opened.
        real = os.path.join(folder, name)  # noqa: PTH118
        # Before it is opened: some devices do something even then.
        if why := place.explain_refusal(real):
            raise Denied(f"{name} {why}")
        return read_slice_blocking(real, offset, limit_bytes, owner, check)
    except (NotFound, Denied) as error:
        return error
    except ValueError:  # a NUL in the path
        return NotFound("file", repr(name))
