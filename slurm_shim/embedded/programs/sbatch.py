"""sbatch(1): checks a submission and puts the job into the queue."""

from __future__ import annotations

import os
import pwd
import sys
import time

from .. import arrays, cluster, deps, schedule, script
from ..conf import VERSION
from ..hosts import expand_hosts
from ..request import UNSUPPORTED, Request
from ..states import LIVE, Refused
from ..units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..state import Row, State

LONGEST_NAME = 1024
UNAVAILABLE = "Requested node configuration is not available"
WHY_NOT = {
    "memory": ["Memory specification can not be satisfied"],
    "cpus": ["CPU count per node can not be satisfied"],
}


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sbatch; return its exit status."""
    now = int(time.time())
    request, command = Request("sbatch", now), Request("sbatch", now)
    operands = command.read_words(argv)
    if "version" in command.flags:
        print(f"slurm-wlm {VERSION}")
        return 0
    if "help" in command.flags or "usage" in command.flags:
        print(command.options.format_help(UNSUPPORTED))
        return 0
    if operands[:1] == [":"]:
        raise _make_hetjob_refusal()
    text, path = _load_script(command, operands)
    if "wrap" not in command.flags:
        rest = request.read_words(script.read_directives(text, path or "stdin"))
        if rest[:1] in (["hetjob"], ["packjob"]):  # the line between two components
            raise _make_hetjob_refusal()
    request.read_environment(os.environ)
    request.read_words(argv)
    _check_cluster(conf, request)
    job = _complete_job(conf, request, path, operands, ["sbatch", *argv])
    if "test-only" in request.flags:
        return _print_estimate(conf, job)
    raw_id = _submit_job(conf, request, job, text, operands[1:])
    if "quiet" not in request.flags:
        suffix = f";{conf['cluster']}" if request.flags.get("clusters") else ""
        print(f"{raw_id}{suffix}" if "parsable" in request.flags else f"Submitted batch job {raw_id}")
    sys.stdout.flush()
    return _wait_for_job(conf, raw_id) if "wait" in request.flags else 0


def _make_hetjob_refusal() -> Refused:
    note = "heterogeneous jobs (several requests with ':' between them) are not available on the embedded cluster"
    return make_refusal("Requested operation is presently disabled", note)


def _load_script(command: Request, operands: list[str]) -> tuple[bytes, str | None]:
    if "wrap" not in command.flags:
        return script.load_script(operands)
    if operands:
        raise Refused("sbatch: error: Script arguments not permitted with --wrap option")
    return script.check_script(script.wrap_command(str(command.flags["wrap"]))), None


def _check_cluster(conf: dict[str, Any], request: Request) -> None:
    wanted = request.flags.get("clusters")
    if wanted and wanted not in (conf["cluster"], "all"):
        advice = "Use 'sacctmgr list clusters' to see available clusters."
        raise Refused(
            [
                f"sbatch: error: No cluster '{wanted}' known by database.",
                f"sbatch: error: '{wanted}' can't be reached now, or it is an invalid entry for --cluster.  {advice}",
            ]
        )


def make_refusal(text: str, *before: str) -> Refused:
    """Make the refusal of slurmctld in sbatch's words."""
    return Refused(
        [*(f"sbatch: error: {line}" for line in before), f"sbatch: error: Batch job submission failed: {text}"]
    )


def _complete_job(
    conf: dict[str, Any], request: Request, path: str | None, operands: list[str], line: list[str]
) -> dict[str, Any]:
    """Complete the job's columns from the cluster and the caller."""
    job = request.job
    here = os.getcwd()
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = "nobody"  # what SLURM prints for a uid without a passwd entry
    if job["name"] is None:
        job["name"] = "wrap" if "wrap" in request.flags else os.path.basename(path) if path else "sbatch"
    job |= {
        "user": user, "uid": uid, "gid": os.getegid(), "account": job["account"] or user,
        "work_dir": os.path.normpath(os.path.join(here, job.get("work_dir") or here)),
        "command": " ".join([path, *operands[1:]]) if path else None,
        "submit_line": " ".join(line), "export": request.flags.get("export", job["export"]),
    }  # fmt: skip
    if any(len(os.fsencode(text or "")) > LONGEST_NAME for text in (job["name"], job["comment"])):
        raise make_refusal("Pathname of a file, directory or other parameter too long")
    if request.flags.get("fails"):
        raise make_refusal(request.flags["fails"])
    _fit_tasks(job)
    _check_nodes(conf, job)
    _choose_partition(conf, request, job)
    _read_array(conf, request, job)
    try:
        job["dependency"] = deps.parse_dependency(job["dependency"])
    except deps.BadDependency as error:
        raise make_refusal("Job dependency problem") from error
    return job


