"""The documents of a folder as the answers that lists and single reads give, made when a document changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from store.bodies import Body, ListBody
from store.errors import NotFound
from store.index import Entry, Folder

KEPT_GROUPS = 200


class Listing:
    """The rows of a folder as bytes: one row, all rows, or those of a group.

    `view(document)` gives the row, `rank(row)` its place in the list, `group(row)` the group it belongs to.
    """

    def __init__(
        self,
        folder: Folder,
        view: Callable[[Any], dict[str, Any]],
        rank: Callable[[dict[str, Any]], Any],
        group: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        self._folder, self._view, self._group = folder, view, group
        self._list = ListBody(lambda _key, row: rank(row))
        self._groups: dict[str, tuple[int, Body]] = {}
        for entry in folder.entries():
            self._follow(entry.name, None, entry)
        folder.listeners.append(self._follow)

    def _follow(self, name: str, _old: Entry | None, new: Entry | None) -> None:
        if new is None:
            self._list.drop(name)
        else:
            self._list.put(name, self._view(new.document))

    def one(self, name: str) -> Body:
        """The row of this name; NotFound."""
        if name not in self._list.pieces:
            raise NotFound(self._folder.kind, name)
        return Body(self._list.pieces[name])

    def all(self) -> Body:
        """All rows."""
        return self._list.body()

    def of(self, group: str | None) -> Body:
        """The rows of the group; all for None."""
        if group is None or self._group is None:
            return self.all()
        kept = self._groups.get(group)
        if kept is None or kept[0] != self._list.version:
            self._list.body()  # brings the pieces into their order
            pieces = [piece for key, piece in self._list.pieces.items() if self._group(self._list.rows[key]) == group]
            if len(self._groups) >= KEPT_GROUPS:
                self._groups.clear()
            kept = self._groups[group] = (self._list.version, Body(b"[" + b",".join(pieces) + b"]"))
        return kept[1]
