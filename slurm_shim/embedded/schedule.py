"""Which job starts where, and why the others wait: pure functions.

slurm.conf(5), squeue(1) JOB REASON CODES.

Jobs are tried by priority, then by id. The first job of a partition that finds no room blocks the jobs behind it,
except those that end before it could start anyway (backfill with one reservation per partition).
Differences from slurmctld: a job that asks for no memory takes none (instead of the whole node), and the partition's
PriorityTier is not looked at.
"""

from __future__ import annotations

from . import arrays, deps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Job = Mapping[str, Any]
    Share = tuple[str, int, int, list[int], int]  # node, CPUs, megabytes, GPU indexes, tasks

YEAR_S = 365 * 86400
HELD = {"user": "JobHeldUser", "admin": "JobHeldAdmin", "requeue": "job requeued in held state"}
SHAPE = (
    "min_nodes", "max_nodes", "ntasks", "cpus_per_task", "ntasks_per_node", "mem_node_mb", "mem_cpu_mb", "gpus_total",
    "gpus_node", "gpus_task", "exclusive", "features", "req_nodes", "exc_nodes", "min_cpus", "tmp_mb", "cpus_gpu",
    "mem_gpu_mb", "tasks_gpu",
)  # fmt: skip
UNUSABLE = {"DOWN", "DRAIN", "FAIL"}
# What SLURM says where a partition has fewer nodes in service than a job asks for.
NODES_DOWN = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"


def pack_shares(shares: Sequence[Share]) -> str:
    """Pack an allocation for the state: `node01:4:512:0,1:2;node02:…`."""
    return ";".join(f"{n}:{c}:{m}:{','.join(map(str, g))}:{t}" for n, c, m, g, t in shares)


def unpack_shares(text: str | None) -> list[Share]:
    """Unpack an allocation that `pack_shares` packed."""
    shares: list[Share] = []
    for part in (text or "").split(";"):
        if part:
            name, cpus, memory_mb, gpus, tasks = part.split(":")
            shares.append((name, int(cpus), int(memory_mb), [int(g) for g in gpus.split(",") if g], int(tasks)))
    return shares


