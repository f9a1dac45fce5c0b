"""What a server knows of its callers."""

from __future__ import annotations

import getpass
from collections.abc import Collection, Iterable, Sequence

from store.access.limits import Failures
from store.access.origins import LOOPBACK_NAMES, list_host_names
from store.access.peers import Peers
from store.access.tokens import INCLUDED, Caller


class Callers:
    """Who calls a server that listens on the address `bound`.

    `own` is the server's own user, `hosts` are the names that a Host header may have; `failures` and `peers` are
    remembered of each client. `more` are further names that are always right.
    """

    def __init__(self, bound: str, more: Sequence[str] = ()) -> None:
        self._bound, self._more = bound, more
        self.own = Caller(getpass.getuser(), INCLUDED["admin"])
        self.hosts: Collection[str] = LOOPBACK_NAMES
        self.failures, self.peers = Failures(), Peers()

    def update_hosts(self, allowed: Iterable[str]) -> None:
        """Learn the names that access.yaml allows."""
        self.hosts = list_host_names(self._bound, [*self._more, *allowed])
