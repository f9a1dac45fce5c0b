"""What a server knows of its callers."""

from __future__ import annotations

import getpass
from collections.abc import Collection, Sequence

from store.access.credentials import OWN_UID
from store.access.limits import Buckets, Lines, name_client
from store.access.origins import LOOPBACK_NAMES, is_loopback, list_host_names
from store.access.peers import Peers
from store.access.tokens import INCLUDED, Access, Caller, read_access
from store.config.settings import Settings
from store.errors import StoreError


class Callers:
    """Who calls a server that listens on the address `bound`.

    `own` is the server's own user, None where he needs a token too; `hosts` are the names that a Host header may have.
    `failures` counts wrong credentials of each client, `requests` what each token and each other client asks; in
    `refusals` a client waits that is refused all the time. `more` are further names that are always right, `always_ask`
    says that nobody is let in without a token.
    """

    def __init__(self, bound: str, more: Sequence[str] = (), always_ask: bool = False) -> None:
        self._bound, self._more, self._always_ask = bound, more, always_ask
        self._user = Caller(getpass.getuser(), INCLUDED["admin"])
        self.own: Caller | None = None
        self.hosts: Collection[str] = LOOPBACK_NAMES
        self.failures, self.requests, self.refusals, self.peers = Buckets(), Buckets(), Lines(), Peers()

    def apply_access(self, access: Access) -> None:
        """Put a changed access.yaml in force."""
        self.hosts = list_host_names(self._bound, [*self._more, *access.allowed_hosts])
        self.own = None if self._always_ask or access.always_ask else self._user

    def apply_rates(self, per_s: float, burst: int) -> None:
        """Put changed limits of requests in force."""
        self.requests.refill_s, self.requests.burst = 1 / per_s, burst

    def count_request(self, caller: Caller | None, address: str, uid: int | None) -> float:
        """Count a request; return 0, or the seconds to wait before another.

        The server's own user is not counted.
        """
        if uid == OWN_UID if caller is None else caller is self.own:
            return 0.0
        return self.requests.take(name_caller(caller, address, uid))


def name_caller(caller: Caller | None, address: str, uid: int | None) -> str:
    """Return the name under which a caller is counted.

    A token's, or that of the client.
    """
    return name_client(address, uid) if caller is None else f"token {caller.name}"


def find_missing_token(settings: Settings) -> str | None:
    """Return why a server with these settings must not start, or None.

    It needs a token and there is none, or access.yaml does not say clearly who may call.
    """
    path = settings.store / "access.yaml"
    try:
        known = read_access(path)
    except StoreError as problem:
        return f"{path}: {problem}"
    always_ask = settings.always_ask == "yes" or known.always_ask
    if known.has_usable_token() or (is_loopback(settings.host) and not always_ask):
        return None
    why = "To ask everybody for a token" if always_ask else f"Listening on {settings.host}"
    state = "has expired" if known.tokens else "is missing"
    return f"{why} needs a token that is usable, and it {state}: `sluice token NAME:SCOPE` makes one for {path}"
