"""Shells that are kept start programs as sh does itself, and nothing of them is left in a program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm_shim import programs
from slurm_shim.commands import Needs, Slurm
from slurm_shim.starting import process, shells, starts
from slurm_shim.starting.calls import Call, Reply
from slurm_shim.starting.shells import Shells
from slurm_shim.starting.starter import Starter
from tests.waiting import eventually

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/", "SLURM_CONF": "/it's here"}
PARENT = "echo $PPID"


@dataclass
class Ended:
    """What became of a call."""

    reply: Reply
    out: bytes
    err: bytes


def run(
    words: Sequence[str], call: Call | None = None, program: str = "/bin/sh", held: Sequence[int] = (), **request: Any
) -> Ended:
    """Run a program as the process that starts programs does."""
    files = [os.memfd_create("test") for _ in range(3)]
    try:
        given = [os.dup(fd) for fd in [*files, *held]]
        asked = {"program": program, "words": list(words), "environment": ENVIRONMENT, "descriptors": 256}
        reply = process.run_program(asked | {"most_bytes": None, "by_shell": True} | request, given, call or Call())
        process.close_all(given)
        return Ended(reply, os.pread(files[1], 100_000, 0), os.pread(files[2], 100_000, 0))
    finally:
        process.close_all(files)


def run_text(text: str, call: Call | None = None, **more: Any) -> Ended:
    """Run what a shell is told."""
    return run(["-c", text], call, **more)


def find_parent(**more: Any) -> int:
    """Return by whom a program is started."""
    return int(run_text(PARENT, **more).out)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shells]:
    """Shells of the test's own, which start /bin/sh as of now."""
    made = Shells()
    monkeypatch.setattr(process, "SHELLS", made)
    assert find_parent() == os.getpid(), "sh finds out what can be run"
    yield made
    for shell in made._idle:
        shell.end()


@pytest.fixture(params=["dash", "bash"])
def each_shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of the programs that /bin/sh may be."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"no {request.param} here")
    (tmp_path / "sh").symlink_to(found)
    monkeypatch.setattr(shells, "SHELL", str(tmp_path / "sh"))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_one_shell_starts_what_is_called_again() -> None:
    first = find_parent()
    assert first != os.getpid() and find_parent() == first
    assert find_parent(by_shell=False) == os.getpid()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 2", 2),
        ("echo '/bin/sh: no such thing' >&2; exit 127", 127),
        ("exit 126", 126),
        ("exit 255", 255),
        ("kill -SEGV $$", -signal.SIGSEGV),
        ("kill -KILL $$", -signal.SIGKILL),
    ],
)
@pytest.mark.usefixtures("each_shell")
def test_how_it_ended(text: str, code: int) -> None:
    ended = run_text(text)
    assert ended.reply == ("ended", code, False) and b"Killed" not in ended.err
    assert find_parent() not in (os.getpid(), 0), "the shell goes on"


@pytest.mark.usefixtures("each_shell")
def test_a_program_finds_nothing_of_ours(tmp_path: Path) -> None:
    assert run(["-0"], program="/usr/bin/env").reply[0] == "ended"
    given = dict(line.split("=", 1) for line in run(["-0"], program="/usr/bin/env").out.decode().split("\0")[:-1])
    assert given == ENVIRONMENT
    text = f"readlink /proc/$$/fd/*; grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status; ulimit -Sn; pwd; umask; {PARENT}"
    with (tmp_path / "held").open("w") as held:
        by_sh, by_shell = (run_text(text, held=[held.fileno()]).out.decode().splitlines() for _ in range(2))
    assert int(by_sh.pop()) == os.getpid() != int(by_shell.pop())
    assert sorted(by_sh) == sorted(by_shell) and str(tmp_path / "held") in by_shell


WORDS = [
    "",
    "it's",
    'a "b" $HOME `c` \\',
    "-x",
    "*",
    "one\ntwo\r\n",
    "\x01\x7f\t",
    "".join(map(chr, range(0x80, 0x800))),
]


