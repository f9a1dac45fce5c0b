"""Changes as readers of the change feed get them.

What they are, which ones a reader wants, how they are framed.

A change names a resource and says what became of it; its row is what the resource's list shows. Of one resource only
the newest change is kept, so a log of changes is as long as there are resources that changed lately, and a reader that
was away gets each of them once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from store.jsons import dump_json
from store.words import split_words

Action = Literal["created", "updated", "deleted", "reset"]
MakeRow = Callable[[], Any] | None
KINDS = (
    *("job", "run", "cell", "sweep", "report", "workflow", "template", "endpoint", "watch", "subscription"),
    *("delivery", "problem", "config", "profile", "resource", "alert", "node", "sync"),
    *("export", "cluster_report", "simulation"),
)
RESET = "reset"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What became of one resource.

    `parent` is what the resource belongs to: the sweep of a cell, the cluster of a job or of a partition, the mount of
    a workflow. `make_row` gives what the list of this kind shows now (JSON as bytes, a JSON value, or None).
    """

    number: int
    kind: str
    id: str
    parent: str | None
    action: Action
    make_row: MakeRow

    @property
    def key(self) -> tuple[str, str | None, str]:
        """The name of the resource among all."""
        return self.kind, self.parent, self.id


@dataclass(frozen=True, slots=True)
class Filter:
    """Which changes a reader wants; empty wants all.

    Those of these kinds, and of these ids or parents.
    """

    kinds: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def accepts(self, change: Change) -> bool:
        """Return whether the reader wants this change.

        It always wants to know that it must start again.
        """
        if change.kind == RESET:
            return True
        return self.wants_kind(change.kind) and (not self.ids or change.id in self.ids or change.parent in self.ids)

    def wants_kind(self, kind: str) -> bool:
        """Tell whether the reader wants any change of this kind."""
        return not self.kinds or kind in self.kinds


def parse_filter(kinds: str | None, ids: str | None) -> Filter:
    """Make a filter from two lists with commas.

    >>> parse_filter("job,run", None).wants_kind("run"), parse_filter("job,run", "").wants_kind("cell")
    (True, False)
    """
    return Filter(frozenset(split_words(kinds)), frozenset(split_words(ids)))


def name_action(old: object | None, new: object | None) -> Action:
    """Name the change from what was before to what is now.

    None stands for nothing.

    >>> name_action(None, {}), name_action({}, {}), name_action({}, None)
    ('created', 'updated', 'deleted')
    """
    return "deleted" if new is None else "created" if old is None else "updated"


class ChangeLog:
    """The newest change of each resource, in the order of their numbers.

    There are at most `limit` of them. `forgotten` is the largest number that had to make room: whoever has not read so
    far has missed something.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.number = 0
        self.forgotten = 0
        # By kind and parent: the newest change of each id.
        self._newest: dict[tuple[str, str | None], dict[str, Change]] = {}
        self._count = 0
        # The same by number, with gaps where a newer one of the resource has come, and where the oldest may be.
        self._numbers: list[int] = []
        self._line: list[Change | None] = []
        self._first = 0

    def add(self, kind: str, id: str, action: Action, make_row: MakeRow, parent: str | None = None) -> Change:
        """Number a change and put it in place of what was known of its resource."""
        self.number += 1
        change = Change(self.number, kind, id, parent, action, make_row)
        alike = self._newest.setdefault((kind, parent), {})
        known = alike.get(id)
        alike[id] = change
        if known is None:
            self._count += 1
        else:
            self._line[bisect_left(self._numbers, known.number)] = None
        if self._count > self.limit:
            self._forget_oldest()
        if len(self._line) > 2 * self.limit:
            self._line = [kept for kept in self._line if kept is not None]
            self._numbers = [kept.number for kept in self._line if kept is not None]
            self._first = 0
        self._line.append(change)
        self._numbers.append(change.number)
        return change

    def _forget_oldest(self) -> None:
        while (oldest := self._line[self._first]) is None:
            self._first += 1
        self._line[self._first] = None
        self._count -= 1
        self.forgotten = oldest.number
        alike = self._newest[oldest.kind, oldest.parent]
        del alike[oldest.id]
        if not alike:
            del self._newest[oldest.kind, oldest.parent]

    def is_newest(self, change: Change) -> bool:
        """Tell whether nothing newer is known of the resource."""
        return self._newest.get((change.kind, change.parent), {}).get(change.id) is change

    def list_after(self, number: int, wanted: Filter, limit: int) -> list[Change]:
        """List the first wanted changes after this number, oldest first."""
        found: list[Change] = []
        for at in range(bisect_right(self._numbers, number), len(self._line)):
            change = self._line[at]
            if change is not None and wanted.accepts(change):
                found.append(change)
                if len(found) == limit:
                    break
        return found

    def __len__(self) -> int:
        return self._count


# --- how readers are told -------------------------------------------------------------------------------------------


class Position(NamedTuple):
    """How far a reader has read: the number of a change and its epoch.

    The epoch is the start of the server that gave the number.
    """

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


POSITION = re.compile(r"([0-9a-z]{1,16})-([0-9]{1,15})")


def parse_position(text: str | None) -> Position | None:
    """Read a position from the id of an event; None for anything else.

    >>> parse_position("k3-17"), parse_position("17")
    (Position(epoch='k3', number=17), None)
    """
    match = POSITION.fullmatch(text or "")
    return Position(match[1], int(match[2])) if match else None


def to_epoch(milliseconds: int) -> str:
    """Write a server's start, in milliseconds, as an epoch.

    >>> to_epoch(1_790_000_000_000)
    '1a0c4506c00'
    """
    return f"{milliseconds:x}"


def to_row(change: Change) -> bytes:
    """Give the row of a change as JSON."""
    return to_bytes(change.make_row() if change.make_row else None)


def to_bytes(row: Any) -> bytes:
    """Give a row as JSON, which it may be already."""
    return row if isinstance(row, bytes) else dump_json(row)


def to_event(epoch: str, change: Change, row: bytes) -> bytes:
    """Frame a change as a server-sent event (HTML standard, 9.2.6).

    JSON has no line ends that could break it.
    """
    head = {"number": change.number, "kind": change.kind, "id": change.id, "action": change.action}
    head_json = dump_json(head | ({} if change.parent is None else {"parent": change.parent}))[:-1]
    return b'id: %b\nevent: %b\ndata: %b,"row":%b}\n\n' % (
        str(Position(epoch, change.number)).encode(),
        change.kind.encode(),
        head_json,
        row,
    )


def to_heartbeat(position: Position | None, retry_ms: int | None = None) -> bytes:
    """Frame a sign of life: no event, but the reader's position if any.

    A reader that was cut off goes on from there.
    """
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    return b":\n%b%b\n" % (retry, b"" if position is None else b"id: %b\n" % str(position).encode())


def find_differences(before: Iterable[Any], after: Iterable[Any]) -> set[Any]:
    """Find the items that only one of the two has.

    >>> sorted(find_differences([1, 2], [2, 3]))
    [1, 3]
    """
    return set(before) ^ set(after)
