"""Job dependencies (sbatch(1) --dependency): pure functions on rows.

A dependency is kept as the text that squeue shows: `afterok:5(unfulfilled),afterany:8_*(unfulfilled)`, or with `?`
between the terms when one is enough. Met terms disappear; an id that nobody knows counts as met, as in SLURM.
Unlike slurmctld, which forgets jobs after MinJobAge, a finished job is judged by its real end for as long as
accounting knows it.
"""

from __future__ import annotations

from .states import LIVE
from .units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Job = Mapping[str, Any]
    Lookup = Callable[[int, int | None], Sequence[Job]]

KINDS = ("after", "afterany", "afterok", "afternotok", "aftercorr", "singleton", "afterburstbuffer", "expand")
MET, WAIT, FAILED = "met", "unfulfilled", "failed"


class BadDependency(ValueError):
    """A text that is no dependency."""


def parse_dependency(text: str) -> str:
    """Parse a dependency to its stored form; a bare id means afterany.

    BadDependency for anything else.
    """
    if text.strip() in ("", "0"):
        return ""
    if "?" in text and "," in text:
        raise BadDependency(text)
    separator = "?" if "?" in text else ","
    terms: list[str] = []
    kind = "afterany"
    for part in text.split(separator):
        words = part.strip().split(":")
        if words[0].lower() in KINDS:
            kind = words.pop(0).lower()
            if kind == "expand":
                raise BadDependency(text)
        elif is_number(words[0].partition("_")[0].partition("+")[0]) is False:
            raise BadDependency(text)
        if kind == "singleton":
            if words:
                raise BadDependency(text)
            terms.append(f"singleton({WAIT})")
            continue
        if not words:
            raise BadDependency(text)
        terms += [f"{kind}:{_parse_target(text, kind, word)}({WAIT})" for word in words]
    return separator.join(terms)


def _parse_target(text: str, kind: str, word: str) -> str:
    word = word.partition("(")[0]
    job, plus, minutes = word.partition("+")
    number, under, task = job.partition("_")
    if not is_number(number) or int(number) == 0 or (under and not (is_number(task) or task == "*")):
        raise BadDependency(text)
    # Behind a plus sign: minutes after the start, or the part of a heterogeneous job.
    if plus and not is_number(minutes):
        raise BadDependency(text)
    return word


def list_job_ids(text: str) -> list[int]:
    """List the job ids that a stored dependency names."""
    found = []
    for term in text.replace("?", ",").split(","):
        kind, _, target = term.partition("(")[0].partition(":")
        number, _, offset = target.partition("_")[0].partition("+")
        if number:
            found.append(int(number) + _get_offset(kind, offset))
    return found


def _get_offset(kind: str, text: str) -> int:
    """Get how far a part's id lies behind the first; 0 for minutes."""
    return int(text or 0) if kind != "after" else 0


def judge_dependency(text: str, job: Job, task: int | None, now: int, lookup: Lookup) -> tuple[str, str, int | None]:
    """Judge a dependency: (verdict, remaining text, end of a delay).

    The verdict is met, unfulfilled or failed; the end of a delay may be None.

    `task` is the array task that asks (for aftercorr); `lookup(id, task)` gives the rows of a job, of one array
    task, or of all of them (task None), and for id 0 the earlier unfinished jobs of the same name and user.
    """
    separator = "?" if "?" in text else ","
    remains, verdicts, wakes = [], [], []
    for term in text.split(separator):
        bare = term.partition("(")[0]
        verdict, wake = _judge_term(bare, job, task, now, lookup)
        verdicts.append(verdict)
        if wake:
            wakes.append(wake)
        if verdict != MET:
            remains.append(f"{bare}({verdict})")
    if all(v == MET for v in verdicts) or (separator == "?" and MET in verdicts):
        return MET, "", None
    hopeless = all(v == FAILED for v in verdicts) if separator == "?" else FAILED in verdicts
    return FAILED if hopeless else WAIT, separator.join(remains), min(wakes, default=None)


def _judge_term(bare: str, job: Job, task: int | None, now: int, lookup: Lookup) -> tuple[str, int | None]:
    kind, _, target = bare.partition(":")
    if kind == "singleton":
        return (WAIT if lookup(0, None) else MET), None
    word, _, minutes = target.partition("+")
    number, _, wanted = word.partition("_")
    wanted_task = int(wanted) if is_number(wanted) else None
    if kind == "aftercorr" and wanted_task is None:
        wanted_task = task
    offset = _get_offset(kind, minutes)
    rows = lookup(int(number) + offset, wanted_task)
    if offset and not all(row["het_job_id"] == int(number) for row in rows):
        rows = lookup(int(number), wanted_task)
    if not rows and kind == "aftercorr":
        rows = lookup(int(number), None)
    if kind == "after":
        return _judge_after(rows, int(minutes or 0) * 60, now)
    unfinished = any(row["state"] in LIVE or row["completing"] for row in rows)
    if kind in ("afterany", "afterburstbuffer"):  # no burst buffers: nothing is to be written back
        return (WAIT if unfinished else MET), None
    bad = any(row["state"] not in LIVE and row["state"] != "COMPLETED" for row in rows)
    if kind == "afternotok":
        if not rows:
            return MET, None
        return (WAIT if unfinished else MET if bad else FAILED), None
    if bad:
        return FAILED, None
    return (WAIT if unfinished else MET), None


def _judge_after(rows: Sequence[Job], delay_s: int, now: int) -> tuple[str, int | None]:
    begun = [row["start_time"] or row["end_time"] or 0 for row in rows if row["state"] != "PENDING"]
    if len(begun) < len(rows):
        return WAIT, None
    due = max(begun, default=0) + delay_s
    return (MET, None) if due <= now else (WAIT, due)
