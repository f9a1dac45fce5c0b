"""One small process starts all programs: it ends with the server, and may die at any time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm_shim import programs
from slurm_shim.errors import ClusterUnreachable
from slurm_shim.starting.starter import Starter
from tests import ROOT
from tests.waiting import eventually

PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def own_starter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process of the test's own, which no other test sees die."""
    starter = Starter()
    monkeypatch.setattr(programs, "STARTER", starter)
    yield
    starter.close()


def run(shell: str, timeout_s: float = 60.0) -> programs.Outcome:
    return programs.run_program("/bin/sh", ["sbatch", "-c", shell], PATH, b"", timeout_s)


def find_starter() -> int:
    """The number of the process, which each program has as its parent."""
    return int(run("echo $PPID").out)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_one_process_starts_all_programs() -> None:
    assert find_starter() == find_starter() != os.getpid()


def test_one_that_has_died_is_started_again() -> None:
    pid = find_starter()
    os.kill(pid, signal.SIGKILL)
    died = programs.STARTER._process
    assert died is not None and died.wait(60) == -signal.SIGKILL
    assert find_starter() != pid


def test_what_was_under_way_when_it_died_is_uncertain(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    pid = find_starter()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(run, f"echo > {tmp_path}/started; read x < {go}; echo > {tmp_path}/done")
        eventually((tmp_path / "started").exists, 60, "it starts")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ClusterUnreachable, match="sbatch was lost sight of") as caught:
            waiting.result(60)
    assert caught.value.uncertain
    assert run("echo again").out == b"again\n"
    go.write_text("\n")  # who reads it goes on
    eventually((tmp_path / "done").exists, 60, "the program goes on")


def test_one_that_is_stopped_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm_shim.starting.starter._ANSWER_S", 1)
    pid = find_starter()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ClusterUnreachable) as caught:
        run("echo never", timeout_s=0.1)
    assert caught.value.uncertain
    assert find_starter() != pid and is_gone(pid)


def test_one_that_takes_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm_shim.starting.starter._ANSWER_S", 1)
    pid = find_starter()
    os.kill(pid, signal.SIGSTOP)
    stat = Path(f"/proc/{pid}/stat")
    eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 60, "it is stopped")
    taking = programs.STARTER._socket
    assert taking is not None
    with pytest.raises(BlockingIOError):  # once there is no room for more
        for _ in range(10_000):
            taking.send(b"[1, 15]", socket.MSG_DONTWAIT)
    assert find_starter() != pid


def test_one_that_is_busy_is_not_replaced(tmp_path: Path) -> None:
    pid = find_starter()
    assert run("sleep 600", timeout_s=0.1).exit_code is None
    assert find_starter() == pid


@pytest.mark.parametrize("may_repeat", [True, False])
def test_who_only_asks_asks_again(tmp_path: Path, may_repeat: bool) -> None:
    shell = f"echo >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) = 1 ] && kill -9 $PPID; echo said"
    words = ["squeue", "-c", shell]
    if may_repeat:
        assert programs.run_program("/bin/sh", words, PATH, b"", 60, may_repeat=True).out == b"said\n"
    else:
        with pytest.raises(ClusterUnreachable, match="squeue was lost sight of"):
            programs.run_program("/bin/sh", words, PATH, b"", 60)
    assert len((tmp_path / "runs").read_text()) == 1 + may_repeat


SERVER = """
import sys
from slurm_shim.programs import run_program
run_program("/bin/sh", ["sbatch", "-c", sys.argv[1]], {"PATH": "/usr/bin:/bin"}, b"", 600)
"""


def test_it_ends_with_the_server_and_programs_go_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    shell = f"echo $PPID > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; read x < {go}; echo > {tmp_path}/done"
    server = subprocess.Popen([sys.executable, "-c", SERVER, shell], env={**PATH, "PYTHONPATH": str(ROOT)})
    eventually((tmp_path / "pid").exists, 60, "it starts")
    server.kill()
    server.wait()
    eventually(lambda: is_gone(int((tmp_path / "pid").read_text())), 60, "it ends")
    go.write_text("\n")
    eventually((tmp_path / "done").exists, 60, "the program goes on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_all_are_for_the_server(number: signal.Signals) -> None:
    pid = find_starter()
    os.kill(pid, number)
    assert find_starter() == pid


def test_a_program_finds_nothing_of_ours() -> None:
    # The shell reads its own signals itself: while it starts another program it blocks all of them for a moment.
    signals = "while read -r name set; do case $name in Sig[BI]*) echo $name $set;; esac; done < /proc/$$/status"
    given = f"ls /proc/$$/fd; {signals}; ps -o tty=,pgid=,sid= -p $$; echo $$; env"
    fds, *masks = said = run(given).out.decode().split("Sig")
    assert fds.split() == ["0", "1", "2"] and len(said) == 3
    signs = dict(mask.splitlines()[0].split() for mask in masks)
    # Two that the C library keeps for itself stay as whoever started the tests has set them.
    assert {name: int(mask, 16) & ~0x1_8000_0000 for name, mask in signs.items()} == {"Ign:": 0, "Blk:": 0}
    process, pid, *environment = said[2].splitlines()[1:]
    assert process.split() == ["?", pid, pid]
    assert {line.partition("=")[0] for line in environment} <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_many_run_at_once(tmp_path: Path) -> None:
    go, count = tmp_path / "go", 40
    os.mkfifo(go)
    held = os.open(go, os.O_RDWR)  # so that nobody waits for the other end of it
    try:
        with ThreadPoolExecutor(count) as threads:
            shell = f"echo >> {tmp_path}/started; head -c 1 {go}"
            waiting = [threads.submit(run, shell) for _ in range(count)]
            started = tmp_path / "started"
            eventually(lambda: started.exists() and started.stat().st_size == count, 120, "all of them start")
            os.write(held, b"x" * count)
            assert [result.result(60).out for result in waiting] == [b"x"] * count
    finally:
        os.close(held)


def test_a_request_of_megabytes() -> None:
    environment = {**PATH, **{f"V{number}": "ü" * 50_000 for number in range(15)}}
    given = b"x" * 3_000_000
    ended = programs.run_program("/bin/sh", ["sbatch", "-c", 'wc -c; echo "${#V14}"'], environment, given, 60)
    assert ended.out.split()[0] == b"3000000" and ended.exit_code == 0, ended


def test_one_of_another_kind_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_bytes(b"\x7fELF nothing")
    (tmp_path / "sbatch").chmod(0o755)
    for path in (tmp_path / "sbatch", tmp_path / "none"):
        with pytest.raises(ClusterUnreachable, match="sbatch could not be started") as caught:
            programs.run_program(str(path), ["sbatch"], PATH, b"", 60)
        assert not caught.value.uncertain


def test_what_it_writes_is_bounded() -> None:
    ended = programs.run_program("/bin/sh", ["sbatch", "-c", "yes"], PATH, b"", 60, most_bytes=100_000)
    assert ended.exit_code != 0 and len(ended.out) == 100_000