@pytest.mark.usefixtures("each_shell")
def test_words_arrive_as_they_are() -> None:
    said = run(["-c", "printf '%s\\0' \"$@\"; echo $PPID", "it", *WORDS]).out.decode().split("\0")
    assert said[:-1] == WORDS and int(said[-1]) != os.getpid()


def test_many_words_are_for_sh_alone() -> None:
    said = run(["-c", 'echo $PPID; echo "${#1}"', "it", "x" * 60_000]).out.split()
    assert [int(word) for word in said] == [os.getpid(), 60_000]


@pytest.mark.usefixtures("each_shell")
def test_what_cannot_be_run_is_told_as_before(tmp_path: Path) -> None:
    program, interpreter = tmp_path / "sbatch", tmp_path / "interpreter"
    interpreter.symlink_to("/bin/sh")
    program.write_text(f"#!{interpreter}\n{PARENT}\n")
    program.chmod(0o755)
    assert int(run([], program=str(program)).out) == os.getpid()
    assert int(run([], program=str(program)).out) != os.getpid()
    interpreter.unlink()
    unfit = run([], program=str(program))
    assert unfit.reply[0] == "unfit" and str(program) in unfit.reply[1] and not unfit.reply[2]
    program.unlink()
    assert run([], program=str(program)).reply[0] == "unfit"


