"""What a server knows of its callers."""

from __future__ import annotations

import getpass
from collections.abc import Collection, Sequence

from store.access.credentials import OWN_UID
from store.access.limits import Buckets, Lines, name_client
from store.access.origins import LOOPBACK_NAMES, is_loopback, list_host_names
from store.access.peers import Peers
from store.access.rates import RateLimits, Rates, Window
from store.access.tickets import Tickets
from store.access.tokens import INCLUDED, Access, Caller, read_access
from store.config.settings import Settings
from store.errors import StoreError


class Callers:
    """Who calls a server that listens on the address `bound`.

    `user` is the server's own user; so is `own`, which is None where he needs a token too. `hosts` are the names that a
    Host header may have. `failures` counts wrong credentials of each client, `requests` what each token and each other
    client asks, `rates` the same by the hour; in `refusals` a client waits that is refused all the time. `more` are
    further names that are always right, `always_ask` says that nobody is let in without a token.
    """

    def __init__(self, bound: str, more: Sequence[str] = (), always_ask: bool = False) -> None:
        self._bound, self._more, self._always_ask = bound, more, always_ask
        self.user = Caller(getpass.getuser(), INCLUDED["admin"], "user")
        self.own: Caller | None = None
        self.hosts: Collection[str] = LOOPBACK_NAMES
        self.tickets = Tickets()
        self.failures, self.requests, self.refusals, self.peers = Buckets(), Buckets(), Lines(), Peers()
        self.rates, self.rate_limits = Rates(), RateLimits()

    def apply_access(self, access: Access) -> None:
        """Put a changed access.yaml in force."""
        self.hosts = list_host_names(self._bound, [*self._more, *access.allowed_hosts])
        self.rate_limits = access.rate_limits
        self.own = None if self._always_ask or access.always_ask else self.user

    def apply_rates(self, per_s: float, burst: int) -> None:
        """Put changed limits of requests in force."""
        self.requests.refill_s, self.requests.burst = 1 / per_s, burst

    def count_request(self, caller: Caller | None, address: str, uid: int | None) -> float:
        """Count a request; return 0, or the seconds to wait before another.

        The server's own user is not counted.
        """
        if uid == OWN_UID if caller is None else caller is self.user:
            return 0.0
        return self.requests.take(name_caller(caller, address, uid))

    def count_rate(self, caller: Caller | None, address: str, uid: int | None) -> Window | None:
        """Count a request within the rate of its caller; None without a limit.

        Who has not said who it is shares the rate of its address or user.
        """
        limits = self.rate_limits
        if caller is self.user or (caller is None and uid == OWN_UID):
            tier = limits.own_user
        elif caller is None:
            tier = limits.others
        else:
            tier = caller.tier or limits.named
        return self.rates.count(name_caller(caller, address, uid), limits.parse_tier(tier))


def name_caller(caller: Caller | None, address: str, uid: int | None) -> str:
    """Return the name under which a caller is counted.

    That of its credentials, or of the client.
    """
    return name_client(address, uid) if caller is None else f"{caller.kind} {caller.name}"


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
    has_certificates = settings.tls_client_ca is not None and known.certificates
    if known.has_usable_token() or has_certificates or (is_loopback(settings.host) and not always_ask):
        return None
    why = "To ask everybody for a token" if always_ask else f"Listening on {settings.host}"
    state = "all have expired" if known.tokens else "there is none"
    mend = f"`sluice token create NAME --scope SCOPE` makes one in {path}"
    return f"{why} needs a token, and {state}: {mend}"
