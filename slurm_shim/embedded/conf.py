"""The embedded cluster's slurm.conf.

A subset of slurm.conf(5), plus keys of our own that begin with `Sluice`.

| key | default | meaning |
|---|---|---|
| ClusterName, MinJobAge, KillWait, MaxArraySize, MaxJobCount | embedded, 300, 30, 1001, 10000 | as in slurm.conf(5) |
| SluicePython | python3 | the interpreter that runs the programs |
| SluiceExecute | yes | no: jobs end at once as COMPLETED and nothing of their script runs |
| SluiceDown | no | yes: every program answers as if slurmctld were down |
| SluiceRequeueDelay | 1 | seconds a requeued job waits (SLURM: 120) |
| SluiceAccountingLag | 0 | seconds until sacct knows a new job (SLURM: up to 5) |

The app imports this module; it has no side effects.
"""

from __future__ import annotations

import os

from .hosts import expand_hosts, fold_hosts
from .times import format_full_limit, parse_limit_min
from .units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

VERSION = "22.05.8"
# A folder beside slurm.conf. Whoever makes it can watch it: a file in it is written whenever jobs have ended.
ENDED = "ended"
NUMBERS = {
    "minjobage": ("min_job_age_s", 300),
    "killwait": ("kill_wait_s", 30),
    "maxarraysize": ("max_array_size", 1001),
    "maxjobcount": ("max_job_count", 10000),
    "sluicerequeuedelay": ("requeue_delay_s", 1),
    "sluiceaccountinglag": ("accounting_lag_s", 0),
}
WORDS = {"clustername": ("cluster", "embedded"), "sluicepython": ("python", "python3")}
SWITCHES = {"sluiceexecute": ("execute", True), "sluicedown": ("down", False)}


class ConfError(Exception):
    """slurm.conf is missing or invalid; the text is SLURM's."""


def build_conf(
    nodes: int,
    cpus: int,
    memory_mb: int,
    gpus: int,
    partitions: Sequence[Mapping[str, Any]] = (),
    execute: bool = True,
    python: str = "python3",
) -> str:
    """Build the text of a slurm.conf for `nodes` equal nodes (node01 …).

    Each has these CPUs, megabytes and GPUs.

    `partitions`: mappings with `name` and optionally `nodes` (an expression, default ALL), `default` (bool),
    `max_time` and `default_time` (as in sbatch --time), `state`; none at all means one partition `main`.
    The first partition is the default one unless another says so.
    """
    width = max(2, len(str(nodes)))
    names = fold_hosts([f"node{number:0{width}d}" for number in range(1, nodes + 1)])
    gres = f" Gres=gpu:{gpus}" if gpus else ""
    lines = [
        "# The embedded cluster. Same syntax as slurm.conf(5); keys that begin with Sluice are our own.",
        "ClusterName=embedded",
        f"SluicePython={python}",
        f"SluiceExecute={'yes' if execute else 'no'}",
        f"NodeName={names} CPUs={cpus} RealMemory={memory_mb}{gres}",
    ]
    parts = list(partitions) or [{"name": "main"}]
    chosen = next((part["name"] for part in parts if part.get("default")), parts[0]["name"])
    lines += [_format_partition(part, part["name"] == chosen) for part in parts]
    return "\n".join(lines) + "\n"


def _format_partition(part: Mapping[str, Any], is_default: bool) -> str:
    return (
        f"PartitionName={part['name']} Nodes={part.get('nodes') or 'ALL'} Default={'YES' if is_default else 'NO'}"
        f" MaxTime={part.get('max_time') or 'INFINITE'} DefaultTime={part.get('default_time') or 'NONE'}"
        f" State={part.get('state') or 'UP'}"
    )


def detect_machine() -> dict[str, int]:
    """Detect what this machine has as a node.

    `cpus` that this process may use, `memory_mb`, `gpus` (what nvidia-smi lists, else 0).
    """
    import subprocess

    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    try:
        gpu_lines = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        gpu_lines = b""  # no NVIDIA driver here, or it does not answer: no GPUs to give away
    gpus = sum(line.startswith(b"GPU ") for line in gpu_lines.splitlines())
    return {"cpus": len(os.sched_getaffinity(0)), "memory_mb": memory_mb, "gpus": gpus}


