"""squeue(1): the jobs of the queue, also those finished within MinJobAge."""

from __future__ import annotations

import grp
import os
import pwd
import sys
import time

from .. import cluster, layout, patterns, times, units
from ..hosts import expand_hosts, fold_names
from ..states import BY_NAME, INVALID_ID, STATES, Refused
from ..units import is_number
from . import views
from .options import Options, check_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .views import Job

# Hidden partitions and federations do not exist here; -v would report the connection to a controller.
OPTIONS = Options(
    "squeue",
    """account/A= array/r clusters/M= cluster= format/o= Format/O= help jobs/j? licenses/L= long/l me name/n=
    noconvert noheader/h nodelist/w= node= nodes= partition/p= priority/P qos/q= reservation/R= sort/S= start states/t=
    usage user/u= users= version/V""",
    without_effect="all/a federation hide local sibling verbose/v",
    same={"cluster": "clusters", "node": "nodelist", "nodes": "nodelist", "users": "user"},
)
DEFAULT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
LONG = "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R"
START = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
NONE = "(null)"


def _to_text(value: object, nothing: str = NONE) -> str:
    return nothing if value in (None, "") else str(value)


def _format_location(job: Job) -> str:
    """Return the node list of a started job, else (reason)."""
    row = job.row
    if row["state"] == "PENDING" or not row["node_list"]:
        return f"({row['reason']})"
    return str(row["node_list"])


def _format_time_left(job: Job) -> str:
    limit = job.row["time_limit_min"]
    return "UNLIMITED" if limit is None else times.format_short(max(0, limit * 60 - job.elapsed_s))


def _format_memory(job: Job) -> str:
    row = job.row
    return units.format_memory(row["mem_cpu_mb"] or row["mem_node_mb"])


def _format_memory_mb(job: Job) -> str:
    return units.format_memory(job.row["mem_cpu_mb"] or job.row["mem_node_mb"], convert=False)


def _get_group(job: Job) -> str:
    try:
        return grp.getgrgid(job.row["gid"]).gr_name
    except KeyError:
        return str(job.row["gid"])  # a group without an entry


