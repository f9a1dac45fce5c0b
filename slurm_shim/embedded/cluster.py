"""The scheduling pass: settle, decide, write down, start the jobs.

Every change runs inside `change_state()`: lock, transaction, the caller's change, the scheduling pass, commit, and only
then are the new jobs' supervisors let go. A supervisor is forked before the commit so that its identity is written
with the start, and waits on a pipe; it looks into the committed state before it runs anything. So a job runs at most
once, whatever is killed when:
- killed before the commit: the supervisor finds no start with its name on it and leaves;
- killed after the commit: the pipe closes with its owner and the supervisor goes on;
- the supervisor dies before it began the script: the job goes back to the queue;
- it dies later, or the machine restarts: the job's processes are ended and the job becomes NODE_FAIL, as slurmctld does
  with batch jobs missing from their node. It is queued again only if --requeue was asked for in words
  (SLURM's default would queue every job again; running twice unasked is worse here).
"""

from __future__ import annotations

import os
import sys
import time

from . import arrays, procs, schedule
from .conf import ENDED
from .hosts import fold_hosts
from .state import State
from .states import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from .state import Row

FIRST_PRIORITY = 4294901759
BUSY = "(end_time IS NULL AND state IN ('RUNNING','SUSPENDED')) OR completing = 1"
# The other parts of a heterogeneous job have no supervisor of their own.
SUPERVISED = f"({BUSY}) AND COALESCE(het_offset, 0) = 0"
DECIDING = (
    "raw_id, array_job_id, array_task_id, array_tasks, array_limit, name, uid, partition, state, reason, held, "
    "priority, eligible_time, begin_time, start_time, time_limit_min, min_nodes, max_nodes, ntasks, cpus_per_task, "
    "ntasks_per_node, mem_node_mb, mem_cpu_mb, gpus_total, gpus_node, gpus_task, exclusive, features, req_nodes, "
    "exc_nodes, alloc, dependency, dep_kill, completing, end_time, het_job_id, het_offset, deadline, time_min, "
    "min_cpus, tmp_mb, cpus_gpu, mem_gpu_mb, tasks_gpu"
)
SIGKILL, SIGTERM = 9, 15  # POSIX's numbers: `signal` takes 2 ms to load, in each command
MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", "main.py")


# These two are used as functions are; made of generators they would need contextlib, whose import takes 4 ms each time.
class change_state:
    """Open the state for a change; the scheduling pass follows.

    Nothing is changed when the block raises.
    """

    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf

    def __enter__(self) -> State:
        if self.conf["down"]:
            raise Unreachable
        self.state = State(self.conf["folder"])
        try:
            self.state.lock()
            self.state.begin()
        except BaseException:
            self._close()
            raise
        return self.state

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        leashes: list[int] = []
        try:
            if kind is None:
                leashes = run_pass(self.conf, self.state)
                self.state.db.execute("COMMIT")
        finally:
            if self.state.db.in_transaction:
                self.state.db.execute("ROLLBACK")
            for leash in leashes:
                os.close(leash)
            self._close()
        if kind is None and self.state.has_ended_jobs:
            _announce_ends(self.conf)

    def _close(self) -> None:
        self.state.close()
        if self.state.lock_fd >= 0:
            self.state.unlock()


