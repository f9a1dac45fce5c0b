"""The documents of a folder as the answers that lists and single reads give, made when a document changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from store import history, views
from store.bodies import Body, ListBody
from store.errors import NotFound
from store.folders import Entry, Folder

KEPT_GROUPS = 200


class Listing:
    """The rows of a folder as bytes: one row, all rows, or those of a group.

    `view(entry)` gives the row, `rank(row)` its place in the list, `group(row)` the group it belongs to.
    """

    def __init__(
        self,
        folder: Folder,
        view: Callable[[Entry], dict[str, Any]],
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
            self._list.put(name, self._view(new))

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


class JobList:
    """SLURM's jobs in its order, then those of ours that it does not show any more; a row is made once per change."""

    def __init__(self) -> None:
        self._list = ListBody()
        self._made: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
        self._of: tuple[int, int] | None = None

    def body(
        self, cluster: str, version: int, jobs: dict[str, dict[str, Any]], ledger: history.Ledger, since: str
    ) -> Body:
        """The list as bytes; `version` grows when `jobs` change, which are told from each other by identity.

        Ours are those that ended at or after `since` (RFC 3339).
        """
        if self._of != (version, ledger.version):
            self._of = (version, ledger.version)
            rows = {job_id: self._row(job_id, job, ledger.get(cluster, job_id)) for job_id, job in jobs.items()}
            self._made = {job_id: made for job_id, made in self._made.items() if job_id in jobs}
            # An array that went through us is one entry, and SLURM shows its tasks.
            shown = jobs.keys() | {str(job["array_job_id"]) for job in jobs.values()}
            ended = ledger.ended_since(since, cluster)
            rows |= {one.job_id: views.remembered(one, 0) for one in ended if one.job_id not in shown}
            self._list.replace(rows.items())
        return self._list.body()

    def _row(self, job_id: str, job: dict[str, Any], entry: history.Entry | None) -> dict[str, Any]:
        made = self._made.get(job_id)
        if made is None or made[0] is not job or made[1] is not entry:
            made = self._made[job_id] = (job, entry, views.job(job, entry))
        return made[2]
