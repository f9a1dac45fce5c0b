"""What a page writes into the URL of a WebSocket instead of a token."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl

from store.access.credentials import Facts, WrongCredentials

TICKET_S = 30.0
MOST_TICKETS = 10_000


class Tickets:
    """The tickets that are out; each is good once, for TICKET_S.

    It stands for what was known of the request that asked for it: what ends those credentials ends the WebSocket too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._issued: OrderedDict[str, tuple[float, Facts]] = OrderedDict()

    def create(self, facts: Facts) -> str:
        """Return a new ticket; of too many the oldest is void."""
        ticket = secrets.token_urlsafe(24)
        self._issued[ticket] = self._clock() + TICKET_S, facts
        if len(self._issued) > MOST_TICKETS:
            self._issued.popitem(last=False)
        return ticket

    def exchange(self, query: bytes) -> Facts | None:
        """Return the facts that the ticket in a query stands for.

        None without a ticket. Raises WrongCredentials for one that is not good, or not any more.
        """
        ticket = dict(parse_qsl(query.decode("latin-1"))).get("ticket") if b"ticket=" in query else None
        if ticket is None:
            return None
        kept = self._issued.pop(ticket, None)
        if kept is None or self._clock() >= kept[0]:
            raise WrongCredentials("This ticket is not good, or not any more")
        return kept[1]
