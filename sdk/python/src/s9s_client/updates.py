"""Updates of what happens, as the WebSocket tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from s9s_client.errors import BY_CODE, S9SError

TOLD = frozenset({"update", "created", "deleted", "snapshot"})


@dataclass(frozen=True)
class Update:
    """What has changed; of a snapshot the `data` is all that there is."""

    channel: str
    action: str
    resource_id: str | None
    timestamp: datetime | None
    data: Any


def make_address(address: str, ticket: str) -> str:
    """Return the address of the WebSocket.

    >>> make_address("https://api.example.com/v1", "3q2-7w")
    'wss://api.example.com/v1/ws?ticket=3q2-7w'
    """
    parts = urlsplit(address)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path}/ws", f"ticket={ticket}", ""))


def make_subscription(channel: str, filter: Mapping[str, Any] | None, snapshot: bool) -> str:
    """Return the message that subscribes."""
    message: dict[str, Any] = {"action": "subscribe", "channel": channel}
    if filter:
        message["filter"] = dict(filter)
    if snapshot:
        message["snapshot"] = True
    return json.dumps(message)


def read_update(text: str | bytes) -> Update | None:
    """Return the update of a message; None for one that tells something else. Raises a refusal."""
    message = json.loads(text)
    if message["action"] == "error":
        error = message["error"]
        kind = BY_CODE.get(error["code"], S9SError)
        raise kind(error["message"], code=error["code"], details=error["details"], request_id=error["request_id"])
    if message["action"] not in TOLD:
        return None
    moment = message.get("timestamp")
    return Update(
        message["channel"], message["action"], message.get("resource_id"),
        None if moment is None else datetime.fromisoformat(moment), message.get("data"),
    )  # fmt: skip
