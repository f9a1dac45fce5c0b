"""`scontrol show`: records of `Key=value` (scontrol(1)).

Jobs, nodes, partitions and the configuration.
"""

from __future__ import annotations

import grp
import os
import sys
import time

from .. import arrays, cluster, nodes, patterns, schedule, times, units
from ..conf import VERSION
from ..hosts import expand_hosts, fold_hosts, fold_names
from ..states import INVALID_ID, Refused, format_exit_status
from ..units import is_number
from . import views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..nodes import Node

KINDS = {"job": "jobs", "jobs": "jobs", "node": "nodes", "nodes": "nodes", "partition": "partitions",
         "partitions": "partitions", "config": "config", "step": "steps", "steps": "steps",
         "hostnames": "hostnames", "hostlist": "hostlist", "reservations": "reservations"}  # fmt: skip
TRES_COLUMNS = {"TresPerJob": "tres_per_job", "TresPerNode": "tres_per_node"}
# The last lines of a job, where they say something.
LAST_FIELDS = (
    "BurstBuffer", "Switches", "Power", "SpreadJob", "GresEnforceBind", "CpusPerTres", "MemPerTres", "TresBind",
    "TresFreq", "TresPerJob", "TresPerNode", "TresPerSocket", "TresPerTask", "MailUser", "MailType", "NtasksPerTRES",
)  # fmt: skip


def main(conf: dict[str, Any], words: list[str], one_line: bool) -> int:
    """Run `scontrol show WORDS`; return its exit status."""
    if not words:
        raise Refused("too few arguments for keyword:show")
    name, _, value = words[0].partition("=")
    kind = next((KINDS[known] for known in KINDS if known.startswith(name.lower())), None)
    wanted = value or (words[1] if len(words) > 1 else "")
    if kind == "jobs":
        return _show_jobs(conf, wanted, one_line)
    if kind == "nodes":
        return _show_nodes(conf, wanted, one_line)
    if kind == "partitions":
        return _show_partitions(conf, wanted, one_line)
    if kind == "config":
        return _show_config(conf)
    if kind == "reservations":  # nobody can make one here
        print(f"Reservation {wanted} not found" if wanted else "No reservations in the system")
        return int(bool(wanted))
    if kind == "hostnames":
        print("\n".join(expand_hosts(wanted)))
        return 0
    if kind == "hostlist":
        print(fold_hosts(wanted.split(",")))
        return 0
    raise Refused(f"invalid entity:{words[0]} for keyword:show ")


def _print_records(records: list[list[list[str]]], one_line: bool) -> None:
    for lines in records:
        if one_line:
            sys.stdout.write(" ".join(" ".join(pairs) for pairs in lines) + " \n")
        else:
            sys.stdout.write("\n   ".join(" ".join(pairs) for pairs in lines) + "\n   \n\n")


def _show_jobs(conf: dict[str, Any], wanted: str, one_line: bool) -> int:
    now = int(time.time())
    number, under, task = wanted.partition("_")
    number, plus, offset = number.partition("+")
    if wanted and not (is_number(number) and int(number) > 0 and (not under or is_number(task))):
        raise Refused(f"scontrol_print_job error: {INVALID_ID}")
    with cluster.read_state(conf) as state:
        rows = state.select_visible_jobs(conf["min_job_age_s"], now)
    if plus and is_number(offset):
        rows = [row for row in rows if (row["het_job_id"], row["het_offset"]) == (int(number), int(offset))]
    elif wanted:
        rows = [row for row in rows if cluster.is_part_of(row, int(number))]
        if under:
            rows = [
                row
                for row in rows
                if int(task) in (row["array_task_id"], *arrays.unfold_tasks(row["array_tasks"] or ""))
            ]
    if not rows:
        if wanted:
            raise Refused(f"slurm_load_jobs error: {INVALID_ID}")
        print("No jobs in the system")
    jobs = [views.Job(row, now, int(task) if under and row["array_tasks"] else None) for row in rows]
    _print_records([_build_job_record(job) for job in jobs], one_line)
    return 0


def _list_id_pairs(job: views.Job) -> list[str]:
    row = job.row
    pairs = [f"JobId={row['raw_id']}"]
    if row["array_job_id"]:
        task_ids = job.task_id if not (row["array_tasks"] and job.task is None) else job.waiting_tasks
        pairs += [f"ArrayJobId={row['array_job_id']}", f"ArrayTaskId={task_ids}"]
        if row["array_limit"]:
            pairs.append(f"ArrayTaskThrottle={row['array_limit']}")
    if row["het_job_id"]:
        pairs += [f"HetJobId={row['het_job_id']}", f"HetJobOffset={row['het_offset']}"]
    return [*pairs, f"JobName={row['name']}"]


