"""Keys in the order of their times, in a few bytes each.

Lists and counts over everything are made from these.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Any


class Timeline:
    """Keys by time, equal times by key.

    Additions are sorted together by `sort` or the first question, later ones are put in their places one by one: what
    was loaded is sorted fast, and nobody waits later until thousands are sorted.

    `codes` says what else is kept for each key, a column each: a number (the type codes of `array`) or an object (`O`).
    """

    def __init__(self, codes: str = "") -> None:
        self._codes = codes
        self._times: Any = array("d")
        self._keys: list[str] = []
        self._columns: list[Any] = [_make_column(code, ()) for code in codes]
        self._is_sorted = False

    def add(self, time: float, key: str, *values: Any) -> None:
        """Add the key at this time, with a value for each column."""
        at = self._find_place(time, key) if self._is_sorted else len(self._keys)
        self._times.insert(at, time)
        self._keys.insert(at, key)
        for column, value in zip(self._columns, values, strict=True):
            column.insert(at, value)

    def extend(self, times: Iterable[float], keys: Iterable[str], *columns: Iterable[Any]) -> None:
        """Add many keys at once, with the values of each column."""
        for kept, more in zip((self._times, self._keys, *self._columns), (times, keys, *columns), strict=True):
            kept.extend(more)
        self._is_sorted = False

    def drop(self, time: float, key: str) -> None:
        """Remove the key that was added with this time, if it is there."""
        self.sort()
        at = self._find_place(time, key)
        if at < len(self._keys) and self._keys[at] == key and self._times[at] == time:
            for values in (self._times, self._keys, *self._columns):
                values.pop(at)

    def sort(self) -> None:
        """Sort what was added so far."""
        if self._is_sorted:
            return
        times, keys = self._times, self._keys
        if all(map(operator.lt, times, islice(times, 1, None))):  # as what comes from a checkpoint often is
            self._is_sorted = True
            return
        order = sorted(range(len(keys)), key=times.__getitem__)
        sorted_times, done = array("d", map(times.__getitem__, order)), 0
        for at in [at for at, (time, following) in enumerate(pairwise(sorted_times)) if time == following]:
            if at >= done:
                done = bisect_right(sorted_times, sorted_times[at], at)
                order[at:done] = sorted(order[at:done], key=keys.__getitem__)
        self._is_sorted = True
        if order == list(range(len(keys))):
            return
        self._times, self._keys = sorted_times, list(map(keys.__getitem__, order))
        for number, code in enumerate(self._codes):
            self._columns[number] = _make_column(code, map(self._columns[number].__getitem__, order))

    @property
    def keys(self) -> Sequence[str]:
        """All keys in order; not to be changed."""
        self.sort()
        return self._keys

    @property
    def times(self) -> Sequence[float]:
        """The time of each key."""
        self.sort()
        return self._times

    def get_column(self, number: int) -> Sequence[Any]:
        """Return a column's values, one per key."""
        self.sort()
        return self._columns[number]

    def count_before(self, time: float) -> int:
        """Count the keys before this time.

        That is also the position of the first key at or after it.
        """
        return bisect_left(self.times, time)

    def count_until(self, time: float) -> int:
        """Count the keys up to this time, included."""
        return bisect_right(self.times, time)

    def __len__(self) -> int:
        return len(self._keys)

    def _find_place(self, time: float, key: str) -> int:
        """Return where the key belongs, or is."""
        first = bisect_left(self._times, time)
        return bisect_left(self._keys, key, first, bisect_right(self._times, time, first))


def _make_column(code: str, values: Iterable[Any]) -> Any:
    return list(values) if code == "O" else array(code, values)
