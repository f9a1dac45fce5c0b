"""Profiles and their mounts: listed and changed.

The rules are in store/config/profile_edits.py. Every change is made in profiles.yaml.
"""

from __future__ import annotations

from typing import Any

from engine.server import Server
from store.config import profile_edits
from store.disk.folders import Folder
from store.indexes.bodies import Versioned


def list_profiles(server: Server) -> Versioned:
    """List all profiles by name, and which one is current."""
    found = profile_edits.list_profiles(server.store.stored_profiles, server.store.profiles.current)
    return Versioned(found, profile_edits.get_profiles_tag(get_folder(server)))


async def create_profile(server: Server, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Create a profile; return it. Raises Exists, Invalid."""
    return await profile_edits.create_profile(get_folder(server), body, if_match)


async def update_profile(server: Server, name: str, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Update the given fields of a profile; return it."""
    return await profile_edits.update_profile(get_folder(server), name, body, if_match)


async def delete_profile(server: Server, name: str, if_match: str | None) -> dict[str, Any]:
    """Delete a profile and its mounts."""
    await profile_edits.delete_profile(get_folder(server), name, if_match)
    return {"ok": True}


async def activate_profile(server: Server, name: str, if_match: str | None) -> dict[str, Any]:
    """Make a profile the current one."""
    await profile_edits.activate_profile(get_folder(server), name, if_match)
    return {"ok": True}


async def add_profile_mount(server: Server, name: str, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Add a mount to a profile; return it."""
    return await profile_edits.add_mount(get_folder(server), name, body, if_match)


async def delete_profile_mount(server: Server, name: str, mount_name: str, if_match: str | None) -> dict[str, Any]:
    """Remove a mount from a profile."""
    await profile_edits.remove_mount(get_folder(server), name, mount_name, if_match)
    return {"ok": True}


# --- the current profile's mounts ------------------------------------------------------------------------------------


def list_mounts(server: Server) -> list[dict[str, Any]]:
    """List the current profile's mounts without local folders."""
    return [{"name": mount.name, "remote": mount.remote} for mount in server.store.profiles.get_mounts().values()]


def list_local_mounts(server: Server) -> list[dict[str, Any]]:
    """List the current profile's mounts with local folders."""
    return [profile_edits.to_mount_json(mount) for mount in server.store.profiles.get_mounts().values()]


async def add_mount(server: Server, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Add a mount to the current profile; return it."""
    return await profile_edits.add_mount(get_folder(server), require_current(server), body, if_match)


async def delete_mount(server: Server, mount_name: str, if_match: str | None) -> dict[str, Any]:
    """Remove a mount from the current profile."""
    await profile_edits.remove_mount(get_folder(server), require_current(server), mount_name, if_match)
    return {"status": "deleted", "name": mount_name}


def get_folder(server: Server) -> Folder:
    """Return the folder whose one file is profiles.yaml."""
    return server.store.single["profiles"]


def require_current(server: Server) -> str:
    """Return the name of the current profile; raise NoProfile.

    It is to be changed, so it must be a stored one.
    """
    return profile_edits.require_current(server.store.stored_profiles, server.store.profiles)
