"""How often each client may do what it does."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

# A client that has gone meanwhile is waited for too, so this is short.
LONGEST_S = 5.0


class Buckets:
    """A bucket of tokens for each client, by a name.

    A client may do something `burst` times at once, then once every `refill_s` seconds. At most `most` are remembered.
    """

    def __init__(
        self,
        burst: float = 10.0,
        refill_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
        most: int = 10_000,
    ) -> None:
        self.burst, self.refill_s, self.clock, self.most = burst, refill_s, clock, most
        self.spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens that were missing, and when

    def take(self, client: str, patience_s: float = 0.0) -> float:
        """Take a token; return 0, or the seconds until there is one.

        One that comes within `patience_s` is taken in advance; whoever tries on in vain does not wait longer. The
        client unheard of for longest is forgotten first.
        """
        now = self.clock()
        spent, at = self.spent.get(client, (0.0, now))
        spent = max(0.0, spent - (now - at) / self.refill_s)
        wait_s = max(0.0, (spent - self.burst + 1) * self.refill_s)
        if wait_s <= patience_s:
            self.spent[client] = (spent + 1, now)
            self.spent.move_to_end(client)
            if len(self.spent) > self.most:
                self.spent.popitem(last=False)
        return wait_s

    def give_back(self, client: str) -> None:
        """Give back a token that was taken for nothing."""
        if client in self.spent:
            spent, at = self.spent[client]
            self.spent[client] = (max(0.0, spent - 1), at)


class Lines:
    """A line for each client, in which it waits to be refused.

    So it cannot ask faster than it is answered. `burst` answers come at once, then one every `refill_s` seconds; nobody
    waits for more than LONGEST_S. At most `most` wait at once. `pause` is for tests.
    """

    def __init__(
        self,
        burst: float = 100.0,
        refill_s: float = 0.05,
        most: int = 4096,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.buckets, self.most, self.pause = Buckets(burst, refill_s), most, pause
        self.waiting = 0

    async def wait(self, client: str) -> bool:
        """Wait until it is this client's turn; return whether there is a line."""
        wait_s = self.buckets.take(client, LONGEST_S)
        if wait_s > 0 and self.waiting < self.most:
            self.waiting += 1
            try:
                # Who finds a long line does not come back all at once.
                await self.pause(min(wait_s, random.uniform(LONGEST_S / 2, LONGEST_S)))  # noqa: S311
            finally:
                self.waiting -= 1
        return wait_s > 0


def name_client(address: str, uid: int | None = None) -> str:
    """Return the name under which a client is counted.

    A user of this machine has as many addresses as he likes, and a machine with IPv6 a whole network of them.

    >>> name_client("127.0.0.9", 1000), name_client("192.0.2.7"), name_client("2001:db8:1:2:3::4")
    ('user 1000', '192.0.2.7', '2001:db8:1:2::/64')
    >>> name_client("127.0.0.9"), name_client("::ffff:127.0.0.1")
    ('this machine', 'this machine')
    """
    if uid is not None:
        return f"user {uid}"
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "nowhere"  # a Unix socket has no address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None and not found.is_loopback:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped or found
    return "this machine" if found.is_loopback else str(found)
