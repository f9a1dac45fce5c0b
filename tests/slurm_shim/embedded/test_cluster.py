"""The embedded cluster as a whole: jobs really run, once, within the nodes' sizes, whatever is killed when."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_shim.embedded import procs, state
from slurm_shim.embedded.cluster import MAIN
from tests.slurm_shim.embedded.own_cluster import Cluster
from tests.waiting import eventually


def open_files(pid: int) -> set[str]:
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# --- what an older version has left ---


def test_a_state_of_the_first_version_is_taken_over(cluster: Cluster) -> None:
    with contextlib.closing(cluster.database()) as db:
        db.executescript(state.SCHEMA)
        numbers = (
            "ntasks, cpus_per_task, min_nodes, mem_node_mb, mem_cpu_mb, gpus_total, gpus_node, gpus_task, exit_raw"
        )
        db.execute(
            f"INSERT INTO jobs (raw_id, name, state, partition, held, submit_time, end_time, {numbers}) "
            "VALUES (1, 'old', 'COMPLETED', 'main', '', 10, unixepoch(), 1, 1, 1, 0, 0, 0, 0, 0, 0)"
        )
        db.execute("INSERT INTO meta VALUES ('next_id', 2)")
    job = cluster.submit("true")
    assert job == "2" and cluster.await_end(job) == "COMPLETED|0:0"
    assert cluster.out("squeue", "-h", "-t", "all", "-j", "1", "-o", "%i %j %T %m %d %z") == "1 old COMPLETED 0 0 *:*:*"


# --- what is told of its end ---


@pytest.mark.parametrize(
    ("why", "options", "then"),
    [
        ("its script has ended", (), "true"),
        ("it was cancelled while it waited", ("-H",), "scancel 2"),
        ("it can never start", ("-d", "afterok:1", "--kill-on-invalid-dep=yes"), "true"),
    ],
)
def test_the_end_of_a_job_is_written_where_somebody_watches(
    cluster: Cluster, why: str, options: tuple[str, ...], then: str
) -> None:
    assert cluster.await_end(cluster.submit("false")) == "FAILED|1:0", "nobody watches"
    last = cluster.folder / "ended" / "last"
    last.parent.mkdir()
    last.touch()
    os.utime(last, (0, 0))
    cluster.submit("true", *options)
    cluster.out(*then.split())
    eventually(lambda: last.stat().st_mtime > 0, what=why)


# --- what a job is given ---


def test_a_job_runs_with_its_script_arguments_files_and_environment(cluster: Cluster) -> None:
    (cluster.work / "job.sh").write_text(
        "#!/bin/bash\n#SBATCH -J 'two words' --comment=\"a b\"\n#SBATCH -c2 # a remark\n"
        'echo "$1|$2|$MINE|$SLURM_JOB_NAME|$SLURM_CPUS_PER_TASK|$PWD"\ncat\n#SBATCH -c4\n'
    )
    (cluster.work / "in").write_text("from a file\n")
    job = cluster.out("sbatch", "--parsable", "-i", "in", "-o", "o-%x-%4j", "job.sh", "one", "", MINE="yes")
    assert cluster.await_end(job) == "COMPLETED|0:0"
    text = (cluster.work / f"o-two words-{int(job):04d}").read_text()
    assert text == f"one||yes|two words|2|{cluster.work}\nfrom a file\n"


@pytest.mark.parametrize(
    ("why", "options", "expected"),
    [
        ("no GPUs asked: none visible", (), ""),
        ("one of the node", ("--gres=gpu:1",), "0"),
        ("both of the node", ("--gpus=2",), "0,1"),
    ],
)
def test_gpus_are_told_by_their_index(cluster: Cluster, why: str, options: tuple[str, ...], expected: str) -> None:
    job = cluster.submit("echo $CUDA_VISIBLE_DEVICES", *options)
    assert cluster.await_end(job) == "COMPLETED|0:0", why
    assert (cluster.work / f"out-{job}").read_text() == expected + "\n", why


def test_two_jobs_on_a_node_get_different_gpus(cluster: Cluster) -> None:
    jobs = [cluster.submit("echo $CUDA_VISIBLE_DEVICES; sleep 600", "--gres=gpu:1", "-w", "node01") for _ in range(2)]
    files = [cluster.work / f"out-{job}" for job in jobs]
    eventually(lambda: all(file.exists() and file.read_text() for file in files))
    assert {file.read_text() for file in files} == {"0\n", "1\n"}
    third = cluster.submit("true", "--gres=gpu:1", "-w", "node01")
    assert cluster.state(third) == "PENDING|Resources"


def test_steps_of_srun_know_their_place_and_the_worst_exit_code_wins(cluster: Cluster) -> None:
    job = cluster.submit("srun -l sh -c 'echo $SLURMD_NODENAME; exit $SLURM_PROCID'; echo rc=$?", "-N2", "-n3")
    assert cluster.await_end(job) == "COMPLETED|0:0"
    text = (cluster.work / f"out-{job}").read_text()
    assert {"0: node01", "1: node01", "2: node02", "rc=2"} <= set(text.splitlines())
    assert "srun: error: node02: task 2: Exited with exit code 2" in text
    steps = cluster.out("sacct", "-n", "-P", "-j", job, "-o", "JobID,State,ExitCode,NTasks")
    assert f"{job}.0|FAILED|2:0|3" in steps.splitlines()


# --- never more than there is ---


def test_nodes_are_never_over_allocated_and_every_job_runs_once(cluster: Cluster) -> None:
    tell = "echo $SLURM_JOB_ID {} $(date +%s%N) $SLURM_CPUS_ON_NODE >> log"
    script = f"{tell.format('start')}; sleep 0.1; {tell.format('end')}"
    chooser = random.Random(5)
    sizes = [chooser.choice((1, 2, 3)) for _ in range(14)]
    with contextlib.ExitStack() as stack:
        running = []
        for size in sizes:
            argv = ("sbatch", "-Q", "-o", "/dev/null", "-w", "node01", "-c", str(size), "--wrap", script)
            running.append(stack.enter_context(subprocess.Popen(argv, env=cluster.env, cwd=cluster.work)))
        assert all(process.wait(180) == 0 for process in running)
    eventually(lambda: cluster.out("squeue", "-h") == "" or None)
    events = [line.split() for line in (cluster.work / "log").read_text().splitlines()]
    assert collections.Counter((job, what) for job, what, *_ in events).most_common(1)[0][1] == 1
    assert len(events) == 2 * len(sizes)
    cpus_by_job: dict[str, int] = {}
    for job, what, _, cpus in sorted(events, key=lambda event: int(event[2])):
        cpus_by_job[job] = int(cpus) if what == "start" else 0
        assert sum(cpus_by_job.values()) <= 4


def test_an_array_keeps_to_its_limit(cluster: Cluster) -> None:
    job = cluster.submit(
        "sleep 0.1; echo $SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT >> log", "--array=0-5%2", "-o/dev/null"
    )
    most = 0
    while rows := cluster.out("squeue", "-h", "-j", f"{job},999999", "-t", "R", "-o", "%i"):
        most = max(most, len(rows.splitlines()))
    eventually(lambda: cluster.out("squeue", "-h", "-j", f"{job},999999") == "" or None)
    assert sorted((cluster.work / "log").read_text().splitlines()) == [f"{task} 6" for task in range(6)]
    assert most <= 2


# --- whatever is killed ---


def test_a_killed_supervisor_takes_its_job_with_it(cluster: Cluster) -> None:
    job = cluster.submit("setsid sleep 77 & echo $! > inner; echo run >> runs; sleep 78")
    eventually(lambda: (cluster.work / "runs").exists() and (cluster.work / "inner").read_text().strip())
    row = cluster.row(job)
    inner = int((cluster.work / "inner").read_text())
    os.kill(row["sup_pid"], signal.SIGKILL)
    eventually(lambda: not alive(row["sup_pid"]))
    assert cluster.state(job) == "NODE_FAIL|NodeDown"
    eventually(lambda: not alive(row["job_pid"]) and not alive(inner))
    assert (cluster.work / "runs").read_text() == "run\n"


def test_with_requeue_a_lost_job_runs_again(cluster: Cluster) -> None:
    job = cluster.submit("echo run$SLURM_RESTART_COUNT >> runs; test $SLURM_RESTART_COUNT || sleep 600", "--requeue")
    eventually(lambda: (cluster.work / "runs").exists())
    os.kill(cluster.row(job)["sup_pid"], signal.SIGKILL)
    eventually(lambda: not alive(cluster.row(job)["sup_pid"]))
    cluster.run("squeue")
    assert cluster.await_end(job) == "COMPLETED|0:0"
    assert (cluster.work / "runs").read_text() == "run\nrun1\n"
    states = cluster.out("sacct", "-X", "-D", "-n", "-P", "-j", job, "-o", "State").splitlines()
    assert sorted(states) == ["COMPLETED", "NODE_FAIL"]


def test_after_a_reboot_running_jobs_are_lost_and_no_process_is_taken_for_theirs(cluster: Cluster) -> None:
    job = cluster.submit("sleep 600")
    cluster.reaches(job, "RUNNING")
    eventually(lambda: cluster.row(job)["job_pid"])
    row = cluster.row(job)
    with contextlib.closing(cluster.database()) as db:
        db.execute("UPDATE jobs SET boot_id = 'another'")
    assert cluster.state(job) == "NODE_FAIL|NodeDown"
    assert alive(row["job_pid"])  # the number may be anybody's by now
    os.kill(row["job_pid"], signal.SIGKILL)


def test_a_supervisor_that_dies_before_the_script_gives_the_job_back(cluster: Cluster) -> None:
    job = cluster.submit("echo run >> runs", "-H")
    with contextlib.closing(cluster.database()) as db:
        db.execute("UPDATE jobs SET state='RUNNING', held='', start_time=1, alloc='node01:1:0::1', sup_pid=99999999")
    cluster.run("squeue")
    assert cluster.await_end(job) == "COMPLETED|0:0"
    assert (cluster.work / "runs").read_text() == "run\n"


def suspend_before_its_script(cluster: Cluster, job: str, pid: int) -> None:
    """Make a held job one that runs below the supervisor PID, and was suspended before its script was launched."""
    with contextlib.closing(cluster.database()) as db:
        db.execute(
            "UPDATE jobs SET state='SUSPENDED', held='', reason='None', start_time=1, suspend_time=1, "
            "alloc='node01:1:0::1', node_list='node01', sup_pid=?, sup_start=?, boot_id=?",
            (pid, procs.read_start_ticks(pid), procs.read_boot_id()),
        )


def test_a_job_suspended_before_its_script_began_is_stopped_from_the_start(cluster: Cluster) -> None:
    job = cluster.submit("echo run >> runs", "-H", "-t", "1")
    argv = ("sh", "-c", f"read go && exec {sys.executable} -I -S {MAIN} supervise {job}")
    supervisor = subprocess.Popen(argv, env=cluster.env, stdin=subprocess.PIPE, bufsize=0)
    try:
        suspend_before_its_script(cluster, job, supervisor.pid)
        assert supervisor.stdin is not None
        supervisor.stdin.write(b"go\n")
        eventually(lambda: (procs.read_stat(cluster.row(job)["job_pid"] or 0) or "?")[0] == "T" or None)
        assert cluster.state(job) == "SUSPENDED|None"
        assert not (cluster.work / "runs").exists()
        cluster.out("scontrol", "resume", job)
        assert cluster.await_end(job) == "COMPLETED|0:0"
        assert (cluster.work / "runs").read_text() == "run\n"
    finally:
        supervisor.kill()
        supervisor.communicate()


def test_a_suspended_job_whose_supervisor_dies_before_the_script_is_given_back(cluster: Cluster) -> None:
    job = cluster.submit("echo run >> runs", "-H")
    suspend_before_its_script(cluster, job, 99999999)
    cluster.run("squeue")
    assert cluster.await_end(job) == "COMPLETED|0:0"
    assert (cluster.work / "runs").read_text() == "run\n"
    assert cluster.row(job)["suspend_time"] is None


def test_commands_killed_at_any_moment_lose_and_double_nothing(cluster: Cluster) -> None:
    chooser = random.Random(11)
    acknowledged = []
    for _ in range(25):
        argv = ("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "echo $SLURM_JOB_ID >> log")
        with subprocess.Popen(argv, env=cluster.env, cwd=cluster.work, stdout=subprocess.PIPE, text=True) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chooser.uniform(0.005, 0.06))
            process.kill()
            out, _ = process.communicate()
        if out.strip():
            acknowledged.append(out.strip())
    eventually(lambda: cluster.out("squeue", "-h") == "" or None)
    with contextlib.closing(cluster.database()) as db:
        known = [str(row["raw_id"]) for row in db.execute("SELECT raw_id FROM jobs")]
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    ran = (cluster.work / "log").read_text().split() if known else []
    assert sorted(ran) == sorted(known)
    assert set(acknowledged) <= set(known)


def test_the_submitter_waits_for_nobody(cluster: Cluster) -> None:
    """A supervisor that kept the caller's pipes or lock would make it wait."""
    job = cluster.submit("sleep 600")
    eventually(lambda: cluster.row(job)["job_pid"])
    row = cluster.row(job)

    def list_job_files() -> list[str]:
        files = open_files(row["job_pid"])
        return [file for file in files if str(cluster.folder) in file and "slurm_script" not in file]

    # Both close what they do not need soon after the job's pid is written down.
    eventually(lambda: open_files(row["sup_pid"]) == {"/dev/null"})
    eventually(lambda: list_job_files() == [] and os.getsid(row["job_pid"]) == row["job_pid"])


