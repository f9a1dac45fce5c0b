"""The supervisor of one running job.

It starts the script, keeps its time limit, records its end.

It is forked by whoever ran the scheduling pass and waits until that pass is committed. SIGUSR1 means that the job's row
has changed (cancelled, requeued, another time limit, suspended): it reads the row again. It holds no open file but its
own, and spends its life in sigtimedwait(2).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from . import cluster, environment, patterns, procs, schedule
from .states import LAUNCH_FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import Row, State

GO = b"g"


def supervise_job(conf: dict[str, Any], raw_id: int) -> None:
    """Supervise the job until its end.

    Returns at once when the committed state does not name this process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, cluster.list_supervisor_signals())
    state = cluster.State(conf["folder"])
    state.lock()
    try:
        row = _claim_job(state, raw_id)
        if row is None:
            return
        launched = None if row["ending"] else _launch_script(conf, state, row)
    finally:
        state.close()
        state.unlock()
    if launched is None:
        _finish_job(conf, row, 0 if row["ending"] else LAUNCH_FAILED, None)
        return
    JobSupervisor(conf, row, launched).wait_for_end()


def _claim_job(state: State, raw_id: int) -> Row | None:
    found = state.select_jobs(
        "raw_id = ? AND sup_pid = ? AND sup_start = ? AND job_pid IS NULL "
        "AND (state IN ('RUNNING', 'SUSPENDED') OR completing = 1)",
        raw_id, os.getpid(), procs.read_start_ticks(os.getpid()),
    )  # fmt: skip
    return found[0] if found else None


def _launch_script(conf: dict[str, Any], state: State, row: Row) -> int | None:
    """Launch the script; return its pid, None when a file does not open.

    It runs only once its pid is written down.
    """
    script = state.db.execute("SELECT * FROM scripts WHERE id = ?", (row["script_id"],)).fetchone()
    caller = dict(word.split("=", 1) for word in _split_texts(script["env"]) if "=" in word)
    env = environment.build_job_environment(row, conf, caller, _load_array_facts(state, row))
    if row["het_job_id"]:
        parts = state.select_jobs("het_job_id = ?", row["het_job_id"])
        env |= environment.build_part_variables(
            [environment.build_job_environment(part, conf, caller, {}) for part in parts]
        )
    os.umask(int(caller.get("SLURM_UMASK", "022"), 8))  # the submitter's, for its files too
    try:
        path = _write_script(conf, row, script["text"])
        fds = _open_files(row)
    except OSError:
        return None  # as in SLURM: no file to write to, so the job ends as a launch failure, 0:53
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        _become_script(row, path, [path, *_split_texts(script["args"] or b"")[:-1]], env, fds, reader)
    os.close(reader)
    for fd in set(fds):
        os.close(fd)
    state.begin()
    state.update_job(row["raw_id"], job_pid=pid, job_start=procs.read_start_ticks(pid))
    _insert_batch_step(state, row)
    state.db.execute("COMMIT")
    os.write(writer, GO)
    os.close(writer)
    if row["state"] == "SUSPENDED":  # it stops itself; whoever resumes it waits for the lock that is held here
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return pid


def _insert_batch_step(state: State, row: Row) -> None:
    share = schedule.unpack_shares(row["alloc"])[0]
    state.insert_row(
        "steps", raw_id=row["raw_id"], step="batch", name="batch", state="RUNNING", start_time=row["start_time"],
        ntasks=1, ncpus=share[1], nnodes=1, node_list=share[0],
    )  # fmt: skip


def _split_texts(blob: bytes) -> list[str]:
    return [os.fsdecode(word) for word in blob.split(b"\0")]


def _load_array_facts(state: State, row: Row) -> dict[str, int]:
    if row["array_task_id"] is None:
        return {}
    facts = state.get_meta(f"array {row['array_job_id']}").split()
    return dict(zip(("count", "min", "max", "step"), map(int, facts), strict=False))


def _write_script(conf: dict[str, Any], row: Row, text: bytes) -> str:
    folder = _get_spool_folder(conf, row)
    for made in (os.path.dirname(folder), folder):  # one by one: makedirs leaves those above to the umask
        with contextlib.suppress(FileExistsError):
            os.mkdir(made, 0o700)
    path = os.path.join(folder, "slurm_script")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    with os.fdopen(fd, "wb") as file:
        file.write(text)
    return path


def _get_spool_folder(conf: dict[str, Any], row: Row) -> str:
    return os.path.join(conf["folder"], "spool", f"job{row['raw_id']:05d}")


