"""What script and options say of a job before SLURM does. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from slurm_shim.directives import read_options
from slurm_shim.ids import expand_hosts
from slurm_shim.output_files import build_output_path
from slurm_shim.parse import Job, Partition, count_gres_gpus, parse_memory_mb
from slurm_shim.times import format_duration, parse_duration


def build_expected_job(
    script: str, options: Mapping[str, Any], user: str | None, partitions: Iterable[Partition]
) -> Job:
    """Build what is known of a job before SLURM has told of it.

    None is what is not known. Options win over the script.
    """
    given = _read_options(script, options)
    known = {partition["name"]: partition for partition in partitions}
    default = next((name for name, partition in known.items() if partition["is_default"]), None)
    partition = given.get("partition", default)
    node_count = _read_count(given, "nodes", 1)
    cpu_count = _count_cpus(given, node_count)
    return {
        "array_task_id": given.get("array"),
        "user": user,
        "account": given.get("account"),
        "qos": given.get("qos"),
        "partition": partition,
        "node_count": node_count,
        "cpu_count": cpu_count,
        "gpus": _count_gpus(given, node_count),
        "memory_mb": _count_memory_mb(given, node_count, cpu_count),
        "work_dir": given.get("chdir"),
        "dependency": given.get("dependency"),
        **_find_time_limit(given.get("time"), known.get(partition or "")),
    }


def build_expected_paths(script: str, options: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Build the paths of a job's output, `{stdout, stderr}`.

    From what it was submitted with; `job` has the ids, names and nodes that the patterns ask for.
    """
    given = _read_options(script, options)
    host = job["batch_host"] or next(iter(expand_hosts(job["nodes"])), None)
    placed = job | {"work_dir": given.get("chdir") or job["work_dir"], "batch_host": host}
    stdout = build_output_path(given.get("output"), placed)
    return {"stdout": stdout, "stderr": build_output_path(given["error"], placed) if given.get("error") else stdout}


def _read_options(script: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Read the options that have a value, by sbatch's long names."""
    given = read_options(script) | {name.replace("_", "-"): value for name, value in options.items()}
    return {name: str(value) for name, value in given.items() if value is not None}


def _read_count(given: Mapping[str, str], name: str, missing: int) -> int | None:
    """Read a number of nodes or tasks: the least of "2-4"; None if unclear."""
    match = re.fullmatch(r"(\d+)(?:-\d+)?", given.get(name, str(missing)), re.ASCII)
    return int(match[1]) if match else None


def _multiply(*factors: int | None) -> int | None:
    product = 1
    for factor in factors:
        if factor is None:
            return None
        product *= factor
    return product


def _count_tasks(given: Mapping[str, str], node_count: int | None) -> int | None:
    if "ntasks" in given:
        return _read_count(given, "ntasks", 1)
    return _multiply(node_count, _read_count(given, "ntasks-per-node", 1))


def _count_cpus(given: Mapping[str, str], node_count: int | None) -> int | None:
    return _multiply(_count_tasks(given, node_count), _read_count(given, "cpus-per-task", 1))


def _count_gpus(given: Mapping[str, str], node_count: int | None) -> int | None:
    if "gpus" in given:
        return _read_gpus(given["gpus"])
    if "gpus-per-node" in given:
        return _multiply(_read_gpus(given["gpus-per-node"]), node_count)
    if "gpus-per-task" in given:
        return _multiply(_read_gpus(given["gpus-per-task"]), _count_tasks(given, node_count))
    return _multiply(count_gres_gpus(given.get("gres", "")), node_count)


def _read_gpus(text: str) -> int | None:
    """Read "2", "a100:2", "a100:1,v100:2" or "a100", which is one."""
    return count_gres_gpus(",".join(f"gpu:{kind}" for kind in text.split(","))) if text else None


def _count_memory_mb(given: Mapping[str, str], node_count: int | None, cpu_count: int | None) -> int | None:
    if "mem-per-cpu" in given:
        return _multiply(parse_memory_mb(given["mem-per-cpu"]), cpu_count)
    return _multiply(parse_memory_mb(given.get("mem", "")), node_count)


def _find_time_limit(text: str | None, partition: Partition | None) -> dict[str, Any]:
    """Find the limit that is asked for, or else that of the partition.

    sbatch(1): it counts in minutes, rounded up, and a limit of 0 is none of its own.
    """
    try:
        seconds = -(-(parse_duration(text or "") or 0) // 60) * 60 or None
    except ValueError:
        return {"time_limit_s": None, "time_limit": None}
    if seconds is None and partition is not None:
        seconds = (partition["default_time_s"] if text is None else None) or partition["max_time_s"]
    elif seconds is None:
        return {"time_limit_s": None, "time_limit": None}
    return {"time_limit_s": seconds, "time_limit": format_duration(seconds)}
