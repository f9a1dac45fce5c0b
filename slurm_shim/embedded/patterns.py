"""File name patterns of --output, --error and --input.

sbatch(1) FILENAME PATTERN.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NO_TASK = 4294967294  # what SLURM writes for %a of a job that is no array task


def expand_pattern(pattern: str, job: Mapping[str, Any], step: str = "batch", node: int = 0, task: int = 0) -> str:
    """Expand a file name pattern for a job's row.

    Relative names stay relative. A backslash switches patterns off.
    """
    if "\\" in pattern:
        return pattern.replace("\\", "")
    array = job["array_job_id"] or job["raw_id"]
    number = job["array_task_id"]
    values = {
        "j": job["raw_id"],
        "A": array,
        "a": number if number is not None else NO_TASK,
        "J": job["raw_id"] if step == "batch" else f"{job['raw_id']}.{step}",
        "s": step,
        "x": job["name"],
        "u": job["user"],
        "N": os.uname().nodename.partition(".")[0],
        "n": node,
        "t": task,
        "%": "%",
    }
    text, index = "", 0
    while index < len(pattern):
        if pattern[index] != "%":
            text += pattern[index]
            index += 1
            continue
        end = index + 1
        while end < len(pattern) and pattern[end].isdigit():
            end += 1
        letter = pattern[end : end + 1]
        width = min(10, int(pattern[index + 1 : end] or 0))
        if letter not in values or not letter:
            text += pattern[index : end + 1]
        else:
            value = values[letter]
            text += f"{value:0{width}d}" if isinstance(value, int) else str(value)
        index = end + 1
    return text


def format_path(pattern: str, job: Mapping[str, Any]) -> str:
    """Format a file name as `scontrol show job` does.

    It fills in a few letters only.
    """
    first, *rest = pattern.split("%")
    return first + "".join(
        expand_pattern(f"%{part[0]}", job) + part[1:] if part[:1] and part[0] in "Aajux" else f"%{part}"
        for part in rest
    )


def list_nodes(job: Mapping[str, Any]) -> list[str]:
    """List the nodes of a started job, in the order of its tasks."""
    return [part.partition(":")[0] for part in (job["alloc"] or "").split(";") if part]


def get_default_output(job: Mapping[str, Any]) -> str:
    """Return the pattern of a job that names no output file."""
    return "slurm-%A_%a.out" if job["array_job_id"] else "slurm-%j.out"


def get_stdout(job: Mapping[str, Any]) -> str:
    """Return the unexpanded output pattern, absolute."""
    return os.path.join(job["work_dir"], job["std_out"] or get_default_output(job))


def format_output_name(job: Mapping[str, Any], pattern: str) -> str:
    """Format an output name as squeue prints it.

    What was asked for stays a pattern, the default name does not.
    """
    if job["std_out"] or (job["std_err"] and job["std_err"] in pattern):
        return pattern
    return expand_pattern(pattern.replace("_%a", "") if job["array_tasks"] else pattern, job)


def get_stderr(job: Mapping[str, Any]) -> str:
    """Return the unexpanded error pattern, absolute; else the output's."""
    return os.path.join(job["work_dir"], job["std_err"]) if job["std_err"] else get_stdout(job)


def get_stdin(job: Mapping[str, Any]) -> str:
    """Return the unexpanded input pattern, absolute; else /dev/null."""
    return os.path.join(job["work_dir"], job["std_in"]) if job["std_in"] else "/dev/null"
