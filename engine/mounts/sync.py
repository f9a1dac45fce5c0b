"""Mounts: list and read their files, and copy them to their cluster."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from engine.clusters import LOGIN_FIELDS, is_remote
from engine.server import Server
from engine.tasks import end_task
from slurm_shim.errors import SlurmError, SyncFailed
from slurm_shim.remote import rsync, ssh
from store import errors
from store.config import mount_roots
from store.config.profiles import Mount, Profile
from store.indexes.bodies import Answer
from store.kinds import Key
from store.operations import RAW
from store.outside_files import mount_calls, mount_files
from store.rules import syncs

PAUSE_S = 5.0
PIECE_BYTES = 262_144


# --------------------------------------------------------------------------------------------------------- browsing


async def list_files(server: Server, mount: str, path: str) -> dict[str, Any]:
    """List a folder of the mount, with the remote folder it stands for."""
    _, _, found = await find_current_mount(server, mount)
    rows = await _browse_mount(mount_files.list_folder, found, path, server.store.root)
    prefix = f"{found.remote.rstrip('/')}/{rows['inside']}" if rows["inside"] else found.remote
    return {
        "entries": rows["entries"],
        "remote_prefix": prefix,
        "mount_name": mount,
        "truncated": rows["truncated"],
    }


async def read_file(server: Server, mount: str, path: str) -> dict[str, Any]:
    """Read a file of the mount."""
    _, _, found = await find_current_mount(server, mount)
    content = await _browse_mount(mount_files.read_text, found, path, server.store.root)
    return {"content": content, "path": path, "mount": mount}


async def download_file(server: Server, mount: str, path: str, offset: int, length: int | None) -> Answer:
    """Send the bytes of a file of the mount, or a part of them."""
    _, _, found = await find_current_mount(server, mount)
    file = await _browse_mount(mount_files.open_file, found, path, server.store.root)
    return Answer(_read_pieces(found.root, file, offset, length), media_type=RAW, download=True)


async def _read_pieces(root: Path, file: BinaryIO, offset: int, length: int | None) -> AsyncIterator[bytes]:
    with file:
        await mount_calls.run_call(root, file.seek, offset)
        left = sys.maxsize if length is None else length
        while left and (piece := await mount_calls.run_call(root, file.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


async def _browse_mount(function: Callable[..., Any], mount: Mount, *path: str | Path) -> Any:
    patience_s = mount_calls.LONG_PATIENCE_S
    return await mount_calls.run_call(mount.root, function, mount.root, *path, patience_s=patience_s)


async def find_current_mount(server: Server, name: str) -> tuple[str, Profile, Mount]:
    """Return the active profile's name, the profile, and its mount.

    Raises NoProfile, NotFound, Denied, StoreUnavailable.
    """
    profiles = server.store.profiles
    if profiles.current is None:
        raise errors.NoProfile
    mount = await profiles.check_mount(profiles.get_mount(name))
    return profiles.current, profiles.profiles[profiles.current], mount


# --------------------------------------------------------------------------------------------------------- syncing


async def sync_mount(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a request to sync a mount.

    The mount is copied, or with `dry_run` the changes are listed, or without `wait` a sync goes on by itself.
    """
    name, profile, mount = await find_current_mount(server, body["mount"])
    if not is_remote(profile):
        # Local jobs run in the mounts' own folders, so there is nothing to copy.
        return (
            to_plan_json(mount.name, rsync.Progress()) if body["dry_run"] else {"status": "synced", "mount": mount.name}
        )
    make_login(profile)
    if body["dry_run"]:
        return to_plan_json(
            mount.name, await transfer_mount(server, name, profile, mount, delete=body["delete"], dry_run=True)
        )
    if not body["wait"]:
        return {"status": "syncing", "mount": mount.name, "id": await begin_sync(server, name, mount, body["delete"])}
    await transfer_mount(server, name, profile, mount, delete=body["delete"])
    return {"status": "synced", "mount": mount.name}


def to_plan_json(name: str, progress: rsync.Progress) -> dict[str, Any]:
    """Build the answer to a dry run."""
    is_truncated = sum(progress.counts.values()) > len(progress.changes)
    return {
        "status": "planned",
        "mount": name,
        "counts": progress.counts,
        "changes": progress.changes,
        "truncated": is_truncated,
    }


def make_login(profile: Profile) -> ssh.Login:
    """Return where and how to log in.

    Raises NoProfile when the profile names no host, or one that ssh cannot be given.
    """
    if not is_remote(profile):
        raise errors.NoProfile("The current profile names no host: its jobs run here, in the mounts' own folders")
    try:
        return ssh.Login(**{field: getattr(profile, field) for field in LOGIN_FIELDS})
    except ValueError as problem:
        raise errors.NoProfile(f"The current profile cannot be used: {problem}") from None


