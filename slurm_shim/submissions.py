"""What tells a job that we submitted from all others. Pure.

SLURM gives an id again after its state was cleared, and when its largest id was reached. So an id alone never says that
a job is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm_shim.parse import FINISHED, Job

# Between our call of sbatch and the time that SLURM writes for it.
SLACK_S = 60.0
# Within this no cluster loses its state and gives the id again: a job of another name was renamed.
SAME_S = 1.0
# Ends in accounting after which the same job may go on as a new record.
_REQUEUED = frozenset(("REQUEUED", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL"))
_TAG = re.compile(r"sluice:[0-9a-f]{32}")


@dataclass(frozen=True)
class Submission:
    """What is known of a job that we submitted; None is not known.

    `tag` stands in its comment. `submitted_at` is when sbatch was called, in epoch seconds of SLURM's clock.
    """

    tag: str | None = None
    user: str | None = None
    name: str | None = None
    submitted_at: float | None = None

    def has_user(self, row: Mapping[str, Any]) -> bool:
        """Return whether the job belongs to the user that we submit for."""
        return self.user is None or row["user"] is None or self.user in (row["user"], str(row["uid"]))

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether SLURM's row is this very job, or a part of it.

        By its tag, or where none is to be seen by its user, name and time. A requeue gives a later time. Somebody may
        have changed comment and name of a job that is ours.
        """
        comment = row["comment"] or ""
        if not self.has_user(row):
            return False
        if self.tag is not None and self.tag in comment.split():
            return True
        if self.tag is not None and _TAG.search(comment):
            return False
        has_name = self.name in (None, row["name"])
        if row["submit_time"] is None or self.submitted_at is None:
            return has_name
        later_s = row["submit_time"] - self.submitted_at
        if not has_name:
            return abs(later_s) <= SAME_S
        return abs(later_s) <= SLACK_S or (later_s > 0 and row["restarts"] > 0)


ANY = Submission()


def get_whole_id(row: Mapping[str, Any]) -> str:
    """Return the id of the array or heterogeneous job that a row is part of.

    >>> get_whole_id({"job_id": "8_3"}), get_whole_id({"job_id": "9+1"}), get_whole_id({"job_id": "7"})
    ('8', '9', '7')
    """
    return re.split("[_+]", str(row["job_id"]))[0]


def list_last_records(rows: Iterable[Job], submission: Submission) -> list[Job]:
    """List the last record of the job, and of each part of it.

    `rows` are all that accounting has under its id, also of other jobs that had it.
    """
    by_id: dict[str, list[Job]] = {}
    for row in sorted(rows, key=lambda row: row["submit_time"] or 0):
        by_id.setdefault(row["job_id"], []).append(row)
    return [last for records in by_id.values() if (last := _find_last(records, submission)) is not None]


def choose_ended(rows: Iterable[Job], submission: Submission) -> list[Job]:
    """Choose the records that tell how a job ended.

    See `list_last_records`. [] while a part of it has not ended, and if accounting does not have it.
    """
    lasts = list_last_records(rows, submission)
    return lasts if all(row["state"] in FINISHED for row in lasts) else []


def _find_last(records: Sequence[Job], submission: Submission) -> Job | None:
    """Find the last record of the job: each requeue begins a new one."""
    last: Job | None = None
    for row in records:
        goes_on = last is not None and last["state"] in _REQUEUED and last["name"] == row["name"]
        is_untagged = not _TAG.search(row["comment"] or "")
        if submission.matches(row) or (goes_on and is_untagged and submission.has_user(row)):
            last = row
    return last
