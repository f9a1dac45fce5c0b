"""Requests dropped as files: found, parsed, and moved away afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from store.disk import owners, writers
from store.disk.files import Files
from store.disk.folders import FILE_LIMIT_BYTES
from store.disk.reading import read_file
from store.documents import UserFileModel, from_yaml
from store.errors import Invalid, StoreError

# A file that is closed is taken when it was not written for SETTLED_S; one that does not parse, after GIVEN_UP_S.
SETTLED_S = 0.3
GIVEN_UP_S = 2.0
# Where nobody can say whether it is closed, it is taken when it was not changed for UNKNOWN_S.
UNKNOWN_S = 3.0
# One that is open for so long is a problem to be told.
HELD_S = 60.0
SUFFIXES = (".yaml", ".yml", ".json")


class SweepRequest(UserFileModel):
    """The sweep that a file asks for; store.rules.sweeps checks its axes."""

    matrix: dict[str, Any]
    exclude: list[dict[str, Any]] = Field(default=[], max_length=10_000)
    fail_fast: bool = False
    max_parallel: int = Field(default=4, ge=1, le=100_000)


class InboxRequest(UserFileModel):
    """What a file in the inbox may say.

    It names the workflow to run, and has everything that a request over HTTP may have.
    """

    workflow: str = Field(min_length=1, max_length=100)
    mount: str | None = None
    args: dict[str, Any] = Field(default={})
    sweep: SweepRequest | None = None
    from_job: str | None = None
    to_job: str | None = None
    single_job: str | None = None
    notify: bool = False
    endpoint_id: int | None = Field(default=None, ge=1)
    preset: str | None = None


@dataclass(frozen=True)
class DroppedFile:
    """One complete file with its request, or with what is wrong with it.

    `key` identifies this file: it stays the same as long as the file does, and the next file of that name has another
    one. So a request is carried out once, however often the server is killed meanwhile.
    """

    path: Path
    data: bytes
    key: str
    mark: tuple[int, int, int]
    request: InboxRequest | None
    error: str | None

    def to_body(self) -> dict[str, Any]:
        """Convert the request into a body of `POST …/run`."""
        assert self.request is not None
        plain = self.request.model_dump(exclude={"workflow", "mount", "args"})
        return {**plain, "args_override": self.request.args}


class Sighting(NamedTuple):
    """How a file was last seen, and since when it is so and is there.

    Times are those of a clock that nobody sets.
    """

    mark: tuple[int, ...]
    unchanged_since: float
    known_since: float


class Inbox:
    """The folder of dropped files.

    A file is taken when its last writer has closed it, or has moved it into place. Where the kernel cannot tell, it is
    taken when it was seen unchanged for UNKNOWN_S. `held` are the names of files that somebody keeps open for HELD_S.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self._clock = folder, clock
        self._sightings: dict[str, Sighting] = {}
        self.held: set[str] = set()
        self._look_again_at = 0.0

    def mark_changed(self) -> None:
        """Have the folder looked at as soon as somebody asks."""
        self._look_again_at = 0.0

    def is_due(self, pause_s: float) -> bool:
        """Tell whether to look at it: it changed, or so long has passed."""
        now = self._clock()
        if now < self._look_again_at:
            return False
        self._look_again_at = now + pause_s
        return True

    def list_ready(self) -> list[DroppedFile]:
        """List the complete files, oldest first; those that are not stay.

        So does what somebody else may have dropped; why, the store's problems say.
        """
        if owners.explain_folder(self.folder):
            return []
        paths = [
            path for path in self.folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        ]
        names = {path.name for path in paths}
        self._sightings = {name: seen for name, seen in self._sightings.items() if name in names}
        self.held &= names
        local = bool(paths) and writers.is_local(self.folder)
        paths.sort(key=lambda path: (_read_ctime(path), path.name))
        found = [self._examine_file(path, local) for path in paths]
        return [dropped for dropped in found if dropped is not None]

    def _examine_file(self, path: Path, local: bool) -> DroppedFile | None:
        """Parse the file; None if it is gone or may still be being written."""
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return None
            unchanged_s, known_s = self._look_at(path.name, status)
            data, _ = read_file(path, FILE_LIMIT_BYTES, owners.check_file)
            # After it was read: somebody who was still writing then is still found.
            is_open = writers.is_open_for_writing(path) if local else None
            if _to_mark(path.lstat()) != _to_mark(status):
                return None
        except (OSError, StoreError):
            return None  # gone meanwhile, or not readable yet: the next pass looks again
        if is_open and known_s >= HELD_S:
            self.held.add(path.name)
        if is_open:
            return None
        self.held.discard(path.name)
        # What is moved into place was written before, however new its name is.
        quiet_s = unchanged_s
        if is_open is not None:
            quiet_s = max(quiet_s, time.time() - min(status.st_mtime, status.st_ctime))
        return _parse_file(path, data, status, quiet_s, UNKNOWN_S if is_open is None else SETTLED_S)

    def _look_at(self, name: str, status: os.stat_result) -> tuple[float, float]:
        """Note how the file is now.

        Returns for how many seconds it has been so, and has been there.
        """
        now, mark, seen = self._clock(), _to_mark(status), self._sightings.get(name)
        if seen is None or seen.mark[0] != mark[0]:
            seen = Sighting(mark, now, now)
        elif seen.mark != mark:
            seen = Sighting(mark, now, seen.known_since)
        self._sightings[name] = seen
        return now - seen.unchanged_since, now - seen.known_since