async def transfer_mount(
    server: Server,
    profile_name: str,
    profile: Profile,
    mount: Mount,
    *,
    delete: bool = False,
    dry_run: bool = False,
    on_begin: Callable[[rsync.Transfer], Any] | None = None,
) -> rsync.Progress:
    """Copy the mount, or list the changes in a dry run; return its progress.

    `on_begin` is awaited with the transfer once no other sync of this mount runs. Raises NoProfile; Conflict instead of
    deleting everything on the other side; SyncFailed with rsync's reason, or when another sync of this mount does not
    end. When this is cancelled, the transfer is stopped too.
    """
    hidden = await mount_calls.run_call(mount.root, mount_roots.find_store_inside, mount.root, server.store.root)
    folders = rsync.Folders(str(mount.root), mount.remote, mount.exclude_patterns, hidden)
    target = make_login(profile)
    # Over the connection that SLURM's commands use, if there is one.
    rsh = ssh.build_options(target, server.settings.ssh_config, server.clusters.find_socket(profile_name))
    argv = rsync.build_argv(folders, rsh, target.host, delete=delete, dry_run=dry_run)
    transfer = rsync.Transfer(argv, folders.local)
    layers = await server.store.configuration.resolve(mount.root)
    patience_s: int = layers.config["sync"]["lock_timeout_seconds"]
    async with _hold_lock(server, make_lock_name(profile_name, mount.name), patience_s):
        if on_begin is not None:
            await on_begin(transfer)
        if delete and not dry_run:
            await _refuse_unsafe_delete(mount)
        try:
            return await asyncio.get_running_loop().run_in_executor(server.mount_work.syncing, transfer.run)
        finally:
            # No effect on a transfer that has ended.
            transfer.stop("the server has ended")


async def _refuse_unsafe_delete(mount: Mount) -> None:
    """Raise Conflict where deleting extra files must be a mistake."""
    if await _browse_mount(mount_files.is_empty, mount):
        raise errors.Conflict("The mount's folder is empty here: what is over there is not deleted for that")


def make_lock_name(profile_name: str, mount: str) -> Key:
    """Name the lock for writers of a mount's remote directory."""
    return Key("mount", f"{profile_name}/{mount}")


@contextlib.asynccontextmanager
async def _hold_lock(server: Server, key: Key, patience_s: int) -> AsyncIterator[None]:
    """Hold the lock; SyncFailed if it is not free in time."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(patience_s):
                await stack.enter_async_context(server.locks.hold(key))
        except TimeoutError:
            raise SyncFailed(f"another sync of this mount has not ended within {patience_s} s") from None
        yield


# ------------------------------------------------------------------------------------------- syncing in the background


async def begin_sync(server: Server, profile_name: str, mount: Mount, delete: bool) -> str:
    """Record a sync that goes on by itself, also after a restart.

    Returns its id. One that waits already and does the same is used instead.
    """
    recorded = [entry.document for entry in server.store.syncs.iterate_entries()]
    wanted = syncs.build_sync(str(uuid.uuid4()), profile_name, mount.name, delete, time.time())
    if (waiting := syncs.find_same(recorded, wanted)) is not None:
        return waiting.id
    for sync_id in syncs.list_surplus(recorded):
        with contextlib.suppress(errors.NotFound):
            await server.store.syncs.delete(sync_id)
    await server.store.syncs.create(wanted.id, wanted)
    return wanted.id


async def carry_out_sync(server: Server, sync_id: str) -> None:
    """Carry out the sync and record its end."""
    recorded: syncs.Sync = server.store.syncs.get(sync_id)

    async def on_begin(transfer: rsync.Transfer) -> None:
        server.mount_work.transfers[sync_id] = transfer
        await server.store.syncs.put(sync_id, syncs.mark_begun(recorded, time.time()))

    try:
        try:
            profile, mount = syncs.find_mount(server.store.profiles, recorded)
            await server.store.profiles.check_mount(mount)
            progress = await transfer_mount(
                server, recorded.profile, profile, mount, delete=recorded.delete, on_begin=on_begin
            )
            begun = server.store.syncs.get(sync_id)
            ended = syncs.mark_done(begun, progress.size_bytes, progress.files_total, time.time())
        except errors.StoreUnavailable:
            await asyncio.sleep(PAUSE_S)
            raise
        except (SlurmError, errors.StoreError) as problem:
            ended = syncs.mark_failed(recorded, str(problem), time.time())
        await server.store.syncs.put(sync_id, ended)
    finally:  # only now: a reader sees the progress until the end is recorded
        server.mount_work.transfers.pop(sync_id, None)


def get_sync(server: Server, sync_id: str) -> dict[str, Any]:
    """Return a sync as answers show it, with its progress; NotFound."""
    if sync_id not in server.store.syncs:
        raise errors.NotFound("Sync", sync_id)
    recorded = server.store.syncs.get(sync_id)
    transfer = server.mount_work.transfers.get(sync_id) if recorded.ended_at is None else None
    keys = ("percent", "rate_bytes_s", "size_bytes", "files_done", "files_total")
    progress = {key: getattr(transfer.progress, key) for key in keys} if transfer else None
    return syncs.to_json(recorded, progress)


async def cancel_sync(server: Server, sync_id: str) -> dict[str, Any]:
    """Cancel the sync; what it has copied stays.

    Returns it as it is now; one that has ended stays as it is. Raises NotFound.
    """
    recorded: syncs.Sync | None = server.store.syncs.get(sync_id) if sync_id in server.store.syncs else None
    if recorded is not None and recorded.ended_at is None:
        # Written first: a task that is ended would be begun again.
        await server.store.syncs.put(sync_id, syncs.mark_cancelled(recorded, time.time()))
        if (task := server.tasks.running.get(Key("sync", sync_id))) is not None:
            await end_task(task)
    return get_sync(server, sync_id)