# --- time ---


def age_job(cluster: Cluster, job: str, seconds: int) -> None:
    """Have a job that has written something be older than it is."""
    eventually(lambda: (cluster.work / f"out-{job}").exists() and (cluster.work / f"out-{job}").read_text())
    with contextlib.closing(cluster.database()) as db:
        db.execute("UPDATE jobs SET start_time = start_time - ?", (seconds,))
    os.kill(cluster.row(job)["sup_pid"], signal.SIGUSR1)


def test_a_time_limit_ends_the_job_in_two_steps(cluster: Cluster) -> None:
    job = cluster.submit("trap 'echo term' TERM; echo on; while :; do sleep 0.05; done", "-t", "5")
    age_job(cluster, job, 600)
    assert cluster.await_end(job) == "TIMEOUT|0:0"
    text = (cluster.work / f"out-{job}").read_text()
    assert text.startswith("on\n")
    assert "term\n" in text
    assert f"*** JOB {job} ON node01 CANCELLED AT " in text
    assert " DUE TO TIME LIMIT ***" in text


def test_a_warning_comes_before_the_limit(cluster: Cluster) -> None:
    script = "trap 'echo warned; exit 0' USR1; echo on; while :; do sleep 0.05; done"
    job = cluster.submit(script, "-t", "60", "--signal=B:USR1@1800")
    age_job(cluster, job, 1801)
    assert cluster.await_end(job) == "COMPLETED|0:0"
    assert (cluster.work / f"out-{job}").read_text() == "on\nwarned\n"


