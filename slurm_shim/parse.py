"""Parsers: what SLURM's programs print -> plain dicts. Pure.

Verified against Slurm 22.05.8.

Names, comments and paths are free text and come out raw (newlines, `|`, escapes and all), so rows are asked for with a
random nonce after every field that nobody can have put into a name beforehand. Fields are counted; a row of another
width is an error, never a shift. Nothing is ever taken from the text of `scontrol show job`, which anybody may imitate.

Job   job_id raw_id array_job_id array_task_id het_job_id het_job_offset name user uid account partition qos state
      reason submit_time start_time estimated_start_time end_time elapsed_s time_limit_s time_limit node_count cpu_count
      memory_mb gpus priority nodes batch_host work_dir command stdout stderr exit_code exit_signal restarts dependency
      comment tres source
Times are seconds since 1970, memory and GPUs those of the whole job, None is "SLURM does not say". Nodes and partitions
are read in slurm_shim/inventory/nodes.py.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.ids import split_job_id
from slurm_shim.output_files import build_output_path
from slurm_shim.times import format_duration, parse_duration, parse_epoch

Job = dict[str, Any]
Node = dict[str, Any]
Partition = dict[str, Any]

# squeue(1), --Format. Free text last; the order is that of the recorded answers in tests/data.
JOB_FIELDS = (
    *("JobArrayID", "JobID", "ArrayJobID", "ArrayTaskID", "HetJobID", "HetJobOffset", "UserName", "UserID", "Account"),
    *("Partition", "QOS", "State", "Reason", "SubmitTime", "StartTime", "EndTime", "TimeUsed", "TimeLimit", "NumNodes"),
    *("NumCPUs", "MinMemory", "tres-alloc", "tres-per-node", "PriorityLong", "NodeList", "SchedNodes", "BatchHost"),
    *("Dependency", "exit_code", "RestartCnt", "Command", "WorkDir", "STDOUT", "STDERR", "Comment", "Name"),
)
# sacct(1), --format.
ACCOUNTING_FIELDS = (
    *("JobID", "JobIDRaw", "User", "UID", "Account", "Partition", "QOS", "State", "Submit", "Eligible", "Start", "End"),
    *("ElapsedRaw", "TimelimitRaw", "NNodes", "NCPUS", "ReqMem", "ReqTRES", "AllocTRES", "Priority", "NodeList"),
    *("ExitCode", "DerivedExitCode", "Reason", "WorkDir", "Comment", "JobName"),
)
SUBMITTED_FIELDS = ("JobID", "JobIDRaw", "User", "UID", "Submit", "State", "Comment", "SubmitLine")

# squeue(1), JOB STATE CODES. What is not here is not over: a state of a later SLURM keeps being polled.
_FAILURES = ("FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
FINISHED = frozenset(("COMPLETED", "CANCELLED", "PREEMPTED", "REVOKED", *_FAILURES))
BASES_AT_WORK = frozenset(("IDLE", "MIXED", "ALLOCATED"))  # of nodes; with all others a node takes no work
WAITING = frozenset(["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"])

_NULL = frozenset(("", "N/A", "n/a", "(null)", "None", "NONE", "Unknown", "None assigned", "none"))


# ---------------------------------------------------------------------------------------------------------- records


def build_format(fields: tuple[str, ...], nonce: str) -> str:
    """Build squeue's -O: the nonce after every field, `E` after the record."""
    return ",".join(f"{field}:{nonce}" for field in fields) + "E"


def split_records(text: str, nonce: str, width: int, end: str) -> list[str]:
    """Split an answer into records; the nonce stays between their fields.

    `end` follows the nonce after the last field ("E\\n" for squeue -O as in build_format(), "\\n" for sacct -p).
    UnreadableAnswer when a record does not have `width` fields or the text ends within one.
    """
    if "\0" in text:  # SLURM's own strings end at it
        raise UnreadableAnswer("SLURM's answer holds a NUL character")
    records = text.split(nonce + end)
    if records.pop():
        raise UnreadableAnswer("SLURM's answer ends within a record")
    if all(record.count(nonce) == width - 1 for record in records):
        return records
    return _split_by_count(text, nonce, width, end)