def _fit_tasks(job: dict[str, Any]) -> None:
    if job["nodes_set"] and job["min_nodes"] == 0:
        raise make_refusal("Node count specification invalid")
    if job["ntasks_per_node"] and not job["ntasks_set"]:
        job |= {"ntasks": job["ntasks_per_node"] * job["min_nodes"], "ntasks_set": 1}
    elif not job["ntasks_set"]:
        job["ntasks"] = job["min_nodes"]
    elif job["min_nodes"] > job["ntasks"]:
        note = f"can't run {job['ntasks']} processes on {job['min_nodes']} nodes, setting nnodes to {job['ntasks']}"
        print(f"sbatch: Warning: {note}", file=sys.stderr)
        job |= {"min_nodes": job["ntasks"], "max_nodes": job["ntasks"]}
    if job["gpus_task"] and not job["gpus_total"] and not job["gpus_node"]:
        job["tres_per_node"] = ""


def _check_nodes(conf: dict[str, Any], job: dict[str, Any]) -> None:
    for column in ("req_nodes", "exc_nodes"):
        try:
            names = expand_hosts(job[column])
        except ValueError as error:
            raise make_refusal("Invalid node name specified") from error
        if any(name not in conf["nodes"] for name in names):
            raise make_refusal("Invalid node name specified")
        job[column] = ",".join(names)
    job["min_nodes"] = max(job["min_nodes"], len([n for n in job["req_nodes"].split(",") if n]))
    job["ntasks"] = max(job["ntasks"], job["min_nodes"]) if not job["ntasks_set"] else job["ntasks"]
    known = {word for node in conf["nodes"].values() for word in node["features"]}
    if any(word not in known for word in job["features"].replace("&", ",").split(",") if word):
        raise make_refusal("Invalid feature specification")


def _choose_partition(conf: dict[str, Any], request: Request, job: dict[str, Any]) -> None:
    """Choose the partitions and the default time limit.

    Several partitions stay open, as in SLURM; the first one gives the default time.
    """
    parts = conf["partitions"]
    wanted = [word for word in job["partition"].split(",") if word]
    if not wanted:
        wanted = [name for name, part in parts.items() if part["default"]][:1] or list(parts)[:1]
    for name in wanted:
        if name not in parts:
            raise make_refusal("Invalid partition name specified", f"invalid partition specified: {name}")
    job["partition"] = ",".join(wanted)
    if job["time_limit_min"] == -1:
        part = parts[wanted[0]]
        default = part["default_time_min"] if part["default_time_min"] is not None else part["max_time_min"]
        job["time_limit_min"] = default
    if request.flags.get("gpu_type"):
        types = {node["gres"].split(":")[1] for node in conf["nodes"].values() if node["gres"].count(":") == 2}
        if request.flags["gpu_type"] not in types:
            job["impossible"] = "nodes"


def _read_array(conf: dict[str, Any], request: Request, job: dict[str, Any]) -> None:
    text = request.flags.get("array")
    if not text:
        return
    try:
        tasks, limit = arrays.parse_array(text, conf["max_array_size"])
    except ValueError as error:
        raise make_refusal("Invalid job array specification") from error
    step = tasks[1] - tasks[0] if len(tasks) > 1 and "," not in text else 1
    job |= {"array_tasks": arrays.fold_tasks(tasks), "array_limit": limit}
    job["array_facts"] = f"{len(tasks)} {tasks[0]} {tasks[-1]} {step}"


def _pack_environment(request: Request) -> bytes:
    """Pack the caller's environment for the job, separated by NUL."""
    words = [f"{name}={value}" for name, value in os.environ.items()]
    extra = request.flags.get("export-file")
    if extra:
        try:
            with open(int(extra) if is_number(str(extra)) else extra, "rb") as file:
                words = [os.fsdecode(word) for word in file.read().split(b"\0") if b"=" in word]
        except OSError as error:
            raise Refused(f"sbatch: error: Could not open user environment file {extra}") from error
    mask = os.umask(0)
    os.umask(mask)
    words += [f"SLURM_UMASK={mask:04o}"]
    words += [f"SLURM_SUBMIT_DIR={os.getcwd()}", f"SLURM_SUBMIT_HOST={os.uname().nodename.partition('.')[0]}"]
    return b"\0".join(os.fsencode(word) for word in words)


def _submit_job(conf: dict[str, Any], request: Request, job: dict[str, Any], text: bytes, args: list[str]) -> int:
    """Put the job into the queue and return its id.

    Refused jobs that SLURM gives an id leave a FAILED row, as there.
    """
    problem = job.pop("impossible", None) or (None if job["held"] else schedule.find_shortage(conf, job))
    facts = job.pop("array_facts", "")
    env = _pack_environment(request)
    refused = None
    with cluster.change_state(conf) as state:
        _check_limits(conf, state, job)
        now = int(time.time())
        raw_id = state.take_number("next_id", 1)
        job |= _build_first_columns(state, job, now)
        job["script_id"] = state.insert_row(
            "scripts", text=text, args=b"".join(os.fsencode(word) + b"\0" for word in args), env=env
        )
        if facts:
            job["array_job_id"] = raw_id
            state.set_meta(f"array {raw_id}", facts)
        job["dependency"] = _drop_unknown(state, job["dependency"])
        if problem:
            job |= {"state": "FAILED", "reason": "BadConstraints", "end_time": now, "start_time": now, "exit_raw": 256}
            refused = make_refusal(UNAVAILABLE, *WHY_NOT.get(problem, ()))
        state.insert_row("jobs", raw_id=raw_id, **job)
        if raw_id % 50 == 0:
            _forget_scripts(conf, state, now)
    if refused:
        raise refused
    return raw_id