# name: (header, value). The names are those of -O; LETTERS gives those of -o.
FIELDS: dict[str, tuple[str, Callable[[Job], str]]] = {
    "account": ("ACCOUNT", lambda j: _to_text(j.row["account"])),
    "admincomment": ("ADMIN_COMMENT", lambda j: _to_text(j.row["admin_comment"])),
    "arrayjobid": ("ARRAY_JOB_ID", lambda j: str(j.row["array_job_id"] or j.row["raw_id"])),
    "arraytaskid": ("ARRAY_TASK_ID", lambda j: j.task_id),
    "batchflag": ("BATCH_FLAG", lambda j: "1"),
    "batchhost": ("EXEC_HOST", lambda j: _to_text(j.batch_host, "n/a")),
    "cluster": ("CLUSTER", lambda j: NONE),
    "command": ("COMMAND", lambda j: _to_text(j.row["command"])),
    "comment": ("COMMENT", lambda j: NONE if j.row["comment"] is None else j.row["comment"]),
    "contiguous": ("CONTIGUOUS", lambda j: j.shown.get("Contiguous", "0")),
    "cores": ("CORES_PER_SOCKET", lambda j: j.shown.get("cores", "*")),
    "corespec": ("CORE_SPEC", lambda j: "N/A"),
    "cpus-per-task": ("CPUS_PER_TASK", lambda j: str(j.row["cpus_per_task"]) if j.row["cpus_set"] else "N/A"),
    "dependency": ("DEPENDENCY", lambda j: _to_text(j.row["dependency"])),
    "derivedec": ("DERIVED_EXIT_CODE", lambda j: str(j.row["derived_raw"] or 0)),
    "eligibletime": ("ELIGIBLE_TIME", lambda j: times.format_time(j.row["eligible_time"], "N/A")),
    "endtime": ("END_TIME", lambda j: times.format_time(j.end_time, "NONE" if j.row["start_time"] else "N/A")),
    "exit_code": ("EXIT_CODE", lambda j: str(j.row["exit_raw"] or 0)),
    "feature": ("FEATURES", lambda j: _to_text(j.row["features"])),
    "groupid": ("GROUP", lambda j: str(j.row["gid"])),
    "groupname": ("GROUP", _get_group),
    "hetjobid": ("HET_JOB_ID", lambda j: _to_text(j.row["het_job_id"], "N/A")),
    "hetjobidset": ("HET_JOB_ID_SET", lambda j: _to_text(j.row["het_ids"], "N/A")),
    "hetjoboffset": ("HET_JOB_OFFSET", lambda j: _to_text(j.row["het_offset"], "N/A")),
    "jobarrayid": ("JOBID", lambda j: j.array_id),
    "jobid": ("JOBID", lambda j: str(j.row["raw_id"])),
    "lastschedeval": ("LAST_SCHED_EVAL", lambda j: times.format_time(j.row["submit_time"], "N/A")),
    "licenses": ("LICENSES", lambda j: NONE),
    "maxcpus": ("MAX_CPUS", lambda j: "0"),
    "maxnodes": ("MAX_NODES", lambda j: str(j.row["max_nodes"])),
    "mincpus": ("MIN_CPUS", lambda j: str(max(j.row["cpus_per_task"], j.row["min_cpus"]))),
    "minmemory": ("MIN_MEMORY", _format_memory),
    "mintime": ("MIN_TIME", lambda j: times.format_short_limit(j.row["time_min"]) if j.row["time_min"] else "N/A"),
    "mintmpdisk": ("MIN_TMP_DISK", lambda j: units.format_memory(j.row["tmp_mb"])),
    "name": ("NAME", lambda j: j.row["name"]),
    "nice": ("NICE", lambda j: str(j.row["nice"])),
    "nodelist": ("NODELIST", lambda j: j.row["node_list"] or ""),
    "nodes": ("NODELIST", lambda j: j.row["node_list"] or ""),
    "numcpus": ("CPUS", lambda j: str(j.cpu_count)),
    "numnodes": ("NODES", lambda j: str(j.node_count)),
    "numtasks": ("TASKS", lambda j: str(j.row["ntasks"])),
    "oversubscribe": ("OVER_SUBSCRIBE", lambda j: j.over_subscribe),
    "partition": ("PARTITION", lambda j: j.row["partition"]),
    "preemptime": ("PREEMPT_TIME", lambda j: "N/A"),
    "priority": ("PRIORITY", lambda j: f"{j.row['priority'] / 4294967295:.14f}"),
    "prioritylong": ("PRIORITY", lambda j: str(j.row["priority"])),
    "qos": ("QOS", lambda j: _to_text(j.row["qos"])),
    "reason": ("REASON", lambda j: j.row["reason"] or "None"),
    "reasonlist": ("NODELIST(REASON)", _format_location),
    "reqnodes": ("REQ_NODES", lambda j: fold_names(j.row["req_nodes"])),
    "excnodes": ("EXC_NODES", lambda j: fold_names(j.row["exc_nodes"])),
    "requeue": ("REQUEUE", lambda j: "0" if j.row["requeue"] == 0 else "1"),
    "reservation": ("RESERVATION", lambda j: NONE),
    "restartcnt": ("RESTART_COUNT", lambda j: str(j.row["restarts"])),
    "schednodes": ("SCHEDNODES", lambda j: NONE),
    "sct": ("S:C:T", lambda j: ":".join(j.shown.get(part, "*") for part in ("sockets", "cores", "threads"))),
    "selectjobinfo": ("SELECT_JOBINFO", lambda j: ""),
    "sockets": ("SOCKETS_PER_NODE", lambda j: j.shown.get("sockets", "*")),
    "starttime": ("START_TIME", lambda j: times.format_time(j.start_time, "N/A")),
    "state": ("STATE", lambda j: j.state),
    "statecompact": ("ST", lambda j: STATES[j.state][0]),
    "stderr": ("STDERR", lambda j: patterns.format_output_name(j.row, patterns.get_stderr(j.row))),
    "stdin": ("STDIN", lambda j: patterns.get_stdin(j.row)),
    "stdout": ("STDOUT", lambda j: patterns.format_output_name(j.row, patterns.get_stdout(j.row))),
    "submittime": ("SUBMIT_TIME", lambda j: times.format_time(j.row["submit_time"], "N/A")),
    "system_comment": ("SYSTEM_COMMENT", lambda j: NONE),
    "threads": ("THREADS_PER_CORE", lambda j: j.shown.get("threads", "*")),
    "timeleft": ("TIME_LEFT", _format_time_left),
    "timelimit": ("TIME_LIMIT", lambda j: j.time_limit),
    "timeused": ("TIME", lambda j: times.format_short(j.elapsed_s)),
    "tres-alloc": ("TRES_ALLOC", lambda j: j.format_tres()),
    "tres-per-job": ("TRES_PER_JOB", lambda j: _to_text(j.row["tres_per_job"], "N/A")),
    "tres-per-node": ("TRES_PER_NODE", lambda j: _to_text(j.row["tres_per_node"], "N/A")),
    "tres-per-task": ("TRES_PER_TASK", lambda j: f"gres:gpu:{j.row['gpus_task']}" if j.row["gpus_task"] else "N/A"),
    "userid": ("UID", lambda j: str(j.row["uid"])),
    "username": ("USER", lambda j: j.row["user"]),
    "wckey": ("WCKEY", lambda j: j.shown.get("WCKey", NONE)),
    "workdir": ("WORK_DIR", lambda j: j.row["work_dir"]),
}
FIELDS |= {"gres": FIELDS["tres-per-node"], "prefer": FIELDS["feature"], "tres": FIELDS["tres-alloc"]}
FIELDS |= {"minmemory in mb": ("MIN_MEMORY", _format_memory_mb)}
UNCONVERTED = {"minmemory": "minmemory in mb"}
LETTERS = {
    "a": "account", "A": "jobid", "b": "tres-per-node", "B": "batchhost", "c": "mincpus", "C": "numcpus",
    "d": "mintmpdisk", "D": "numnodes", "e": "endtime", "E": "dependency", "f": "feature", "F": "arrayjobid",
    "g": "groupname", "G": "groupid", "h": "oversubscribe", "H": "sockets", "i": "jobarrayid", "I": "cores",
    "j": "name", "J": "threads", "k": "comment", "K": "arraytaskid", "l": "timelimit", "L": "timeleft",
    "m": "minmemory", "M": "timeused", "n": "reqnodes", "N": "nodelist", "o": "command", "O": "contiguous",
    "p": "priority", "P": "partition", "q": "qos", "Q": "prioritylong", "r": "reason", "R": "reasonlist",
    "s": "selectjobinfo", "S": "starttime", "t": "statecompact", "T": "state", "u": "username", "U": "userid",
    "v": "reservation", "V": "submittime", "w": "wckey", "W": "licenses", "x": "excnodes", "X": "corespec",
    "y": "nice", "Y": "schednodes", "z": "sct", "Z": "workdir",
}  # fmt: skip
NUMERIC = {
    "jobid": lambda j: j.row["raw_id"], "jobarrayid": lambda j: (j.row["array_job_id"] or j.row["raw_id"], j.task
    if j.task is not None else j.row["array_task_id"] or 0), "prioritylong": lambda j: j.row["priority"],
    "priority": lambda j: j.row["priority"], "timelimit": lambda j: j.row["time_limit_min"] or 1 << 40,
    "timeused": lambda j: j.elapsed_s, "numcpus": lambda j: j.cpu_count, "numnodes": lambda j: j.node_count,
    "starttime": lambda j: j.start_time or 1 << 40, "endtime": lambda j: j.end_time or 1 << 40,
    "submittime": lambda j: j.row["submit_time"], "userid": lambda j: j.row["uid"],
    "statecompact": lambda j: STATES[j.state][1], "state": lambda j: j.state,
}  # fmt: skip

