"""Endpoints: where notifications go, listed and changed.

The rules are in store/rules/endpoints.py.
"""

from __future__ import annotations

import time
from typing import Any

from engine.server import Server
from store.rules import endpoints


def list_endpoints(server: Server, include_disabled: bool) -> list[dict[str, Any]]:
    """List the endpoints of notifications, oldest first."""
    return server.notifications.list_endpoints(include_disabled)


async def create_endpoint(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Create an endpoint; return it. Raises Exists, Invalid."""
    return await server.notifications.create_endpoint(body)


async def change_endpoint(server: Server, endpoint_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """Change the name or the address of an endpoint; return it."""
    return await server.notifications.change_endpoint(
        endpoint_id, lambda data, others: endpoints.edit_endpoint(data, body, others)
    )


async def disable_endpoint(server: Server, endpoint_id: int) -> dict[str, Any]:
    """Disable an endpoint; return it."""
    return await _switch_endpoint(server, endpoint_id, False)


async def enable_endpoint(server: Server, endpoint_id: int) -> dict[str, Any]:
    """Enable an endpoint; return it."""
    return await _switch_endpoint(server, endpoint_id, True)


async def _switch_endpoint(server: Server, endpoint_id: int, on: bool) -> dict[str, Any]:
    return await server.notifications.change_endpoint(
        endpoint_id, lambda data, _others: endpoints.switch_endpoint(data, on, time.time())
    )


async def delete_endpoint(server: Server, endpoint_id: int) -> None:
    """Delete an endpoint and its subscriptions."""
    await server.notifications.delete_endpoint(endpoint_id)
