"""Where a job's output goes: sbatch's file name patterns. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_NOT_AN_ARRAY = 4294967294  # NO_VAL, printed as task id by jobs that are no array task


def build_output_path(pattern: str | None, job: Mapping[str, Any]) -> str | None:
    """Build the absolute path of a job's output file; None if unknown.

    `pattern` as squeue's STDOUT gives it (sbatch(1), filename pattern); None is SLURM's default. The remainder of a
    pending array has no one file, nor has a whole array unless its tasks share one. %N is really the machine's own
    name, which differs where several nodes share one.
    """
    task, work_dir = job["array_task_id"], job["work_dir"]
    if task is not None and pattern == f"{work_dir}/slurm-{job['raw_id']}.out":
        pattern = ""  # what squeue 22.05.8 shows for the default; the task's file has another name
    pattern = pattern or ("slurm-%A_%a.out" if job["array_job_id"] is not None else "slurm-%j.out")
    if str(_NOT_AN_ARRAY) in pattern or (task is not None and not task.isdigit()):
        return None
    path = _fill_pattern(pattern, job) if "%" in pattern or "\\" in pattern else pattern
    if path is None or path.startswith("/"):
        return path
    return f"{work_dir.rstrip('/')}/{path}" if work_dir else None


def _fill_pattern(pattern: str, job: Mapping[str, Any]) -> str | None:
    if "\\" in pattern:  # sbatch(1): a backslash switches all replacing off
        return pattern.replace("\\", "")
    made = []
    for at, piece in enumerate(_split_pattern(pattern)):
        # Pieces alternate: text, symbol, text, ...
        word = _expand_symbol(piece, job) if at % 2 else piece
        if word is None:
            return None
        made.append(word)
    return "".join(made)


@lru_cache(maxsize=4096)
def _split_pattern(pattern: str) -> tuple[str, ...]:
    return tuple(re.split(r"(%%|%\d*[AaJjNnstux])", pattern))


def _expand_symbol(symbol: str, job: Mapping[str, Any]) -> str | None:
    letter, digits = symbol[-1], symbol[1:-1]
    if letter == "x":
        return str(job["name"])
    if letter in "%u":
        return "%" if letter == "%" else str(job["user"])
    if letter == "N":
        return (job["batch_host"] or "").split(".")[0] or None
    if letter in "ajJ" and job["array_job_id"] is not None and job["array_task_id"] is None:
        return None  # each task has its own
    value = str(_get_symbol_value(letter, job))
    return value.zfill(min(int(digits), 10)) if digits and value.isdigit() else value


def _get_symbol_value(letter: str, job: Mapping[str, Any]) -> Any:
    if letter in "jJ":  # sbatch(1) promises a step for %J, a batch script's file has none
        return job["raw_id"]
    if letter == "A":
        return job["raw_id"] if job["array_job_id"] is None else job["array_job_id"]
    if letter == "a":
        return _NOT_AN_ARRAY if job["array_task_id"] is None else job["array_task_id"]
    # What is left belongs to a step; the file is that of the batch step on the first node.
    return "batch" if letter == "s" else "0"
