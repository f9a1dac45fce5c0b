"""Tasks of arrays that the queue lists no more.

SLURM forgets an ended task after MinJobAge, while others of its array may still wait. One that was cancelled while it
waited among others leaves no trace at all, neither in the queue nor in accounting.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from slurm_shim.ids import split_job_id
from slurm_shim.job_groups import MOST_PARTS, is_part_of, list_row_tasks
from slurm_shim.parse import FINISHED, WAITING, Job

# Rows that are kept of arrays which have left the queue, those that left last.
MOST_KEPT = 20_000


class PastTasks:
    """The ended parts of arrays and heterogeneous jobs, as last seen."""

    def __init__(self) -> None:
        self._ended: dict[int, dict[str, Job]] = {}
        self._unstarted: dict[int, dict[str, Job]] = {}  # by array: those that vanished while they waited
        self._present: frozenset[int] = frozenset()  # arrays that are in the queue
        self._waiting: dict[int, list[Job]] = {}
        self.followed_at = float("-inf")  # when the queue was asked last
        self._numbers: dict[int, int] = {}  # array of each ended task, by the task's own number

    def follow(self, groups: Mapping[int, Sequence[Job]], at: float, remembers_s: float) -> None:
        """Follow the queue, given as the rows of each array.

        `at` is when it was asked: what vanished in longer than the queue remembers may have been run and forgotten.
        """
        for group, rows in groups.items():
            if group in self._ended and group not in self._present:
                self._forget(group)  # the cluster was set up anew and counts from 1 again
            ended = self._ended.pop(group, {})
            for row in rows:
                if row["state"] in FINISHED:
                    ended[row["job_id"]] = row
                    if row["raw_id"] != group:
                        self._numbers[row["raw_id"]] = group
                else:  # requeued
                    ended.pop(row["job_id"], None)
            self._ended[group] = ended  # last, since it was seen last
        for group, waited in self._waiting.items():
            if group in groups and at - self.followed_at < remembers_s:
                self._note_vanished(group, waited, groups[group])
        self._present = frozenset(groups)
        self._waiting = {
            group: waiting
            for group, rows in groups.items()
            if (waiting := [row for row in rows if row["state"] in WAITING and row["array_job_id"] is not None])
        }
        self._forget_oldest(groups)

    def _note_vanished(self, group: int, waited: Iterable[Job], rows: Sequence[Job]) -> None:
        if all(any(row is other for other in rows) for row in waited):
            return
        known = [*rows, *self._ended[group].values()]
        present = {task for row in known for task in list_row_tasks(row)}
        for row in waited:
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
