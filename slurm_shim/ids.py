"""SLURM's short forms: job ids, array tasks and host lists. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_MOST = 65_536
# Callers choose what is remembered here, and each may be as long as that: 64 of the largest are some 200 MB.
_REMEMBERED = 64

_JOB_ID = re.compile(r"(\d{1,10})(?:_(\d{1,10})|_\[([\d,:%-]{1,65536})\]|\+(\d{1,10}))?", re.ASCII)
_TASKS = re.compile(r"(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?", re.ASCII)


def split_job_id(job_id: str) -> dict[str, Any]:
    """Split a job id into `{job, task, tasks, component}`.

    "42", "8_3" (task 3), "8_[3-6%2]" (tasks "3-6%2"), "9+1" (component 1).

    ValueError for anything else: what passes here is safe to hand to SLURM's programs.
    """
    match = _JOB_ID.fullmatch(job_id)
    if match is None:
        raise ValueError(f"not a job id: {job_id[:60]!r}")
    return {
        "job": int(match[1]),
        "task": int(match[2]) if match[2] else None,
        "tasks": match[3],
        "component": int(match[4]) if match[4] else None,
    }


def is_job_id(text: str) -> bool:
    """Return whether the text is a job id: others have no job in SLURM."""
    return _JOB_ID.fullmatch(text) is not None


@lru_cache(maxsize=_REMEMBERED)
def list_tasks(job_id: str) -> frozenset[int]:
    """List the array tasks that an id names; none for a whole job."""
    parts = split_job_id(job_id)
    if parts["task"] is not None:
        return frozenset([parts["task"]])
    return frozenset(expand_tasks(parts["tasks"]) if parts["tasks"] else ())


def to_argument(job_id: str) -> str:
    """Write the id as scancel and scontrol take it.

    They know neither the limit nor the steps that squeue shows: "8_[2-6:2%1]" -> "8_[2,4,6]".

    ValueError for what is no id.
    """
    parts = split_job_id(job_id)
    if parts["tasks"] is None:
        return job_id
    tasks = parts["tasks"].partition("%")[0]
    return f"{parts['job']}_[{','.join(map(str, expand_tasks(tasks))) if ':' in tasks else tasks}]"


@lru_cache(maxsize=_REMEMBERED)
def expand_tasks(tasks: str) -> tuple[int, ...]:
    """Expand array tasks like "3-6%2", "1-9:4", "2,9,22-24" to numbers.

    ValueError when it is no such list or has too many.
    """
    found: list[int] = []
    for part in tasks.partition("%")[0].split(","):
        match = _TASKS.fullmatch(part)
        if match is None:
            raise ValueError(f"not a list of array tasks: {tasks[:60]!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"not a list of array tasks: {tasks[:60]!r}")
        found.extend(_check_count(range(first, last + 1, int(match[3] or 1) or 1), len(found)))
    return tuple(found)


def count_tasks(tasks: str | None) -> int:
    """Count array tasks without listing them; a job without any is one.

    What cannot be read counts as one too.

    >>> count_tasks("3-6%2"), count_tasks("1-9:4,12"), count_tasks("5"), count_tasks(None), count_tasks("?")
    (4, 4, 1, 1, 1)
    """
    if not tasks or tasks.isdigit():
        return 1
    count = 0
    for part in tasks.partition("%")[0].split(","):
        if match := _TASKS.fullmatch(part):
            first, last = int(match[1]), int(match[2] or match[1])
            count += max(0, last - first) // (int(match[3] or 1) or 1) + 1
    return count or 1


def _check_count(numbers: range, already: int) -> range:
    if already + len(numbers) > _MOST:
        raise ValueError(f"more than {_MOST} in one list")
    return numbers


def expand_hosts(text: str) -> list[str]:
    """Expand a host list: "node[01-02],gpu1" -> node01 node02 gpu1.

    ValueError if it is none.
    """
    return list(_expand_hosts(text))


@lru_cache(maxsize=_REMEMBERED)
def _expand_hosts(text: str) -> tuple[str, ...]:
    names: list[str] = []
    for item in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+|[,\[\]]", text):
        if item in "[]":
            raise ValueError(f"not a host list: {text[:60]!r}")
        if item != ",":
            names.extend(_expand_item(item, len(names)))
    return tuple(names)


def _expand_item(item: str, already: int) -> list[str]:
    made = [""]
    for piece in re.split(r"(\[[^\]]*\])", item):
        choices = _expand_range(piece[1:-1]) if piece.startswith("[") else [piece]
        _check_count(range(len(made) * len(choices)), already)
        made = [start + choice for start in made for choice in choices]
    return made


def _expand_range(inner: str) -> list[str]:
    out: list[str] = []
    for part in inner.split(","):
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"not a host range: [{inner[:60]}]")
        numbers = _check_count(range(int(match[1]), int(match[2] or match[1]) + 1), len(out))
        out.extend(f"{number:0{len(match[1])}}" for number in numbers)
    return out