def _build_job_record(job: views.Job) -> list[list[str]]:
    row = job.row
    started = [[f"NodeList={row['node_list'] or ''}"]]
    if job.shares:
        started.append([f"BatchHost={job.batch_host}"])
    parts = [[f"HetJobIdSet={row['het_ids']}"]] if row["het_job_id"] else []
    return [
        _list_id_pairs(job),
        *parts,
        *_list_owner_and_times(job),
        *started,
        *_list_resources(job),
        *_list_files(job),
    ]


def _list_owner_and_times(job: views.Job) -> list[list[str]]:
    row = job.row
    try:
        group = grp.getgrgid(row["gid"]).gr_name
    except KeyError:
        group = str(row["gid"])  # a group without an entry
    # A running job without a limit shows a year, as slurmctld reckons with.
    end = job.end_time or (row["start_time"] + schedule.YEAR_S if row["state"] == "RUNNING" else None)
    eligible = times.format_time(row["eligible_time"], "Unknown")
    reason = (row["reason"] or "None").replace(" ", "_")
    suspended = times.format_time(row["suspend_time"], "None")
    before_s = job.elapsed_s if row["suspended_s"] or row["suspend_time"] else 0
    evaluated = times.format_time(row["start_time"] or row["submit_time"], "Unknown")
    return [
        [f"UserId={row['user']}({row['uid']})", f"GroupId={group}({row['gid']})", "MCS_label=N/A"],
        [f"Priority={row['priority']}", f"Nice={row['nice']}", f"Account={row['account'] or '(null)'}",
         f"QOS={row['qos']}"],
        [f"JobState={job.state}", f"Reason={reason}", f"Dependency={row['dependency'] or '(null)'}"],
        [f"Requeue={int(row['requeue'] != 0)}", f"Restarts={row['restarts']}", "BatchFlag=1",
         f"Reboot={job.shown.get('Reboot', 0)}",
         f"ExitCode={format_exit_status(row['exit_raw'])}"],
        [f"RunTime={times.format_full(job.elapsed_s)}", f"TimeLimit={times.format_full_limit(row['time_limit_min'])}",
         f"TimeMin={times.format_full(row['time_min'] * 60) if row['time_min'] else 'N/A'}"],
        [f"SubmitTime={times.format_time(row['submit_time'], 'Unknown')}", f"EligibleTime={eligible}"],
        [f"AccrueTime={eligible}"],
        [f"StartTime={times.format_time(job.start_time, 'Unknown')}", f"EndTime={times.format_time(end, 'Unknown')}",
         f"Deadline={times.format_time(row['deadline'], 'N/A')}"],
        [f"SuspendTime={suspended}", f"SecsPreSuspend={before_s}", f"LastSchedEval={evaluated}", "Scheduler=Main"],
        [f"Partition={row['partition']}", "AllocNode:Sid=localhost:1"],
        [f"ReqNodeList={fold_names(row['req_nodes']) or '(null)'}",
         f"ExcNodeList={fold_names(row['exc_nodes']) or '(null)'}"],
    ]  # fmt: skip


def _list_resources(job: views.Job) -> list[list[str]]:
    row, extra = job.row, job.shown
    memory = f"MinMemoryCPU={units.format_memory(row['mem_cpu_mb'])}" if row["mem_cpu_mb"] else (
        f"MinMemoryNode={units.format_memory(row['mem_node_mb'])}")  # fmt: skip
    per_node = row["ntasks_per_node"] or 0
    asked = f"{row['min_nodes']}-{row['max_nodes']}" if row["max_nodes"] else f"{row['min_nodes']}"
    cores, threads = (extra.get(part, "*") for part in ("cores", "threads"))
    by_socket, by_core = (extra.get(part, "*") for part in ("per_socket", "per_core"))
    return [
        [f"NumNodes={asked if row['state'] == 'PENDING' else job.node_count}", f"NumCPUs={job.cpu_count}",
         f"NumTasks={row['ntasks']}", f"CPUs/Task={row['cpus_per_task']}", f"ReqB:S:C:T=0:0:{cores}:{threads}"],
        [f"TRES={job.format_tres()}"],
        [f"Socks/Node={extra.get('sockets', '*')}", f"NtasksPerN:B:S:C={per_node}:0:{by_socket}:{by_core}",
         "CoreSpec=*"],
        [f"MinCPUsNode={max(row['cpus_per_task'] * max(1, per_node), row['min_cpus'])}", memory,
         f"MinTmpDiskNode={units.format_memory(row['tmp_mb'])}"],
        [f"Features={row['features'] or '(null)'}", f"DelayBoot={extra.get('DelayBoot', '00:00:00')}"],
        [f"OverSubscribe={job.over_subscribe}", f"Contiguous={extra.get('Contiguous', 0)}", "Licenses=(null)",
         f"Network={extra.get('Network', '(null)')}"],
        *([f"{name}={extra[name]}"] for name in ("ClusterFeatures", "Container") if name in extra),
    ]  # fmt: skip