def _split_by_count(text: str, nonce: str, width: int, end: str) -> list[str]:
    # Slow way, for free text that begins like an end mark: only counting tells where a record ends.
    fields = text.split(nonce)
    fields.pop()
    if len(fields) % width:
        raise UnreadableAnswer(f"SLURM's records do not have {width} fields each")
    records = []
    for at in range(0, len(fields), width):
        record = fields[at : at + width]
        if at:
            if not record[0].startswith(end):
                raise UnreadableAnswer(f"SLURM's records do not have {width} fields each")
            record[0] = record[0][len(end) :]
        records.append(nonce.join(record))
    return records


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise UnreadableAnswer for what cannot be read."""
    try:
        yield
    except UnreadableAnswer:
        raise
    except ValueError as error:
        raise UnreadableAnswer(f"SLURM's answer cannot be read: {error}") from error


def _parse_each(
    text: str, nonce: str, width: int, end: str, parse: Callable[[list[str]], dict[str, Any]]
) -> list[dict[str, Any]]:
    with translate_errors():
        return [parse(record.split(nonce)) for record in split_records(text, nonce, width, end)]


# ------------------------------------------------------------------------------------------------------------- jobs


def parse_jobs(text: str, nonce: str) -> list[Job]:
    """Parse what `squeue -O build_format(JOB_FIELDS, nonce)` printed.

    Times must be those of SLURM_TIME_FORMAT=%s. See also slurm_shim.queue.known_rows.
    """
    return _parse_each(text, nonce, len(JOB_FIELDS), "E\n", parse_job)


def parse_accounting(text: str, nonce: str) -> list[Job]:
    """Parse the jobs that sacct printed.

    The call: `sacct -X -n -p --delimiter=nonce -o ACCOUNTING_FIELDS --noconvert`, with epoch times.
    """
    return _parse_each(text, nonce, len(ACCOUNTING_FIELDS), "\n", _parse_accounted)


def iterate_accounting(text: str, nonce: str) -> Iterator[Job]:
    """Yield what `parse_accounting` lists; of very many only one is there."""
    for record in split_records(text, nonce, len(ACCOUNTING_FIELDS), "\n"):
        with translate_errors():
            job = _parse_accounted(record.split(nonce))
        yield job


def parse_submitted(text: str, nonce: str) -> list[dict[str, Any]]:
    """Parse the jobs of `sacct -o SUBMITTED_FIELDS`.

    Rows: `{job_id, raw_id, user, uid, submit_time, state, comment, submit_line}`.
    """
    return _parse_each(text, nonce, len(SUBMITTED_FIELDS), "\n", _parse_submitted)


def _parse_submitted(fields: list[str]) -> dict[str, Any]:
    job_id, raw_id, user, uid, submit, state, comment, line = fields
    return {
        "job_id": job_id,
        "raw_id": _parse_raw_id(raw_id, job_id),
        "user": user,
        "uid": _parse_int(uid),
        "submit_time": parse_epoch(submit),
        "state": get_first_word(state),
        "comment": to_text_or_none(comment),
        "submit_line": line,
    }


def parse_job(fields: list[str]) -> Job:
    """Parse the fields of a job; what many jobs have in common is one text."""
    (job_id, raw, array, task, het, offset, user, uid, account, partition, qos, state, reason, submit, start, end) = (
        fields[:16]
    )
    (used, limit, nodes, cpus, memory, tres, per_node, priority, node_list, _scheduled, host) = fields[16:27]
    (depends, exit_code, restarts, command, work_dir, out, err, comment, name) = fields[27:]
    over = state in FINISHED
    raw_id, is_task = _parse_raw_id(raw, job_id), to_text_or_none(task) is not None
    elapsed_s, limit_s = _parse_duration_s(used), _share_limit_s(limit)
    never_ran = state in WAITING or (over and not node_list and not elapsed_s)
    node_count = parse_count(nodes)
    code, signal = parse_wait_status(exit_code) if over else (None, None)
    job: Job = {
        "job_id": job_id,
        "raw_id": raw_id,
        # For a job that is no array, squeue repeats the job's own id here.
        "array_job_id": _parse_int(array) if is_task else None,
        "array_task_id": task if is_task else None,
        "het_job_id": _parse_int(het),
        "het_job_offset": _parse_int(offset),
        "name": name,
        "user": sys.intern(user),
        "uid": _share_int(uid),
        "account": _share_text(account),
        "partition": sys.intern(partition),
        "qos": _share_text(qos),
        "state": sys.intern(get_first_word(state)),
        "reason": _share_text(reason),
        "submit_time": parse_epoch(submit),
        "start_time": None if never_ran else parse_epoch(start),
        "estimated_start_time": parse_epoch(start) if state in WAITING else None,
        "end_time": parse_epoch(end) if over else None,
        "elapsed_s": elapsed_s,
        "time_limit_s": limit_s,
        "time_limit": sys.intern(format_duration(limit_s)),
        "node_count": node_count,
        "cpu_count": parse_count(cpus),
        # Where memory is not counted, squeue does not tell that of a CPU from that of a node.
        "memory_mb": parse_tres_memory_mb(tres) or parse_requested_mb(f"{memory}n", node_count, 0),
        "gpus": _count_job_gpus(tres, per_node, node_count),
        "priority": _parse_int(priority),
        "nodes": sys.intern(node_list),
        "batch_host": _share_text(host),
        "work_dir": _share_text(work_dir),
        "command": _share_text(command),
        "exit_code": code,
        "exit_signal": signal,
        "restarts": _parse_int(restarts) or 0,
        "dependency": to_text_or_none(depends),
        "comment": to_text_or_none(comment),
        "tres": sys.intern(tres),
        "source": "squeue",
    }
    job["stdout"] = build_output_path(to_text_or_none(out), job)
    job["stderr"] = build_output_path(err, job) if err != out and to_text_or_none(err) else job["stdout"]
    return job


def _parse_accounted(fields: list[str]) -> Job:
    (job_id, raw, user, uid, account, partition, qos, state, submit, _eligible, start, end) = fields[:12]
    (elapsed, limit, nodes, cpus, memory, wanted, given, priority, node_list, exit_code) = fields[12:22]
    (_derived, reason, work_dir, comment, name) = fields[22:]
    word, tres, ids = get_first_word(state), given or wanted, split_job_id(job_id)
    if state == "CANCELLED" and to_text_or_none(node_list):
        word = "NODE_FAIL"  # by nobody: a slurmctld without its state has ended what ran, and later ones call it so
    over, node_count, nodes_named = word in FINISHED, parse_count(nodes), to_text_or_none(node_list) or ""
    limit_s = None if not limit.isdigit() else int(limit) * 60
    code, signal = parse_exit_status(exit_code) if over else (None, None)
    task = ids["task"] if ids["task"] is not None else ids["tasks"]
    return {
        "job_id": job_id,
        "raw_id": _parse_raw_id(raw, job_id),
        "array_job_id": ids["job"] if task is not None else None,
        "array_task_id": None if task is None else str(task),
        "het_job_id": ids["job"] if ids["component"] is not None else None,
        "het_job_offset": ids["component"],
        "name": name,
        "user": user,
        "uid": _parse_int(uid),
        "account": to_text_or_none(account),
        "partition": partition,
        "qos": to_text_or_none(qos),
        "state": word,
        # sacct(1): the last reason that a job had to wait for, also of one that has run since.
        "reason": None if over and nodes_named else to_text_or_none(reason),
        "submit_time": parse_epoch(submit),
        "start_time": None if word in WAITING or (over and not nodes_named) else parse_epoch(start),
        "estimated_start_time": None,
        "end_time": parse_epoch(end) if over else None,
        "elapsed_s": _parse_int(elapsed),
        "time_limit_s": limit_s,
        "time_limit": format_duration(limit_s),
        "node_count": node_count,
        "cpu_count": parse_count(cpus),
        "memory_mb": parse_tres_memory_mb(given)
        or parse_tres_memory_mb(wanted)
        or parse_requested_mb(memory, node_count, parse_count(cpus)),
        "gpus": count_tres_gpus(given) or count_tres_gpus(wanted),
        "priority": _parse_int(priority),
        "nodes": nodes_named,
        "batch_host": None,
        "work_dir": to_text_or_none(work_dir),
        "command": None,
        # Slurm 22.05 does not account where the output went.
        "stdout": None,
        "stderr": None,
        "exit_code": code,
        "exit_signal": signal,
        "restarts": 0,
        "dependency": None,
        "comment": to_text_or_none(comment),
        "tres": tres,
        "source": "sacct",
    }


# ---------------------------------------------------------------------------------------------------- configuration


def parse_config(text: str) -> dict[str, str]:
    """Parse the `Name = value` lines of `scontrol show config`."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, sign, value in lines if sign and name.strip()}