def _announce_ends(conf: dict[str, Any]) -> None:
    """Write the file that tells a watcher of jobs that have ended."""
    try:
        file = os.open(os.path.join(conf["folder"], ENDED, "last"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.utime(file)
        os.close(file)
    except OSError:
        pass  # nobody has made the folder, so nobody watches it


class read_state:
    """Open the state for reading, after settling what is overdue."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf

    def __enter__(self) -> State:
        if self.conf["down"]:
            raise Unreachable
        self.state = State(self.conf["folder"])
        try:
            if _is_overdue(self.state):
                with change_state(self.conf):
                    pass
        except BaseException:
            self.state.close()
            raise
        return self.state

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.state.close()


def _is_overdue(state: State) -> bool:
    busy = state.select_jobs(SUPERVISED, columns="sup_pid, sup_start, boot_id")
    if any(not procs.is_alive(*row) for row in busy):
        return True
    wake_at = state.get_meta("wake_at")
    return bool(wake_at) and int(wake_at) <= time.time()


def run_pass(conf: dict[str, Any], state: State) -> list[int]:
    """Run the scheduling pass; return the pipes to close after the commit.

    They hold back the supervisors of the jobs just started.
    """
    leashes: list[int] = []
    now = int(time.time())
    _settle_dead_jobs(conf, state, now)
    while True:
        decision = _decide_starts(conf, state, now)
        for raw_id, reason in decision.reasons.items():
            state.update_job(raw_id, reason=reason)
        for raw_id, text in decision.dependencies.items():
            state.update_job(raw_id, dependency=text, **({} if text else {"eligible_time": now}))
        for job, task in decision.hopeless:
            cancel_pending_job(state, job, [task] if task is not None else None, now, "DependencyNeverSatisfied")
        for job in decision.late:
            state.has_ended_jobs = True
            late: dict[str, object] = {"state": "DEADLINE", "reason": "DeadLine", "exit_raw": 1}
            state.update_job(job["raw_id"], start_time=now, end_time=now, **late)
        started = [_start_job(state, *start, now) for start in decision.starts]
        for raw_id in started:
            row = state.select_jobs("raw_id = ?", raw_id)[0]
            if row["het_offset"]:
                continue  # the first part's script, and its supervisor, are those of all
            if conf["execute"]:
                leashes.append(_fork_supervisor(conf, state, raw_id))
            else:
                settle_job(conf, state, row, now, 0)
        if not decision.hopeless and not decision.late and (conf["execute"] or not decision.starts):
            break
    _schedule_wake(conf, state, decision.wake_at)
    return leashes


def _decide_starts(conf: dict[str, Any], state: State, now: int) -> schedule.Decision:
    jobs = state.select_jobs("end_time IS NULL OR completing = 1", columns=DECIDING)
    flags = state.load_node_marks()
    unusable = {name for name, row in flags.items() if schedule.UNUSABLE & set((row["flags"] or "").split("+"))}
    cache: dict[tuple[int, int | None], list[Row]] = {}

    first: dict[tuple[str, int], Row] = {}
    for row in jobs:
        first.setdefault((row["name"], row["uid"]), row)

    def lookup(job: Any, number: int, task: int | None) -> list[Row]:
        if number == 0:
            oldest = first[job["name"], job["uid"]]
            return [oldest] if oldest["raw_id"] < job["raw_id"] else []
        if (number, task) not in cache:
            cache[number, task] = find_jobs(state, number, task)
        return cache[number, task]

    passed = schedule.Pass(conf, unusable, state.load_partition_states(), jobs, lookup, now).decide()
    known = {job["raw_id"]: job["reason"] for job in jobs}
    passed.reasons = {raw_id: reason for raw_id, reason in passed.reasons.items() if known[raw_id] != reason}
    return passed


def find_jobs(state: State, number: int, task: int | None = None) -> list[Row]:
    """Find the rows of a job id.

    One job, all of an array or of a heterogeneous job, or the one of an array task (started, or still waiting in the
    array's row).
    """
    if task is None:
        return state.select_jobs("array_job_id = ? OR raw_id = ? OR het_job_id = ?", number, number, number)
    rows = state.select_jobs("array_job_id = ?", number)
    return [r for r in rows if r["array_task_id"] == task or task in arrays.unfold_tasks(r["array_tasks"] or "")]


def is_part_of(row: Row, number: int) -> bool:
    """Return whether the row is this job, or a part of this array or het job."""
    return number in (row["raw_id"], row["array_job_id"], row["het_job_id"])


def list_parts(state: State, row: Row) -> list[Row]:
    """List the running parts that a heterogeneous job's first takes along."""
    if not row["het_job_id"] or row["het_offset"]:
        return []
    where = "het_job_id = ? AND het_offset > 0 AND end_time IS NULL AND state != 'PENDING'"
    return state.select_jobs(where, row["het_job_id"])


def _start_job(state: State, job: Row, task: int | None, shares: list[schedule.Share], partition: str, now: int) -> int:
    """Mark a job as running; return the raw id of its row.

    A task leaves its array's row, except the last one, which keeps it.
    """
    raw_id = int(job["raw_id"])
    if task is not None:
        raw_id = split_task(state, raw_id, task)
    state.update_job(
        raw_id,
        state="RUNNING",
        reason="None",
        dependency="",
        partition=partition,
        time_limit_min=_limit_by_deadline(job, now),
        start_time=now,
        eligible_time=job["eligible_time"] or now,
        alloc=schedule.pack_shares(shares),
        node_list=_fold_nodes(shares),
        tasks_per_node=",".join(str(share[4]) for share in shares),
        suspended_s=0,
        next_step=0,
    )
    return raw_id


def _limit_by_deadline(job: Row, now: int) -> int | None:
    limit_min: int | None = job["time_limit_min"]
    if job["deadline"] is None:
        return limit_min
    left_min = (job["deadline"] - now) // 60
    return left_min if limit_min is None else min(limit_min, left_min)


def _fold_nodes(shares: list[schedule.Share]) -> str:
    return fold_hosts([share[0] for share in shares])


def split_task(state: State, raw_id: int, task: int) -> int:
    """Make an array task a row of its own; return its raw id."""
    row = state.select_jobs("raw_id = ?", raw_id)[0]
    rest = [number for number in arrays.unfold_tasks(row["array_tasks"]) if number != task]
    if not rest:
        state.update_job(raw_id, array_task_id=task, array_tasks=None)
        return raw_id
    columns = {**dict(row), "raw_id": state.take_number("next_id", 1), "array_task_id": task, "array_tasks": None}
    state.update_job(raw_id, array_tasks=arrays.fold_tasks(rest))
    return state.insert_row("jobs", **columns)


def cancel_pending_job(
    state: State, job: Row, tasks: list[int] | None, now: int, reason: str | None = None, uid: int | None = None
) -> None:
    """Cancel a waiting job; of an array only these tasks.

    Cancelled tasks disappear as in SLURM, unless they are the last.
    """
    if tasks is not None and job["array_tasks"]:
        rest = [number for number in arrays.unfold_tasks(job["array_tasks"]) if number not in tasks]
        if rest:
            state.update_job(job["raw_id"], array_tasks=arrays.fold_tasks(rest))
            return
    state.has_ended_jobs = True
    changes: dict[str, object] = {"state": "CANCELLED", "end_time": now, "start_time": now, "kill_uid": uid}
    if reason:
        changes |= {"reason": reason, "start_time": None}
    state.update_job(job["raw_id"], **changes)


def _settle_dead_jobs(conf: dict[str, Any], state: State, now: int) -> None:
    for row in state.select_jobs(SUPERVISED):
        if procs.is_alive(row["sup_pid"], row["sup_start"], row["boot_id"]):
            continue
        if row["job_pid"] is None and row["state"] in ("RUNNING", "SUSPENDED") and not row["ending"]:
            requeue_job(state, row, now, restarts=row["restarts"], delay_s=0)
            continue
        if row["boot_id"] == procs.read_boot_id():
            session = row["job_pid"] if procs.is_alive(row["job_pid"], row["job_start"], row["boot_id"]) else None
            procs.send_signal(
                (pid for pid, _ in procs.list_job_processes(row["raw_id"], conf["path"], session)), SIGKILL
            )
        if not row["ending"]:
            state.update_job(row["raw_id"], ending="NODE_FAIL")
        settle_job(conf, state, state.select_jobs("raw_id = ?", row["raw_id"])[0], now, None)


def settle_job(conf: dict[str, Any], state: State, row: Row, now: int, raw: int | None) -> None:
    """Write down the end of a job, or put it back into the queue.

    State, exit status and batch step.
    """
    ending = row["ending"] or ("COMPLETED" if raw == 0 else "FAILED")
    if ending in ("REQUEUE", "REQUEUE_HOLD") or (ending == "NODE_FAIL" and row["requeue"] == 1):
        _close_steps(state, row, now, raw, "CANCELLED")
        old_state = "REQUEUED" if ending.startswith("REQUEUE") else "NODE_FAIL"
        state.insert_row("past", **{**dict(row), "state": old_state, "end_time": now, "completing": 0})
        delay_s = conf["requeue_delay_s"]
        requeue_job(state, row, now, row["restarts"] + 1, delay_s, hold=ending == "REQUEUE_HOLD")
        return
    reasons = {"FAILED": "NonZeroExitCode", "NODE_FAIL": "NodeDown", "TIMEOUT": "TimeLimit"}
    # For SLURM a batch script that a signal ended was not launched well either.
    signalled = bool(raw and raw & 0x7F)
    reason = "JobLaunchFailure" if ending == "FAILED" and signalled else reasons.get(ending, "None")
    _close_steps(state, row, now, raw, "CANCELLED" if ending == "TIMEOUT" else ending)
    state.has_ended_jobs = True
    for part in (row, *list_parts(state, row)):
        state.update_job(
            part["raw_id"],
            state=ending,
            completing=0,
            reason=reason if ending != "CANCELLED" else row["reason"],
            exit_raw=raw if raw is not None else (256 if ending == "NODE_FAIL" else 0),
            end_time=row["end_time"] or now,
            ending=None,
            suspended_s=(row["suspended_s"] or 0) + ((now - row["suspend_time"]) if row["suspend_time"] else 0),
            suspend_time=None,
        )


def _close_steps(state: State, row: Row, now: int, raw: int | None, word: str) -> None:
    if word == "CANCELLED" and raw is None:
        raw = 15
    signalled = bool(raw and raw & 0x7F)
    state.db.execute(
        "UPDATE steps SET end_time = ?, state = ?, exit_raw = ? WHERE raw_id = ? AND end_time IS NULL",
        (now, "CANCELLED" if signalled else word, raw or 0, row["raw_id"]),
    )


def requeue_job(state: State, row: Row, now: int, restarts: int, delay_s: int, hold: bool = False) -> None:
    """Make a started job pending again, after `delay_s` at the earliest."""
    for part in (row, *list_parts(state, row)):
        state.db.execute("DELETE FROM steps WHERE raw_id = ?", (part["raw_id"],))
        state.update_job(
            part["raw_id"],
            state="PENDING",
            completing=0,
            ending=None,
            reason="None",
            held="requeue" if hold else "",
            priority=0 if hold else part["priority"] or take_priority(state, part["nice"]),
            restarts=restarts,
            begin_time=now + delay_s if delay_s else part["begin_time"],
            start_time=None,
            end_time=None,
            suspend_time=None,
            alloc=None,
            node_list="",
            exit_raw=0,
            kill_uid=None,
            sup_pid=None,
            job_pid=None,
        )


def take_priority(state: State, nice: int | None) -> int:
    """Take the next priority: one less than the last, as priority/basic."""
    return max(1, state.take_number("next_priority", FIRST_PRIORITY, -1) - (nice or 0))


def _schedule_wake(conf: dict[str, Any], state: State, wake_at: int | None) -> None:
    """Start a process that runs a pass at `wake_at`.

    Nothing else wakes a cluster without a daemon.
    """
    old = state.get_meta("wake_at")
    if wake_at is None and not old:
        return
    waker = state.get_meta("waker").split()
    # A waker that runs this pass itself is about to end: it starts no other pass.
    ours = bool(waker) and int(waker[0]) == os.getpid()
    alive = len(waker) == 3 and not ours and procs.is_alive(int(waker[0]), int(waker[1]), waker[2])
    if old == str(wake_at) and alive:
        return
    state.set_meta("wake_at", wake_at or "")
    if alive:
        procs.send_signal([int(waker[0])], SIGTERM)
    if wake_at is None:
        return
    pid = _fork_detached(conf, state, ["wake", str(wake_at)], -1)
    state.set_meta("waker", f"{pid} {procs.read_start_ticks(pid)} {procs.read_boot_id()}")


def _fork_supervisor(conf: dict[str, Any], state: State, raw_id: int) -> int:
    """Fork a job's supervisor; return the pipe end that it waits on."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = _fork_detached(conf, state, ["supervise", str(raw_id)], reader)
    os.close(reader)
    state.update_job(
        raw_id, sup_pid=pid, sup_start=procs.read_start_ticks(pid), boot_id=procs.read_boot_id(), job_pid=None
    )
    return writer


def _fork_detached(conf: dict[str, Any], state: State, words: list[str], leash: int) -> int:
    """Fork a process for `main.py WORDS` in its own session; return its pid.

    It begins when the leash is let go.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        # The parent's open files are not ours: its lock, its database, its caller's pipes.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        if leash >= 0:
            os.dup2(leash, 3)
        os.closerange(4 if leash >= 0 else 3, _find_highest_fd() + 1)
        # Set, not added: the parent may be a supervisor, and a waker is ended by SIGTERM.
        import signal

        signal.pthread_sigmask(signal.SIG_SETMASK, list_supervisor_signals() if leash >= 0 else [])
        if leash >= 0:
            os.read(3, 1)
            os.close(3)
        environment = {"SLURM_CONF": conf["path"], "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        os.chdir("/")
        os.execve(sys.executable, [sys.executable, "-I", "-S", MAIN, *words], environment)  # noqa: S606
    finally:
        os._exit(127)


def list_supervisor_signals() -> list[int]:
    """List the signals that a supervisor waits for."""
    import signal

    return [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def _find_highest_fd() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def run_pass_at(conf: dict[str, Any], when: int) -> None:
    """Sleep until `when`, then run a pass.

    In short stretches: the clock may be set, the machine suspended.
    """
    while (left := when - time.time()) > 0:
        time.sleep(min(left, 30))
    with change_state(conf):
        pass