def list_descriptors_and_children() -> set[str]:
    """The descriptors of this process, and the processes of this thread, also those that have ended."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return {f"child {pid}" for pid in children} | {path.name for path in Path("/proc/self/fd").iterdir()}


def test_nothing_is_left_of_what_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "sbatch"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    given = {"program": str(program), "words": [], "environment": ENVIRONMENT, "descriptors": 256, "most_bytes": None}
    with Path(os.devnull).open("r+b") as null:
        before = list_descriptors_and_children()
        for _ in range(3):
            with pytest.raises(starts.ProgramNotBegun) as caught:
                starts.start_program(given, [null.fileno()] * 3, [])
            assert str(caught.value) == f"No such file or directory: '{program}'"
        assert list_descriptors_and_children() <= before, "what others have left may go meanwhile"


@pytest.mark.usefixtures("each_shell")
def test_files_that_cannot_be_opened_anew_are_for_sh_alone(kept: Shells) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open() as null:
        asked = {"program": "/bin/sh", "words": ["-c", PARENT], "environment": ENVIRONMENT, "descriptors": 256}
        given = [os.dup(null.fileno()), theirs.detach(), os.dup(null.fileno())]
        reply = process.run_program(asked | {"most_bytes": None, "by_shell": True}, given, Call())
        assert reply == ("ended", 0, False)
        said = b""
        while piece := ours.recv(100):
            said += piece
    assert int(said) == os.getpid(), "it has run once, and by sh"
    assert find_parent() == os.getpid() and not kept._idle


def test_without_a_shell_sh_starts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "SHELL", "/nonexistent/sh")
    assert find_parent() == os.getpid()


# --- signals, and what a program leaves behind -----------------------------------------------------------------------


@contextlib.contextmanager
def running(text: str, tmp_path: Path) -> Iterator[tuple[Call, Callable[[], Ended]]]:
    """Run what a shell is told, up to where it has written the file `begun`."""
    call = Call()
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(run_text, f"{text}; echo > {tmp_path}/begun; sleep 600", call)
        eventually((tmp_path / "begun").exists, 60, "it begins")
        yield call, lambda: result.result(60)


def test_a_program_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    shell = find_parent()
    with running(f"sleep 600 & echo $$ $! > {tmp_path}/pids", tmp_path) as (call, wait):
        call.send_signal(signal.SIGKILL)
        assert wait().reply == ("ended", -signal.SIGKILL, False)
    for pid in (tmp_path / "pids").read_text().split():
        eventually(lambda pid=pid: is_gone(int(pid)), 60, "it is killed")  # type: ignore[misc]
    assert find_parent() not in (shell, os.getpid())


def test_a_signal_may_come_before_the_program_runs() -> None:
    find_parent()
    call = Call()
    call.send_signal(signal.SIGKILL)
    assert run_text("sleep 600", call).reply == ("ended", -signal.SIGKILL, False)


def test_what_an_earlier_program_has_left_behind_is_not_killed(tmp_path: Path) -> None:
    left = int(run_text("sleep 600 >/dev/null 2>&1 & echo $!").out)
    try:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        eventually(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > began + 2 / shells.TICKS, 60, "time goes by")
        with running(f"sleep 600 & echo $$ $! > {tmp_path}/pids", tmp_path) as (call, wait):
            assert os.getpgid(left) == os.getpgid(int((tmp_path / "pids").read_text().split()[0])), "of one shell"
            call.send_signal(signal.SIGKILL)
            assert wait().reply == ("ended", -signal.SIGKILL, False)
        for pid in (tmp_path / "pids").read_text().split():
            eventually(lambda pid=pid: is_gone(int(pid)), 60, "it is killed")  # type: ignore[misc]
        assert not is_gone(left)
    finally:
        os.kill(left, signal.SIGKILL)


@pytest.mark.usefixtures("each_shell")
def test_a_program_may_end_its_own_group() -> None:
    shell = find_parent()
    assert run_text("echo said; kill 0; sleep 600") == Ended(("ended", -signal.SIGTERM, False), b"said\n", b"")
    assert find_parent() == shell


def test_a_shell_that_dies_leaves_its_program_uncertain() -> None:
    shell = find_parent()
    kind, said, uncertain = run_text("kill -9 $PPID").reply
    assert (kind, uncertain) == ("failed", True) and "shell" in said
    assert find_parent() not in (shell, os.getpid())


def test_a_shell_that_has_died_meanwhile_costs_nothing(kept: Shells, tmp_path: Path) -> None:
    shell = find_parent()
    os.kill(shell, signal.SIGKILL)
    eventually(lambda: is_gone(shell), 60, "it dies")
    assert run_text(f"echo >> {tmp_path}/runs").reply == ("ended", 0, False)
    assert (tmp_path / "runs").read_text() == "\n"
    assert find_parent() not in (shell, os.getpid())


# --- what may be lacking ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a shell as another user")
def test_no_process_more(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = starts.prepare_program

    def prepare_as_nobody(request: dict[str, Any], held: Sequence[int]) -> None:
        prepare(request, held)
        os.setuid(65_534)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    monkeypatch.setattr(shells, "SHELL", shutil.which("dash") or "/bin/sh")  # bash tries again for 15 s
    monkeypatch.setattr(starts, "prepare_program", prepare_as_nobody)
    assert run_text("echo said") == Ended(("failed", "no process can be started", False), b"", b"")


def test_a_shell_that_tells_that_it_could_not_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Shells
) -> None:
    (tmp_path / "sh").write_text("#!/bin/sh\nwhile read -r line; do case $line in echo*) echo 254;; esac; done\n")
    (tmp_path / "sh").chmod(0o755)
    monkeypatch.setattr(shells, "SHELL", str(tmp_path / "sh"))
    assert run_text("echo said") == Ended(("failed", "no process can be started", False), b"", b"")
    assert len(kept._idle) == 1, "it may have one later"


# --- how many, and for how long --------------------------------------------------------------------------------------


def test_many_at_once_get_their_own_answers(kept: Shells) -> None:
    with ThreadPoolExecutor(20) as threads:
        said = list(
            threads.map(lambda number: run_text(f"echo {number}; echo e{number} >&2; exit {number}"), range(100))
        )
    assert [ended.out for ended in said] == [b"%d\n" % number for number in range(100)]
    assert [ended.err for ended in said] == [b"e%d\n" % number for number in range(100)]
    assert [ended.reply[1] for ended in said] == list(range(100))
    assert len(kept._idle) <= shells.MOST_SHELLS


def test_where_no_shell_is_free_sh_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "MOST_SHELLS", 1)
    with running("true", tmp_path) as (call, wait):
        assert find_parent() == os.getpid()
        call.send_signal(signal.SIGKILL)
        wait()
    assert find_parent() != os.getpid()


def test_one_of_another_kind_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "MOST_SHELLS", 1)
    shell = find_parent()
    assert find_parent(descriptors=100) == os.getpid()
    assert find_parent(descriptors=100) not in (shell, os.getpid())
    eventually(lambda: is_gone(shell), 60, "it ends")


def test_one_that_nobody_uses_ends(kept: Shells) -> None:
    shell = find_parent()
    with kept._changed:
        assert kept._idle[0].idle_until > time.monotonic()
        kept._idle[0].idle_until = 0
        kept._changed.notify()
    eventually(lambda: is_gone(shell) and not kept._idle, 60, "it ends")
    assert find_parent() not in (shell, os.getpid())


def test_a_lock_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "IDLE_S", 100_000.0)
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert find_parent(held=[held]) == os.getpid()

    def is_free() -> bool:
        with (tmp_path / "lock").open() as other, contextlib.suppress(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    with ThreadPoolExecutor(1) as thread:
        text = f"echo > {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"
        waiting = thread.submit(run_text, text, held=[held])
        eventually((tmp_path / "begun").exists, 60, "it begins")
        os.close(held)
        assert not is_free(), "its program has it"
        (tmp_path / "go").touch()
        assert waiting.result(60).reply == ("ended", 0, False)
    eventually(is_free, 60, "the shell gives it up")


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    """A process that starts programs, of the test's own."""
    made = Starter()
    monkeypatch.setattr(programs, "STARTER", made)
    yield made
    made.close()