def _list_files(job: views.Job) -> list[list[str]]:
    row = job.row
    lines = [[f"Command={row['command'] or '(null)'}"], [f"WorkDir={row['work_dir']}"]]
    if row["admin_comment"]:
        lines.append([f"AdminComment={row['admin_comment']} "])
    if row["comment"] is not None:
        lines.append([f"Comment={row['comment']} "])
    lines += [
        [f"StdErr={job.format_path(patterns.get_stderr(row))}"],
        [f"StdIn={job.format_path(patterns.get_stdin(row))}"],
        [f"StdOut={job.format_path(patterns.get_stdout(row))}"],
    ]
    extra = {"Power": "", **job.shown}
    extra |= {name: row[column] for name, column in TRES_COLUMNS.items() if row[column]}
    for name, column in (("CpusPerTres", "cpus_gpu"), ("MemPerTres", "mem_gpu_mb"), ("TresPerTask", "gpus_task")):
        if row[column]:
            extra[name] = f"gres:gpu:{row[column]}"
    if extra.get("MailType"):
        extra.setdefault("MailUser", row["user"])
    else:
        extra.pop("MailUser", None)
    if row["tasks_gpu"]:
        extra["NtasksPerTRES"] = str(row["tasks_gpu"])
    return lines + [[f"{name}={extra[name]}"] for name in LAST_FIELDS if extra.get(name) or name == "Power"]


def _show_nodes(conf: dict[str, Any], wanted: str, one_line: bool) -> int:
    with cluster.read_state(conf) as state:
        known = nodes.load_nodes(conf, state)
    facts = nodes.describe_machine()
    code = 0
    for name in expand_hosts(wanted) if wanted else list(known):
        if name not in known:
            print(f"Node {name} not found")
            code = 1
            continue
        lines = _build_node_record(conf, known[name], facts)
        if one_line:
            sys.stdout.write(" ".join(" ".join(pairs) for pairs in lines).rstrip() + "\n")
        else:
            sys.stdout.write("\n   ".join(" ".join(pairs) for pairs in lines) + "\n\n")
    return code


def _build_node_record(conf: dict[str, Any], node: Node, facts: dict[str, Any]) -> list[list[str]]:
    cpus, memory_mb = node.facts["cpus"], node.facts["memory_mb"]
    gpus = node.facts["gpus"]
    features = ",".join(node.facts["features"]) or "(null)"
    parts = ",".join(name for name, part in conf["partitions"].items() if node.name in part["nodes"])
    configured = f"cpu={cpus},mem={units.format_memory(memory_mb)},billing={cpus}" + (
        f",gres/gpu={gpus}" if gpus else ""
    )
    taken = []
    if node.cpus_taken:
        taken.append(f"cpu={node.cpus_taken}")
    if node.memory_taken_mb:
        taken.append(f"mem={units.format_memory(node.memory_taken_mb)}")
    if node.gpus_taken:
        taken.append(f"gres/gpu={len(node.gpus_taken)}")
    boot = times.format_time(facts["boot_time"], "None")
    lines = [
        [f"NodeName={node.name}", f"Arch={facts['arch']}", "CoresPerSocket=1 "],
        [f"CPUAlloc={node.cpus_taken}", f"CPUEfctv={cpus}", f"CPUTot={cpus}", f"CPULoad={facts['load']}"],
        [f"AvailableFeatures={features}"],
        [f"ActiveFeatures={features}"],
        [f"Gres={node.gres or '(null)'}"],
        ["NodeAddr=127.0.0.1", f"NodeHostName={facts['host']}", f"Version={VERSION}"],
        [f"OS={facts['os']} "],
        [f"RealMemory={memory_mb}", f"AllocMem={node.memory_taken_mb}", f"FreeMem={facts['free_mb']}",
         f"Sockets={cpus}", "Boards=1"],
        [f"State={node.full_state}", "ThreadsPerCore=1", f"TmpDisk={node.facts['tmp_mb'] or 0}",
         f"Weight={node.facts['weight']}", "Owner=N/A", "MCS_label=N/A"],
        [f"Partitions={parts} "],
        [f"BootTime={boot}", f"SlurmdStartTime={boot}"],
        [f"LastBusyTime={times.format_time(facts['now'] if node.cpus_taken else facts['boot_time'], 'Unknown')}"],
        [f"CfgTRES={configured}"],
        [f"AllocTRES={','.join(taken)}"],
        ["CapWatts=n/a"],
        ["CurrentWatts=0", "AveWatts=0"],
        ["ExtSensorsJoules=n/s", "ExtSensorsWatts=0", "ExtSensorsTemp=n/s"],
    ]  # fmt: skip
    if node.reason:
        who = (node.reason_user or "").partition("(")[0]
        lines.append([f"Reason={node.reason} [{who}@{times.format_time(node.reason_time, 'Unknown')}]"])
    return lines


