"""Why a job waits, in a sentence that a person understands. Pure.

SLURM's word stays beside it. Source: squeue(1), JOB REASON CODES, and enum job_state_reason of slurm.h, 22.05 to 25.05.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from store.rules.queue.pressure import PartitionLoad
from store.times import format_duration, to_rfc3339

Row = Mapping[str, Any]
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})

# Sentences that need no numbers. {partition}, {account}, {qos} and {user} are those of the job.
SENTENCES = {
    "None": "waits for the scheduler to look at it",
    "Prolog": "is being started: its nodes are prepared",
    "Cleaning": "waits until what its last attempt left behind is cleaned up",
    "JobHeldUser": "is held by its owner until it is released",
    "JobHeldAdmin": "is held by an administrator, or has the priority 0; only an operator can release it",
    "job requeued in held state": "was put back into the queue and held; it waits until it is released",
    "launch failed requeued held": "could not be started, was put back and held; it waits until it is released",
    "JobHoldMaxRequeue": "was put back into the queue too often and is held; it waits until it is released",
    "SchedDefer": "waits for the scheduler's next round, in which jobs are started together",
    "ReqNodeNotAvail": "asks for nodes that are not available now",
    "NodeDown": "waits because a node that it needs is down",
    "PartitionDown": "waits because partition {partition} is down",
    "PartitionInactive": "waits because partition {partition} takes no jobs now",
    "PartitionNodeLimit": "can not start: it asks for more or fewer nodes than partition {partition} allows or has",
    "PartitionTimeLimit": "can not start: its time limit is longer than partition {partition} allows",
    "PartitionConfig": "can not start: it asks for what partition {partition} does not allow",
    "BadConstraints": "can not start: no node has all the features that it asks for",
    "Licenses": "waits for licenses that others use",
    "Reservation": "waits for the reservation that it asks for to begin",
    "ReservationDeleted": "can not start: the reservation that it asked for is gone",
    "DependencyNeverSatisfied": "will never start: what it depends on ended otherwise than it demands",
    "JobLaunchFailure": "could not be started and waits to be tried again",
    "NonZeroExitCode": "waits to run again: it ended with an error before",
    "SystemFailure": "waits because a part of the cluster failed",
    "RaisedSignal": "waits to run again: a signal ended it before",
    "TimeLimit": "waits to run again: it used up its time before",
    "InactiveLimit": "waits to run again: it was idle for too long before",
    "OutOfMemory": "waits to run again: it ran out of memory before",
    "DeadLine": "can not end before its deadline any more",
    "InvalidAccount": "can not start: account {account} is not valid for it",
    "InvalidQOS": "can not start: QOS {qos} is not valid for it",
    "AccountNotAllowed": "can not start: partition {partition} does not take jobs of account {account}",
    "QOSNotAllowed": "can not start: partition {partition} or account {account} does not allow QOS {qos}",
    "AccountingPolicy": "waits because a limit of its account or QOS is reached",
    "QOSUsageThreshold": "waits because QOS {qos} has used too much of its share",
    "QOSJobLimit": "waits because QOS {qos} runs as many jobs as it may",
    "QOSResourceLimit": "waits because QOS {qos} uses as much as it may",
    "QOSTimeLimit": "can not start: QOS {qos} has used up its time",
    "AssociationJobLimit": "waits because account {account} runs as many jobs as it may",
    "AssociationResourceLimit": "waits because account {account} uses as much as it may",
    "AssociationTimeLimit": "can not start: account {account} has used up its time",
    "BurstBufferOperation": "waits because an operation of the burst buffer failed",
    "BurstBufferResources": "waits for room in the burst buffer",
    "BurstBufferStageIn": "waits until its data are in the burst buffer",
    "FedJobLock": "waits until the clusters of the federation agree who starts it",
    "FrontEndDown": "waits because no front-end node can start it",
    "MaxMemPerLimit": "can not start: it asks for more memory per CPU or node than the cluster allows",
    "MaxPowercap": "waits because the cluster may not use more power now",
    "NoReservation": "can not start: the reservation that it asks for does not exist",
}  # fmt: skip
# Longer forms, each with the reason that it is told as.
_FORMS = (
    (re.compile(r"ReqNodeNotAvail, ?May be reserved for other job"),
     "asks for nodes that are not available now; they may be reserved for other jobs"),
    (re.compile(r"ReqNodeNotAvail, ?Reserved for maintenance"),
     "asks for nodes that are reserved for maintenance"),
    (re.compile(r"Job's account not permitted to use this partition \((?P<what>.+)\)"),
     "can not start: partition {partition} does not take jobs of account {account} ({what})"),
    (re.compile(r"Job's QOS not permitted to use this partition \((?P<what>.+)\)"),
     "can not start: partition {partition} does not take jobs of QOS {qos} ({what})"),
    (re.compile(r"ReqNodeNotAvail, ?UnavailableNodes:(?P<what>.*)"),
     "asks for nodes that are not available now: {what}"),
    (re.compile(r"Licenses:(?P<what>.+)"), "waits for licenses that others use: {what}"),
    (re.compile(r"RaisedSignal:(?P<what>\d+).*"), "waits to run again: signal {what} ended it before"),
    (re.compile(r"(?:launch failed|user env retrieval failed).*held.*"),
     "could not be started, was put back and held; it waits until it is released"),
    (re.compile(r"BurstBuffer\w*:?(?P<what>.*)"), "waits for the burst buffer{what}"),
)  # fmt: skip
_LIMIT = re.compile(
    r"(?P<owner>Assoc|Association|QOS)?(?P<kind>Grp|Max|Min)(?P<what>[A-Za-z]+?)"
    r"(?P<each>Per(?:User|Account|Acct|Job|Node))?(?:Limit)?"
)
# What a limit counts, by how its name begins, longest first.
_COUNTED = (
    ("CPURunMin", "CPU minutes of running jobs"), ("CPUMin", "CPU minutes"),
    ("GRESRunMin", "GPU minutes of running jobs"), ("GRESMin", "GPU minutes"),
    ("MemRunMin", "memory minutes of running jobs"), ("MemMin", "memory minutes"),
    ("NodeRunMin", "node minutes of running jobs"), ("NodeMin", "node minutes"), ("WallDuration", "running time"),
    ("Wall", "running time"), ("SubmitJob", "submitted jobs"), ("Submit", "submitted jobs"), ("Job", "running jobs"),
    ("Cpu", "CPUs"), ("GRES", "GPUs or other generic resources"), ("Mem", "memory"), ("Node", "nodes"),
    ("Billing", "billing units"), ("License", "licenses"), ("Energy", "energy"), ("BB", "burst buffer"),
    ("Unk", "a resource"),
)  # fmt: skip
_EACH = {"peruser": "each user", "peraccount": "each account", "peracct": "each account", "perjob": "each job",
         "pernode": "each node"}  # fmt: skip
_VERBS = {
    "after": "start or end", "afterany": "end", "afterok": "succeed", "afternotok": "fail",
    "aftercorr": "succeed task by task", "afterburstbuffer": "bring its data away",
}  # fmt: skip


def explain_wait(row: Row, load: PartitionLoad | None, dependencies: Sequence[Mapping[str, Any]] = ()) -> str | None:
    """Explain why a waiting job waits; None for a job that does not wait.

    `load` is that of its partition, `dependencies` what it depends on.
    """
    if row["state"] not in WAITING:
        return None
    reason = row["reason"] or "None"
    text = _explain_reason(reason, row, load, dependencies)
    if text is None and "," in reason:  # squeue's one row for what waits of an array
        texts = [_explain_reason(word, row, load, dependencies) for word in reason.split(",")]
        if None not in texts:
            text = f"its tasks wait for different reasons: {'; '.join(f'one {each}' for each in texts)}"
    return text or f"waits; SLURM says {reason}"


def _explain_reason(
    reason: str, row: Row, load: PartitionLoad | None, dependencies: Sequence[Mapping[str, Any]]
) -> str | None:
    """Explain one reason; None for one that nobody knows."""
    explain = _EXPLAINERS.get(reason)
    return _find_sentence(reason, row) if explain is None else explain(row, load, dependencies)


def _find_sentence(reason: str, row: Row) -> str | None:
    """Find the sentence of a reason that tells no numbers."""
    names = {
        "partition": row["partition"] or "?", "account": row["account"] or "?", "qos": row["qos"] or "?",
        "user": row["user"] or "?",
    }  # fmt: skip
    if reason in SENTENCES:
        return SENTENCES[reason].format(**names)
    for pattern, sentence in _FORMS:
        if match := pattern.fullmatch(reason):
            return sentence.format(**names, **match.groupdict())
    return _explain_limit(reason, names)


def _explain_limit(reason: str, names: Mapping[str, str]) -> str | None:
    """Explain the name of a limit, such as QOSMaxCpuPerUserLimit."""
    match = _LIMIT.fullmatch(reason)
    if match is None:
        return None
    word = match["what"].lower()
    counted = next((text for start, text in _COUNTED if word.startswith(start.lower())), None)
    if counted is None:
        return None
    owner = f"QOS {names['qos']}" if match["owner"] == "QOS" else f"account {names['account']}"
    each = _EACH.get((match["each"] or "").lower())
    if match["kind"] == "Min":
        return f"can not start: it asks for less than the least of {counted} that {owner} demands"
    if each == "each job":
        return f"can not start: it asks for more {counted} than {owner} allows a job"
    whom = f"all jobs of {owner} together" if match["kind"] == "Grp" else f"{each or 'each user'} of {owner}"
    if "Min" in match["what"]:
        return f"waits because the {counted} that {whom} may use are used up"
    return f"waits because the limit of {counted} for {whom} is reached; it starts when others have ended"


# ------------------------------------------------------------------------------------------------ with numbers


def _explain_resources(row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    if load is None:
        return f"waits for free resources{_add_partition(row)}"
    text = _find_shortage(row, load) or f"waits until all that it asks for is free at once: {_describe_needs(row)}"
    before = load.count_before(row["priority"])
    return f"{text}; {_describe_jobs(before)} before it" if before else text


def _find_shortage(row: Row, load: PartitionLoad) -> str | None:
    """Find what is missing, the scarcest first; None if enough of all is free."""
    at = f"in partition {load.name}"
    gpus, cpus, nodes = row["gpus"] or 0, row["cpu_count"] or 0, row["node_count"] or 0
    for wanted, total, used, what in (
        (gpus, load.gpus, load.gpus_used, "GPU"),
        (cpus, load.cpus, load.cpus_used, "CPU"),
    ):
        if wanted > total:
            return f"waits for {_count_things(wanted, what)} {at}, where nodes that work have {total}"
        if wanted > total - used:
            missing = wanted - (total - used)
            return f"waits for {missing} more {what}{'' if missing == 1 else 's'} {at}; {used} of {total} are in use"
    if nodes > load.nodes_usable:
        return f"waits for {_count_things(nodes, 'node')} {at}, where {load.nodes_usable} of {load.nodes_total} work"
    return None


def _explain_priority(row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    before = load.count_before(row["priority"]) if load else None
    if not before or load is None:
        return f"waits for jobs with higher priority{_add_partition(row)}"
    text = f"{_describe_jobs(before)} before it in partition {load.name}"
    return f"{text}; {_describe_use(row, load)}"


def _describe_use(row: Row, load: PartitionLoad) -> str:
    if row["gpus"] and load.gpus:
        return f"{load.gpus_used} of {load.gpus} GPUs are in use"
    return f"{load.cpus_used} of {load.cpus} CPUs are in use"


def _explain_dependency(row: Row, _load: PartitionLoad | None, dependencies: Sequence[Mapping[str, Any]]) -> str:
    waits = []
    for item in dependencies:
        if item["type"] == "singleton":
            waits.append(f"other jobs of user {row['user']} with its name to end")
        elif item["state"] != "fulfilled":
            now = f" ({item['job_state']})" if item.get("job_state") else ""
            waits.append(f"job {item['job_id']}{now} to {_VERBS.get(item['type'], item['type'])}")
    joined = " or ".join(waits) if "?" in (row["dependency"] or "") else " and ".join(waits)
    return f"waits for {joined}" if waits else "waits for other jobs that it depends on"


def _explain_failed_dependency(row: Row, _load: Any, dependencies: Sequence[Mapping[str, Any]]) -> str:
    failed = [item for item in dependencies if item["state"] == "failed"]
    if not failed:
        return SENTENCES["DependencyNeverSatisfied"]
    said = " and ".join(f"job {item['job_id']} did not {_VERBS.get(item['type'], item['type'])}" for item in failed)
    return f"will never start: it depends on a job that should end otherwise ({said})"


def _explain_begin(row: Row, _load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    begin = to_rfc3339(row["estimated_start_time"])
    again = ", since it was put back into the queue" if row["restarts"] else ""
    return f"starts {begin} at the earliest{again}" if begin else f"waits for the time at which it may begin{again}"


def _explain_task_limit(row: Row, _load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    most = (row["array_task_id"] or "").partition("%")[2]
    if not most.isdigit():
        return "waits because as many tasks of its array run as may at once"
    return f"waits for other tasks of its array to end: at most {most} of them run at once"


def _explain_time_limit(row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    if load is None or load.max_time_s is None:
        return SENTENCES["PartitionTimeLimit"].format(partition=row["partition"])
    asked = format_duration(row["time_limit_s"]) or "unlimited time"
    return f"can not start: it asks for {asked}, and partition {load.name} allows {format_duration(load.max_time_s)}"


def _explain_node_limit(row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    if load is None:
        return SENTENCES["PartitionNodeLimit"].format(partition=row["partition"])
    nodes = row["node_count"] or 1
    has = f"partition {load.name} has {_count_things(load.nodes_total, 'node')}"
    if nodes > load.nodes_total:
        return f"can not start: it asks for {_count_things(nodes, 'node')}, and {has}"
    return f"can not start: it asks for {_count_things(nodes, 'node')}, which {load.name}'s limits do not allow; {has}"


def _explain_config(row: Row, load: PartitionLoad | None, dependencies: Sequence[Any]) -> str:
    """Explain that a partition does not allow what a job asks for."""
    if load is not None:
        wanted = [(row["node_count"], load.nodes_total, "node")]
        if load.nodes_usable == load.nodes_total:  # else it has more than is known
            wanted += [(row["gpus"], load.gpus, "GPU"), (row["cpu_count"], load.cpus, "CPU")]
        for asked, total, what in wanted:
            if asked and asked > total:
                has = _count_things(total, what) if total else f"no {what}s"
                return f"can not start: it asks for {_count_things(asked, what)}, and partition {load.name} has {has}"
        if load.max_time_s is not None and (row["time_limit_s"] or math.inf) > load.max_time_s:
            return _explain_time_limit(row, load, dependencies)
    return SENTENCES["PartitionConfig"].format(partition=row["partition"])


def _explain_partition_down(row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    state = f" ({load.state})" if load and load.state != "UP" else ""
    return f"{SENTENCES['PartitionDown'].format(partition=row['partition'])}{state}"


def _explain_nodes_down(_row: Row, load: PartitionLoad | None, _dependencies: Sequence[Any]) -> str:
    text = "asks for nodes that are down, drained or reserved for jobs in partitions with a higher priority"
    if load is None:
        return text
    return f"{text}; {load.nodes_usable} of {load.nodes_total} nodes of partition {load.name} work"


_EXPLAINERS: dict[str, Callable[[Row, PartitionLoad | None, Sequence[Mapping[str, Any]]], str]] = {
    "Resources": _explain_resources,
    "Priority": _explain_priority,
    "Dependency": _explain_dependency,
    "DependencyNeverSatisfied": _explain_failed_dependency,
    "BeginTime": _explain_begin,
    "JobArrayTaskLimit": _explain_task_limit,
    "PartitionTimeLimit": _explain_time_limit,
    "PartitionNodeLimit": _explain_node_limit,
    "PartitionConfig": _explain_config,
    "PartitionDown": _explain_partition_down,
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": _explain_nodes_down,
}


# ------------------------------------------------------------------------------------------------------ phrases


def _count_things(number: int, what: str) -> str:
    """Count things in words.

    >>> _count_things(1, "node"), _count_things(3, "GPU")
    ('1 node', '3 GPUs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def _describe_jobs(before: int) -> str:
    return f"{_count_things(before, 'job')} with higher priority wait{'s' if before == 1 else ''}"


def _describe_needs(row: Row) -> str:
    """Describe what a job needs.

    >>> _describe_needs({"gpus": 2, "cpu_count": 8, "node_count": 2})
    '2 GPUs and 8 CPUs on 2 nodes'
    """
    parts = [(row["gpus"], "GPU"), (row["cpu_count"], "CPU")]
    amounts = " and ".join(_count_things(number, what) for number, what in parts if number)
    return f"{amounts or 'resources'} on {_count_things(row['node_count'] or 1, 'node')}"


def _add_partition(row: Row) -> str:
    return f" in partition {row['partition']}" if row["partition"] else ""