def test_a_time_to_begin_comes_though_nobody_asks(cluster: Cluster) -> None:
    far = cluster.submit("true", "--begin=now+3000")
    assert cluster.state(far) == "PENDING|BeginTime"
    job = cluster.submit("echo now > begun", "--begin=now+1")
    eventually(lambda: (cluster.work / "begun").exists())
    row = cluster.row(job)
    assert row["start_time"] >= row["begin_time"] > row["submit_time"]


def test_a_waker_that_a_supervisor_started_goes_when_it_is_not_needed(cluster: Cluster) -> None:
    first = cluster.submit("sleep 0.3")
    second = cluster.submit("true", "-d", f"after:{first}+60")
    cluster.await_end(first)
    third = cluster.submit("true", "--begin=now+3000")
    cluster.run("scancel", second, third)
    eventually(lambda: not cluster.processes() or None)


def test_a_job_cancelled_before_its_script_began_is_settled_by_its_supervisor(cluster: Cluster) -> None:
    for _ in range(5):
        job = cluster.submit("echo run >> runs; sleep 600")
        cluster.run("scancel", job)
        eventually(lambda: not cluster.processes() or None)
        row = cluster.row(job)
        assert (row["state"], row["completing"]) == ("CANCELLED", 0)


def test_a_killed_waker_is_replaced(cluster: Cluster) -> None:
    job = cluster.submit("echo now > begun", "--begin=now+3000")
    with contextlib.closing(cluster.database()) as db:
        waker = int(db.execute("SELECT value FROM meta WHERE key = 'waker'").fetchone()[0].split()[0])
    os.kill(waker, signal.SIGKILL)
    eventually(lambda: not alive(waker))
    with contextlib.closing(cluster.database()) as db:
        db.execute("UPDATE jobs SET begin_time = begin_time - 2998")
    cluster.submit("true")
    eventually(lambda: (cluster.work / "begun").exists())
    assert cluster.await_end(job) == "COMPLETED|0:0"


