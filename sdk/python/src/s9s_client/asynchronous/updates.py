"""What happens, told as it happens over a WebSocket."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from s9s_client.errors import ConnectionFailed
from s9s_client.low.api.ws import make_ticket
from s9s_client.low.client import AuthenticatedClient
from s9s_client.low.models.make_ticket_response_201 import MakeTicketResponse201
from s9s_client.retries import Retries, count_lost, pause_async
from s9s_client.updates import Update, make_address, make_subscription, read_update
from s9s_client.values import expect


class Updates:
    """The WebSocket of a server."""

    def __init__(
        self, low: AuthenticatedClient, address: str, retries: Retries, verify: ssl.SSLContext | bool, timeout: float
    ) -> None:
        self.low, self.address, self.retries, self.timeout = low, address, retries, timeout
        self.options: dict[str, Any] = {}
        if address.startswith("https:"):
            self.options["ssl"] = make_context(verify)

    async def follow(
        self, channel: str, filter: Mapping[str, Any] | None = None, snapshot: bool = False
    ) -> AsyncIterator[Update]:
        """Yield what happens in a channel until the caller leaves."""
        lost = 0
        while True:
            opened_at, reason = math.inf, "the server ended the connection"
            try:
                # A ticket stands for the caller, whoever that is, and is good for one connection.
                ticket = expect(MakeTicketResponse201, await make_ticket.asyncio(client=self.low)).ticket
                address = make_address(self.address, ticket)
                async with connect(address, open_timeout=self.timeout, max_size=None, **self.options) as socket:
                    opened_at = time.monotonic()
                    await socket.send(make_subscription(channel, filter, snapshot))
                    async for text in socket:
                        update = read_update(text)
                        if update is not None:
                            lost = 0
                            yield update
            except (OSError, WebSocketException, ConnectionFailed) as problem:
                reason = str(problem)
            lost = count_lost(lost, opened_at)
            pause_s = self.retries.find_pause(lost, None)
            if pause_s is None:
                raise ConnectionFailed(f"No updates: {reason}")
            await pause_async(pause_s)


def make_context(verify: ssl.SSLContext | bool) -> ssl.SSLContext:
    """Make what checks the server's certificate, as httpx has it."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
