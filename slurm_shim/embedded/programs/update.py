"""Changes of jobs, nodes and partitions.

`scontrol update`, hold, release, requeue, suspend.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
import time

from .. import arrays, cluster, deps, procs, times
from ..hosts import expand_hosts
from ..states import INVALID_ID, LIVE, Refused
from ..units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..state import Row, State

DONE = "Job has already finished"
VALID_NODE_STATES = "NoResp DRAIN FAIL FUTURE RESUME POWER_DOWN POWER_UP UNDRAIN"
# What each state that may be set takes from a node's flags, and adds to them. A reason stays while any flag does.
NODE_CHANGES = {
    "DRAIN": ("FAIL", "DRAIN"), "DOWN": ("", "DOWN"), "FAIL": ("DRAIN", "FAIL"), "UNDRAIN": ("DRAIN FAIL", ""),
    "RESUME": ("DOWN DRAIN FAIL", ""), "IDLE": ("DOWN DRAIN FAIL", ""),
}  # fmt: skip


class Problem(Exception):
    """A job cannot be changed so; the text is SLURM's."""


NOT_ALONE = "Operation not permitted on individual component of heterogeneous job"
PAUSES = ("suspend", "resume")
# What is done to all parts of a heterogeneous job at once.
WHOLE = ("requeue", "requeuehold", "suspend", "resume")


def main(conf: dict[str, Any], verb: str, words: list[str]) -> int:
    """Run `scontrol VERB WORDS`; return its exit status."""
    if verb == "update":
        return _update_entity(conf, words)
    if not words:
        raise Refused(f"too few arguments for keyword:{verb}")
    ids = [
        part for word in words for part in ([word] if "[" in word else word.removeprefix("jobid=").split(",")) if part
    ]
    return _change_each(conf, verb, ids, {})


def _change_each(conf: dict[str, Any], verb: str, ids: list[str], fields: dict[str, str]) -> int:
    """Change every job; return 1 when some could not be.

    Those are named on stderr.
    """
    code = 0
    nudges: list[tuple[str, Row]] = []
    with cluster.change_state(conf) as state:
        for word in ids:
            row: Row | None = None
            try:
                for row in _find_rows(conf, state, word, verb):
                    nudges += [(what, row) for what in _change_job(conf, state, verb, row, fields)]
            except Problem as problem:
                code = 1
                is_array = verb == "update" and row is not None and row["array_tasks"]
                # requeue, suspend and update name the job; hold and release add a second line.
                print(
                    f"{word.partition('_')[0]}_{row['array_tasks']}: {problem}"  # type: ignore[index]
                    if is_array
                    else f"{problem} for job {word}",
                    file=sys.stderr,
                )
                if verb in ("hold", "uhold", "release"):
                    print(f"slurm_suspend error: {problem}", file=sys.stderr)
    for what, row in nudges:
        _signal_job(conf, what, row)
    return code


def _find_rows(conf: dict[str, Any], state: State, word: str, verb: str) -> list[Row]:
    """Find the rows of `42`, `8_3`, `8_[1-3]`, `9+1`.

    A task that still waits in its array's row is made a row of its own.
    """
    number, under, tasks = word.partition("_")
    number, plus, offset = number.partition("+")
    if not is_number(number) or (plus and not is_number(offset)):
        raise Problem(INVALID_ID)
    if not under:
        wanted = int(number) + int(offset or 0)  # the parts of a heterogeneous job have ids in a row
        rows = cluster.find_jobs(state, wanted)
        if verb in WHOLE and rows[:1] and rows[0]["het_offset"]:
            raise Problem(NOT_ALONE if verb in PAUSES else INVALID_ID)
        live = [row for row in rows if row["state"] in LIVE]
        rows = live or rows
    else:
        rows = list(_split_tasks(state, int(number), tasks))
    unknown = "Unexpected message received" if verb in PAUSES else INVALID_ID
    if not rows:
        raise Problem(unknown)
    if not any(row["state"] in LIVE for row in rows):
        if int(time.time()) - (rows[0]["end_time"] or 0) > conf["min_job_age_s"]:
            raise Problem(unknown)
        if verb not in ("requeue", "requeuehold"):
            raise Problem("Job/step already completing or completed" if verb in PAUSES else DONE)
    return rows


def _split_tasks(state: State, number: int, text: str) -> Iterator[Row]:
    try:
        wanted = arrays.parse_array(text, 1 << 31)[0]
    except ValueError as error:
        raise Problem(INVALID_ID) from error
    for task in wanted:
        for row in cluster.find_jobs(state, number, task):
            raw_id = cluster.split_task(state, row["raw_id"], task) if row["array_tasks"] else row["raw_id"]
            yield state.select_jobs("raw_id = ?", raw_id)[0]


