"""Updates of a channel, and those that wait for one client: pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from store.jsons import dump_json

Row = Mapping[str, Any]
Action = Literal["created", "update", "deleted"]
# Of what changes all the time no change is told.
TICKING = frozenset({"elapsed_time"})
# So many updates wait for a client. More do while it still takes some: many may change at once.
MOST_WAITING, MOST_IN_A_BURST = 256, 10_000


@dataclass(frozen=True)
class Update:
    """What became of one resource; `data` has its id and what is new."""

    channel: str
    action: Action
    resource_id: str
    timestamp: str
    data: Row

    @property
    def key(self) -> tuple[str, str]:
        """The name of the resource among all."""
        return self.channel, self.resource_id

    @cached_property
    def frame(self) -> str:
        """The update as clients get it, made once for all of them."""
        named = {"channel": self.channel, "action": self.action, "resource_id": self.resource_id}
        return dump_json({**named, "timestamp": self.timestamp, "data": self.data}).decode()

    def follow(self, older: Update) -> Update:
        """Return what to tell whoever has not heard of the older one either."""
        if self.action != "update" or older.action == "deleted":
            return self
        return Update(self.channel, older.action, self.resource_id, self.timestamp, {**older.data, **self.data})


def find_changes(old: Row, new: Row, always: tuple[str, ...]) -> dict[str, Any]:
    """Return what is new in a row, and the fields that are always told.

    Empty where nothing is.

    >>> find_changes({"id": "1", "a": 1, "b": 2}, {"id": "1", "a": 1, "b": 3}, ("id",))
    {'id': '1', 'b': 3}
    """
    changed = {key: value for key, value in new.items() if key not in TICKING and old.get(key) != value}
    return {**{key: new[key] for key in always}, **changed} if changed else {}


class WaitingUpdates:
    """What a client is still to be sent; of each resource one update."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, str], Update] = OrderedDict()
        self._since_taken = 0  # added since the client took one

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, update: Update) -> None:
        """Add an update, or what it adds to the one that waits."""
        older = self._waiting.pop(update.key, None)
        self._waiting[update.key] = update if older is None else update.follow(older)
        self._since_taken += 1

    def take(self) -> Update | None:
        """Take the oldest update; None when none waits."""
        self._since_taken = 0
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    @property
    def is_too_slow(self) -> bool:
        """Whether the client takes nothing, or far too little."""
        count = len(self._waiting)
        return count > MOST_IN_A_BURST or (count > MOST_WAITING and self._since_taken > MOST_WAITING)
