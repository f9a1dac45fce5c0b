"""How much of their CPUs and memory jobs used, by sacct and sstat. Pure.

Usage  job_id raw_id name user partition state submit_line submit_time start_time end_time elapsed_s cpu_count gpus
       cpu_s memory_mb memory_used_mb cpu_efficiency memory_efficiency gpu_utilization
Shares are 0..1, `memory_mb` is what the whole job asked for, None is "SLURM does not say": steps are measured only
where the cluster gathers (JobAcctGatherType), and the CPU time of a running step stands in sstat alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.parse import (
    FINISHED,
    count_tres_gpus,
    get_first_word,
    parse_memory_mb,
    parse_requested_mb,
    parse_tres,
    parse_tres_memory_mb,
    split_records,
)
from slurm_shim.times import parse_epoch

Usage = dict[str, Any]

# sacct(1), --format, without -X; free text last.
USAGE_FIELDS = (
    *("JobID", "JobIDRaw", "User", "Partition", "State", "Submit", "Start", "End", "ElapsedRaw", "NCPUS", "NNodes"),
    *("TotalCPU", "MaxRSS", "NTasks", "ReqMem", "ReqTRES", "AllocTRES", "TRESUsageInAve", "SubmitLine", "JobName"),
)
# sstat(1), --format: no free text, and no --delimiter.
RUNNING_FIELDS = ("JobID", "NTasks", "AveCPU", "MaxRSS")
_CPU_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", re.ASCII)


def parse_usage(text: str, nonce: str) -> list[Usage]:
    """Parse what `sacct -n -p --delimiter=nonce -o USAGE_FIELDS` printed.

    A job's line comes before those of its steps. Times must be those of SLURM_TIME_FORMAT=%s, sizes of --noconvert.
    """
    rows: list[Usage] = []
    for record in split_records(text, nonce, len(USAGE_FIELDS), "\n"):
        line = dict(zip(USAGE_FIELDS, record.split(nonce), strict=True))
        if "." not in line["JobID"]:
            rows.append(_build_usage(line))
        elif not rows or rows[-1]["raw_id"] != line["JobIDRaw"].partition(".")[0]:
            raise UnreadableAnswer(f"sacct printed a step without its job: {line['JobID'][:40]!r}")
        else:
            _add_step(rows[-1], line)
    return [compute_shares(row) for row in rows]


def _build_usage(line: Mapping[str, str]) -> Usage:
    cpus, nodes = _parse_int(line["NCPUS"]) or 0, _parse_int(line["NNodes"]) or 1
    state, given, wanted = get_first_word(line["State"]), line["AllocTRES"], line["ReqTRES"]
    never_ran = not given and line["Start"] in ("None", "Unknown", "")
    return {
        "job_id": line["JobID"],
        "raw_id": line["JobIDRaw"],
        "name": line["JobName"],
        "user": line["User"],
        "partition": line["Partition"],
        "state": state,
        "submit_line": line["SubmitLine"] or None,
        "submit_time": parse_epoch(line["Submit"]),
        "start_time": None if never_ran else parse_epoch(line["Start"]),
        "end_time": parse_epoch(line["End"]) if state in FINISHED else None,
        "elapsed_s": _parse_int(line["ElapsedRaw"]) or 0,
        "cpu_count": cpus,
        "gpus": count_tres_gpus(given) or count_tres_gpus(wanted),
        # Of a job that runs SLURM 22.05 prints 0: nothing is measured yet.
        "cpu_s": (parse_cpu_s(line["TotalCPU"]) or None) if state in FINISHED else None,
        "memory_mb": parse_tres_memory_mb(given)
        or parse_tres_memory_mb(wanted)
        or parse_requested_mb(line["ReqMem"], nodes, cpus),
        "memory_used_mb": None,
        "gpu_utilization": None,
        "steps_cpu_s": None,
    }


def _add_step(row: Usage, line: Mapping[str, str]) -> None:
    """Add what one step used."""
    if row["state"] in FINISHED and (spent_s := parse_cpu_s(line["TotalCPU"])) is not None:
        row["steps_cpu_s"] = (row["steps_cpu_s"] or 0.0) + spent_s
    _note_memory(row, line)
    busy = parse_tres(line["TRESUsageInAve"]).get("gres/gpuutil", "")
    if re.fullmatch(r"\d+(\.\d+)?", busy, re.ASCII):
        row["gpu_utilization"] = max(row["gpu_utilization"] or 0.0, min(1.0, float(busy) / 100))


def _note_memory(row: Usage, line: Mapping[str, str]) -> None:
    """Note the memory of a step: that of its largest task, so many times."""
    if (each_mb := parse_size_mb(line["MaxRSS"])) is not None:
        row["memory_used_mb"] = max(row["memory_used_mb"] or 0.0, each_mb * (_parse_int(line["NTasks"]) or 1))


def add_running(row: Usage, text: str) -> Usage:
    """Return the usage of a running job with what sstat printed of it.

    The call: `sstat -a -n -P --noconvert -o RUNNING_FIELDS`, for this job or for several.
    """
    measured = row | {"cpu_s": None}
    for fields in (line.split("|") for line in text.splitlines()):
        if len(fields) != len(RUNNING_FIELDS):
            raise UnreadableAnswer(f"sstat's lines do not have {len(RUNNING_FIELDS)} fields each")
        line = dict(zip(RUNNING_FIELDS, fields, strict=True))
        if line["JobID"].partition(".")[0] != row["raw_id"]:
            continue
        _note_memory(measured, line)
        if (each_s := parse_cpu_s(line["AveCPU"])) is not None:
            measured["cpu_s"] = (measured["cpu_s"] or 0.0) + each_s * (_parse_int(line["NTasks"]) or 1)
    return compute_shares(measured)


def compute_shares(row: Usage) -> Usage:
    """Return the usage with its shares of what the job was given."""
    cpu_s = row["cpu_s"] if row["cpu_s"] is not None else row.get("steps_cpu_s")
    given_s, memory_mb = row["elapsed_s"] * row["cpu_count"], row["memory_mb"]
    return {key: value for key, value in row.items() if key != "steps_cpu_s"} | {
        "cpu_s": cpu_s,
        "cpu_efficiency": _divide(cpu_s, given_s),
        "memory_efficiency": _divide(row["memory_used_mb"], memory_mb),
    }


def _divide(used: float | None, given: float | None) -> float | None:
    return None if used is None or not given else round(min(1.0, used / given), 4)


def parse_cpu_s(text: str) -> float | None:
    """Parse CPU time to seconds; None for anything else.

    >>> parse_cpu_s("00:12.338"), parse_cpu_s("1-02:00:01"), parse_cpu_s("")
    (12.338, 93601.0, None)
    """
    match = _CPU_TIME.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_size_mb(text: str) -> float | None:
    """Parse MaxRSS to MB; a bare number is bytes (--noconvert).

    >>> parse_size_mb("12734464"), parse_size_mb("218196K"), parse_size_mb("")
    (12.14453125, 213.08203125, None)
    """
    if text.isascii() and text.isdigit():
        return int(text) / 1_048_576 or None
    if text[-1:].upper() == "K" and text[:-1].isdigit():
        return int(text[:-1]) / 1024 or None
    return parse_memory_mb(text)


def build_sacct_argv(nonce: str, chosen: Iterable[str]) -> list[str]:
    """Build the call of sacct for these selections."""
    return ["sacct", "-a", "-n", "-p", f"--delimiter={nonce}", "--noconvert", *chosen, "-o", ",".join(USAGE_FIELDS)]


def build_sstat_argv(raw_ids: Iterable[str]) -> list[str]:
    """Build the call of sstat for running jobs, by SLURM's own numbers."""
    return ["sstat", "-a", "-n", "-P", "--noconvert", f"--jobs={','.join(raw_ids)}", "-o", ",".join(RUNNING_FIELDS)]


def add_measured(rows: Iterable[Usage], ask: Callable[[list[str]], str]) -> list[Usage]:
    """Return the usages, those that run with what `ask(argv)` says of them."""
    found = list(rows)
    running = [row["raw_id"] for row in found if row["state"] == "RUNNING"]
    text = ask(build_sstat_argv(running)) if running else ""
    return [add_running(row, text) if row["state"] == "RUNNING" else row for row in found]


def _parse_int(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
