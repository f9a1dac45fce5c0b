"""Mounts: what lies in one here, and bringing it to its cluster; one after the other for each mount."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from engine.clusters import LOGIN_FIELDS, is_remote
from engine.server import Server
from slurm_shim.errors import SlurmError, SyncFailed
from slurm_shim.remote import rsync, ssh
from store import errors
from store.config.profiles import Mount, Profile
from store.disk import mount_files
from store.rules import syncs

PAUSE_S = 5.0


# --------------------------------------------------------------------------------------------------------- looking


async def list_files(server: Server, name: str, path: str) -> dict[str, Any]:
    """What lies in a folder of the mount, and which folder over there it stands for."""
    _, _, mount = find_current_mount(server, name)
    found = await _browse_mount(server, mount_files.list_folder, mount, path)
    prefix = f"{mount.remote.rstrip('/')}/{found['inside']}" if found["inside"] else mount.remote
    return {
        "entries": found["entries"],
        "remote_prefix": prefix,
        "mount_name": name,
        "truncated": found["truncated"],
    }


async def read_file(server: Server, name: str, path: str) -> dict[str, Any]:
    """What stands in a file of the mount."""
    _, _, mount = find_current_mount(server, name)
    return {"content": await _browse_mount(server, mount_files.read_text, mount, path), "path": path, "mount": name}


async def _browse_mount(server: Server, look: Callable[..., Any], mount: Mount, *path: str) -> Any:
    # In threads of its own: a folder on a server that hangs must not hold up the store's.
    return await asyncio.get_running_loop().run_in_executor(server.browsing, look, mount.root, *path)


def find_current_mount(server: Server, name: str) -> tuple[str, Profile, Mount]:
    """The current profile, by name and whole, and this mount of it; NoProfile, NotFound."""
    held = server.store.profiles
    if held.current is None:
        raise errors.NoProfile
    return held.current, held.profiles[held.current], held.get_mount(name)


# --------------------------------------------------------------------------------------------------------- syncing


async def sync_mount(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """What a request to sync a mount comes to: it is over there; or what would change; or it is under way."""
    name, profile, mount = find_current_mount(server, body["mount"])
    if not is_remote(profile):
        # Its jobs run here, in the mounts' own folders: what is there is where it is needed.
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
    """What a dry run found, as an answer."""
    more = sum(progress.counts.values()) > len(progress.changes)
    return {
        "status": "planned",
        "mount": name,
        "counts": progress.counts,
        "changes": progress.changes,
        "truncated": more,
    }


def make_login(profile: Profile) -> ssh.Login:
    """Where and how to log in; NoProfile when the profile names no host, or one that ssh cannot be given."""
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
    begun: Callable[[rsync.Transfer], Any] | None = None,
) -> rsync.Progress:
    """How it went, once the mount is over there (or, dry, what would change); `begun` is told when its turn has come.

    Raises NoProfile; Conflict instead of deleting everything over there; SyncFailed with rsync's reason, or when
    another sync of this mount does not end. Cancelled, it takes the transfer along.
    """
    folders = rsync.Folders(str(mount.root), mount.remote, mount.exclude_patterns)
    target = make_login(profile)
    # Over the connection that SLURM's words go over, where it is there.
    rsh = ssh.build_options(target, server.settings.ssh_config, server.clusters.find_socket(profile_name))
    words = rsync.build_argv(folders, rsh, target.host, delete=delete, dry_run=dry_run)
    transfer = rsync.Transfer(words, folders.local)
    layers = await server.store.configuration.resolve(mount.root)
    patience_s: int = layers.config["sync"]["lock_timeout_seconds"]
    async with _hold_lock(server, make_lock_name(profile_name, mount.name), patience_s):
        if begun is not None:
            await begun(transfer)
        if delete and not dry_run:
            await _refuse_unsafe_delete(server, mount)
        try:
            return await asyncio.get_running_loop().run_in_executor(server.syncing, transfer.run)
        finally:
            # Does nothing to one that has ended.
            transfer.stop("the server has ended")


async def _refuse_unsafe_delete(server: Server, mount: Mount) -> None:
    """Nothing; Conflict where deleting what is not here could only be a mistake."""
    if not mount.remote.strip("/"):
        raise errors.Conflict("The mount stands for the root of the file system over there: nothing is deleted there")
    if await _browse_mount(server, mount_files.is_empty, mount):
        raise errors.Conflict("The mount's folder is empty here: what is over there is not deleted for that")


def make_lock_name(profile_name: str, mount: str) -> str:
    """The turn that whoever writes to what the mount stands for over there has to wait for."""
    return f"mount {profile_name}/{mount}"


@contextlib.asynccontextmanager
async def _hold_lock(server: Server, name: str, patience_s: int) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as held:
        try:
            async with asyncio.timeout(patience_s):
                await held.enter_async_context(server.turn(name))
        except TimeoutError:
            raise SyncFailed(f"another sync of this mount has not ended within {patience_s} s") from None
        yield


# ------------------------------------------------------------------------------------------- syncing, nobody waiting


async def begin_sync(server: Server, profile_name: str, mount: Mount, delete: bool) -> str:
    """The id of a sync that is written down and goes on by itself, also after a restart; one that waits serves all."""
    known = [one.document for one in server.store.syncs.iterate_entries()]
    wanted = syncs.build_sync(str(uuid.uuid4()), profile_name, mount.name, delete, time.time())
    if (waiting := syncs.find_same(known, wanted)) is not None:
        return waiting.id
    for sync_id in syncs.list_surplus(known):
        with contextlib.suppress(errors.NotFound):
            await server.store.syncs.delete(sync_id)
    await server.store.syncs.create(wanted.id, wanted)
    return wanted.id


async def carry_out_sync(server: Server, sync_id: str) -> None:
    """Nothing; the sync was done, or says why it could not be."""
    wanted: syncs.Sync = server.store.syncs.get(sync_id)

    async def begun(transfer: rsync.Transfer) -> None:
        server.transfers[sync_id] = transfer
        await server.store.syncs.put(sync_id, syncs.mark_begun(wanted, time.time()))

    try:
        profile, mount = syncs.find_mount(server.store.profiles, wanted)
        progress = await transfer_mount(server, wanted.profile, profile, mount, delete=wanted.delete, begun=begun)
        ended = syncs.mark_done(server.store.syncs.get(sync_id), progress.size_bytes, progress.files_total, time.time())
    except errors.StoreUnavailable:
        await asyncio.sleep(PAUSE_S)
        raise
    except (SlurmError, errors.StoreError) as problem:
        ended = syncs.mark_failed(wanted, str(problem), time.time())
    finally:
        server.transfers.pop(sync_id, None)
    await server.store.syncs.put(sync_id, ended)


def get_sync(server: Server, sync_id: str) -> dict[str, Any]:
    """A sync as answers show it, with how far it has come; NotFound."""
    if sync_id not in server.store.syncs:
        raise errors.NotFound("Sync", sync_id)
    transfer = server.transfers.get(sync_id)
    keys = ("percent", "rate_bytes_s", "size_bytes", "files_done", "files_total")
    going = {key: getattr(transfer.progress, key) for key in keys} if transfer else None
    return syncs.to_json(server.store.syncs.get(sync_id), going)
