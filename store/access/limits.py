"""How often each client may do what it does."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class Failures:
    """How often each client may fail to be known.

    `burst` times at once, then once every `refill_s` seconds.
    """

    def __init__(
        self,
        burst: int = 10,
        refill_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
        clients: int = 10_000,
    ) -> None:
        self.burst = burst
        self.refill_s = refill_s
        self.clock = clock
        self.clients = clients
        self.spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Return the seconds until the client may try again; 0 for now."""
        spent = self._get_spent(client)
        return max(0.0, (spent - self.burst + 1) * self.refill_s)

    def count_failure(self, client: str) -> None:
        """Count a failure of this client.

        The client unheard of for longest is forgotten first.
        """
        # Trying while blocked does not make the block longer than one bucket.
        self.spent[client] = (min(self._get_spent(client) + 1, float(self.burst)), self.clock())
        self.spent.move_to_end(client)
        if len(self.spent) > self.clients:
            self.spent.popitem(last=False)

    def _get_spent(self, client: str) -> float:
        spent, at = self.spent.get(client, (0.0, 0.0))
        return max(0.0, spent - (self.clock() - at) / self.refill_s)
