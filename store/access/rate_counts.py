"""Counting requests in windows of time, by a library few servers need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter


def make_limiter(clock: Callable[[], float], most: int) -> FixedWindowRateLimiter:
    """Make what counts by a name, at most `most` of them."""
    return FixedWindowRateLimiter(Counts(clock, most))


class Counts(Storage):
    """Counts in memory by a name, at most `most`, each for its window.

    The library's own storage has no bound, and a thread that looks after it.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float], most: int) -> None:
        super().__init__()
        self.clock, self.most = clock, most
        self.counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when that ends

    @property
    def base_exceptions(self) -> type[Exception]:
        """What can go wrong: nothing of its own."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count; the name unheard of for longest is forgotten first."""
        now_s = self.clock()
        count, ends_s = self.counts.get(key, (0, 0.0))
        if ends_s <= now_s:
            count, ends_s = 0, now_s + expiry
        self.counts[key] = (count + amount, ends_s)
        self.counts.move_to_end(key)
        if len(self.counts) > self.most:
            self.counts.popitem(last=False)
        return count + amount

    def get(self, key: str) -> int:
        """Return the count of the present window."""
        count, ends_s = self.counts.get(key, (0, 0.0))
        return count if ends_s > self.clock() else 0

    def get_expiry(self, key: str) -> float:
        """Return when the present window ends."""
        return self.counts.get(key, (0, self.clock()))[1]

    def check(self) -> bool:
        """Return that it works."""
        return True

    def reset(self) -> int | None:
        """Forget all counts."""
        self.counts.clear()
        return None

    def clear(self, key: str) -> None:
        """Forget one count."""
        self.counts.pop(key, None)
