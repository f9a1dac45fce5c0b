"""Nodes and partitions: what `scontrol show` prints -> plain dicts. Pure.

Node  name host address state flags state_text available usable reason reason_user reason_time comment cpus
      cpus_allocated memory_mb memory_allocated_mb memory_free_mb gpus gpus_allocated gpus_tracked partitions features
      architecture os version sockets cores_per_socket threads_per_core tmp_disk_mb weight boot_time slurmd_start_time
      last_busy_time tres tres_allocated load
Partition  name state is_default nodes default_time_s max_time_s max_nodes cpus priority qos allow_accounts
Times are seconds since 1970, None is "SLURM does not say".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slurm_shim.errors import UnreadableAnswer
from slurm_shim.ids import expand_hosts
from slurm_shim.parse import (
    BASES_AT_WORK,
    Node,
    Partition,
    count_gres_gpus,
    count_tres_gpus,
    parse_count,
    parse_float,
    parse_tres,
    split_list,
    to_text_or_none,
    translate_errors,
)
from slurm_shim.times import parse_duration, parse_epoch

_NODE_KEYS = (
    *("NodeName", "Arch", "CoresPerSocket", "CPUAlloc", "CPUEfctv", "CPUTot", "CPUErr", "CPULoad"),
    *("AvailableFeatures", "ActiveFeatures", "Gres", "GresDrain", "GresUsed", "NodeAddr", "NodeHostName", "Port"),
    *("Version", "OS", "RealMemory", "AllocMem", "FreeMem", "Sockets", "Boards", "CoreSpecCount", "CPUSpecList"),
    *("MemSpecLimit", "State", "ThreadsPerCore", "TmpDisk", "Weight", "Owner", "MCS_label", "NextState"),
    *("Partitions", "BootTime", "SlurmdStartTime", "LastBusyTime", "ResumeAfterTime", "CfgTRES", "AllocTRES"),
    *("CapWatts", "CurrentWatts", "AveWatts", "ExtSensorsJoules", "ExtSensorsWatts", "ExtSensorsTemp", "Comment"),
    *("Extra", "Reason"),
)
_PARTITION_KEYS = (
    *("PartitionName", "AllowGroups", "AllowAccounts", "DenyAccounts", "AllowQos", "DenyQos", "AllocNodes"),
    *("Alternate", "Default", "QoS", "DefaultTime", "DisableRootJobs", "ExclusiveUser", "GraceTime", "Hidden"),
    *("MaxNodes", "MaxTime", "MinNodes", "LLN", "MaxCPUsPerNode", "Nodes", "NodeSets", "PriorityJobFactor"),
    *("PriorityTier", "RootOnly", "ReqResv", "OverSubscribe", "OverTimeLimit", "PreemptMode", "State", "TotalCPUs"),
    *("TotalNodes", "SelectTypeParameters", "JobDefaults", "DefMemPerNode", "DefMemPerCPU", "MaxMemPerNode"),
    *("MaxMemPerCPU", "TRES"),
)


def compile_keys(names: tuple[str, ...]) -> re.Pattern[str]:
    """Compile the pattern that finds where the value of a key begins."""
    return re.compile(r"(?:^|\s)(" + "|".join(names) + ")=")


_NODE_KEY, _PARTITION_KEY = compile_keys(_NODE_KEYS), compile_keys(_PARTITION_KEYS)


def parse_pairs(line: str, keys: re.Pattern[str]) -> dict[str, str]:
    """Parse a record of `Key=value` with these keys; `Reason` has the rest.

    Values hold blanks and `=` (OS, Reason), so only known names begin a new pair, and the first of a name counts: SLURM
    prints the free texts last.
    """
    found = list(keys.finditer(line))
    ends = [match.start() for match in found[1:]] + [len(line)]
    pairs: dict[str, str] = {}
    for match, end in zip(found, ends, strict=True):
        pairs.setdefault(match[1], line[match.end() : end].strip())
        if match[1] == "Reason":
            pairs["Reason"] = line[match.end() :].strip()
            break
    return pairs


def parse_nodes(text: str) -> list[Node]:
    """Parse the nodes that `scontrol -o -a show node` printed.

    UnreadableAnswer for a line without a name or state.
    """
    return [_parse_node(line) for line in text.splitlines() if line.startswith("NodeName=")]


def _parse_node(line: str) -> Node:
    return _build_node(parse_pairs(line, _NODE_KEY))


class KnownNodes:
    """The nodes of an answer, kept until the next.

    One that reads as before is the same dict. Of what was printed only a hash is kept: of 64 bits, with a seed that
    nobody outside of this process knows.
    """

    def __init__(self) -> None:
        self._by_hash: dict[int, Node] = {}

    def read_nodes(self, text: str) -> list[Node]:
        """Parse what `parse_nodes` does."""
        lines = [line for line in text.splitlines() if line.startswith("NodeName=")]
        before, hashes = self._by_hash, list(map(hash, lines))
        nodes = [before.get(key) or _parse_node(line) for key, line in zip(hashes, lines, strict=True)]
        self._by_hash = dict(zip(hashes, nodes, strict=True))
        return nodes


# scontrol(1), NodeName ... State; the suffixes are sinfo(1)'s and older releases'.
_SUFFIXES = {
    "*": "NOT_RESPONDING", "~": "POWERED_DOWN", "$": "MAINTENANCE", "%": "POWERING_DOWN", "!": "POWER_DOWN",
    "#": "POWERING_UP", "@": "REBOOT_REQUESTED", "^": "REBOOT_ISSUED", "-": "PLANNED",
}  # fmt: skip
_NO_WORK = frozenset(
    (
        *("DRAIN", "FAIL", "NOT_RESPONDING", "MAINTENANCE", "RESERVED", "DOWN", "POWERING_DOWN", "POWER_DOWN"),
        *("REBOOT_REQUESTED", "REBOOT_ISSUED", "REBOOT", "INVALID_REG", "BLOCKED"),
    )
)


# What stands behind the first line of a reason: who set it, when, then further lines of it and later free texts.
_REASON = re.compile(r"(.*) \[([^\s@\[\]]+)@([\w:.+-]+)\](?:\s+(?:Comment|Extra)=.*)?", re.DOTALL)
_LONG_REASON = re.compile(r"(.*?) \[([^\s@\[\]]+)@([\w:.+-]+)\](.*)", re.DOTALL)
_COMMENT = re.compile(r"\sComment=(.*)", re.DOTALL)


def _build_node(pairs: Mapping[str, str]) -> Node:
    if "State" not in pairs:
        raise UnreadableAnswer("scontrol printed a node without a state")
    state, flags = parse_node_state(pairs["State"])
    usable = state in BASES_AT_WORK and not _NO_WORK.intersection(flags)
    return {
        "name": pairs["NodeName"],
        "host": pairs.get("NodeHostName", pairs["NodeName"]),
        "address": pairs.get("NodeAddr"),
        "state": state,
        "flags": flags,
        "state_text": pairs["State"],
        # What an idle node is planned for begins there soon.
        "available": usable and state != "ALLOCATED" and not (state == "IDLE" and "PLANNED" in flags),
        "usable": usable,
        **_build_reason(pairs),
        **_build_sizes(pairs),
        "partitions": split_list(pairs.get("Partitions", "")),
        "features": split_list(pairs.get("ActiveFeatures", "")),
        "architecture": to_text_or_none(pairs.get("Arch", "")),
        "os": to_text_or_none(pairs.get("OS", "")),
        "version": pairs.get("Version", ""),
        "weight": _parse_number(pairs.get("Weight", "")),
        "boot_time": parse_epoch(pairs.get("BootTime", "")),
        "slurmd_start_time": parse_epoch(pairs.get("SlurmdStartTime", "")),
        "last_busy_time": parse_epoch(pairs.get("LastBusyTime", "")),
        "load": parse_float(pairs.get("CPULoad", "")),
    }


def _build_sizes(pairs: Mapping[str, str]) -> Node:
    configured, gres = pairs.get("CfgTRES", ""), to_text_or_none(pairs.get("Gres", "")) or ""
    tracked = "gres/gpu" in configured
    return {
        "cpus": parse_count(pairs.get("CPUTot", "0")),
        "cpus_allocated": parse_count(pairs.get("CPUAlloc", "0")),
        "memory_mb": parse_count(pairs.get("RealMemory", "0")),
        "memory_allocated_mb": parse_count(pairs.get("AllocMem", "0")),
        "memory_free_mb": _parse_number(pairs.get("FreeMem", "")),
        "gpus": count_tres_gpus(configured) if tracked else count_gres_gpus(gres),
        "gpus_allocated": count_tres_gpus(pairs.get("AllocTRES", "")),
        # False: SLURM counts no GPUs as TRES (AccountingStorageTRES), so the allocated ones must come from the jobs.
        "gpus_tracked": tracked or not count_gres_gpus(gres),
        "sockets": _parse_number(pairs.get("Sockets", "")),
        "cores_per_socket": _parse_number(pairs.get("CoresPerSocket", "")),
        "threads_per_core": _parse_number(pairs.get("ThreadsPerCore", "")),
        "tmp_disk_mb": _parse_number(pairs.get("TmpDisk", "")),
        "tres": parse_tres(configured),
        "tres_allocated": parse_tres(pairs.get("AllocTRES", "")),
    }


def _build_reason(pairs: Mapping[str, str]) -> Node:
    """Split `text [user@time] Comment=…`, which is what Reason has."""
    text = pairs.get("Reason", "")
    found = _REASON.fullmatch(text) or _LONG_REASON.fullmatch(text)
    comment = _COMMENT.search(text if found is None else text[found.end(3) :])
    comment_text = comment[1] if comment is not None else pairs.get("Comment", "")
    reason, user, at = (text, None, "") if found is None else (found[1], found[2], found[3])
    if found is not None and found.re is _LONG_REASON:  # further lines follow the first
        reason += "\n" + found[4].strip()
    return {
        "reason": to_text_or_none(reason),
        "reason_user": user,
        "reason_time": parse_epoch(at),
        "comment": to_text_or_none(comment_text.strip()),
    }


def _parse_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def parse_node_state(text: str) -> tuple[str, list[str]]:
    """Split a node's `State=` into base word and flags.

    "MIXED+DRAIN" -> ("MIXED", ["DRAIN"]); "IDLE*" -> ("IDLE", ["NOT_RESPONDING"]).
    """
    parts = [part for part in text.upper().split("+") if part]
    base, *flags = [part.rstrip("".join(_SUFFIXES)) for part in parts]
    marks = [mark for part, word in zip(parts, [base, *flags], strict=True) for mark in part[len(word) :]]
    return base, list(dict.fromkeys(flags + [_SUFFIXES[mark] for mark in marks]))


def parse_partitions(text: str) -> list[Partition]:
    """Parse the partitions that `scontrol -o -a show partition` printed."""
    with translate_errors():
        return [
            _build_partition(parse_pairs(line, _PARTITION_KEY))
            for line in text.splitlines()
            if line.startswith("PartitionName=")
        ]


def _build_partition(pairs: Mapping[str, str]) -> Partition:
    return {
        "name": pairs["PartitionName"],
        "state": pairs.get("State", "UP"),
        "is_default": pairs.get("Default") == "YES",
        "nodes": expand_hosts(to_text_or_none(pairs.get("Nodes", "")) or ""),
        "default_time_s": parse_duration(pairs.get("DefaultTime", "")),
        "max_time_s": parse_duration(pairs.get("MaxTime", "")),
        "max_nodes": _parse_number(pairs.get("MaxNodes", "")),
        "cpus": parse_count(pairs.get("TotalCPUs", "0")),
        "priority": _parse_number(pairs.get("PriorityTier", "")),
        "qos": to_text_or_none(pairs.get("QoS", "")),
        # None: all accounts
        "allow_accounts": None if (allowed := pairs.get("AllowAccounts", "ALL")) == "ALL" else split_list(allowed),
    }
