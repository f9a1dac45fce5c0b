"""Keys in the order of their times, in a few bytes each.

Lists and counts over everything are made from these.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

# Up to this many additions are inserted one by one; more are sorted together.
INSERT_LIMIT = 64


class Timeline:
    """Keys by time, equal times by key.

    `codes` says what else is kept for each key, a column each: a number (the type codes of `array`) or an object (`O`).
    """

    def __init__(self, codes: str = "") -> None:
        self._codes = codes
        self._times: Any = array("d")
        self._keys: list[str] = []
        self._columns: list[Any] = [_make_column(code, ()) for code in codes]
        self._sorted = 0  # how many are sorted; later additions stand behind them

    def add(self, time: float, key: str, *values: Any) -> None:
        """Add the key at this time, with a value for each column."""
        self._times.append(time)
        self._keys.append(key)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def drop(self, time: float, key: str) -> None:
        """Remove the key that was added with this time, if it is there."""
        at = self._find_place(time, key, len(self.keys))
        if at < len(self._keys) and self._keys[at] == key and self._times[at] == time:
            self._pop(at)
            self._sorted -= 1

    @property
    def keys(self) -> Sequence[str]:
        """All keys in order; not to be changed."""
        self._sort_new()
        return self._keys

    @property
    def times(self) -> Sequence[float]:
        """The time of each key."""
        self._sort_new()
        return self._times

    def get_column(self, number: int) -> Sequence[Any]:
        """Return a column's values, one per key."""
        self._sort_new()
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

    def _find_place(self, time: float, key: str, end: int) -> int:
        """Return where the key belongs among the first `end`, which are sorted."""
        first = bisect_left(self._times, time, 0, end)
        return bisect_left(self._keys, key, first, bisect_right(self._times, time, first, end))

    def _pop(self, at: int) -> tuple[float, str, list[Any]]:
        """Remove the key at this position; return its time, name and values."""
        return self._times.pop(at), self._keys.pop(at), [column.pop(at) for column in self._columns]

    def _sort_new(self) -> None:
        """Put keys that were added lately in their places."""
        if len(self._keys) - self._sorted > INSERT_LIMIT:
            self._sort_all()
        while self._sorted < len(self._keys):
            time, key, values = self._pop(self._sorted)
            at = self._find_place(time, key, self._sorted)
            self._times.insert(at, time)
            self._keys.insert(at, key)
            for column, value in zip(self._columns, values, strict=True):
                column.insert(at, value)
            self._sorted += 1

    def _sort_all(self) -> None:
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        order.sort(key=self._times.__getitem__)  # keeps the order of keys where times are equal
        self._times, self._keys = array("d", (self._times[at] for at in order)), [self._keys[at] for at in order]
        for number, code in enumerate(self._codes):
            column = self._columns[number]
            self._columns[number] = _make_column(code, (column[at] for at in order))
        self._sorted = len(order)


def _make_column(code: str, values: Iterable[Any]) -> Any:
    return list(values) if code == "O" else array(code, values)
