"""What jobs send of their files while they run: logs, which grow, and captures, which are whole or not there.

A job has a folder of its own, `streams/NAME/`, named like its record: `logs/FILE` and `captures/GENERATION.FILE`. A
file's path below the job's own folder is one name here. All writes can be repeated: a log's bytes have their place, and
a capture goes on where it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from store.disk.files import Files, read_file, read_slice
from store.errors import Conflict, Invalid, NotFound, TooLarge, make_problem
from store.logs import SLICE_BYTES, decode_whole_characters
from store.times import to_rfc3339

# Where the last piece of a log may begin.
LOG_BYTES = 1_000_000_000
CAPTURE_BYTES = 64 * 1024 * 1024
FILES_PER_JOB = 1000
NAME_BYTES = 180
PART = "part-"


@dataclass(frozen=True)
class StreamFile:
    """A file of a stream as it lies there; `generation` of a capture, which may be a `part` of one."""

    file: str
    path: Path
    size: int
    changed_ns: int
    generation: str = ""
    part: bool = False


class Streams:
    """The streams of all jobs, below one folder; `name` is that of the job's record."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files

    async def drop(self, name: str) -> None:
        """Nothing; the job has no streams any more."""
        await self._files.discard_folder(self._root / name)

    # Logs.

    async def add_log(self, name: str, file: str, offset: int, data: bytes) -> bool:
        """Whether there was anything new in the data, which is the file's from this byte on."""
        if offset > LOG_BYTES:
            raise TooLarge(LOG_BYTES, f"the log {file}")
        path = self._build_path(name, "logs", flatten_path(file))
        try:
            have, size = await read_slice(path, offset, len(data))
        except NotFound:
            await self._make_room(name, "logs")
            have, size = b"", 0
        # Not by its size alone: pieces may have come out of order, and then there is a gap.
        if have == data and offset + len(data) <= size:
            return False
        await self._files.write_at(path, offset, data)
        return True

    async def list_logs(self, name: str) -> list[dict[str, Any]]:
        """`{file, size, updated_at}` of each log, by name."""
        held = await asyncio.to_thread(lambda: list(self._scan_logs(name)))
        return [{"file": one.file, "size": one.size, "updated_at": _format_time(one)} for one in held]

    async def read_log(self, name: str, file: str, offset: int) -> dict[str, Any]:
        """`{file, offset, next_offset, data}`: at most 1 MB of the log as text from this byte on; NotFound."""
        data, size = await read_slice(self._build_path(name, "logs", flatten_path(file)), offset, SLICE_BYTES)
        start = min(offset, size)
        text, end = decode_whole_characters(data, start, start + len(data) < size)
        return {"file": file, "offset": start, "next_offset": end, "data": text}

    # Captures.

    async def add_capture(
        self, name: str, file: str, generation: str, offset: int, total: int, data: bytes
    ) -> tuple[int, bool]:
        """Where the capture goes on, and whether it is whole; data from another place than that is not taken."""
        if total > CAPTURE_BYTES:
            raise TooLarge(CAPTURE_BYTES, f"the capture {file}")
        if offset + len(data) > total:
            raise Invalid([make_problem("offset and data go beyond the total", ["query", "total"], input=total)])
        held = [one for one in await asyncio.to_thread(lambda: list(self._scan_captures(name))) if one.file == file]
        same = [one for one in held if one.generation == generation]
        if any(not one.part for one in same):
            return total, True
        part = self._build_path(name, "captures", f"{PART}{generation}.{flatten_path(file)}")
        have = next((one.size for one in same), 0)
        if offset > have:
            return have, False
        if not same:
            await self._make_room(name, "captures")
        await self._files.write_at(part, offset, data)
        have = max(have, offset + len(data))
        if have < total:
            return have, False
        await self._files.move(part, part.with_name(f"{generation}.{flatten_path(file)}"))
        for old in held:
            if old.generation != generation:
                await self._files.delete(old.path)
        return total, True

    async def list_captures(self, name: str) -> list[dict[str, Any]]:
        """`{file, size, updated_at, generation, complete}` of each capture, by name."""
        held = await asyncio.to_thread(lambda: list(self._scan_captures(name)))
        return [
            {
                "file": one.file,
                "size": one.size,
                "updated_at": _format_time(one),
                "generation": one.generation,
                "complete": not one.part,
            }
            for one in held
        ]

    async def read_capture(self, name: str, file: str) -> bytes:
        """The bytes of the last whole capture of the file; NotFound."""
        held = await asyncio.to_thread(lambda: list(self._scan_captures(name)))
        whole = [one for one in held if one.file == file and not one.part]
        if not whole:
            raise NotFound("Capture", file)
        newest = max(whole, key=lambda one: one.changed_ns)
        data, _ = await asyncio.to_thread(read_file, newest.path, CAPTURE_BYTES)
        return data

    # The folders.

    def _build_path(self, name: str, kind: str, filename: str) -> Path:
        return self._root / name / kind / filename

    async def _make_room(self, name: str, kind: str) -> None:
        """Nothing; the folder is there, and may have another file."""
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
    """The path of a job's file as one name; Invalid when it is too long for that.

    >>> flat("logs/worker 0.out")
    'logs%2Fworker%200.out'
    """
    name = quote(file, safe="@+=,")
    # So that it is no file of another kind: a write of ours in progress, or the folder above.
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > NAME_BYTES:
        raise Invalid([make_problem("the name is too long", ["query", "file"], type="string_too_long", input=file)])
    return name


def _scan_folder(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(((one.name, Path(one.path)) for one in found), key=lambda one: one[0])
    except FileNotFoundError:
        return
    for filename, path in entries:
        try:
            yield filename, path, path.lstat()
        except FileNotFoundError:
            continue  # renamed or deleted meanwhile


def _format_time(one: StreamFile) -> str:
    return to_rfc3339(one.changed_ns / 1e9) or ""