# --- knobs ---


def test_without_execution_nothing_of_a_script_runs(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "SluiceExecute=no\n")
    first = cluster.submit(f"touch {tmp_path}/ran")
    second = cluster.submit("true", "-d", f"afterok:{first}", "--array=1-20")
    third = cluster.submit("true", "-d", f"afternotok:{first}")
    job = cluster.submit("true", "-H")
    assert cluster.state(first) == "COMPLETED|None"
    assert set(cluster.state(second).splitlines()) == {"COMPLETED|None"}
    assert cluster.state(third) == "PENDING|DependencyNeverSatisfied"
    assert cluster.state(job) == "PENDING|JobHeldUser"
    assert not (tmp_path / "ran").exists()
    assert list(cluster.work.iterdir()) == []
    assert cluster.out("sacct", "-X", "-n", "-P", "-j", first, "-o", "State,ExitCode,ElapsedRaw") == "COMPLETED|0:0|0"
    cluster.close()


UNREACHABLE = "Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("why", "argv", "code", "text"),
    [
        ("submitting", ("sbatch", "--wrap", "true"), 1, f"sbatch: error: Batch job submission failed: {UNREACHABLE}"),
        ("listing", ("squeue",), 1, f"slurm_load_jobs error: {UNREACHABLE}"),
        ("nodes", ("sinfo",), 1, f"slurm_load_partitions: {UNREACHABLE}"),
        ("showing", ("scontrol", "show", "job", "4"), 1, f"slurm_load_jobs error: {UNREACHABLE}"),
        ("cancelling", ("scancel", "4"), 8, f"scancel: error: Kill job error on job id 4: {UNREACHABLE}"),
        ("counters", ("sdiag",), 255, f"slurm_get_statistics: {UNREACHABLE}"),
        (
            "a bad option is found out before",
            ("sbatch", "-t", "abc"),
            255,
            "sbatch: error: Invalid --time specification",
        ),
    ],
)
def test_down(tmp_path: Path, why: str, argv: tuple[str, ...], code: int, text: str) -> None:
    cluster = Cluster(tmp_path, "SluiceDown=yes\n")
    assert cluster.run(*argv, stdin="#!/bin/sh\n") == (code, "", text + "\n"), why
    assert cluster.run("scontrol", "ping")[0] == 1
    cluster.close()


