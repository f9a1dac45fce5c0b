"""How many requests each caller may make in a window of time."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, field_validator, model_validator

from store.documents import UserFileModel
from store.errors import suggest_word

if TYPE_CHECKING:
    # What most callers never need takes 5 MB, and a tenth of the time of the import: it is imported where it is used.
    from limits import RateLimitItem
    from limits.strategies import FixedWindowRateLimiter

UNLIMITED = "unlimited"
# The first two are those of the API's document.
TIERS = {"free": "1000/hour", "pro": "10000/hour", "enterprise": UNLIMITED}


@functools.lru_cache(maxsize=256)
def parse_rate(text: str) -> RateLimitItem | None:
    """Parse a rate such as `1000/hour`; None for `unlimited`.

    Raises ValueError. A window may have several units: `20000 per 2 hours`.
    """
    if text == UNLIMITED:
        return None
    from limits import parse

    try:
        found = parse(text)
    except ValueError:
        raise ValueError(f"must be a number per time, such as 20000/hour, or {UNLIMITED}") from None
    if found.amount < 1 or found.get_expiry() < 1:
        raise ValueError("must allow something")
    return found


class RateLimits(UserFileModel):
    """`rate_limits` of access.yaml: rates by tier, and who has which."""

    tiers: dict[str, str] = Field(default={})
    own_user: str = "enterprise"  # the server's own user
    named: str = "pro"  # whom access.yaml names
    others: str = "free"  # who has not said who it is

    @field_validator("tiers")
    @classmethod
    def check_rates(cls, value: dict[str, str]) -> dict[str, str]:
        """Return the value if all rates can be read."""
        for rate in value.values():
            parse_rate(rate)
        return value

    @model_validator(mode="after")
    def check_tiers(self) -> RateLimits:
        """Refuse tiers that are none."""
        known = self.list_tiers()
        for tier in (self.own_user, self.named, self.others):
            if tier not in known:
                raise ValueError(f"unknown tier '{tier}'{suggest_word(tier, known)}")
        return self

    def list_tiers(self) -> Sequence[str]:
        """List the names of all tiers."""
        return list({**TIERS, **self.tiers})

    def parse_tier(self, tier: str) -> RateLimitItem | None:
        """Return the rate of a tier; None where it has no limit."""
        return parse_rate({**TIERS, **self.tiers}[tier])


class Window(NamedTuple):
    """What a caller has of its rate: `reset_s` is when it begins anew."""

    limit: int
    remaining: int
    reset_s: float  # epoch seconds
    window_s: int
    wait_s: float  # until then, where this request is one too many; else 0


def list_rate_headers(window: Window | None) -> Sequence[tuple[bytes, bytes]]:
    """List what the caller has left, as the headers of the S9S document."""
    if window is None:
        return ()
    names = (b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"x-ratelimit-window")
    numbers = (window.limit, window.remaining, math.ceil(window.reset_s), window.window_s)
    return [(name, b"%d" % number) for name, number in zip(names, numbers, strict=True)]


class Rates:
    """The requests of each caller, counted in memory."""

    def __init__(self, clock: Callable[[], float] = time.time, most: int = 10_000) -> None:
        self.clock, self.most = clock, most

    @functools.cached_property
    def limiter(self) -> FixedWindowRateLimiter:
        """What counts, from the first request of a caller that has a limit."""
        from store.access.rate_counts import make_limiter

        return make_limiter(lambda: self.clock(), self.most)

    def count(self, name: str, rate: RateLimitItem | None) -> Window | None:
        """Count a request of this name; None where there is no limit."""
        if rate is None:
            return None
        is_within = self.limiter.hit(rate, name)
        reset_s, remaining = self.limiter.get_window_stats(rate, name)
        wait_s = 0.0 if is_within else max(1.0, reset_s - self.clock())
        return Window(rate.amount, remaining, reset_s, rate.get_expiry(), wait_s)
