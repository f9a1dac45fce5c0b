"""sbatch(1): checks a submission and puts the job into the queue."""

from __future__ import annotations

import os
import pwd
import sys
import time

from .. import arrays, cluster, deps, schedule, script
from ..conf import VERSION
from ..hosts import expand_hosts
from ..request import Request
from ..states import LIVE, Refused
from ..units import is_number
from . import hints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..state import Row, State

LONGEST_NAME = 1024
UNAVAILABLE = "Requested node configuration is not available"
WHY_NOT = {
    "memory": ["Memory specification can not be satisfied"],
    "cpus": ["CPU count per node can not be satisfied"],
    "tmp": ["Temporary disk specification can not be satisfied"],
    "layout": ["Socket, core and/or thread specification can not be satisfied"],
}


class Submission:
    """What one call of sbatch asks for, all of it checked.

    `jobs` are the columns of the job, or of the parts of a heterogeneous one; `problem` is what no node can give.
    """

    def __init__(
        self, request: Request, asked: Mapping[str, Any], jobs: list[dict[str, Any]], text: bytes, args: list[str]
    ) -> None:
        self.request, self.asked, self.jobs, self.text = request, asked, jobs, text
        self.args = b"".join(os.fsencode(word) + b"\0" for word in args)
        self.facts = jobs[0].pop("array_facts", None)
        self.problem: str | None = None
        self.refused: Refused | None = None
        self.environment = b""


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sbatch; return its exit status."""
    submission = read_submission(conf, argv)
    if isinstance(submission, int):
        return submission
    with cluster.change_state(conf) as state:
        raw_id = insert_jobs(conf, state, submission)
    print_id(conf, submission, raw_id)
    sys.stdout.flush()
    return _wait_for_job(conf, raw_id) if "wait" in submission.request.flags else 0


def read_submission(conf: dict[str, Any], argv: list[str]) -> Submission | int:
    """Read what is to be submitted; an exit status where nothing is."""
    request = Request("sbatch", int(time.time()))
    parts, operands, asked = _split_parts(request, argv)
    if "version" in asked:
        print(f"slurm-wlm {VERSION}")
        return 0
    if "help" in asked or "usage" in asked:
        print(request.options.format_help())
        return 0
    text, path = _load_script(asked, operands)
    directives = [[]] if "wrap" in asked else script.read_directives(text, os.path.basename(path or "stdin"))
    jobs: list[dict[str, Any]] = []
    for index in range(max(len(parts), len(directives))):
        if index:
            request.begin_next_part()
        _read_part(request, *(words[index] if index < len(words) else [] for words in (directives, parts)))
        _check_cluster(conf, request)
        jobs.append(_complete_job(conf, request, path, operands, ["sbatch", *argv]))
    if len(jobs) > 1 and "array" in request.flags:
        raise make_refusal("Invalid job array specification")
    if "test-only" in request.flags:
        return _print_estimate(conf, jobs[0])
    submission = Submission(request, asked, jobs, text, operands[1:])
    problems = [job.pop("impossible", None) or schedule.find_shortage(conf, job) for job in jobs]
    problem = None if jobs[0]["held"] else next(filter(None, problems), None)
    if problem:
        submission.problem, submission.refused = problem, make_refusal(UNAVAILABLE, *WHY_NOT.get(problem, ()))
        if len(jobs) > 1:
            raise submission.refused
    submission.environment = _pack_environment(request)
    return submission


def print_id(conf: dict[str, Any], submission: Submission, raw_id: int) -> None:
    """Print the id of the job that was submitted, or raise why it fails."""
    if submission.refused:
        raise submission.refused
    if "quiet" not in submission.asked:
        cluster_name = conf["cluster"] if submission.request.flags.get("clusters") else ""
        if "parsable" in submission.request.flags:
            print(f"{raw_id};{cluster_name}".rstrip(";"))
        else:
            print(f"Submitted batch job {raw_id}" + (f" on cluster {cluster_name}" if cluster_name else ""))


def _split_parts(request: Request, argv: list[str]) -> tuple[list[list[str]], list[str], dict[str, Any]]:
    """Split the command line; return its parts, the operands, and all options.

    Between the parts of a heterogeneous job stands `:`.
    """
    parts: list[list[str]] = []
    asked: dict[str, Any] = {}
    rest = [":", *argv]
    while rest[:1] == [":"]:
        words = rest[1:]
        found, rest = request.options.parse(words, permute=False)
        parts.append(words[: len(words) - len(rest)])
        asked |= dict(found)
    return parts, rest, asked


def _read_part(request: Request, directives: list[str], words: list[str]) -> None:
    rest = request.read_words(directives)
    if rest and rest[0] not in script.SEPARATORS:
        raise hints.make_refusal(f"Invalid directive found in batch script: {rest[0]}")
    for name in ("wrap", "quiet"):  # only the command line says so
        request.flags.pop(name, None)
    request.read_environment(os.environ)
    request.read_words(words)
    request.settle_memory()


def _load_script(asked: dict[str, Any], operands: list[str]) -> tuple[bytes, str | None]:
    if "wrap" not in asked:
        return script.load_script(operands)
    if operands:
        raise Refused("sbatch: error: Script arguments not permitted with --wrap option")
    return script.check_script(script.wrap_command(str(asked["wrap"]))), None


def _check_cluster(conf: dict[str, Any], request: Request) -> None:
    wanted = request.flags.get("clusters")
    if wanted is not None and wanted not in (conf["cluster"], "all"):
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
    job = dict(request.job)
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
        "submit_line": " ".join(line), "shown": "\n".join(f"{name}={value}" for name, value in request.shown.items()),
    }  # fmt: skip
    if any(len(os.fsencode(text or "")) > LONGEST_NAME for text in (job["name"], job["comment"])):
        raise make_refusal("Pathname of a file, directory or other parameter too long")
    if request.flags.get("fails"):
        raise make_refusal(request.flags["fails"])
    _check_gpus(request, job)
    _check_times(job)
    _fit_tasks(job)
    _check_nodes(conf, request, job)
    _choose_partition(conf, request, job)
    _read_array(conf, request, job)
    try:
        job["dependency"] = deps.parse_dependency(job["dependency"])
    except deps.BadDependency as error:
        raise make_refusal("Job dependency problem") from error
    return job


def _check_gpus(request: Request, job: dict[str, Any]) -> None:
    """Check what goes with each GPU; count tasks, nodes and GPUs from it."""

    def refuse(text: str) -> None:
        raise hints.make_refusal(text, "Invalid generic resource (gres) specification", code=1)

    total, per_node, per_task = job["gpus_total"], job["gpus_node"], job["gpus_task"]
    if per_socket := request.flags.pop("gpus-per-socket", 0):
        if "sockets" not in request.shown:
            refuse("--gpus-per-socket option requires --sockets-per-node specification")
        per_node = job["gpus_node"] = per_socket * int(request.shown["sockets"])
    for option, wanted in (("--ntasks-per-node", job["ntasks_per_node"]), ("--gpus-per-task", per_task)):
        if job["tasks_gpu"] and wanted:
            text = f"{option} is mutually exclusive with --ntasks-per-gpu and SLURM_NTASKS_PER_GPU"
            raise Refused(f"sbatch: fatal: {text}")
    if job["cpus_gpu"] and job["cpus_set"]:
        refuse("--cpus-per-gpu is mutually exclusive with --cpus-per-task")
    if job["mem_gpu_mb"] and not (total or per_node or per_task or job["tasks_gpu"]):
        refuse(f"Requested mem_per_tres=gres:gpu:{job['mem_gpu_mb']} but did not request any GPU.")
    if per_task and not (total or job["ntasks_set"]):
        refuse("Failed to validate job spec. --gpus-per-task used without either --gpus or -n/--ntasks is not allowed.")
    if per_task and total % per_task:
        refuse("Failed to validate job spec, --gpus not multiple of --gpus-per-task")
    if per_task and job["cpus_gpu"]:
        job["cpus_per_task"] = per_task * job["cpus_gpu"]
    if per_task and total:
        job |= {"ntasks": total // per_task, "ntasks_set": 1}
    if per_node and total % per_node:
        refuse("Failed to validate job spec, --gpus is not multiple of --gres=gpu/--gpus-per-node")
    if per_node and total:
        job |= {"min_nodes": total // per_node, "max_nodes": total // per_node, "nodes_set": 1}
    if job["tasks_gpu"]:
        gpus = total or per_node * job["min_nodes"]
        if not gpus and not job["ntasks_set"] and not job["nodes_set"]:
            refuse(
                "gres_job_state_validate: --ntasks-per-tres needs either a GRES GPU specification or a node/ntask "
                "specification"
            )
        if not gpus and job["ntasks_set"] and job["ntasks"] % job["tasks_gpu"]:
            refuse("Failed to validate job spec, -n/--ntasks has to be a multiple of --ntasks-per-gpu.")
        gpus = gpus or (job["ntasks"] // job["tasks_gpu"] if job["ntasks_set"] else job["min_nodes"])
        job |= {"ntasks": gpus * job["tasks_gpu"], "ntasks_set": 1}
        job |= {} if per_node else {"gpus_total": gpus}


def _check_times(job: dict[str, Any]) -> None:
    deadline, limit_min = job["deadline"], job["time_limit_min"]
    if job["time_min"] is not None and (job["time_min"] < 0 or -1 != (limit_min or job["time_min"]) < job["time_min"]):
        raise make_refusal("Invalid time-min specification (exceeds job's time or other limits)")
    if deadline is None:
        return
    if job["begin_time"] and job["begin_time"] > deadline:
        raise hints.make_refusal("Incompatible begin and deadline time specification", code=1)
    if deadline < int(time.time()):
        raise make_refusal("Requested time limit is invalid (missing or exceeds some limit)")
    if job["time_min"] is None and limit_min == -1:
        job["time_min"] = 1


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


def _check_nodes(conf: dict[str, Any], request: Request, job: dict[str, Any]) -> None:
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
    for words, complaint in (
        (job["features"], "Invalid feature specification"),
        (request.flags.get("prefer", ""), "Invalid preferred feature specification"),
    ):
        if any(word not in known for word in words.replace("&", ",").split(",") if word):
            raise make_refusal(complaint)
    if request.flags.get("batch", "") not in ("", *job["features"].replace("&", ",").split(",")):
        raise make_refusal("Job --batch option is invalid or not a subset of --constraints")


def _choose_partition(conf: dict[str, Any], request: Request, job: dict[str, Any]) -> None:
    """Choose the partitions and the default time limit.

    Several partitions stay open, as in SLURM; the first one gives the default time.
    """
    parts = conf["partitions"]
    wanted = [word for word in (job["partition"] or "").split(",") if word]
    if job["partition"] is not None and not wanted:
        raise make_refusal("Invalid partition name specified", "invalid partition specified: (null)")
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
    # A node is as many sockets as it has CPUs, each of one core and one thread.
    most_sockets = max(conf["nodes"][node]["cpus"] for name in wanted for node in parts[name]["nodes"])
    layout = ((1, "cores"), (1, "threads"), (most_sockets, "sockets"))
    if any(int(request.shown.get(word, 1)) > most for most, word in layout):
        job["impossible"] = "layout"
    elif int(request.shown.get("per_socket", 1)) > 1:
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


def insert_jobs(conf: dict[str, Any], state: State, submission: Submission) -> int:
    """Put the job, or all parts of one, into the queue; return its id.

    Refused jobs that SLURM gives an id leave a FAILED row, as there.
    """
    jobs, now = submission.jobs, int(time.time())
    script_id = state.insert_row("scripts", text=submission.text, args=submission.args, env=submission.environment)
    raw_ids = [state.take_number("next_id", 1) for _ in jobs]
    for offset, (raw_id, job) in enumerate(zip(raw_ids, jobs, strict=True)):
        _check_limits(conf, state, job)
        job |= {**_build_first_columns(state, job, now), "script_id": script_id}
        job["dependency"] = _drop_unknown(state, job["dependency"])
        if submission.facts:
            job["array_job_id"] = raw_id
            state.set_meta(f"array {raw_id}", submission.facts)
        if len(jobs) > 1:
            job |= {"het_job_id": raw_ids[0], "het_offset": offset, "het_ids": f"{raw_ids[0]}-{raw_ids[-1]}"}
        if submission.problem:
            job |= {"state": "FAILED", "reason": "BadConstraints", "start_time": now, "end_time": now}
            job["exit_raw"] = 256
        state.insert_row("jobs", raw_id=raw_id, **job)
        if raw_id % 50 == 0:
            _forget_scripts(conf, state, now)
    return raw_ids[0]


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