# A width only fills these up.
NEVER_CUT = {"timelimit", "timeleft", "timeused", "numcpus", "numnodes", "numtasks", "prioritylong", "priority", "nice"}


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run squeue; return its exit status."""
    asked, operands = OPTIONS.gather(argv)
    if asked.get("jobs") is True and operands:
        asked["jobs"] = operands[0]  # `-j 5`: the value of an option that may stand alone
    variable = "--cluster" if "clusters" in asked else "SLURM_CLUSTERS"
    check_cluster("squeue", conf, asked.get("clusters") or os.environ.get("SLURM_CLUSTERS"), variable)
    states = _parse_states(asked)
    wanted = _parse_ids(asked.get("jobs"))
    jobs = _load_jobs(conf, asked, states, wanted)
    head, columns = _parse_columns(asked)
    if "noconvert" in asked:
        columns = [(UNCONVERTED.get(c[0], c[0]), *c[1:]) for c in columns]
    order, bad_sort = _parse_sort_keys(asked)
    if "noheader" not in asked:
        if "long" in asked:
            print(time.strftime("%a %b %d %H:%M:%S %Y"))
        print(
            head
            + "".join(layout.pad_cell(_get_title(name), width, right) + after for name, width, right, after in columns)
        )
    if bad_sort:
        raise Refused(f"squeue: error: Invalid sort specification: {bad_sort}")
    for key, reverse in reversed(order):
        jobs.sort(key=key, reverse=reverse)
    sys.stdout.write(_format_lines(head, columns, jobs))
    return 0


def _parse_states(asked: dict[str, Any]) -> set[str] | None:
    """Parse the states to show; None means all.

    By default those of unfinished jobs.
    """
    text = asked.get("states") or os.environ.get("SQUEUE_STATES")
    if not text:
        return {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING"}
    if text.lower() == "all":
        return None
    chosen = set()
    for word in text.split(","):
        if word.upper() not in BY_NAME:
            names = ",".join(STATES)
            raise Refused(
                [
                    f"squeue: error: Invalid job state specified: {word}",
                    f"squeue: error: Valid job states include: {names}\n",
                ]
            )
        chosen.add(BY_NAME[word.upper()])
    return chosen


def _parse_ids(text: str | bool | None) -> list[tuple[int, int | None]]:
    """Parse `5,8_2,9+1` to pairs (id, task).

    Refused for what is no id.
    """
    if not text or text is True:
        return []
    wanted: list[tuple[int, int | None]] = []
    for word in str(text).split(","):
        number, _, task = word.partition("_")
        number = number.partition("+")[0]
        if not is_number(number) or not int(number) or (task and not is_number(task)):
            raise Refused(f"squeue: error: Invalid job id: {word}")
        wanted.append((int(number), int(task) if task else None))
    return wanted


def _load_jobs(
    conf: dict[str, Any], asked: dict[str, Any], states: set[str] | None, wanted: list[tuple[int, int | None]]
) -> list[Job]:
    now = int(time.time())
    with cluster.read_state(conf) as state:
        rows = state.select_visible_jobs(conf["min_job_age_s"], now)
    jobs = views.build_jobs(rows, now, "array" in asked or any(task is not None for _, task in wanted))
    if "priority" in asked:
        jobs = [part for job in jobs for part in views.split_by_partition(job)]
    if wanted:
        jobs = [job for job in jobs if any(_has_id(job, number, task) for number, task in wanted)]
        if not jobs and len(wanted) == 1:
            raise Refused(f"slurm_load_jobs error: {INVALID_ID}")
    if states is not None:
        jobs = [job for job in jobs if job.state in states or (job.row["completing"] and job.row["state"] in states)]
    for option, column, variable in (
        ("partition", "partition", "SQUEUE_PARTITION"), ("account", "account", "SQUEUE_ACCOUNT"),
        ("name", "name", "SQUEUE_NAMES"), ("qos", "qos", "SQUEUE_QOS"),
    ):  # fmt: skip
        text = asked.get(option) or os.environ.get(variable)
        if text:
            jobs = [job for job in jobs if job.row[column] in str(text).split(",")]
    users = _parse_users(asked)
    if users is not None:
        jobs = [job for job in jobs if job.row["uid"] in users]
    hosts = asked.get("nodelist")
    if hosts:
        names = set(_parse_hosts(conf, hosts))
        jobs = [job for job in jobs if names & {share[0] for share in job.shares}]
    if "reservation" in asked or "licenses" in asked:
        jobs = []  # there are none
    if "start" in asked:
        jobs = [job for job in jobs if job.row["state"] == "PENDING"]
    return jobs


def _parse_hosts(conf: dict[str, Any], text: str) -> list[str]:
    names = expand_hosts(text)
    for name in names:
        if name not in conf["nodes"]:
            raise Refused(f"squeue: error: Invalid node name {name}")
    return names


def _has_id(job: Job, number: int, task: int | None) -> bool:
    row = job.row
    if task is not None:
        mine = job.task if job.task is not None else row["array_task_id"]
        return bool(row["array_job_id"] == number and mine == task)
    return cluster.is_part_of(row, number)


def _parse_users(asked: dict[str, Any]) -> set[int] | None:
    text = asked.get("user") or os.environ.get("SQUEUE_USERS")
    if "me" in asked:
        return {os.geteuid()}
    if not text:
        return None
    uids = set()
    for word in str(text).split(","):
        try:
            uids.add(int(word) if is_number(word) else pwd.getpwnam(word).pw_uid)
        except KeyError:
            print(f"squeue: error: Invalid user: {word}\n", file=sys.stderr)
    return uids


def _parse_columns(asked: dict[str, Any]) -> tuple[str, list[layout.Column]]:
    def unknown(name: str) -> None:
        print(f"squeue: error: Invalid job format specification: {name}", file=sys.stderr)

    long_form = asked.get("Format") or (None if "format" in asked else os.environ.get("SQUEUE_FORMAT2"))
    if long_form:
        return "", layout.parse_names(long_form, FIELDS, unknown)
    default = START if "start" in asked else LONG if "long" in asked else DEFAULT
    short_form = asked.get("format") or os.environ.get("SQUEUE_FORMAT") or default
    return layout.parse_letters(short_form, LETTERS, unknown)


def _get_title(name: str) -> str:
    return name[1:] if name.startswith("=") else FIELDS[name][0]


def _parse_sort_keys(asked: dict[str, Any]) -> tuple[list[tuple[Any, bool]], str]:
    """Parse the sort fields to (key, reversed); return a bad one too."""
    text = asked.get("sort") or os.environ.get("SQUEUE_SORT") or "P,t,-p"
    keys: list[tuple[Any, bool]] = []
    for word in text.split(","):
        name = LETTERS.get(word[-1:], "")
        if not name:
            return keys, word
        keys.append((NUMERIC.get(name, FIELDS[name][1]), word.startswith("-")))
    return keys, ""


def _format_lines(head: str, columns: list[layout.Column], jobs: list[Job]) -> str:
    """Format the lines of all jobs in one pass over plain functions."""
    makers = [_make_formatter(*column) for column in columns]
    return "".join(head + "".join([make(job) for make in makers]) + "\n" for job in jobs)


def _make_formatter(name: str, width: int | None, right: bool, after: str) -> Callable[[Job], str]:
    """Make the function that gives one column's text for a job."""
    if name.startswith("="):
        text = name[1:] + after
        return lambda job: text
    value = FIELDS[name][1]
    if width is not None and name in NEVER_CUT:
        return lambda job: (value(job).rjust(width) if right else value(job).ljust(width)) + after
    if width is not None:
        return lambda job: layout.pad_cell(value(job), width, right) + after
    return (lambda job: value(job) + after) if after else value
