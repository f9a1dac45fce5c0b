"""One-time tickets for the URLs of WebSockets."""

from __future__ import annotations

from typing import Any

from engine.server import Server
from store import access


def make_ticket(server: Server, facts: access.Facts) -> dict[str, Any]:
    """Make a ticket that stands for the caller's credentials."""
    return {"ticket": server.callers.tickets.create(facts), "expires_in": int(access.TICKET_S)}
