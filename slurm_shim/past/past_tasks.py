"""Tasks of arrays that the queue lists no more.

SLURM forgets an ended task after MinJobAge, while others of its array may still wait. One that was cancelled while it
waited among others leaves no trace at all, neither in the queue nor in accounting.
"""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from slurm_shim.ids import split_job_id
from slurm_shim.job_groups import MOST_PARTS, is_part_of, list_row_tasks
from slurm_shim.parse import FINISHED, WAITING, Job

# Rows that are kept of arrays which have left the queue, those that left last.
MOST_KEPT = 20_000


class GroupChange(NamedTuple):
    """What is new of an array or a heterogeneous job.

    Rows that have ended, and ids of others, of those that read otherwise than before; all rows that wait; those that
    waited and are not there any more.
    """

    ended: list[Job]
    others: list[str]
    waiting: list[Job]
    vanished: list[Job]


def _compare_rows(rows: Sequence[Job], known: Container[int], waited: Sequence[Job]) -> GroupChange:
    new = [row for row in rows if id(row) not in known]
    ids = {row["job_id"] for row in rows} if waited else ()
    return GroupChange(
        [row for row in new if row["state"] in FINISHED],
        [row["job_id"] for row in new if row["state"] not in FINISHED],
        [row for row in rows if row["state"] in WAITING and row["array_job_id"] is not None],
        [row for row in waited if row["job_id"] not in ids],
    )


class PastTasks:
    """The ended parts of arrays and heterogeneous jobs, as last seen."""

    def __init__(self) -> None:
        self._ended: dict[int, dict[str, Job]] = {}
        self._unstarted: dict[int, dict[str, Job]] = {}  # by array: those that vanished while they waited
        self._rows: Mapping[int, Sequence[Job]] = {}  # as they were followed last
        self._waiting: dict[int, list[Job]] = {}
        self.followed_at = float("-inf")  # when the queue was asked last
        self._numbers: dict[int, int] = {}  # array of each ended task, by the task's own number

    def compare(self, groups: Mapping[int, Sequence[Job]]) -> dict[int, GroupChange]:
        """Compare the queue, given as the rows of each array, with the last.

        It changes nothing, so a thread may do it.
        """
        found = {}
        for group, rows in groups.items():
            known = self._rows.get(group, ())
            if len(rows) != len(known) or not all(map(operator.is_, rows, known)):
                found[group] = _compare_rows(rows, set(map(id, known)), self._waiting.get(group, ()))
        return found

    def follow(
        self,
        groups: Mapping[int, Sequence[Job]],
        at: float,
        remembers_s: float,
        compared: Mapping[int, GroupChange] | None = None,
    ) -> None:
        """Follow the queue; `compared` is what `compare` has found.

        `at` is when it was asked: what vanished in longer than the queue remembers may have been run and forgotten.
        """
        compared = self.compare(groups) if compared is None else compared
        for group in groups:
            if group in self._ended and group not in self._rows:
                self._forget(group)  # the cluster was set up anew and counts from 1 again
            # Last, since it was seen last.
            ended = self._ended[group] = self._ended.pop(group, {})
            if (change := compared.get(group)) is None:
                continue
            for job_id in change.others if ended else ():  # requeued
                ended.pop(job_id, None)
            for row in change.ended:
                ended[row["job_id"]] = row
                if row["raw_id"] != group:
                    self._numbers[row["raw_id"]] = group
            if change.vanished and at - self.followed_at < remembers_s:
                self._note_vanished(group, change.vanished, groups[group])
        waiting = {group: change.waiting for group, change in compared.items()}
        self._waiting = {group: rows for group, rows in (self._waiting | waiting).items() if rows and group in groups}
        self._rows = groups
        self._forget_oldest(groups)

    def _note_vanished(self, group: int, vanished: Iterable[Job], rows: Sequence[Job]) -> None:
        known = [*rows, *self._ended[group].values()]
        present = {task for row in known for task in list_row_tasks(row)}
        for row in vanished:
            self.note_unstarted(row, set(list_row_tasks(row)) - present)

    def note_unstarted(self, row: Job, tasks: Iterable[int]) -> None:
        """Note that these tasks of a waiting row will never start."""
        for task in itertools.islice(tasks, MOST_PARTS):
            job_id = f"{row['array_job_id']}_{task}"
            own = {"job_id": job_id, "array_task_id": str(task), "state": "CANCELLED", "end_time": int(time.time())}
            self._unstarted.setdefault(row["array_job_id"], {}).setdefault(job_id, row | own)

    def _forget_oldest(self, groups: Collection[int]) -> None:
        count = sum(map(len, self._ended.values())) + sum(map(len, self._unstarted.values()))
        never_shown = self._unstarted.keys() - self._ended.keys()
        for group in [group for group in (*never_shown, *self._ended) if group not in groups]:
            if count <= MOST_KEPT:
                return
            count -= self._forget(group)

    def _forget(self, group: int) -> int:
        ended = self._ended.pop(group, {})
        for row in ended.values():
            self._numbers.pop(row["raw_id"], None)
        return len(ended) + len(self._unstarted.pop(group, {}))

    def get_ended(self, group: int) -> dict[str, Job]:
        """Get the ended tasks of an array by id; do not change them."""
        return self._ended.get(group, {})

    def get_unstarted(self, group: int) -> dict[str, Job]:
        """Get the tasks of an array by id that ended before they began."""
        return self._unstarted.get(group, {})

    def find_ended(self, job_id: str) -> list[Job]:
        """Find the ended tasks of this id, which is not that of a whole array."""
        number = split_job_id(job_id)["job"]
        group = self._ended.get(self._numbers.get(number, -1) if job_id.isdigit() else number, {})
        return [row for row in group.values() if is_part_of(row, job_id)]

    def find_unstarted(self, job_id: str) -> list[Job]:
        """Find the tasks of this id that ended before they began."""
        group = self._unstarted.get(split_job_id(job_id)["job"], {})
        return [row for row in group.values() if is_part_of(row, job_id)]
