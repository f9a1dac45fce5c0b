"""How much each caller may ask in a window, by an injected clock."""

from __future__ import annotations

from typing import Any

from store.access.callers import Callers
from store.access.credentials import OWN_UID
from store.access.rates import RateLimits, Rates, Window, parse_rate
from store.access.tokens import Access, Caller

NOW_S = 1_640_991_600.0


class Clock:
    """A clock that stands still until it is told the time."""

    now = NOW_S

    def __call__(self) -> float:
        return self.now


def test_a_window_begins_with_the_first_request_and_ends_on_time() -> None:
    clock, rate = Clock(), parse_rate("3/hour")
    rates = Rates(clock)
    left = [rates.count("a", rate) for _ in range(3)]
    assert left == [Window(3, remaining, NOW_S + 3600, 3600, 0.0) for remaining in (2, 1, 0)]
    clock.now += 600
    assert rates.count("a", rate) == Window(3, 0, NOW_S + 3600, 3600, 3000.0), "the one too many says how long to wait"
    assert rates.count("b", rate) == Window(3, 2, clock.now + 3600, 3600, 0.0), "others have a window of their own"
    clock.now = NOW_S + 3599.5
    late = rates.count("a", rate)
    assert late is not None and late.wait_s == 1.0, "never less than a second"
    clock.now = NOW_S + 3600
    assert rates.count("a", rate) == Window(3, 2, NOW_S + 7200, 3600, 0.0)


def test_names_are_bounded() -> None:
    rates, rate = Rates(Clock(), most=3), parse_rate("10/hour")
    for name in ("a", "b", "c", "a", "d"):
        rates.count(name, rate)
    counts: Any = rates.limiter.storage
    assert len(counts.counts) == 3
    found = rates.count("a", rate)
    assert found is not None and found.remaining == 7, "who asks often is not forgotten"
    forgotten = rates.count("b", rate)
    assert forgotten is not None and forgotten.remaining == 9, "who was unheard of for longest is"


def test_without_a_limit_nothing_is_counted() -> None:
    rates = Rates(Clock())
    assert rates.count("a", parse_rate("unlimited")) is None and "limiter" not in vars(rates)


WHO = [  # why, caller (None: nobody said who it is), uid at the other end, limit
    ("a token has the usual", Caller("ci", frozenset()), None, 10_000),
    ("a token with a tier", Caller("ci", frozenset(), tier="free"), None, 1_000),
    ("a token with a tier of its own", Caller("ci", frozenset(), tier="lab"), None, 7),
    ("nobody", None, None, 1_000),
    ("another user of this machine", None, OWN_UID + 1, 1_000),
    ("a connection of the own user", None, OWN_UID, None),
    ("a token without a limit", Caller("ci", frozenset(), tier="enterprise"), None, None),
]


def test_who_has_which_rate() -> None:
    callers = Callers("127.0.0.1")
    callers.rates = Rates(Clock())
    callers.apply_access(Access(rate_limits=RateLimits(tiers={"lab": "7/minute"})))
    for why, caller, uid, limit in WHO:
        found = callers.count_rate(caller, "192.0.2.7", uid)
        assert (None if found is None else found.limit) == limit, why
    assert callers.count_rate(callers.user, "127.0.0.1", OWN_UID) is None
    callers.apply_access(Access(rate_limits=RateLimits(own_user="free", named="free", others="pro")))
    limits = [
        callers.count_rate(caller, "192.0.2.9", None) for caller in (callers.user, Caller("x", frozenset()), None)
    ]
    assert [found.limit for found in limits if found is not None] == [1000, 1000, 10_000]


def test_a_token_and_a_key_of_one_name_are_counted_apart() -> None:
    callers = Callers("127.0.0.1")
    first = callers.count_rate(Caller("ci", frozenset(), "token"), "", None)
    second = callers.count_rate(Caller("ci", frozenset(), "key"), "", None)
    assert first is not None and second is not None and first.remaining == second.remaining == 9_999