def _change_job(conf: dict[str, Any], state: State, verb: str, row: Row, fields: dict[str, str]) -> list[str]:
    """Change one job; return what to tell its processes after the commit."""
    if row["state"] not in LIVE and verb not in ("requeue", "requeuehold"):
        return []
    if verb in ("hold", "uhold"):
        who = "user" if verb == "uhold" or os.geteuid() != 0 else "admin"
        if row["state"] == "PENDING" and row["held"] in ("", "user", "admin"):
            state.update_job(row["raw_id"], held=who, priority=0)
        return []
    if verb == "release":
        if row["held"]:
            state.update_job(
                row["raw_id"], held="", reason="None", priority=cluster.take_priority(state, row["nice"]),
                eligible_time=row["eligible_time"] or (None if row["dependency"] else int(time.time())),
            )  # fmt: skip
        return []
    if verb in ("requeue", "requeuehold"):
        if row["het_offset"]:
            return []  # it goes along with the first part
        return _requeue_job(conf, state, row, verb)
    if verb in ("suspend", "resume"):
        return _suspend_job(state, row, verb)
    if verb == "top":
        best = state.db.execute("SELECT max(priority) FROM jobs WHERE end_time IS NULL").fetchone()[0]
        state.update_job(row["raw_id"], priority=best + 1)
        return []
    for name, value in fields.items():
        _change_field(conf, state, row, name, value)
    return ["look"] if row["state"] != "PENDING" else []


def _requeue_job(conf: dict[str, Any], state: State, row: Row, verb: str) -> list[str]:
    if row["state"] == "PENDING":
        if verb == "requeuehold":
            state.update_job(row["raw_id"], held="requeue", priority=0)
            return []
        raise Problem("Job is pending execution")
    if row["requeue"] == 0:
        raise Problem("Requested operation is presently disabled")
    if row["state"] not in LIVE and not row["completing"]:
        # A job that has ended can be run again for as long as the queue remembers it.
        state.insert_row("past", **dict(row))
        now = int(time.time())
        cluster.requeue_job(state, row, now, row["restarts"] + 1, conf["requeue_delay_s"], hold=verb == "requeuehold")
        return []
    state.update_job(row["raw_id"], ending="REQUEUE_HOLD" if verb == "requeuehold" else "REQUEUE", completing=1)
    return ["look"]


def _suspend_job(state: State, row: Row, verb: str) -> list[str]:
    now = int(time.time())
    if verb == "suspend":
        if row["state"] == "PENDING":
            raise Problem("Job is pending execution")
        if row["state"] == "RUNNING":
            state.update_job(row["raw_id"], state="SUSPENDED", suspend_time=now)
        return ["stop", "look"]
    if row["state"] != "SUSPENDED":
        raise Problem("Job is pending execution" if row["state"] == "PENDING" else "Job is not suspended")
    paused_s = now - (row["suspend_time"] or now)
    state.update_job(
        row["raw_id"], state="RUNNING", suspend_time=None, suspended_s=(row["suspended_s"] or 0) + paused_s
    )
    return ["continue", "look"]


def _signal_job(conf: dict[str, Any], what: str, row: Row) -> None:
    if what == "look":
        if procs.is_alive(row["sup_pid"], row["sup_start"], row["boot_id"]):
            procs.send_signal([row["sup_pid"]], signal.SIGUSR1)
        return
    number = signal.SIGSTOP if what == "stop" else signal.SIGCONT
    procs.send_signal([pid for pid, _ in procs.list_job_processes(row["raw_id"], conf["path"], row["job_pid"])], number)


def _update_entity(conf: dict[str, Any], words: list[str]) -> int:
    fields: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused([f"Invalid input: {word}", "Request aborted"])
        fields[name.lower()] = value
    if "nodename" in fields:
        return _update_node(conf, fields)
    if "partitionname" in fields or "partition" in list(fields)[:1]:
        return _update_partition(conf, fields)
    key = next((name for name in ("jobid", "job") if name in fields), None)
    if key is None:
        raise Refused(
            [
                "No valid entity in update command",
                'Input line must include "NodeName", "PartitionName", "Reservation", "JobId", or "SlurmctldDebug"',
            ]
        )
    ids = [part for part in fields.pop(key).split(",") if part]
    given = {name: f"{name}={value}" for name, value in fields.items()}
    for name, value in fields.items():
        if name not in CHANGES:
            raise Refused([f"Update of this parameter is not supported: {given[name]}", "Request aborted"])
        _check_field(name, value)
    return _change_each(conf, "update", ids, fields)


