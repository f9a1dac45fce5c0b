"""srun(1) inside a job: a step of several copies of a command.

The job's nodes are all this machine.

Outside of a job it is refused. Unlike under SLURM the steps of one job do not wait for each other's CPUs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

from .. import arrays, cluster, environment, patterns, placement, procs, schedule
from ..states import Refused
from ..units import is_number
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ..state import Row

# What shares out a machine (memory, cores, binding) or asks for a job of its own has no meaning within a job here.
OPTIONS = Options(
    "srun",
    """ntasks/n= nodes/N= cpus-per-task/c= label/l output/o= error/e= input/i= job-name/J= chdir/D= export= gpus/G=
    gpus-per-node= gpus-per-task= gres= kill-on-bad-exit/K? mpi= nodelist/w= exclude/x= ntasks-per-node= quiet/Q
    jobid= overcommit/O open-mode= het-group= version/V help/h usage""",
    255,
    """unbuffered/u mem= mem-per-cpu= exclusive? overlap exact cpu-bind= mem-bind= partition/p= verbose/v account/A=
    qos/q= constraint/C= comment= distribution/m= threads-per-core= hint= propagate? gpu-bind= no-kill/k?
    oversubscribe/s ntasks-per-core= ntasks-per-socket=""",
)
WORDS = {signal.SIGKILL: "Killed", signal.SIGTERM: "Terminated", signal.SIGINT: "Interrupt", signal.SIGABRT: "Aborted",
         signal.SIGSEGV: "Segmentation fault", signal.SIGHUP: "Hangup", signal.SIGUSR1: "User defined signal 1",
         signal.SIGUSR2: "User defined signal 2"}  # fmt: skip
FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGHUP,
    signal.SIGALRM,
)


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run srun; return the highest exit status of the tasks.

    128 plus the signal for one that a signal ended.
    """
    asked, command = OPTIONS.gather(argv, permute=False)
    if asked.get("mpi", "none") == "list":
        print("MPI plugin types are...\n\tnone")
        return 0
    _check_options(asked)
    if not command:
        raise Refused("srun: fatal: No command given to execute.")
    number = str(asked.get("jobid") or os.environ.get("SLURM_JOB_ID", ""))
    if not is_number(number):
        note = "srun outside of a job is not available on the embedded cluster; use sbatch"
        text = "Unable to allocate resources: Requested operation is presently disabled"
        raise Refused([f"srun: error: {note}", f"srun: error: {text}"])
    step = Step(conf, asked, argv, command, int(number))
    step.register()
    step.start()
    return step.finish()


def _check_options(asked: dict[str, Any]) -> None:
    """Refuse bad values of options that have only a few."""
    if asked.get("mpi", "none") != "none":
        text = f"Invalid MPI type '{asked['mpi']}', --mpi=list for acceptable types"
        raise Refused(f"srun: error: {text}")
    if "open-mode" in asked and asked["open-mode"][:1].lower() not in ("a", "t"):
        raise Refused("srun: error: Invalid --open-mode specification", 255)


def _parse_number(asked: dict[str, Any], name: str, default: int) -> int:
    text = asked.get(name)
    if text is None:
        return default
    digits = str(text).partition("-")[0]
    if not is_number(digits) or not int(digits):
        raise Refused(f'srun: error: Invalid numeric value "{text}" for --{name}.')
    return int(digits)


def _choose_parts(text: str, rows: list[Row]) -> list[Row]:
    """Choose parts of a heterogeneous job by --het-group: `1`, `0,2`, `0-1`."""
    try:
        wanted = arrays.parse_array(text, 1 << 31)[0]
    except ValueError as error:
        lines = [f"_parse_single_range: Invalid range: `{text}'", f"Invalid --het-group value: {text}"]
        raise Refused([f"srun: error: {line}" for line in lines]) from error
    most = max(row["het_offset"] or 0 for row in rows)
    if wanted[-1] > most:
        text = f"Requested het-group offset exceeds highest hetjob index ({wanted[-1]} > {most})"
        raise Refused(f"srun: error: {text}")
    chosen = [row for row in rows if row["het_offset"] in wanted and row["state"] in ("RUNNING", "SUSPENDED")]
    if not chosen:
        raise Refused("srun: error: No directives to start application on any available hetjob components")
    return chosen