def test_accounting_may_lag(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "SluiceAccountingLag=60\n")
    job = cluster.submit("true")
    assert cluster.out("sacct", "-n", "-X", "-j", job) == ""
    assert cluster.out("squeue", "-h", "-t", "all", "-j", job, "-o", "%i") == job
    cluster.close()


def test_without_a_configuration(tmp_path: Path, cluster: Cluster) -> None:
    code, out, err = cluster.run("squeue", SLURM_CONF="/nonexistent")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "squeue: fatal: Unable to process configuration file"
    code, out, err = cluster.run("squeue", SLURM_CONF="")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "squeue: fatal: Could not establish a configuration source"


# --- dependencies, one by one ---

FIRST = "sleep 0.2; exit {}"


@pytest.mark.parametrize(
    ("why", "exit_code", "dependency", "expected"),
    [
        ("it went well", 0, "afterok:{a}", "COMPLETED"),
        ("it did not, and never will", 1, "afterok:{a}", "PENDING|DependencyNeverSatisfied"),
        ("it failed, as hoped", 1, "afternotok:{a}", "COMPLETED"),
        ("it did not fail", 0, "afternotok:{a}", "PENDING|DependencyNeverSatisfied"),
        ("either end will do", 1, "afterany:{a}", "COMPLETED"),
        ("its start is enough", 0, "after:{a}", "COMPLETED"),
        ("one of two is enough", 1, "afterok:{a}?afterany:{a}", "COMPLETED"),
        ("both are needed", 1, "afterany:{a},afterok:{a}", "PENDING|DependencyNeverSatisfied"),
        ("an id alone means any end", 1, "{a}", "COMPLETED"),
        ("an unknown id is no hindrance", 0, "afterok:4000000", "COMPLETED"),
        ("names once at a time", 0, "singleton", "COMPLETED"),
    ],
)
def test_dependencies(cluster: Cluster, why: str, exit_code: int, dependency: str, expected: str) -> None:
    first = cluster.submit(FIRST.format(exit_code), "-J", "same")
    second = cluster.submit("true", "-J", "same", "-d", dependency.format(a=first))
    eventually(lambda: cluster.state(second).startswith(expected) or None)
    if "after" in expected:
        assert why