CHANGES = {
    "priority", "nice", "timelimit", "name", "jobname", "comment", "admincomment", "dependency", "partition",
    "starttime", "eligibletime", "account", "qos", "requeue", "arraytaskthrottle", "numnodes", "numcpus",
    "minmemorynode", "minmemorycpu", "reqnodelist", "excnodelist", "stdout", "workdir",
}  # fmt: skip


def _check_field(name: str, value: str) -> None:
    if name == "priority" and not is_number(value):
        raise Refused(f"scontrol: error: Invalid Priority value: {value}")
    if name == "nice" and not is_number(value.removeprefix("-")):
        raise Refused(f"scontrol: error: Invalid nice value, must be between -2147483645 and 2147483645: {value}")
    if name == "timelimit":
        try:
            times.parse_limit_min(value.lstrip("+-") if value != "-1" else value)
        except ValueError as error:
            raise Refused("scontrol: error: Invalid TimeLimit value") from error


def _change_field(conf: dict[str, Any], state: State, row: Row, name: str, value: str) -> None:
    """Apply one `name=value` of an update. Problem when it cannot be."""
    raw_id, pending = row["raw_id"], row["state"] == "PENDING"
    plain = {"name": "name", "jobname": "name", "comment": "comment", "admincomment": "admin_comment",
             "account": "account", "qos": "qos", "workdir": "work_dir", "stdout": "std_out"}  # fmt: skip
    if name in plain:
        state.update_job(raw_id, **{plain[name]: value})
    elif name == "priority":
        _change_priority(state, row, int(value))
    elif name == "nice":
        state.update_job(raw_id, nice=int(value), priority=max(1, row["priority"] + (row["nice"] or 0) - int(value)))
    elif name == "timelimit":
        state.update_job(raw_id, time_limit_min=_parse_limit(row, value))
    elif name == "requeue":
        state.update_job(raw_id, requeue=int(value == "1"))
    elif name == "arraytaskthrottle":
        state.update_job(raw_id, array_limit=int(value) if is_number(value) else 0)
    elif not pending:
        raise Problem("Job is no longer pending execution")
    elif name == "dependency":
        state.update_job(raw_id, dependency=_parse_dependency(state, row, value), reason="None")
    elif name == "partition":
        if any(name not in conf["partitions"] for name in value.split(",")):
            raise Problem("Invalid partition name specified")
        state.update_job(raw_id, partition=value)
    elif name in ("starttime", "eligibletime"):
        try:
            state.update_job(raw_id, begin_time=times.parse_time(value, int(time.time())))
        except times.BadTime as error:
            raise Refused([str(error), f"Invalid time specification: {value}"]) from error
    else:
        _change_size(conf, state, row, name, value)


def _change_size(conf: dict[str, Any], state: State, row: Row, name: str, value: str) -> None:
    if name in ("reqnodelist", "excnodelist"):
        names = expand_hosts(value)
        if any(known not in conf["nodes"] for known in names):
            raise Problem("Invalid node name specified")
        column = "req_nodes" if name == "reqnodelist" else "exc_nodes"
        state.update_job(row["raw_id"], **{column: ",".join(names)})
        return
    if not is_number(value.partition("-")[0]):
        raise Refused([f"Invalid value for {name}: {value}", "Request aborted"])
    number = int(value.partition("-")[0])
    columns = {
        "numnodes": "min_nodes",
        "numcpus": "ntasks",
        "minmemorynode": "mem_node_mb",
        "minmemorycpu": "mem_cpu_mb",
    }
    changes: dict[str, int] = {columns[name]: number}
    if name == "numnodes":
        changes |= {"max_nodes": number, "ntasks": max(row["ntasks"], number)}
    state.update_job(row["raw_id"], **changes)


def _change_priority(state: State, row: Row, value: int) -> None:
    if row["state"] != "PENDING":
        return  # without effect, and accepted, as in SLURM
    if row["held"]:
        if value:
            raise Problem("Job is in held state, pending scheduler release")
        return
    if value == 0:
        state.update_job(row["raw_id"], held="user" if os.geteuid() else "admin", priority=0)
    else:
        state.update_job(row["raw_id"], priority=value)


def _parse_limit(row: Row, value: str) -> int | None:
    if value[:1] in "+-" and value != "-1":
        change = times.parse_limit_min(value[1:]) or 0
        if row["time_limit_min"] is None:
            raise Problem("Requested time limit is invalid (missing or exceeds some limit)")
        minutes = row["time_limit_min"] + (change if value[0] == "+" else -change)
        return max(1, int(minutes))
    return times.parse_limit_min(value)


