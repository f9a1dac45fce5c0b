"""Logs and captures that jobs send while they run.

A job has a folder of its own, `streams/NAME/`, named like its record: `logs/FILE` and `captures/GENERATION.FILE`. Logs
grow; a capture is whole or not there. A file's path below the job's own folder is flattened to one name. All writes can
be repeated: a log's bytes have their offset, and a capture goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from store.disk.files import Files, is_temporary
from store.disk.reading import read_file, read_slice
from store.errors import Conflict, Invalid, NotFound, TooLarge, make_problem
from store.logs import SLICE_BYTES, decode_whole_characters
from store.times import to_rfc3339

# The largest offset that a piece of a log may have.
LOG_BYTES = 1_000_000_000
CAPTURE_BYTES = 64 * 1024 * 1024
FILES_PER_JOB = 1000
NAME_BYTES = 180
PART = "part-"


@dataclass(frozen=True)
class StreamFile:
    """A file of a stream on disk.

    `generation` is that of a capture, and `part` says that the capture is not complete yet.
    """

    file: str
    path: Path
    size: int
    changed_ns: int
    generation: str = ""
    part: bool = False


class Streams:
    """The streams of all jobs, below one folder.

    `name` is that of the job's record.
    """

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files

    async def drop(self, name: str) -> None:
        """Delete all streams of the job."""
        await self._files.discard_folder(self._root / name)

    # Logs.

    async def add_log(self, name: str, file: str, offset: int, data: bytes) -> bool:
        """Write the data into a log from byte `offset` on; tell if it was new."""
        if offset > LOG_BYTES:
            raise TooLarge(LOG_BYTES, f"the log {file}")
        path = self.find_log(name, file)
        try:
            have, size = await read_slice(path, offset, len(data))
        except NotFound:
            await self._make_room(name, "logs")
            have, size = b"", 0
        # Compare bytes, not only sizes: pieces that came out of order leave gaps.
        if have == data and offset + len(data) <= size:
            return False
        # A job that runs again begins its log anew, in place of what it wrote before.
        if offset == 0 and not data.startswith(have) and have.strip(b"\0"):
            await self._files.delete(path)
        await self._files.write_at(path, offset, data)
        return True

    async def list_logs(self, name: str) -> list[dict[str, Any]]:
        """List the logs by name: `{file, size, updated_at}`."""
        logs = await asyncio.to_thread(lambda: list(self._scan_logs(name)))
        return [{"file": log.file, "size": log.size, "updated_at": _format_time(log)} for log in logs]

    async def read_log(self, name: str, file: str, offset: int) -> dict[str, Any]:
        """Read up to 1 MB of a log as text from byte `offset` on.

        Returns `{file, offset, next_offset, data}`; from 0 on if it is shorter, since it was begun anew. Raises
        NotFound.
        """
        path = self.find_log(name, file)
        data, size = await read_slice(path, offset, SLICE_BYTES)
        if offset > size:
            offset = 0
            data, size = await read_slice(path, offset, SLICE_BYTES)
        text, end = decode_whole_characters(data, offset, offset + len(data) < size)
        return {"file": file, "offset": offset, "next_offset": end, "data": text}

    def find_log(self, name: str, file: str) -> Path:
        """Find where a log lies, or would lie."""
        return self._build_path(name, "logs", flatten_path(file))

    # Captures.

    async def add_capture(
        self, name: str, file: str, generation: str, offset: int, total: int, data: bytes
    ) -> tuple[int, bool]:
        """Add data to a capture; return where it goes on, and if it is whole.

        Data for another offset than the next one is not taken.
        """
        if total > CAPTURE_BYTES:
            raise TooLarge(CAPTURE_BYTES, f"the capture {file}")
        if offset + len(data) > total:
            raise Invalid([make_problem("offset and data go beyond the total", ["query", "total"], input=total)])
        files = [
            capture
            for capture in await asyncio.to_thread(lambda: list(self._scan_captures(name)))
            if capture.file == file
        ]
        generations = [capture for capture in files if capture.generation == generation]
        if any(not capture.part for capture in generations):
            return total, True
        part = self._build_path(name, "captures", f"{PART}{generation}.{flatten_path(file)}")
        have = next((capture.size for capture in generations), 0)
        if offset > have:
            return have, False
        if not generations:
            await self._make_room(name, "captures")
        await self._files.write_at(part, offset, data)
        have = max(have, offset + len(data))
        if have < total:
            return have, False
        await self._files.move(part, part.with_name(f"{generation}.{flatten_path(file)}"))
        for old in files:
            if old.generation != generation:
                await self._files.delete(old.path)
        return total, True

    async def list_captures(self, name: str) -> list[dict[str, Any]]:
        """List captures: `{file, size, updated_at, generation, complete}`."""
        captures = await asyncio.to_thread(lambda: list(self._scan_captures(name)))
        return [
            {
                "file": capture.file,
                "size": capture.size,
                "updated_at": _format_time(capture),
                "generation": capture.generation,
                "complete": not capture.part,
            }
            for capture in captures
        ]

    async def read_capture(self, name: str, file: str) -> bytes:
        """Return the bytes of the last whole capture. Raises NotFound."""
        captures = await asyncio.to_thread(lambda: list(self._scan_captures(name)))
        complete = [capture for capture in captures if capture.file == file and not capture.part]
        if not complete:
            raise NotFound("Capture", file)
        newest = max(complete, key=lambda capture: capture.changed_ns)
        data, _ = await asyncio.to_thread(read_file, newest.path, CAPTURE_BYTES)
        return data

    # The folders.

    def _build_path(self, name: str, kind: str, filename: str) -> Path:
        return self._root / name / kind / filename

    async def _make_room(self, name: str, kind: str) -> None:
        """Make the folder; raise Conflict if it holds too many files."""
        folder = self._root / name / kind
        await asyncio.to_thread(self._files.make_dirs, folder)
        if len(await asyncio.to_thread(os.listdir, folder)) >= FILES_PER_JOB:
            raise Conflict(f"a job has at most {FILES_PER_JOB} {kind}")

    def _scan_logs(self, name: str) -> Iterator[StreamFile]:
        for filename, path, status in _scan_folder(self._root / name / "logs"):
            yield StreamFile(unquote(filename), path, status.st_size, status.st_mtime_ns)

    def _scan_captures(self, name: str) -> Iterator[StreamFile]:
        for filename, path, status in _scan_folder(self._root / name / "captures"):
            generation, _, file = filename.removeprefix(PART).partition(".")
            is_part = filename.startswith(PART)
            yield StreamFile(unquote(file), path, status.st_size, status.st_mtime_ns, generation, is_part)


def flatten_path(file: str) -> str:
    """Return the path of a job's file as one name. Raises Invalid.

    It is invalid when it is too long for that.

    >>> flatten_path("logs/worker 0.out")
    'logs%2Fworker%200.out'
    """
    name = quote(file, safe="@+=,")
    # A leading dot would make it look like a temporary file of ours, or `..`.
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > NAME_BYTES:
        raise Invalid([make_problem("the name is too long", ["query", "file"], type="string_too_long", input=file)])
    return name


def _scan_folder(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield name, path and status of each file in the folder, sorted."""
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if not is_temporary(entry.name))
    except FileNotFoundError:
        return
    for filename in names:
        path = folder / filename
        try:
            yield filename, path, path.lstat()
        except FileNotFoundError:
            continue  # renamed or deleted meanwhile


def _format_time(file: StreamFile) -> str:
    return to_rfc3339(file.changed_ns / 1e9) or ""
