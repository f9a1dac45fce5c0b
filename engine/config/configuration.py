"""The configuration merged from its layers, and changes to the user's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from engine.server import Server
from store.config import layers
from store.indexes.bodies import Versioned


async def get_config(server: Server, explain: bool, mount: str | None) -> Versioned:
    """Get the configuration merged from all layers, and its ETag.

    That of a mount has its project's layer too; `explain` tells where each value comes from.
    """
    profiles = server.store.profiles
    root = (await profiles.check_mount(profiles.get_mount(mount))).root if mount is not None else None
    found = await server.store.configuration.resolve(root)
    return Versioned(found.explain() if explain else found.to_json(), server.store.configuration.get_tag())


async def update_config(server: Server, body: dict[str, Any], if_match: str | None) -> Versioned:
    """Merge values into the user's configuration; return the merged one."""
    found = await server.store.configuration.update(body, if_match)
    return Versioned(found.to_json(), server.store.configuration.get_tag())


async def reset_config(server: Server, if_match: str | None) -> Versioned:
    """Empty the user's configuration; return the merged one."""
    found = await server.store.configuration.reset(if_match)
    return Versioned(found.to_json(), server.store.configuration.get_tag())


async def list_paths(server: Server) -> list[dict[str, Any]]:
    """List the configuration files in rising precedence."""
    return await asyncio.to_thread(server.store.configuration.list_paths)


def list_variables(server: Server) -> list[dict[str, str]]:
    """List the srunx variables of the server's environment."""
    return layers.list_variables(server.store.environment)


def list_problems(server: Server) -> bytes | Coroutine[Any, Any, bytes]:
    """List the invalid files of the store; at once where none is asked."""
    if server.store.configuration.is_fresh and not server.workflow_folders.list_unfollowed():
        return server.store.get_problems_body()
    return _look_for_problems(server)


async def _look_for_problems(server: Server) -> bytes:
    await server.store.configuration.refresh_outside()
    await server.workflow_folders.follow_mounts()
    return server.store.get_problems_body()
