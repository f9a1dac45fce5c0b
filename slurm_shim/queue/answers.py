"""One answer of squeue, indexed and compared with the one before. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from slurm_shim.parse import Job

# So many changes are told at once; an array's are told together.
TOLD_AT_ONCE = 250


@dataclass(frozen=True)
class Queue:
    """One answer of squeue, indexed, and its changes since the last.

    `groups` has the tasks of an array and the components of a heterogeneous job, `numbers` these by their own numbers,
    `words` rows by each word of their comments. `notable` are those of the `changed` ids where more than the elapsed
    time is another, in parts that are told one after the other. `lost` says whether rows have gone.
    """

    rows: dict[str, Job] = field(default_factory=dict)
    groups: dict[int, list[Job]] = field(default_factory=dict)
    numbers: dict[int, Job] = field(default_factory=dict)
    words: dict[str, list[Job]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    notable: Sequence[set[str]] = ()
    reordered: bool = False
    lost: bool = False


def index_answer(answer: Sequence[Job], last: Queue) -> Queue:
    """Index an answer, and compare it with the last one.

    A row that reads as before is the same object.
    """
    before = last.rows
    if len(answer) == len(before) and all(map(operator.is_, answer, before.values())):
        return replace(last, changed=set(), notable=(), reordered=False, lost=False)
    groups: dict[int, list[Job]] = {}
    numbers: dict[int, Job] = {}
    words: dict[str, list[Job]] = {}
    rows = {row["job_id"]: row for row in answer}
    for row in rows.values():
        group = row["array_job_id"] if row["array_job_id"] is not None else row["het_job_id"]
        if group is not None:
            groups.setdefault(group, []).append(row)
            numbers[row["raw_id"]] = row
        for word in (row["comment"] or "").split():
            words.setdefault(word, []).append(row)
    for number in groups.keys() | last.groups.keys():
        plain = rows.get(str(number))
        if plain is not None and plain["array_job_id"] is None and plain["het_job_id"] is None:
            # All that waited of an array was cancelled task by task: SLURM shows a plain job with the array's id.
            groups.setdefault(number, []).append(plain)
    changed = find_differing(before, rows, before.keys() | rows.keys())
    notable = [job_id for job_id in changed if not is_same_but_time(before.get(job_id), rows.get(job_id))]
    reordered, lost = list(before) != list(rows), not before.keys() <= rows.keys()
    return Queue(rows, groups, numbers, words, changed, list(split_changes(notable)), reordered, lost)


def split_changes(job_ids: Iterable[str]) -> Iterator[set[str]]:
    """Split changes into parts, none of which ends within an array."""
    part, whole = set[str](), ""
    for job_id in sorted(job_ids, key=_get_whole):
        if len(part) >= TOLD_AT_ONCE and _get_whole(job_id) != whole:
            yield part
            part = set()
        part.add(job_id)
        whole = _get_whole(job_id)
    if part:
        yield part


def _get_whole(job_id: str) -> str:
    return job_id.partition("_")[0].partition("+")[0]


def find_differing(before: dict[str, Job], after: dict[str, Job], ids: Iterable[str]) -> set[str]:
    """Find those of the ids whose rows are not equal."""
    return {i for i in ids if before.get(i) is not after.get(i) and before.get(i) != after.get(i)}


def is_same_but_time(before: Job | None, after: Job | None) -> bool:
    """Return whether two rows differ in nothing but the elapsed time."""
    return before is not None and after is not None and before | {"elapsed_s": after["elapsed_s"]} == after
