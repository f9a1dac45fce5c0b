"""Requests dropped as files: found, parsed, and moved away afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from store.disk.files import Files, read_file
from store.disk.folders import FILE_LIMIT_BYTES
from store.documents import UserFileModel, from_yaml
from store.errors import Invalid, StoreError

# A file is taken when it was not changed for SETTLED_S; one that does not parse, after GIVEN_UP_S.
SETTLED_S = 0.3
GIVEN_UP_S = 2.0
SUFFIXES = (".yaml", ".yml")


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


def list_ready(folder: Path) -> list[DroppedFile]:
    """List the complete files, oldest first.

    Half-written files are left until they can be parsed or stop changing.
    """
    ready = []
    for path in sorted(folder.iterdir(), key=lambda path: (_read_ctime(path), path.name)):
        if path.suffix in SUFFIXES and not path.name.startswith("."):
            dropped = _examine_file(path)
            if dropped is not None:
                ready.append(dropped)
    return ready


def has_unsettled(folder: Path) -> bool:
    """Return whether somebody may still be writing a file.

    Then it is worth looking again soon.
    """
    now = time.time()
    names = (path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    return any(now - _read_ctime(path) < SETTLED_S for path in names)


def _read_ctime(path: Path) -> float:
    """Return when the file was last changed; 0 if it is gone."""
    try:
        return path.lstat().st_ctime
    except OSError:
        return 0.0


def _examine_file(path: Path) -> DroppedFile | None:
    """Parse the file; None if it is gone or may still be being written."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return None
        data, _ = read_file(path, FILE_LIMIT_BYTES)
    except (OSError, StoreError):
        return None  # gone meanwhile, or not readable yet: the next pass looks again
    quiet_s = time.time() - status.st_ctime
    # An inode may be reused at once and a copy may keep its mtime; only ctime cannot be set by a user.
    name = f"{path.name} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns} {hashlib.sha256(data).hexdigest()}"
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"sluice inbox {name}"))
    try:
        request = from_yaml(InboxRequest, data)
    except Invalid as error:
        return DroppedFile(path, data, key, _identify_file(status), None, str(error)) if quiet_s >= GIVEN_UP_S else None
    return DroppedFile(path, data, key, _identify_file(status), request, None) if quiet_s >= SETTLED_S else None


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