def parse_config_time(text: str) -> int | None:
    """Parse the controller's time, which its answer begins with.

    >>> parse_config_time("Configuration data as of 1795955461\\nClusterName = a\\n"), parse_config_time("")
    (1795955461, None)
    """
    return parse_epoch(text.partition("\n")[0].rpartition(" ")[2])


# ----------------------------------------------------------------------------------------------------- single values


def to_text_or_none(text: str) -> str | None:
    """Return the text; None for SLURM's many words for nothing."""
    return None if text in _NULL else text


def _share_text(text: str) -> str | None:
    """Return the text, one for all rows that have it; None for nothing."""
    return None if text in _NULL else sys.intern(text)


def get_first_word(state: str) -> str:
    """Return the state alone: sacct prints "CANCELLED by 0"."""
    return state.split(" ", 1)[0]


def _parse_duration_s(text: str) -> int | None:
    try:
        return parse_duration(text)
    except ValueError:  # a word of another SLURM version must not hide the job
        return None


def _parse_int(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


# One number for all rows that have it.
_share_limit_s, _share_int = lru_cache(1024)(_parse_duration_s), lru_cache(1024)(_parse_int)


def _parse_raw_id(text: str, job_id: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UnreadableAnswer(f"SLURM printed {text[:40]!r} as the number of job {job_id[:40]!r}")
    return int(text)


def parse_count(text: str) -> int:
    """Parse a number that may be written as 1K or 1.5K; 0 for none."""
    if text.isdigit():
        return int(text)
    # squeue writes node counts beyond 1,024 as 1K or 1.5K.
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text, re.ASCII)
    return round(float(match[1]) * 1024 ** " KMG".index(match[2] or " ")) if match else 0


def parse_float(text: str) -> float | None:
    """Parse a decimal number; None for anything else."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else None


def split_list(text: str) -> list[str]:
    """Split a list with commas; SLURM's words for nothing are none."""
    value = to_text_or_none(text)
    return value.split(",") if value else []


@lru_cache(maxsize=4096)
def parse_memory_mb(text: str) -> int | None:
    """Parse an amount of memory to MB (2^20); None for 0 and nothing.

    Forms: "512M", "1.50G", "500K", "16000". 0 means all memory of the node, which is not known here.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)B?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        return None
    factor = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}[match[2].upper()]
    return math.ceil(float(match[1]) * factor) or None


def parse_requested_mb(text: str, node_count: int, cpu_count: int) -> int | None:
    """Parse sacct's ReqMem to the MB of the whole job.

    "4Gn" is that of each node, "2Gc" of each CPU (SLURM before 21.08), "4G" of the job.
    """
    factor = {"n": node_count, "c": cpu_count}.get(text[-1:], 1)
    each_mb = parse_memory_mb(text.rstrip("nc"))
    return None if each_mb is None else each_mb * max(1, factor)


def parse_tres(text: str) -> dict[str, str]:
    """Parse `cpu=8,mem=512M,gres/gpu=4` to a dict of texts."""
    return dict(item.split("=", 1) for item in text.split(",") if "=" in item)


@lru_cache(maxsize=4096)
def parse_tres_memory_mb(text: str) -> int | None:
    """Parse the memory in a TRES list to MB; None when it has none.

    select/cons_tres without _Memory does not count memory.
    """
    return parse_memory_mb(parse_tres(text).get("mem", ""))


@lru_cache(maxsize=4096)
def count_tres_gpus(text: str) -> int:
    """Count the GPUs in a TRES list.

    `gres/gpu=4`, else the sum of the typed ones (`gres/gpu:a100=2`).
    """
    counts = {name: int(count) for name, count in parse_tres(text).items() if count.isdigit()}
    typed = sum(count for name, count in counts.items() if name.startswith("gres/gpu:"))
    return counts.get("gres/gpu", typed)


@lru_cache(maxsize=1024)
def count_gres_gpus(text: str) -> int:
    """Count the GPUs in a GRES list.

    "gpu:4", "gpu:a100:4(S:0-1)", "gres:gpu:2", "gres/gpu:2", "gpu" (one).
    """
    total = 0
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        parts = re.split(r"[:=]", item.removeprefix("gres:").removeprefix("gres/"))
        if parts[0].lower() == "gpu":
            total += int(parts[-1]) if parts[-1].isdigit() else 1
    return total


def _count_job_gpus(tres_text: str, per_node: str, node_count: int) -> int:
    return count_tres_gpus(tres_text) or count_gres_gpus(to_text_or_none(per_node) or "") * max(1, node_count)


def parse_exit_status(text: str) -> tuple[int | None, int | None]:
    """Parse sacct's "CODE:SIGNAL" to (exit code, signal).

    A death by signal counts 128 + signal, as in a shell.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None:
        return None, None
    code, signal = int(match[1]), int(match[2])
    return (128 + signal, signal) if signal else (code, None)


def parse_wait_status(text: str) -> tuple[int | None, int | None]:
    """Parse squeue's exit_code to (exit code, signal): 1792 -> (7, None).

    It is the raw status of wait(2).
    """
    if not text.isdigit():
        return parse_exit_status(text)
    status = int(text)
    signal = status & 0x7F
    return (128 + signal, signal) if signal else (status >> 8, None)