def _check_limits(conf: dict[str, Any], state: State, job: dict[str, Any]) -> None:
    states = state.load_partition_states()
    names = job["partition"].split(",")
    if all(states.get(name, conf["partitions"][name]["state"]) in ("DRAIN", "INACTIVE") for name in names):
        raise make_refusal("Required partition not available (inactive or drain)")
    count = state.db.execute("SELECT count(*) FROM jobs WHERE end_time IS NULL").fetchone()[0]
    if count >= conf["max_job_count"]:
        note = "Slurm temporarily unable to accept job, sleeping and retrying"
        raise make_refusal("Resource temporarily unavailable", note)


def _build_first_columns(state: State, job: dict[str, Any], now: int) -> dict[str, Any]:
    priority = job["priority"]
    if job["held"] or priority == 0:
        job["held"], priority = job["held"] or "admin", 0
    elif priority is None:
        priority = cluster.take_priority(state, job["nice"])
    reason = schedule.HELD[job["held"]] if job["held"] else "None"
    return {
        "state": "PENDING", "completing": 0, "reason": reason, "priority": priority, "submit_time": now,
        "eligible_time": None if job["held"] or job["dependency"] else max(now, job["begin_time"] or 0),
        "restarts": 0, "exit_raw": 0, "node_list": "", "suspended_s": 0,
    }  # fmt: skip


def _drop_unknown(state: State, text: str) -> str:
    """Drop unknown ids from the dependency: they count as met in SLURM."""
    separator = "?" if "?" in text else ","
    terms = text.split(separator)
    known = [term for term in terms if all(cluster.find_jobs(state, number) for number in deps.list_job_ids(term))]
    if separator == "?" and len(known) < len(terms):
        return ""
    return separator.join(known)


def _forget_scripts(conf: dict[str, Any], state: State, now: int) -> None:
    state.db.execute(
        "DELETE FROM scripts WHERE id NOT IN (SELECT script_id FROM jobs WHERE end_time IS NULL OR end_time >= ?)",
        (now - conf["min_job_age_s"],),
    )


def _print_estimate(conf: dict[str, Any], job: dict[str, Any]) -> int:
    """Print when and where the job would start (--test-only).

    Estimated from the running jobs' limits.
    """
    job |= {"state": "PENDING", "array_tasks": None, "array_job_id": None, "held": "", "dependency": ""}
    job |= {"priority": 1 << 62, "raw_id": 0, "alloc": None, "begin_time": job["begin_time"]}
    if job.pop("impossible", None) or schedule.find_shortage(conf, job):
        raise Refused(f"sbatch: error: allocation failure: {UNAVAILABLE}")
    now = int(time.time())
    with cluster.read_state(conf) as state:
        busy = [dict(row) for row in state.select_jobs(cluster.BUSY)]
        raw_id = int(state.get_meta("next_id", "1"))
    looked = schedule.Pass(conf, set(), {}, [*busy, job], None, now)
    job["partition"] = job["partition"].split(",")[0]
    names = conf["partitions"][job["partition"]]["nodes"]
    shares = looked.room.place(job, names)
    start = max(now, job["begin_time"] or 0)
    if shares is None:
        start = max(start, looked.find_earliest_start(job, names))
        shares = schedule.Room(conf["nodes"]).place(job, names) or []
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(start))
    cpus = sum(share[1] for share in shares)
    where = f"nodes {cluster.fold_hosts([share[0] for share in shares])} in partition {job['partition']}"
    print(f"sbatch: Job {raw_id} to start at {when} using {cpus} processors on {where}", file=sys.stderr)
    return 0


def _wait_for_job(conf: dict[str, Any], raw_id: int) -> int:
    """Wait for the job; return its exit status.

    The highest of its tasks, 1 for one that a signal ended.
    """
    pause_s = 0.05
    while True:
        with cluster.read_state(conf) as state:
            rows: list[Row] = cluster.find_jobs(state, raw_id)
        if all(row["state"] not in LIVE and not row["completing"] for row in rows):
            return max((_get_exit_status(row) for row in rows), default=1)
        time.sleep(pause_s)
        pause_s = min(0.5, pause_s * 1.5)


def _get_exit_status(row: Row) -> int:
    raw = row["exit_raw"] or 0
    if raw & 0x7F or row["state"] not in ("COMPLETED", "FAILED"):
        return 1
    return int(raw >> 8)
