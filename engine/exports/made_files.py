"""What exports and reports have in common: made, shown, sent, removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from engine.server import Server
from engine.tasks import end_task
from slurm_shim.errors import SlurmError, SlurmUnreachable
from store import access
from store.disk.folders import Folder
from store.errors import Conflict, Denied, Exists, Invalid, NotFound, StoreError, StoreUnavailable
from store.exports.children import Bounds, NotMade, Work
from store.indexes.bodies import Answer
from store.kinds import Key
from store.rules import requests
from store.rules.exports import files, tables
from store.rules.exports.files import File, MadeFile

log = logging.getLogger("sluice.exports")

KINDS = ("export", "cluster_report")
ROOM = Key("made_files", "room")
LABELS = {"export": "Export", "cluster_report": "Report"}
# SLURM is asked so often for one file, after such pauses.
TRIES, PAUSE_S = 5, 3.0


def iterate_files(server: Server) -> Iterable[MadeFile]:
    """Yield all exports and reports."""
    return (entry.document for kind in KINDS for entry in server.store.by_kind[kind].iterate_entries())


def check_room(server: Server, caller: access.Caller) -> None:
    """Raise Conflict if the caller, or all of them, have too many files."""
    bounds = server.store.config.exports
    files.check_room(iterate_files(server), caller.name, bounds.most_files, bounds.most_files_per_caller, time.time())


def make_id(prefix: str, kind: str, key: str | None, caller: access.Caller) -> str:
    """Make an id: always the same for the same key of a caller."""
    return f"{prefix}_{requests.make_id(caller.name, kind, key).replace('-', '')}"


async def begin_file(server: Server, kind: str, made: File, caller: access.Caller) -> File:
    """Begin a file; return the one that the same request has begun before.

    Raises Invalid where the key was used with another body, and Conflict.
    """
    folder: Folder = server.store.by_kind[kind]
    if made.id not in folder:
        async with server.locks.hold(ROOM):  # many at once would all find the same room
            check_room(server, caller)
            with contextlib.suppress(Exists):  # the same request came twice at once
                await folder.create(made.id, made)
    begun: File = folder.get(made.id)
    requests.refuse_other_request(begun, made.request_hash)
    return begun


def find_file(server: Server, kind: str, name: str, caller: access.Caller) -> Any:
    """Find an export or report of the caller; raise NotFound.

    Those of others are found by callers with the scope admin only.
    """
    folder: Folder = server.store.by_kind[kind]
    made = folder.get(name) if name in folder else None
    if made is None or not is_visible(made, caller):
        raise NotFound(LABELS[kind], name)
    return made


def is_visible(made: MadeFile, caller: access.Caller) -> bool:
    """Return whether the caller may know of the file."""
    return made.owner == caller.name or "admin" in caller.scopes


def list_newest(server: Server, kind: str, caller: access.Caller) -> list[Any]:
    """List the exports or reports that the caller may know of, newest first."""
    found = [entry.document for entry in server.store.by_kind[kind].iterate_entries()]
    visible = (made for made in found if is_visible(made, caller))
    return sorted(visible, key=lambda made: (made.created_at, made.created_s, made.id), reverse=True)


def find_path(server: Server, kind: str, name: str) -> Path:
    """Find where the file itself lies."""
    folder: Folder = server.store.by_kind[kind]
    return folder.path / name / files.DATA


async def download_file(server: Server, kind: str, made: MadeFile) -> Answer:
    """Return the file; Conflict while it is made, NotFound once it is gone."""
    status, label = files.find_status(made, time.time()), LABELS[kind]
    if status == "processing":
        raise Conflict(f"{label} {made.id} is not complete yet")
    if status == "failed":
        raise Conflict(f"{label} {made.id} failed: {made.error}")
    path = find_path(server, kind, made.id)
    if status == "expired" or not await asyncio.to_thread(path.is_file):
        raise NotFound(label, made.id, ": it has expired" if status == "expired" else ": its file is gone")
    charset = "; charset=utf-8" if (media_type := tables.MEDIA_TYPES[made.format]).startswith("text/") else ""
    return Answer(path, media_type=media_type + charset, filename=made.filename)


async def delete_file(server: Server, kind: str, name: str) -> None:
    """Delete an export or report; one that is being made is cancelled."""
    task = server.tasks.running.get(Key(kind, name))
    if task is not None:
        await end_task(task)
    # It may have been begun again at once; then it waits for the lock, and finds nothing.
    async with server.locks.hold(Key(kind, name)):
        await server.store.by_kind[kind].delete(name)
        await server.store.files.discard_folder(find_path(server, kind, name).parent)


async def remove_expired(server: Server, now: float) -> None:
    """Remove the files that have expired, and forget them a while later."""
    keep_hours = server.store.config.exports.keep_hours
    for kind in KINDS:
        for made in [entry.document for entry in server.store.by_kind[kind].iterate_entries()]:
            if made.status == "processing" or not files.has_expired(made, now):
                continue
            async with server.locks.hold(Key(kind, made.id)):
                if files.is_forgotten(made, keep_hours, now):
                    with contextlib.suppress(NotFound):
                        await server.store.by_kind[kind].delete(made.id)
                await server.store.files.discard_folder(find_path(server, kind, made.id).parent)


async def carry_out(
    server: Server, kind: str, name: str, make: Callable[[Any, Path, int], Awaitable[dict[str, Any]]]
) -> None:
    """Make the file and record how that ended.

    `make(document, path, most_bytes)` fills the file and gives what to record of it. What is half there from a time
    before, as after a kill, is removed first.
    """
    async with server.locks.hold(Key(kind, name)):
        folder: Folder = server.store.by_kind[kind]
        made = folder.get(name)
        if made.status != "processing":
            return
        path, bounds = find_path(server, kind, name), server.store.config.exports
        try:
            await server.store.files.discard_folder(path.parent)
            sizes = (bounds.file_mb, bounds.caller_mb, bounds.all_mb)
            more = await make(made, path, files.compute_room_bytes(iterate_files(server), made, sizes))
            size_bytes = (await asyncio.to_thread(path.stat)).st_size
            ended = files.complete_file(made, size_bytes, time.time(), **more)
        except (NotMade, SlurmError, Invalid, Denied, NotFound, StoreUnavailable) as problem:
            log.warning("%s %s failed: %s", LABELS[kind].lower(), name, problem)
            ended = files.fail_file(made, str(problem), time.time())
        await _record_end(server, folder, ended, path)


async def _record_end(server: Server, folder: Folder, ended: MadeFile, path: Path) -> None:
    try:
        if ended.status == "failed":
            await server.store.files.discard_folder(path.parent)
        await folder.put(ended.id, ended)
    except StoreError:
        await asyncio.sleep(PAUSE_S)  # the disk refuses everything now: all begins again
        raise


async def try_often(call: Callable[[], Awaitable[Any]]) -> Any:
    """Call until SLURM answers; raise SlurmUnreachable after some tries."""
    for left in reversed(range(TRIES)):
        try:
            return await call()
        except SlurmUnreachable:
            if not left:
                raise
            await asyncio.sleep(PAUSE_S)
    raise AssertionError("unreachable")


async def fill_file(
    server: Server, name: str, path: Path, bounds: Bounds, fill: Callable[[int, Bounds, Work], None]
) -> int:
    """Have `fill(descriptor, bounds, work)` fill the file in a thread.

    Returns the number of rows. Raises NotMade, and what `fill` raises.
    """

    def make(work: Work) -> int:
        with server.store.files.fill(path) as fd:
            fill(fd, bounds, work)
        return work.rows

    rows: int = await server.file_work.run(name, make)
    return rows