class Room:
    """What is free on the nodes.

    name → [CPUs, megabytes, GPU indexes, jobs there].
    """

    def __init__(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self.nodes = nodes
        self.free: dict[str, list[Any]] = {
            name: [node["cpus"], node["memory_mb"], list(range(node["gpus"])), 0] for name, node in nodes.items()
        }

    def take(self, shares: Sequence[Share]) -> None:
        """Take what an allocation holds."""
        for name, cpus, memory_mb, gpus, _ in shares:
            if name in self.free:
                slot = self.free[name]
                slot[0] -= cpus
                slot[1] -= memory_mb
                slot[2] = [g for g in slot[2] if g not in gpus]
                slot[3] += 1

    def give(self, shares: Sequence[Share]) -> None:
        """Give back what an allocation held."""
        for name, cpus, memory_mb, gpus, _ in shares:
            if name in self.free:
                slot = self.free[name]
                slot[0] += cpus
                slot[1] += memory_mb
                slot[2] = sorted({*slot[2], *gpus})
                slot[3] -= 1

    def copy(self) -> Room:
        """Copy the room, to try something on."""
        other = Room({})
        other.nodes = self.nodes
        other.free = {name: [s[0], s[1], list(s[2]), s[3]] for name, s in self.free.items()}
        return other

    def place(self, job: Job, names: Sequence[str]) -> list[Share] | None:
        """Place the job's tasks among these nodes; None when they do not fit."""
        wanted = [name for name in (job["req_nodes"] or "").split(",") if name]
        shut_out = set((job["exc_nodes"] or "").split(","))
        if any(name not in names for name in wanted):
            return None
        limits = {
            n: self._count_fitting_tasks(job, n)
            for n in names
            if n not in shut_out and _has_features(job, self.nodes[n])
        }
        if any(not limits.get(name) for name in wanted):
            return None
        chosen = self._choose_nodes(job, {n: limit for n, limit in limits.items() if limit > 0}, wanted)
        return self._share_out(job, chosen, limits) if chosen else None

    def _count_fitting_tasks(self, job: Job, name: str) -> int:
        cpus, memory_mb, _, jobs = self.free[name]
        node = self.nodes[name]
        if cpus > node["cpus"] or (job["exclusive"] and jobs):
            return 0
        usable = self._count_usable_gpus(job, name)
        if job["mem_node_mb"] > memory_mb or job["gpus_node"] > usable or job["min_cpus"] > cpus:
            return 0
        if node["tmp_mb"] is not None and job["tmp_mb"] > node["tmp_mb"]:
            return 0
        most = cpus // job["cpus_per_task"]
        if job["ntasks_per_node"]:
            most = min(most, job["ntasks_per_node"])
        if job["mem_cpu_mb"]:
            most = min(most, memory_mb // (job["mem_cpu_mb"] * job["cpus_per_task"]))
        if job["gpus_task"]:
            most = min(most, usable // job["gpus_task"])
        if job["tasks_gpu"]:
            most = min(most, usable * job["tasks_gpu"])
        return most

    def _count_usable_gpus(self, job: Job, name: str) -> int:
        """Count the GPUs with the CPUs and memory that the job wants for each."""
        cpus, memory_mb, gpus, _ = self.free[name]
        limits = [cpus // job["cpus_gpu"]] if job["cpus_gpu"] else []
        limits += [memory_mb // job["mem_gpu_mb"]] if job["mem_gpu_mb"] else []
        return min([len(gpus), *limits])

    def _choose_nodes(self, job: Job, limits: Mapping[str, int], wanted: Sequence[str]) -> list[str]:
        def enough(names: Sequence[str]) -> bool:
            gpus = sum(self._count_usable_gpus(job, name) for name in names)
            tasks = sum(limits[name] for name in names)
            return len(names) >= job["min_nodes"] and tasks >= job["ntasks"] and gpus >= job["gpus_total"]

        if job["min_nodes"] <= 1 and len(wanted) <= 1:
            for name in wanted or limits:
                if enough([name]):
                    return [name]
        rest = sorted((n for n in limits if n not in wanted), key=lambda n: (-limits[n], -len(self.free[n][2])))
        names = list(wanted)
        while not enough(names):
            if not rest or (job["max_nodes"] and len(names) >= job["max_nodes"]):
                return []
            names.append(rest.pop(0))
        order = list(self.nodes)
        return sorted(names, key=order.index)

    def _share_out(self, job: Job, names: Sequence[str], limits: Mapping[str, int]) -> list[Share]:
        tasks = dict.fromkeys(names, 1)
        left = max(0, job["ntasks"] - len(names))
        for name in names:
            more = min(left, limits[name] - 1)
            tasks[name] += more
            left -= more
        gpus_left = max(0, job["gpus_total"])
        shares: list[Share] = []
        for index, name in enumerate(names):
            cpus_free, memory_mb, gpus, _ = self.free[name]
            by_tasks = -(-tasks[name] // job["tasks_gpu"]) if job["tasks_gpu"] else job["gpus_task"] * tasks[name]
            count = least = max(job["gpus_node"], by_tasks)
            if job["gpus_total"]:
                later = sum(self._count_usable_gpus(job, other) for other in names[index + 1 :])
                fair = -(-gpus_left // (len(names) - index))
                count = min(self._count_usable_gpus(job, name), max(least, fair, gpus_left - later))
                gpus_left = max(0, gpus_left - count)
            cpus = max(tasks[name] * job["cpus_per_task"], count * job["cpus_gpu"], job["min_cpus"])
            if job["exclusive"]:
                cpus, count = cpus_free, len(gpus)
            memory = job["mem_node_mb"] or job["mem_cpu_mb"] * cpus or job["mem_gpu_mb"] * count
            shares.append((name, cpus, min(memory, memory_mb), gpus[:count], tasks[name]))
        return shares


def _has_features(job: Job, node: Mapping[str, Any]) -> bool:
    return all(word in node["features"] for word in (job["features"] or "").replace("&", ",").split(",") if word)


class Decision:
    """What a pass decided.

    `starts`: (job, task or None, shares, partition); `reasons` and `dependencies` by raw id; `hopeless`: (job, task);
    `late`: jobs that cannot end by their deadline any more; `wake_at`: when something begins by itself, epoch seconds.
    """

    def __init__(self) -> None:
        self.starts: list[tuple[Job, int | None, list[Share], str]] = []
        self.reasons: dict[int, str] = {}
        self.dependencies: dict[int, str] = {}
        self.hopeless: list[tuple[Job, int | None]] = []
        self.late: list[Job] = []
        self.wake_at: int | None = None

    def add_wake(self, when: int | None) -> None:
        """Note that a pass is due at `when`, unless one is due earlier."""
        if when and (self.wake_at is None or when < self.wake_at):
            self.wake_at = when


class Pass:
    """One look at all jobs; it decides and changes nothing."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        unusable: set[str],
        partition_states: Mapping[str, str],
        jobs: Sequence[Job],
        lookup: Any,
        now: int,
    ) -> None:
        self.conf, self.unusable, self.states, self.lookup, self.now = conf, unusable, partition_states, lookup, now
        self.pending = sorted((j for j in jobs if j["state"] == "PENDING"), key=lambda j: (-j["priority"], j["raw_id"]))
        self.busy = [job for job in jobs if job["state"] != "PENDING"]
        self.room = Room(conf["nodes"])
        self.array_running: dict[int, int] = {}
        for job in self.busy:
            self.room.take(unpack_shares(job["alloc"]))
            if job["array_job_id"]:
                self.array_running[job["array_job_id"]] = self.array_running.get(job["array_job_id"], 0) + 1
        self.shadow: dict[str, int] = {}
        self.full: set[tuple[Any, ...]] = set()
        self.decision = Decision()

    def decide(self) -> Decision:
        """Decide what starts, and why the rest waits."""
        for job in self.pending:
            if not job["het_job_id"]:
                self._start_parts([job])
            elif not job["het_offset"]:
                self._start_parts([part for part in self.pending if part["het_job_id"] == job["het_job_id"]])
        return self.decision

    def _start_parts(self, parts: list[Job]) -> None:
        """Start a job: all parts of a heterogeneous one, or none."""
        waits = {part["raw_id"]: self._find_obstacle(part) for part in parts}
        if not any(waits.values()) and any(self._is_late(part) for part in parts):
            self.decision.late += parts
            return
        begun, full, shadow = len(self.decision.starts), set(self.full), dict(self.shadow)
        if not any(waits.values()):
            waits = {part["raw_id"]: self._start_tasks(part) for part in parts}
        if len(parts) > 1 and any(waits.values()):
            for _, _, shares, _ in self.decision.starts[begun:]:
                self.room.give(shares)
            del self.decision.starts[begun:]
            self.full, self.shadow = full, shadow
            waits = {raw_id: waiting or "Resources" for raw_id, waiting in waits.items()}
        self.decision.reasons |= {raw_id: waiting for raw_id, waiting in waits.items() if waiting is not None}

    def _is_late(self, job: Job) -> bool:
        """Return whether the job cannot end by its deadline any more."""
        if job["deadline"] is None:
            return False
        latest = job["deadline"] - 60 * (job["time_min"] or job["time_limit_min"] or 0)
        self.decision.add_wake(latest + 1)
        return bool(latest < self.now)

    def _find_obstacle(self, job: Job) -> str | None:
        """Find why the job may not even ask for room; None when it may."""
        if job["held"]:
            return HELD[job["held"]]
        if job["dependency"] and "aftercorr" not in job["dependency"]:
            verdict, text, wake = deps.judge_dependency(job["dependency"], job, None, self.now, self._bind_lookup(job))
            self.decision.add_wake(wake)
            if text != job["dependency"]:
                self.decision.dependencies[job["raw_id"]] = text
            if verdict == deps.FAILED:
                if job["dep_kill"]:
                    self.decision.hopeless.append((job, None))
                return "DependencyNeverSatisfied"
            if verdict == deps.WAIT:
                return "Dependency"
        if job["begin_time"] and job["begin_time"] > self.now:
            self.decision.add_wake(job["begin_time"])
            return "BeginTime"
        return self._check_partitions(job)

    def _bind_lookup(self, job: Job) -> Any:
        return lambda number, task: self.lookup(job, number, task)

    def _check_partitions(self, job: Job) -> str | None:
        """Return why none of its partitions takes the job; None if one does."""
        says = [self._check_partition(job, name) for name in job["partition"].split(",")]
        return None if None in says else says[0]

    def _check_partition(self, job: Job, name: str) -> str | None:
        part = self.conf["partitions"].get(name)
        state = self.states.get(name, part["state"] if part else "DOWN")
        if part is None or state in ("DOWN", "INACTIVE"):
            return "PartitionDown" if state == "DOWN" else "PartitionInactive"
        limit = part["max_time_min"]
        if limit is not None and (job["time_limit_min"] is None or job["time_limit_min"] > limit):
            return "PartitionTimeLimit"
        if job["min_nodes"] > (part["max_nodes"] or len(part["nodes"])):
            return "PartitionNodeLimit"
        nodes = [self.conf["nodes"][name] for name in part["nodes"]]
        if job["ntasks"] * job["cpus_per_task"] > sum(node["cpus"] for node in nodes):
            return "PartitionConfig"
        return None

    def _start_tasks(self, job: Job) -> str | None:
        """Start what fits of the job; return why the rest waits.

        None when nothing is left.
        """
        if not job["array_job_id"]:
            return self._try_start(job, None)
        first_reason = None
        # One that was held alone has left the common row.
        for task in arrays.unfold_tasks(job["array_tasks"]) if job["array_tasks"] else (None,):
            limit = job["array_limit"]
            if limit and self.array_running.get(job["array_job_id"], 0) >= limit:
                return first_reason or "JobArrayTaskLimit"
            waiting = self._try_start(job, task)
            if waiting is None:
                self.array_running[job["array_job_id"]] = self.array_running.get(job["array_job_id"], 0) + 1
                continue
            first_reason = first_reason or waiting
            if not waiting.startswith("Dependency"):
                break  # the other tasks ask for the same; only dependencies differ between tasks
        return first_reason

    def _try_start(self, job: Job, task: int | None) -> str | None:
        if job["dependency"] and "aftercorr" in job["dependency"]:
            asks = job["array_task_id"] if task is None else task
            verdict, _, wake = deps.judge_dependency(job["dependency"], job, asks, self.now, self._bind_lookup(job))
            self.decision.add_wake(wake)
            if verdict == deps.FAILED and job["dep_kill"]:
                self.decision.hopeless.append((job, task))
            if verdict != deps.MET:
                return "Dependency" if verdict == deps.WAIT else "DependencyNeverSatisfied"
        names = job["partition"].split(",")
        if len(names) == 1:
            return self._try_partition(job, task, names[0])
        waits = []
        for name in names:
            if self._check_partition(job, name) is None:
                waits.append(self._try_partition(job, task, name))
                if waits[-1] is None:
                    return None
        return waits[0]

    def _try_partition(self, job: Job, task: int | None, partition: str) -> str | None:
        part = self.conf["partitions"][partition]
        names = [name for name in part["nodes"] if name not in self.unusable]
        wanted = [name for name in (job["req_nodes"] or "").split(",") if name in self.unusable]
        if wanted:
            return f"ReqNodeNotAvail, UnavailableNodes:{','.join(wanted)}"
        if job["min_nodes"] > len(names):
            return NODES_DOWN  # others need not wait behind it
        shape = (partition, *self._get_shape(job))
        shares = None if shape in self.full else self.room.place(job, names)
        blocked = self._find_blocked_until(part)
        if shares is None:
            # What did not fit once in this pass does not fit later either: room only gets less.
            self.full.add(shape)
            if blocked is not None:
                return "Priority"
            self.shadow[partition] = self.find_earliest_start(job, names)
            return "Resources"
        if blocked is not None and (job["time_limit_min"] is None or self.now + _get_limit_s(job) > blocked):
            return "Priority"
        self.room.take(shares)
        self.decision.starts.append((job, task, shares, partition))
        return None

    def _get_shape(self, job: Job) -> tuple[Any, ...]:
        return tuple(job[key] for key in SHAPE)

    def _find_blocked_until(self, part: Mapping[str, Any]) -> int | None:
        """Find the earliest start of a blocked job on this partition's nodes.

        None when none is blocked.
        """
        nodes = set(part["nodes"])
        times = [when for name, when in self.shadow.items() if nodes & set(self.conf["partitions"][name]["nodes"])]
        return min(times, default=None)

    def find_earliest_start(self, job: Job, names: Sequence[str]) -> int:
        """Find when the running jobs' limits make room, at the latest."""
        room = self.room.copy()
        started = [(self.now + _get_limit_s(j), shares) for j, _, shares, _ in self.decision.starts]
        running = [((j["start_time"] or self.now) + _get_limit_s(j), unpack_shares(j["alloc"])) for j in self.busy]
        for when, shares in sorted([*started, *running], key=lambda pair: pair[0]):
            room.give(shares)
            if room.place(job, names):
                return max(when, self.now)
        return self.now + YEAR_S


def _get_limit_s(job: Job) -> int:
    return YEAR_S if job["time_limit_min"] is None else int(job["time_limit_min"]) * 60


def find_shortage(conf: Mapping[str, Any], job: Job) -> str | None:
    """Find what an empty cluster has too little of for the job.

    None when the job could run, or waits for ever as in SLURM.

    That is `memory`, `cpus` (per node) or `nodes`.
    """
    problems = [_find_shortage_in(conf, job, name) for name in job["partition"].split(",")]
    return None if None in problems else problems[0]


def _find_shortage_in(conf: Mapping[str, Any], job: Job, name: str) -> str | None:
    part = conf["partitions"][name]
    nodes = [conf["nodes"][name] for name in part["nodes"]]
    most_mb = max((node["memory_mb"] for node in nodes), default=0)
    if max(job["mem_node_mb"], job["mem_cpu_mb"]) > most_mb:
        return "memory"
    checked = Pass(conf, set(), {}, [], None, 0)
    if checked._check_partition(job, name) is not None:
        return None
    cpus = job["cpus_per_task"] * max(1, job["ntasks_per_node"])
    if max(cpus, job["min_cpus"]) > max((node["cpus"] for node in nodes), default=0):
        return "cpus"
    if all(node["tmp_mb"] is not None and job["tmp_mb"] > node["tmp_mb"] for node in nodes):
        return "tmp"
    return None if Room(conf["nodes"]).place(job, part["nodes"]) else "nodes"
