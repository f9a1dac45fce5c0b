"""The environment of a job: pure functions.

sbatch(1) OUTPUT ENVIRONMENT VARIABLES, --export.
"""

from __future__ import annotations

from . import schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Job = Mapping[str, Any]
LOGIN = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "MAIL", "LANG", "TERM", "TZ")
# What the script of a heterogeneous job is told of each part, with the part's number behind it.
OF_PARTS = (
    "JOB_ACCOUNT", "JOB_CPUS_PER_NODE", "JOB_ID", "JOB_NAME", "JOB_NODELIST", "JOB_NUM_NODES", "JOB_PARTITION",
    "JOB_QOS", "NPROCS", "NTASKS", "TASKS_PER_NODE",
)  # fmt: skip
FOREIGN = ("SLURM_", "SLURMD_", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def format_counts(values: list[int]) -> str:
    """Format numbers per node in SLURM's short form: `2(x3),1`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return ",".join(f"{value}(x{times})" if times > 1 else str(value) for value, times in runs)


def build_exported(export: str | None, caller: Mapping[str, str]) -> dict[str, str]:
    """Build what --export takes from the caller's environment.

    All, nothing but a login's basics, or the names listed.
    """
    words = (export or "ALL").split(",")
    # SLURM_* is handed on whatever the option says: here, what is not about the job that sbatch may be called in.
    always = {name: value for name, value in caller.items() if name.startswith("SLURM_SLUICE_")}
    if words[0].upper() == "NIL":
        return always
    if any(word.upper() == "ALL" for word in words):
        # What another job's environment says about that job is not handed on (sbatch called in a job).
        env = {name: value for name, value in caller.items() if not name.startswith(FOREIGN)}
    else:
        env = {name: caller[name] for name in LOGIN if name in caller and name not in ("LANG", "TZ", "TERM")}
        env["SLURM_GET_USER_ENV"] = "1"
        env.setdefault("PATH", DEFAULT_PATH)
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            env[name] = value
        elif name in caller:
            env[name] = caller[name]
    if export:
        env["SLURM_EXPORT_ENV"] = export
    return env | always


def build_step_environment(export: str | None, caller: Mapping[str, str]) -> dict[str, str]:
    """Build what srun --export leaves of the job's environment.

    All, or SLURM's own variables and the names listed.
    """
    words = (export or "ALL").split(",")
    everything = any(word.upper() == "ALL" for word in words)
    env = {name: value for name, value in caller.items() if everything or name.startswith(FOREIGN)}
    for word in words:
        name, equals, value = word.partition("=")
        if equals or name in caller:
            env[name] = value if equals else caller[name]
    return env


def build_job_environment(
    job: Job, conf: Mapping[str, Any], caller: Mapping[str, str], array: Mapping[str, int]
) -> dict[str, str]:
    """Build the batch script's environment.

    `caller`: the submitter's; `array`: count, min, max, step of an array.
    """
    env = build_exported(job["export"], caller)
    shares = schedule.unpack_shares(job["alloc"])
    gpus = [str(gpu) for gpu in (shares[0][3] if shares else [])]
    tasks = [share[4] if job["ntasks_set"] else share[1] // job["cpus_per_task"] for share in shares]
    env |= {
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": shares[0][0],
        "SLURMD_NODENAME": shares[0][0],
        "SLURM_CLUSTER_NAME": conf["cluster"],
        "SLURM_CONF": conf["path"],
        "SLURM_CPUS_ON_NODE": str(shares[0][1]),
        "SLURM_GTIDS": "0",
        "SLURM_JOBID": str(job["raw_id"]),
        "SLURM_JOB_ACCOUNT": job["account"] or "(null)",
        "SLURM_JOB_CPUS_PER_NODE": format_counts([share[1] for share in shares]),
        "SLURM_JOB_GID": str(job["gid"]),
        "SLURM_JOB_ID": str(job["raw_id"]),
        "SLURM_JOB_NAME": job["name"],
        "SLURM_JOB_NODELIST": job["node_list"],
        "SLURM_JOB_NUM_NODES": str(len(shares)),
        "SLURM_JOB_PARTITION": job["partition"],
        "SLURM_JOB_QOS": job["qos"] or "normal",
        "SLURM_JOB_UID": str(job["uid"]),
        "SLURM_JOB_USER": job["user"],
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": str(len(shares)),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": job["node_list"],
        "SLURM_NODE_ALIASES": "(null)",
        "SLURM_PRIO_PROCESS": "0",
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": caller.get("SLURM_SUBMIT_DIR", ""),
        "SLURM_SUBMIT_HOST": caller.get("SLURM_SUBMIT_HOST", ""),
        "SLURM_TASKS_PER_NODE": format_counts(tasks),
        "SLURM_TOPOLOGY_ADDR": shares[0][0],
        "SLURM_TOPOLOGY_ADDR_PATTERN": "node",
    }
    env.setdefault("TMPDIR", "/tmp")  # noqa: S108 (what slurmstepd sets)
    if conf["nodes"].get(shares[0][0], {}).get("gpus"):
        env["CUDA_VISIBLE_DEVICES"] = ""  # the node's GPUs are not this job's, unless the next lines say so
    return env | _build_resource_variables(job, gpus) | _build_array_variables(job, array)


def build_part_variables(parts: list[dict[str, str]]) -> dict[str, str]:
    """Build what a heterogeneous job's script is told of all parts.

    From what each part's own script would be told; under SLURM's older word too.
    """
    env: dict[str, str] = {}
    for word in ("HET", "PACK"):
        env[f"SLURM_{word}_SIZE"] = str(len(parts))
        for offset, part in enumerate(parts):
            for name in OF_PARTS:
                if f"SLURM_{name}" in part:
                    env[f"SLURM_{name}_{word}_GROUP_{offset}"] = part[f"SLURM_{name}"]
    return env


def _build_resource_variables(job: Job, gpus: list[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    if job["ntasks_set"]:
        env["SLURM_NTASKS"] = env["SLURM_NPROCS"] = str(job["ntasks"])
    if job["ntasks_per_node"]:
        env["SLURM_NTASKS_PER_NODE"] = str(job["ntasks_per_node"])
    if job["cpus_set"]:
        env["SLURM_CPUS_PER_TASK"] = str(job["cpus_per_task"])
    if job["mem_node_mb"]:
        env["SLURM_MEM_PER_NODE"] = str(job["mem_node_mb"])
    if job["mem_cpu_mb"]:
        env["SLURM_MEM_PER_CPU"] = str(job["mem_cpu_mb"])
    if job["restarts"]:
        env["SLURM_RESTART_COUNT"] = str(job["restarts"])
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = env["GPU_DEVICE_ORDINAL"] = env["SLURM_JOB_GPUS"] = ",".join(gpus)
        env["SLURM_GPUS_ON_NODE"] = str(len(gpus))
    for name, column in (
        ("CPUS_PER_GPU", "cpus_gpu"), ("MEM_PER_GPU", "mem_gpu_mb"), ("NTASKS_PER_GPU", "tasks_gpu"),
        ("GPUS_PER_TASK", "gpus_task"),
    ):  # fmt: skip
        if job[column]:
            env[f"SLURM_{name}"] = str(job[column])
    if job["tres_per_job"]:
        env["SLURM_GPUS"] = job["tres_per_job"].removeprefix("gres:gpu:")
    elif job["gpus_node"] and (job["tres_per_node"] or "").startswith("gres:gpu"):
        env["SLURM_GPUS_PER_NODE"] = str(job["gpus_node"])
    return env


def _build_array_variables(job: Job, array: Mapping[str, int]) -> dict[str, str]:
    if job["array_task_id"] is None:
        return {}
    env = {"SLURM_ARRAY_JOB_ID": str(job["array_job_id"]), "SLURM_ARRAY_TASK_ID": str(job["array_task_id"])}
    return env | {f"SLURM_ARRAY_TASK_{name.upper()}": str(value) for name, value in array.items()}