def _parse_dependency(state: State, row: Row, value: str) -> str:
    try:
        text = deps.parse_dependency(value)
    except deps.BadDependency as error:
        raise Problem("Job dependency problem") from error
    seen: set[int] = set()
    open_ids = deps.list_job_ids(text)
    while open_ids:
        number = open_ids.pop()
        if number in (row["raw_id"], row["array_job_id"]):
            raise Problem("Job dependency problem")
        if number not in seen:
            seen.add(number)
            open_ids += [
                n for found in cluster.find_jobs(state, number) for n in deps.list_job_ids(found["dependency"] or "")
            ]
    return text


def _update_node(conf: dict[str, Any], fields: dict[str, str]) -> int:
    """Change nodes; where one cannot be, change the others and return 1."""
    names = _expand_node_names(conf, fields.pop("nodename"))
    wanted = fields.pop("state", "").upper()
    reason = fields.pop("reason", "")
    for name, value in fields.items():
        if name not in ("comment", "weight", "features"):
            raise Refused([f"Update of this parameter is not supported: {name}={value}", "Request aborted"])
    if wanted and wanted not in NODE_CHANGES:
        advice = "Not all states are valid given a node's prior state"
        raise Refused(
            [f"Invalid input: state={wanted}", "Request aborted", f"Valid states are: {VALID_NODE_STATES}", advice]
        )
    if wanted in ("DRAIN", "DOWN", "FAIL") and not reason:
        raise Refused("You must specify a reason when DOWNING or DRAINING a node. Request denied")
    ended: list[Row] = []
    problem = ""
    with cluster.change_state(conf) as state:
        for name in names:
            if name not in conf["nodes"]:
                problem = "Invalid node name specified"
            elif not _change_node(state, name, wanted, reason):
                problem = "Invalid node state specified"
            elif wanted == "DOWN":
                ended += _end_node_jobs(state, name)
    for row in ended:
        _signal_job(conf, "look", row)
    if problem:
        print(f"slurm_update error: {problem}", file=sys.stderr)
    return int(bool(problem))


def _expand_node_names(conf: dict[str, Any], expression: str) -> list[str]:
    if expression.upper() == "ALL":
        return list(conf["nodes"])
    try:
        return expand_hosts(expression) or [""]
    except ValueError:
        return [expression]  # no node is called so


def _change_node(state: State, name: str, wanted: str, reason: str) -> bool:
    """Change the flags of a node and why; return False if it may not be."""
    mark = state.load_node_marks().get(name)
    before = {word for word in (mark["flags"] or "").split("+") if word} if mark else set()
    if wanted == "RESUME" and not before:
        return False
    cleared, added = NODE_CHANGES[wanted] if wanted else ("", "")
    flags = (before - set(cleared.split())) | set(added.split())
    if not flags:
        state.db.execute("DELETE FROM nodes WHERE name = ?", (name,))
    elif reason or mark is None:
        uid = os.geteuid()
        state.insert_row(
            "nodes", name=name, flags="+".join(sorted(flags)), reason=reason,
            reason_user=f"{_get_user_name(uid)}({uid})", reason_time=int(time.time()),
        )  # fmt: skip
    else:
        state.db.execute("UPDATE nodes SET flags = ? WHERE name = ?", ("+".join(sorted(flags)), name))
    return True


def _get_user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)  # no passwd entry


def _end_node_jobs(state: State, name: str) -> Iterator[Row]:
    """End the jobs of a node set down as NODE_FAIL.

    Yields them: their supervisors see to it, once this is committed.
    """
    for row in state.select_jobs(cluster.BUSY):
        if any(part.partition(":")[0] == name for part in (row["alloc"] or "").split(";")) and not row["ending"]:
            state.update_job(row["raw_id"], ending="NODE_FAIL", completing=1)
            yield row


def _update_partition(conf: dict[str, Any], fields: dict[str, str]) -> int:
    name = fields.pop("partitionname", None) or fields.pop("partition")
    given = fields.pop("state", "")
    wanted = given.upper()
    if fields:
        key = next(iter(fields))
        text = f"Update of this parameter is not supported: {key}={fields[key]}"
        raise Refused([f"scontrol: error: {text}", "", "scontrol: error: Request aborted"])
    if name not in conf["partitions"]:
        raise Refused("slurm_update error: Invalid partition name specified")
    if wanted not in ("UP", "DOWN", "DRAIN", "INACTIVE"):
        valid = "Acceptable State values are UP, DOWN, DRAIN and INACTIVE"
        raise Refused([f"scontrol: error: Invalid input: state={given}", f"scontrol: error: {valid}"])
    with cluster.change_state(conf) as state:
        state.insert_row("partitions", name=name, state=wanted)
    return 0