def _open_files(row: Row) -> list[int]:
    """Open input, output and error of the script; may raise OSError."""
    keep = row["open_mode"] == "a" or (row["restarts"] and row["open_mode"] != "t")
    how = 0 if keep else os.O_TRUNC
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | how
    names = [
        patterns.expand_pattern(text, row)
        for text in (patterns.get_stdin(row), patterns.get_stdout(row), patterns.get_stderr(row))
    ]
    source = os.open(names[0], os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    out = os.open(names[1], flags, 0o666)
    err = out if names[2] == names[1] else os.open(names[2], flags, 0o666)
    return [source, out, err]


def _become_script(row: Row, path: str, words: list[str], env: dict[str, str], fds: list[int], leash: int) -> None:
    """Turn this forked process into the script once the leash allows it.

    Never returns.
    """
    try:
        os.setsid()
        for number, fd in enumerate([*fds, leash]):
            os.dup2(fd, number)
        os.closerange(4, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
        if os.read(3, 1) != GO:
            os._exit(1)  # the supervisor died before this start was written down: somebody else will start it
        os.close(3)
        if row["state"] == "SUSPENDED":
            os.kill(os.getpid(), signal.SIGSTOP)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        node = env["SLURMD_NODENAME"]
        try:
            os.chdir(row["work_dir"])
        except OSError as error:
            note = f"couldn't chdir to `{row['work_dir']}': {error.strerror}: going to /tmp instead"
            _write_line(2, f"slurmstepd-{node}: error: {note}")
            os.chdir("/tmp")  # noqa: S108 (where slurmstepd goes)
        env["SLURM_TASK_PID"] = str(os.getpid())
        try:
            os.execve(path, words, env)  # noqa: S606
        except OSError as error:
            interpreter = _read_interpreter(path)
            what = f"bad interpreter({interpreter})" if not os.path.exists(interpreter) else path
            _write_line(2, f"slurmstepd-{node}: error: execve(): {what}: {error.strerror}")
            os._exit(error.errno or 2)
    finally:
        os._exit(127)


def _read_interpreter(path: str) -> str:
    with open(path, "rb") as file:
        words = file.readline(4096)[2:].split()
    return os.fsdecode(words[0]) if words else ""


def _write_line(fd: int, line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, line.encode("utf-8", "surrogateescape") + b"\n")


class JobSupervisor:
    """A running job: what to wait for next, and what to do then."""

    def __init__(self, conf: dict[str, Any], row: Row, pid: int) -> None:
        self.conf, self.pid = conf, pid
        self.row: Any = {**dict(row), "job_pid": pid}
        self.kill_at: float | None = None
        self.warned = False

    def wait_for_end(self) -> None:
        """Wait for the end of the script, doing what is due meanwhile."""
        while True:
            done, status, usage = os.wait4(self.pid, os.WNOHANG)
            if done:
                break
            due = self._find_next_due()
            got = self._wait_for_signal(None if due is None else max(0.0, due - time.time()))
            if got is not None and got != signal.SIGCHLD:
                self._reload_row()
            self._handle_due()
        # What the script left behind ends with it, as under SLURM.
        for _ in range(20):
            if not procs.send_signal(self._list_pids(), signal.SIGKILL):
                break
            time.sleep(0.02)
        facts = (int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6), usage.ru_maxrss)
        _finish_job(self.conf, self.row, status, facts)

    def _wait_for_signal(self, timeout_s: float | None) -> int | None:
        if timeout_s is None:
            return signal.sigwaitinfo(cluster.list_supervisor_signals()).si_signo
        found = signal.sigtimedwait(cluster.list_supervisor_signals(), min(timeout_s, 3600))
        return found.si_signo if found else None

    def _list_pids(self) -> list[int]:
        return [pid for pid, _ in procs.list_job_processes(self.row["raw_id"], self.conf["path"], self.pid)]

    def _get_deadline(self) -> float | None:
        row = self.row
        if row["time_limit_min"] is None or row["suspend_time"] or row["ending"]:
            return None
        return float(row["start_time"] + row["time_limit_min"] * 60 + (row["suspended_s"] or 0))

    def _get_warning(self) -> tuple[float, int, bool] | None:
        """Return the signal due before the limit (--signal), if any.

        (when, number, whether only to the batch shell).
        """
        deadline = self._get_deadline()
        if not self.row["warn"] or self.warned or deadline is None:
            return None
        flags, number, before_s = self.row["warn"].split(":")
        return deadline - int(before_s), int(number), "B" in flags

    def _find_next_due(self) -> float | None:
        warning = self._get_warning()
        moments = [self._get_deadline(), self.kill_at, warning[0] if warning else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def _reload_row(self) -> None:
        state = cluster.State(self.conf["folder"])
        try:
            self.row = state.select_jobs("raw_id = ?", self.row["raw_id"])[0]
        finally:
            state.close()
        if self.row["ending"] and self.kill_at is None:
            self._terminate("")

    def _handle_due(self) -> None:
        now = time.time()
        warning, deadline = self._get_warning(), self._get_deadline()
        if warning and warning[0] <= now:
            self.warned = True
            signal_job(self.conf, self.row, warning[1], batch=warning[2], steps=not warning[2])
        if deadline is not None and deadline <= now:
            self._end_at_limit()
        if self.kill_at is not None and self.kill_at <= now:
            procs.send_signal([*self._list_pids(), self.pid], signal.SIGKILL)
            self.kill_at = now + 5  # for processes forked meanwhile

    def _end_at_limit(self) -> None:
        with cluster.change_state(self.conf) as state:
            row = state.select_jobs("raw_id = ?", self.row["raw_id"])[0]
            fresh = dict(row)
            self.row = row
            still_due = self._get_deadline()
            if still_due is not None and still_due <= time.time():
                state.update_job(
                    row["raw_id"], ending="TIMEOUT", state="TIMEOUT", completing=1, end_time=int(time.time())
                )
                fresh["ending"] = "TIMEOUT"
        if fresh["ending"] == "TIMEOUT":
            self.row = fresh
            self._terminate(" DUE TO TIME LIMIT")

    def _terminate(self, why: str) -> None:
        """Send SIGCONT and SIGTERM to all of the job; SIGKILL after KillWait."""
        if self.row["ending"] in ("TIMEOUT", "CANCELLED"):
            self._write_note(why)
        pids = [*self._list_pids(), self.pid]
        procs.send_signal(pids, signal.SIGCONT)
        procs.send_signal(pids, signal.SIGTERM)
        self.kill_at = time.time() + self.conf["kill_wait_s"]

    def _write_note(self, why: str) -> None:
        node = patterns.list_nodes(self.row)[0]
        when = time.strftime("%Y-%m-%dT%H:%M:%S")
        line = f"slurmstepd-{node}: error: *** JOB {self.row['raw_id']} ON {node} CANCELLED AT {when}{why} ***"
        with contextlib.suppress(OSError):  # the file existed at the start; it may be gone now
            fd = os.open(patterns.expand_pattern(patterns.get_stderr(self.row), self.row), os.O_WRONLY | os.O_APPEND)
            _write_line(fd, line)
            os.close(fd)


def signal_job(conf: dict[str, Any], row: Any, number: int, batch: bool, steps: bool) -> int:
    """Signal the batch shell's side, the steps, or both; count them."""
    found = procs.list_job_processes(row["raw_id"], conf["path"], row["job_pid"])
    if batch and not steps:
        return procs.send_signal([row["job_pid"]] if row["job_pid"] else [], number)
    return procs.send_signal([pid for pid, is_step in found if (is_step and steps) or (not is_step and batch)], number)


def _finish_job(conf: dict[str, Any], row: Any, status: int, usage: tuple[int, int, int] | None) -> None:
    """Write down the end, and start whatever can start now."""
    with contextlib.suppress(OSError):  # left over at worst; the next start of this id writes it anew
        os.unlink(os.path.join(_get_spool_folder(conf, row), "slurm_script"))
        os.rmdir(_get_spool_folder(conf, row))
    with cluster.change_state(conf) as state:
        now = int(time.time())
        fresh = state.select_jobs("raw_id = ? AND sup_pid = ?", row["raw_id"], os.getpid())
        if not fresh:
            return
        if usage:
            state.db.execute(
                "UPDATE steps SET user_us = ?, sys_us = ?, max_rss_kb = ? WHERE raw_id = ? AND step = 'batch'",
                (*usage, row["raw_id"]),
            )
        if status == LAUNCH_FAILED:
            _insert_batch_step(state, row)
        raw = status if status == LAUNCH_FAILED else _to_slurm_status(status)
        cluster.settle_job(conf, state, fresh[0], now, raw)


def _to_slurm_status(status: int) -> int:
    """Drop the core dump bit of a wait status, as SLURM does."""
    return status & 0xFF7F


def main(conf: dict[str, Any], raw_id: int) -> None:
    """Run the supervisor; log its failure beside the state."""
    try:
        supervise_job(conf, raw_id)
    except BaseException:
        import traceback

        with open(os.path.join(conf["folder"], "supervisor.log"), "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} job {raw_id}\n{traceback.format_exc()}")
        sys.exit(1)
