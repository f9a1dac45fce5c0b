"""Projects: the srunx.json of each mount of the current profile."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.server import Server
from store.config import profile_edits
from store.config.profiles import Mount
from store.indexes.bodies import Versioned


async def list_projects(server: Server) -> list[dict[str, Any]]:
    """List the projects of the current profile, one per mount."""
    return await asyncio.to_thread(profile_edits.list_projects, server.store.profiles)


async def get_project(server: Server, mount_name: str) -> Versioned:
    """Get the srunx.json of a mount, and its ETag."""
    mount = await find_mount(server, mount_name)
    return make_answer(server, mount, await server.store.configuration.describe_project(mount))


async def update_project(server: Server, mount_name: str, body: dict[str, Any], if_match: str | None) -> Versioned:
    """Update the srunx.json of a mount; return it, and its ETag."""
    mount = await find_mount(server, mount_name)
    return make_answer(server, mount, await server.store.configuration.save_project(mount, body, if_match))


async def init_project(server: Server, mount_name: str) -> Versioned:
    """Create a srunx.json with example values for a mount; return it."""
    mount = await find_mount(server, mount_name)
    return make_answer(server, mount, await server.store.configuration.init_project(mount))


async def find_mount(server: Server, mount_name: str) -> Mount:
    """Find a mount of the current profile. Raises NoProfile, NotFound."""
    return await profile_edits.get_project(server.store.profiles, mount_name)


def make_answer(server: Server, mount: Mount, project: dict[str, Any]) -> Versioned:
    """Return the project with what If-Match must say to change it now."""
    return Versioned(project, server.store.configuration.get_project_tag(mount.root))