def _show_partitions(conf: dict[str, Any], wanted: str, one_line: bool) -> int:
    with cluster.read_state(conf) as state:
        states = state.load_partition_states()
    if wanted and wanted not in conf["partitions"]:
        print(f"Partition {wanted} not found")
        return 1
    for name, part in conf["partitions"].items():
        if wanted in ("", name):
            lines = _build_partition_record(conf, part, nodes.get_partition_state(conf, states, name))
            joint = " " if one_line else "\n   "
            sys.stdout.write(joint.join(" ".join(pairs) for pairs in lines) + ("\n" if one_line else "\n\n"))
    return 0


def _build_partition_record(conf: dict[str, Any], part: dict[str, Any], state: str) -> list[list[str]]:
    members = [conf["nodes"][name] for name in part["nodes"]]
    cpus = sum(node["cpus"] for node in members)
    gpus = sum(node["gpus"] for node in members)
    memory = units.format_memory(sum(node["memory_mb"] for node in members))
    tres = f"cpu={cpus},mem={memory},node={len(members)},billing={cpus}" + (f",gres/gpu={gpus}" if gpus else "")
    return [
        [f"PartitionName={part['name']}"],
        ["AllowGroups=ALL", "AllowAccounts=ALL", "AllowQos=ALL"],
        ["AllocNodes=ALL", f"Default={'YES' if part['default'] else 'NO'}", "QoS=N/A"],
        [f"DefaultTime={part['default_time']}", "DisableRootJobs=NO", "ExclusiveUser=NO", "GraceTime=0", "Hidden=NO"],
        [f"MaxNodes={part['max_nodes'] or 'UNLIMITED'}", f"MaxTime={times.format_full_limit(part['max_time_min'])}",
         "MinNodes=0", "LLN=NO", "MaxCPUsPerNode=UNLIMITED"],
        [f"Nodes={fold_hosts(part['nodes'])}"],
        ["PriorityJobFactor=1", "PriorityTier=1", "RootOnly=NO", "ReqResv=NO", "OverSubscribe=NO"],
        ["OverTimeLimit=NONE", "PreemptMode=OFF"],
        [f"State={state}", f"TotalCPUs={cpus}", f"TotalNodes={len(members)}", "SelectTypeParameters=NONE"],
        ["JobDefaults=(null)"],
        ["DefMemPerNode=UNLIMITED", "MaxMemPerNode=UNLIMITED"],
        [f"TRES={tres}"],
    ]  # fmt: skip


def _show_config(conf: dict[str, Any]) -> int:
    facts = nodes.describe_machine()
    values = {
        "AccountingStorageTRES": "cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "BOOT_TIME": times.format_time(facts["boot_time"], "Unknown"),
        "ClusterName": conf["cluster"],
        "EnforcePartLimits": "NO",
        "GresTypes": "gpu",
        "JobRequeue": "1",
        "KillWait": f"{conf['kill_wait_s']} sec",
        "MaxArraySize": conf["max_array_size"],
        "MaxJobCount": conf["max_job_count"],
        "MinJobAge": f"{conf['min_job_age_s']} sec",
        "PriorityType": "priority/basic",
        "SchedulerType": "sched/backfill",
        "SelectType": "select/cons_tres",
        "SlurmUser": f"{os.environ.get('USER', 'root')}({os.geteuid()})",
        "SLURM_CONF": conf["path"],
        "SLURM_VERSION": VERSION,
        "SlurmctldHost[0]": facts["host"],
        "StateSaveLocation": conf["folder"],
    }
    print(f"Configuration data as of {times.format_time(int(time.time()), 'Unknown')}")
    for name, value in values.items():
        print(f"{name:<23} = {value}")
    print(f"\nSlurmctld(primary) at {facts['host']} is UP")
    return 0