class Step:
    """One srun: its place in the job, its tasks, and how they ended."""

    def __init__(
        self, conf: dict[str, Any], asked: dict[str, Any], argv: list[str], command: list[str], raw_id: int
    ) -> None:
        self.conf, self.asked, self.argv, self.command = conf, asked, argv, command
        with cluster.read_state(conf) as state:
            rows = state.select_jobs("raw_id = ?", raw_id)
            if not rows or rows[0]["state"] not in ("RUNNING", "SUSPENDED"):
                raise Refused(f"srun: error: Unable to confirm allocation for job {raw_id}: Invalid job id specified")
            if "het-group" in asked:
                rows = _choose_parts(asked["het-group"], cluster.find_jobs(state, raw_id))
        self.job_id = raw_id
        self.parts = {row["raw_id"]: row for row in rows}
        self.cpus = _parse_number(asked, "cpus-per-task", 1)
        self.places: list[tuple[int, schedule.Share]] = []
        self.counts: dict[int, int] = {}  # tasks of each part
        self.nodes: list[str] = []
        for row in rows:
            placed = self._place_tasks(row)
            self.places += [(index + len(self.nodes), share) for index, share in placed]
            self.counts[row["raw_id"]] = len(placed)
            self.nodes += patterns.list_nodes(row)
        self.number = -1
        self.pids: dict[int, int] = {}
        self.statuses: dict[int, int] = {}
        self.pipes: dict[int, tuple[int, str]] = {}

    def _place_tasks(self, row: Row) -> list[tuple[int, schedule.Share]]:
        """Place the tasks node by node: (index, share) of each task's node."""
        shares = schedule.unpack_shares(row["alloc"])
        nodes = _parse_number(self.asked, "nodes", 0)
        if nodes > len(shares):
            raise Refused(f"srun: error: Only allocated {len(shares)} nodes asked for {nodes}")
        fewer = "ntasks" in self.asked and ("nodelist" in self.asked or "exclude" in self.asked)
        count = nodes or (min(len(shares), _parse_number(self.asked, "ntasks", 1)) if fewer else len(shares))
        chosen = placement.choose_nodes(self.asked, shares, count, row["raw_id"])
        numbers = [index for index, _ in chosen]
        shares = placement.limit_gpus(self.asked, [share for _, share in chosen], row["raw_id"])
        per_node = _parse_number(self.asked, "ntasks-per-node", 0)
        of_job = row["ntasks"] if "het-group" in self.asked else int(os.environ.get("SLURM_NTASKS", "0"))
        default = of_job if not nodes else 0
        tasks = _parse_number(self.asked, "ntasks", per_node * len(shares) or default or len(shares))
        room = [max(1, share[1] // self.cpus) for share in shares]
        if tasks * self.cpus > sum(share[1] for share in shares) and "overcommit" not in self.asked:
            text = "More processors requested than permitted"
            raise placement.make_step_refusal(row["raw_id"], text)
        counts = [1 if index < tasks else 0 for index in range(len(shares))]
        left = tasks - sum(counts)
        for index, most in enumerate(room):
            more = min(left, max(0, most - counts[index]))
            counts[index] += more
            left -= more
        counts[0] += left
        return [(numbers[index], shares[index]) for index, count in enumerate(counts) for _ in range(count)]

    def register(self) -> None:
        """Give the step its number and a line in accounting."""
        with cluster.change_state(self.conf) as state:
            self.number = state.select_jobs("raw_id = ?", self.job_id)[0]["next_step"] or 0
            state.update_job(self.job_id, next_step=self.number + 1)
            done = 0
            for raw_id, count in self.counts.items():
                names = list(dict.fromkeys(share[0] for _, share in self.places[done : done + count]))
                done += count
                state.insert_row(
                    "steps", raw_id=raw_id, step=str(self.number),
                    name=self.asked.get("job-name") or os.path.basename(self.command[0]), state="RUNNING",
                    start_time=int(time.time()), ntasks=count, ncpus=count * self.cpus,
                    nnodes=len(names), node_list=cluster.fold_hosts(names), submit_line=" ".join(["srun", *self.argv]),
                )  # fmt: skip

    def start(self) -> None:
        """Start the tasks."""
        for number in FORWARDED:
            signal.signal(number, self._forward_signal)
        sys.stdout.flush()
        self._empty_outputs()
        for task in range(len(self.places)):
            reader, writer = os.pipe2(os.O_CLOEXEC) if "label" in self.asked else (-1, -1)
            pid = os.fork()
            if pid == 0:
                self._become_task(task, writer)
            self.pids[pid] = task
            if writer >= 0:
                os.close(writer)
                self.pipes[reader] = (task, "")

    def _empty_outputs(self) -> None:
        """Empty the output files, unless --open-mode=append."""
        if self.asked.get("open-mode", "t")[0].lower() == "a":
            return
        options = [option for option in ("output", "error") if option in self.asked]
        for name in {self._expand_name(option, task) for option in options for task in range(len(self.places))}:
            with contextlib.suppress(OSError):  # the tasks cannot open it either, and tell so
                os.close(os.open(os.path.join(self.asked.get("chdir", ""), name), os.O_WRONLY | os.O_TRUNC))

    def _forward_signal(self, number: int, _: FrameType | None) -> None:
        procs.send_signal(list(self.pids), number)

    def _build_environment(self, task: int) -> dict[str, str]:
        index, share = self.places[task]
        local = sum(1 for other in self.places[:task] if other[0] == index)
        nodes = list(dict.fromkeys(place[1][0] for place in self.places))
        per_node = environment.format_counts([sum(p[1][0] == name for p in self.places) for name in nodes])
        gpus = share[3]
        each = _parse_number(self.asked, "gpus-per-task", 0) or next(iter(self.parts.values()))["gpus_task"]
        gpus = gpus[local * each : (local + 1) * each] if each else gpus
        env = environment.build_step_environment(self.asked.get("export"), os.environ)
        if gpus or env.get("CUDA_VISIBLE_DEVICES"):
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        tasks = str(len(self.places))
        return env | {
            "SLURM_PROCID": str(task), "SLURM_LOCALID": str(local), "SLURM_NODEID": str(index),
            "SLURMD_NODENAME": share[0], "HOSTNAME": share[0], "SLURM_STEP_ID": str(self.number),
            "SLURM_STEPID": str(self.number), "SLURM_NTASKS": tasks, "SLURM_NPROCS": tasks,
            "SLURM_STEP_NUM_TASKS": tasks, "SLURM_STEP_NUM_NODES": str(len(nodes)),
            "SLURM_STEP_NODELIST": cluster.fold_hosts(nodes), "SLURM_STEP_TASKS_PER_NODE": per_node,
            "SLURM_TASKS_PER_NODE": per_node, "SLURM_CPUS_ON_NODE": str(share[1]),
            "SLURM_SRUN_COMM_HOST": "127.0.0.1", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
            **({"SLURM_CPUS_PER_TASK": str(self.cpus)} if "cpus-per-task" in self.asked else {}),
        }  # fmt: skip

    def _become_task(self, task: int, writer: int) -> None:
        env = self._build_environment(task)
        node = env["SLURMD_NODENAME"]
        try:
            for number in (*FORWARDED, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            self._redirect(task, writer)
            if "chdir" in self.asked:
                os.chdir(self.asked["chdir"])
            env["SLURM_TASK_PID"] = str(os.getpid())
            # Without a PATH handed over nothing is looked for along one, as in slurmstepd.
            start = os.execvpe if "PATH" in env else os.execve
            start(self.command[0], self.command, env)
        except OSError as error:
            line = f"slurmstepd-{node}: error: execve(): {self.command[0]}: {error.strerror}\n"
            os.write(2, line.encode("utf-8", "surrogateescape"))
            os._exit(error.errno or 2)
        finally:
            os._exit(127)

    def _redirect(self, task: int, writer: int) -> None:
        if task and "input" not in self.asked:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if writer >= 0:
            os.dup2(writer, 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if "input" in self.asked:
            os.dup2(os.open(self._expand_name("input", task), os.O_RDONLY), 0)
        if "output" in self.asked:
            os.dup2(os.open(self._expand_name("output", task), flags, 0o666), 1)
            if "error" not in self.asked:
                os.dup2(1, 2)
        if "error" in self.asked:
            os.dup2(os.open(self._expand_name("error", task), flags, 0o666), 2)

    def _expand_name(self, option: str, task: int) -> str:
        node = list(dict.fromkeys(self.nodes)).index(self.places[task][1][0])
        row = next(iter(self.parts.values()))
        return patterns.expand_pattern(self.asked[option], row, str(self.number), node, task)

    def finish(self) -> int:
        """Wait for the tasks, write down the step's end; return its status."""
        while self.pipes:
            self._print_labelled()
        longest_rss, user_us, sys_us = 0, 0, 0
        while self.pids:
            pid, status, usage = os.wait3(0)
            task = self.pids.pop(pid, None)
            if task is None:
                continue
            self.statuses[task] = status
            longest_rss = max(longest_rss, usage.ru_maxrss)
            user_us += int(usage.ru_utime * 1e6)
            sys_us += int(usage.ru_stime * 1e6)
            if status and self.asked.get("kill-on-bad-exit", "0") != "0":
                procs.send_signal(list(self.pids), signal.SIGTERM)
        self._print_failures()
        worst = max(self.statuses.values(), key=_to_exit_status)
        with cluster.change_state(self.conf) as state:
            for raw_id in self.counts:
                state.db.execute(
                    "UPDATE steps SET end_time = ?, state = ?, exit_raw = ?, user_us = ?, sys_us = ?, max_rss_kb = ? "
                    "WHERE raw_id = ? AND step = ?",
                    (int(time.time()), _to_step_state(worst), worst & 0xFF7F, user_us, sys_us, longest_rss,
                     raw_id, str(self.number)),
                )  # fmt: skip
                state.db.execute(
                    "UPDATE jobs SET derived_raw = max(coalesce(derived_raw, 0), ?) WHERE raw_id = ?",
                    (worst & 0xFF7F, raw_id),
                )
        return _to_exit_status(worst)

    def _print_labelled(self) -> None:
        """Print whole lines of the tasks, numbered by task (--label)."""
        with contextlib.suppress(InterruptedError):
            for reader in select.select(list(self.pipes), [], [])[0]:
                task, rest = self.pipes[reader]
                raw = os.read(reader, 65536)
                lines = (rest + raw.decode("utf-8", "surrogateescape")).split("\n")
                self.pipes[reader] = (task, lines.pop())
                if not raw:
                    lines += [text for text in [self.pipes.pop(reader)[1]] if text]
                    os.close(reader)
                width = len(str(len(self.places) - 1))
                sys.stdout.write("".join(f"{task:>{width}}: {line}\n" for line in lines))
        sys.stdout.flush()

    def _print_failures(self) -> None:
        groups: dict[tuple[str, str], list[int]] = {}
        for task, status in sorted(self.statuses.items()):
            if status:
                code = os.waitstatus_to_exitcode(status)
                what = (
                    f"Exited with exit code {code}" if code > 0 else WORDS.get(signal.Signals(-code), f"Signal {-code}")
                )
                groups.setdefault((self.places[task][1][0], what), []).append(task)
        if "quiet" not in self.asked:
            for (node, what), tasks in groups.items():
                word = f"tasks {arrays.fold_tasks(tasks)}" if len(tasks) > 1 else f"task {tasks[0]}"
                print(f"srun: error: {node}: {word}: {what}", file=sys.stderr)


def _to_exit_status(status: int) -> int:
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def _to_step_state(status: int) -> str:
    if status & 0x7F in (signal.SIGTERM, signal.SIGKILL):
        return "CANCELLED"
    return "FAILED" if status else "COMPLETED"