@pytest.mark.usefixtures("starter")
def test_what_has_become_no_program_is_not_run_by_a_shell(tmp_path: Path) -> None:
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\n{PARENT}\n")
    program.chmod(0o755)
    by_sh, by_shell = (
        programs.run_program(str(program), ["sbatch"], ENVIRONMENT, b"", 60, by_shell=True).out for _ in range(2)
    )
    assert by_sh != by_shell
    program.write_text(f"echo > {tmp_path}/run\n")
    with pytest.raises(programs.SlurmUnreachable, match="could not be started") as caught:
        programs.run_program(str(program), ["sbatch"], ENVIRONMENT, b"", 60, by_shell=True)
    assert not caught.value.uncertain and not (tmp_path / "run").exists()


@pytest.mark.usefixtures("starter")
def test_secrets_of_jobs_stay_in_no_shell(tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\n{PARENT}\n")
    (tmp_path / "sbatch").chmod(0o755)
    slurm, secret = Slurm(f"{tmp_path}:/usr/bin:/bin", None, 60), Needs(secrets={"SECRET": "x"})
    by_sh = slurm.sbatch("", {})
    assert slurm.sbatch("", {}) != by_sh
    assert {slurm.sbatch("", {}, needs=secret) for _ in range(2)} == {by_sh}


def test_shells_end_with_the_server_and_programs_go_on(tmp_path: Path, starter: Starter) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)

    def call(text: str) -> bytes:
        return programs.run_program("/bin/sh", ["sbatch", "-c", text], ENVIRONMENT, b"", 60, by_shell=True).out

    process_pid = int(call(PARENT))
    said = call(f"{PARENT}; ls /proc/$$/fd").split()
    shell = int(said[0])
    assert shell != process_pid and said[1:] == [b"0", b"1", b"2"]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(call, f"echo > {tmp_path}/begun; read x < {go}; echo $PPID > {tmp_path}/done")
        eventually((tmp_path / "begun").exists, 60, "it begins")
        starter.close()
        with pytest.raises(programs.SlurmUnreachable) as caught:
            waiting.result(60)
    assert caught.value.uncertain and is_gone(process_pid) and not is_gone(shell)
    go.write_text("\n")
    eventually(lambda: (tmp_path / "done").exists() and is_gone(shell), 60, "both end")
    assert int((tmp_path / "done").read_text()) == shell