def test_tasks_wait_for_the_tasks_of_their_number(cluster: Cluster) -> None:
    first = cluster.submit("test $SLURM_ARRAY_TASK_ID != 1", "--array=0-2")
    second = cluster.submit("echo $SLURM_ARRAY_TASK_ID >> log", "--array=0-2", "-d", f"aftercorr:{first}")
    eventually(lambda: (cluster.work / "log").exists() and len((cluster.work / "log").read_text().split()) == 2)
    eventually(lambda: cluster.state(f"{second}_1") == "PENDING|DependencyNeverSatisfied")
    assert sorted((cluster.work / "log").read_text().split()) == ["0", "2"]


def test_a_hopeless_job_can_be_asked_to_end(cluster: Cluster) -> None:
    first = cluster.submit("false")
    second = cluster.submit("true", "-d", f"afterok:{first}", "--kill-on-invalid-dep=yes")
    eventually(lambda: cluster.state(second) == "CANCELLED|DependencyNeverSatisfied")


# --- names ---


@pytest.mark.parametrize(
    "name", [b"line1\nline2", b"a|b|c", b"bad\xff\xfebytes", "Ω-日本語-🚀".encode(), b"", b"  x  "]
)
def test_names_come_back_byte_by_byte(cluster: Cluster, name: bytes) -> None:
    argv = [b"sbatch", b"--parsable", b"-H", b"--job-name=" + name, b"--comment=c:" + name, b"--wrap", b"true"]
    subprocess.run(argv, env=cluster.env, cwd=cluster.work, check=True, capture_output=True)
    asked = ["squeue", "-h", "-O", "JobID:~1~,Name:~1~,Comment:~1~E"]
    out = subprocess.run(asked, env=cluster.env, check=True, capture_output=True).stdout
    assert out == b"1~1~" + name + b"~1~c:" + name + b"~1~E\n"


def test_a_state_that_cannot_be_read_is_a_controller_that_does_not_answer(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    (cluster.folder / "state.db").write_bytes(b"this is no database, " * 300)
    code, out, err = cluster.run("squeue")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"slurm_load_jobs error: {UNREACHABLE}"
