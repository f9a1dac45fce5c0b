"""Deliveries: what was sent to endpoints, and what waits to be sent."""

from __future__ import annotations

import time
from typing import Any

from engine.server import Server
from store.rules import deliveries


def list_deliveries(
    server: Server, subscription_id: int | None, status: str | None, limit: int
) -> list[dict[str, Any]]:
    """List sent and pending deliveries, newest first."""
    return server.notifications.outbox.list_deliveries(subscription_id, status, limit)


def count_stuck_deliveries(server: Server, older_than_sec: int) -> dict[str, int]:
    """Count the deliveries that are overdue by so many seconds."""
    count = server.notifications.outbox.count_stuck(older_than_sec, time.time())
    return {"count": count, "older_than_sec": older_than_sec}


def get_delivery(server: Server, delivery_id: int) -> dict[str, Any]:
    """Get one delivery; raise NotFound."""
    return deliveries.to_json(server.notifications.outbox.get(delivery_id))