def _to_mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read_ctime(path: Path) -> float:
    """Return when the file was last changed; 0 if it is gone."""
    try:
        return path.lstat().st_ctime
    except OSError:
        return 0.0


def _parse_file(path: Path, data: bytes, status: os.stat_result, quiet_s: float, least_s: float) -> DroppedFile | None:
    """Parse a file that is quiet; None if it is not quiet for long enough."""
    # An inode may be reused at once and a copy may keep its mtime; only ctime cannot be set by a user.
    name = f"{path.name} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns} {hashlib.sha256(data).hexdigest()}"
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"sluice inbox {name}"))
    request, wrong = None, None
    try:
        request = from_yaml(InboxRequest, data)
    except Invalid as error:
        wrong, least_s = str(error), max(least_s, GIVEN_UP_S)
    return DroppedFile(path, data, key, _identify_file(status), request, wrong) if quiet_s >= least_s else None


async def move_to_done(files: Files, dropped: DroppedFile, started: str) -> None:
    """Move the file to `done/`, with what it started in its first line."""
    await _move_file(files, dropped, "done", f"# started as {started}\n".encode() + dropped.data)


async def move_to_failed(files: Files, dropped: DroppedFile, reason: str) -> None:
    """Move the file to `failed/` unchanged.

    The reason stands beside it in a text file.
    """
    await _move_file(files, dropped, "failed", dropped.data, reason)


async def _move_file(files: Files, dropped: DroppedFile, where: str, data: bytes, reason: str = "") -> None:
    folder = dropped.path.parent / where
    files.make_dirs(folder)
    target = folder / dropped.path.name
    if target.exists() and target.read_bytes() != data:
        target = folder / f"{dropped.path.stem}.{dropped.key[:8]}{dropped.path.suffix}"
    if reason:
        await files.write(target.with_suffix(".reason.txt"), reason.encode("utf-8", "replace") + b"\n")
    await files.write(target, data)
    # Another file may have been dropped under this name meanwhile.
    await files.discard(dropped.path, lambda status: _identify_file(status) == dropped.mark)


def _identify_file(status: os.stat_result) -> tuple[int, int, int]:
    """Return what tells the file from a later one of the same name."""
    return status.st_ino, status.st_mtime_ns, status.st_size