def read_conf(path: str) -> dict[str, Any]:
    """Read the settings of the slurm.conf at `path`.

    With `folder` (where the state lies), `nodes` and `partitions`.

    A node: name, cpus, memory_mb, gpus, features, weight, tmp_mb. A partition: name, nodes (names), default,
    max_time_min, default_time_min, state. ConfError when the file cannot be read or understood.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().replace("\\\n", " ").splitlines()
    except OSError as error:
        raise ConfError(f"s_p_parse_file: cannot stat file {path}: {error.strerror}") from error
    conf: dict[str, Any] = {"path": path, "folder": os.path.dirname(os.path.abspath(path)), "nodes": {}}
    conf |= dict((*NUMBERS.values(), *WORDS.values(), *SWITCHES.values()))
    conf["partitions"] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if words:
            _read_line(conf, [word.partition("=")[::2] for word in words], line)
    for part in conf["partitions"].values():
        part["nodes"] = list(conf["nodes"]) if part["nodes"].upper() == "ALL" else expand_hosts(part["nodes"])
    return conf


def _read_line(conf: dict[str, Any], pairs: list[tuple[str, str]], line: str) -> None:
    key, value = pairs[0][0].lower(), pairs[0][1]
    fields = {name.lower(): text for name, text in pairs[1:]}
    try:
        if key == "nodename":
            for name in expand_hosts(value):
                conf["nodes"][name] = _parse_node(name, fields)
        elif key == "partitionname":
            conf["partitions"][value] = _parse_partition(value, fields)
        elif key in NUMBERS:
            conf[NUMBERS[key][0]] = int(value)
        elif key in WORDS:
            conf[WORDS[key][0]] = line.partition("=")[2].strip()
        elif key in SWITCHES:
            conf[SWITCHES[key][0]] = value.lower() in ("yes", "true", "1")
    except ValueError as error:
        raise ConfError(f"Parse error in file {conf['path']}: {line.strip()!r}") from error


def _parse_node(name: str, fields: Mapping[str, str]) -> dict[str, Any]:
    gpus = sum(int(item.split(":")[-1]) for item in fields.get("gres", "").split(",") if item.startswith("gpu"))
    return {
        "name": name,
        "cpus": int(fields.get("cpus", fields.get("procs", "1"))),
        "memory_mb": int(fields.get("realmemory", "1")),
        "gpus": gpus,
        "gres": fields.get("gres", ""),
        "tmp_mb": int(fields["tmpdisk"]) if "tmpdisk" in fields else None,  # None: any amount is there
        "features": [word for word in fields.get("feature", fields.get("features", "")).split(",") if word],
        "weight": int(fields.get("weight", "1")),
    }


def _parse_partition(name: str, fields: Mapping[str, str]) -> dict[str, Any]:
    default_time = fields.get("defaulttime", "NONE")
    return {
        "name": name,
        "nodes": fields.get("nodes", "ALL"),
        "default": fields.get("default", "NO").upper() == "YES",
        "max_time_min": parse_limit_min(fields.get("maxtime", "INFINITE")),
        "default_time_min": None if default_time.upper() == "NONE" else parse_limit_min(default_time),
        "default_time": default_time
        if default_time.upper() == "NONE"
        else format_full_limit(parse_limit_min(default_time)),
        "max_nodes": int(fields["maxnodes"]) if is_number(fields.get("maxnodes", "UNLIMITED")) else None,
        "state": fields.get("state", "UP").upper(),
    }


def build_fitting_conf(wanted: Mapping[str, Any], python: str) -> str:
    """Build a slurm.conf, with this machine's values where none are given.

    `wanted` has nodes, cpus, memory_mb, gpus (None: of this machine), partitions and execute.
    """
    machine = detect_machine()
    own = {key: machine[key] if wanted[key] is None else wanted[key] for key in ("cpus", "memory_mb", "gpus")}
    return build_conf(
        nodes=wanted["nodes"], partitions=wanted["partitions"], execute=wanted["execute"], python=python, **own
    )
