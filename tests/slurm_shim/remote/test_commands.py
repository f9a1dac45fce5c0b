"""The words over SSH: what travels, what comes back, and what a connection that breaks leaves behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.commands import Needs
from slurm_shim.errors import FolderRefused, SlurmInvalid, SlurmRefused, SlurmUnreachable
from slurm_shim.programs import Breaker, Outcome
from slurm_shim.remote import connection as made
from slurm_shim.remote.commands import RemoteSlurm, Slice
from slurm_shim.remote.connection import SHELL, Connection, ConnectionLost, frame_block, parse_framed
from slurm_shim.remote.ssh import Login
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import needed
from tests.waiting import eventually

NONCE = "0123456789abcdef"
SHELLS = [shutil.which(name) for name in ("dash", "bash", "tcsh", "fish", "zsh", "ksh", "busybox")]


# --- blocks of shell -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 255), st.binary(max_size=50))
def test_what_a_block_printed_is_told_from_what_else_was_printed(
    before: bytes, printed: bytes, code: int, after: bytes
) -> None:
    mark = NONCE.encode()
    out = before + mark + b"\n" + printed + b"\n" + mark + f" {code} 1.00 1.25\n".encode() + after
    begun, said = parse_framed(Outcome(0, out, before + mark + b"\n" + printed), NONCE)
    assert begun and said is not None
    assert (said.code, said.out, said.err, said.took_s) == (code, printed, printed, 0.25)


@given(st.binary(max_size=100), st.binary(max_size=100), st.data())
def test_an_answer_that_was_cut_off_is_none(before: bytes, printed: bytes, data: st.DataObject) -> None:
    mark = NONCE.encode()
    whole = before + mark + b"\n" + printed + b"\n" + mark + b" 0 1.00 1.25\n"
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    begun, said = parse_framed(Outcome(255, cut, b""), NONCE)
    assert said is None and begun is (len(cut) > len(before) + len(mark))


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_half_a_block_does_nothing(shell: str, tmp_path: Path) -> None:
    """A connection that breaks while a script is sent must not submit the half that has arrived."""
    text = frame_block(f"echo one > {tmp_path}/done\nprintf %s '#!/bin/sh\necho x\n' | cat > {tmp_path}/script", NONCE)
    reading = SHELL.removeprefix("exec /bin/sh -c ").strip("'")

    def fed(given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([shell, "-c", reading], input=given, capture_output=True, text=True)

    for end in range(0, len(text.rstrip()), 3):
        fed(text[:end])
        assert not list(tmp_path.iterdir()), f"{end}: {text[:end]!r}"
    assert NONCE in fed(text).stdout
    assert (tmp_path / "script").read_text() == "#!/bin/sh\necho x\n"


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell])
def test_every_shell_reads_the_words_alike(shell: str, tmp_path: Path) -> None:
    """What sshd does: the account's shell with -c."""
    words = [shell, *(["sh"] if shell.endswith("busybox") else []), "-c", SHELL]
    done = subprocess.run(words, input=frame_block("echo 'it'\"'\"'s $HOME !'", NONCE), capture_output=True, text=True)
    begun, said = parse_framed(Outcome(done.returncode, done.stdout.encode(), done.stderr.encode()), NONCE)
    assert begun and said is not None and (said.code, said.out) == (0, b"it's $HOME !\n")


def test_the_pauses_between_probes_grow() -> None:
    clock = [0.0]
    breaker = Breaker(limit=1, pause_s=2.0, now=lambda: clock[0], longest_s=10.0)
    pauses = []
    for _ in range(5):
        breaker.enter("ssh")
        breaker.leave(SlurmUnreachable("ssh", "gone"))
        began = clock[0]
        while True:
            try:
                clock[0] += 1.0
                breaker.enter("ssh")
                break
            except SlurmUnreachable as problem:
                assert str(problem).count("not asked again yet") == 1
        pauses.append(clock[0] - began)
        breaker.leave(SlurmUnreachable("ssh", "gone"))
        clock[0] += 10.0
    assert pauses[0] == 2.0 and max(pauses) <= 10.0


# --- over a real sshd ------------------------------------------------------------------------------------------------


@pytest.fixture
def beyond(tmp_path: Path) -> Iterator[Beyond]:
    """The machine behind SSH, whose start files are chatty."""
    needed()
    noise = tmp_path / "noise"
    noise.write_text('echo "Welcome to the cluster!"; printf "no line break"; echo "stty: no tty" >&2\n')
    with Beyond(tmp_path / "beyond", environment={"BASH_ENV": str(noise)}) as machine:
        yield machine


@pytest.fixture
def slurm(beyond: Beyond) -> Iterator[RemoteSlurm]:
    slurm = RemoteSlurm(beyond.connection())
    yield slurm
    slurm.connection.close()


@pytest.mark.ssh
def test_what_start_files_print_disturbs_nothing(slurm: RemoteSlurm, beyond: Beyond) -> None:
    greeting = slurm.identify()
    assert slurm.own_name == "beyond" and slurm.home == str(beyond.home) == greeting.home
    assert greeting.host == os.uname().nodename and "/bin" in greeting.variables["PATH"]
    assert slurm.squeue() == []
    assert slurm.ping()["up"] is True
    with pytest.raises(SlurmInvalid, match="Batch script is empty"):
        slurm.sbatch("", {})


@pytest.mark.ssh
def test_255_of_a_program_is_not_that_of_ssh(slurm: RemoteSlurm, beyond: Beyond) -> None:
    slurm.identify()
    beyond.program("scancel", "echo 'scancel: error: Invalid job id specified' >&2; exit 255")
    with pytest.raises(SlurmRefused):
        slurm.scancel(["9"])
    assert slurm.connection.greeting is not None, "the connection is there"


@pytest.mark.ssh
@pytest.mark.parametrize(
    ("why", "text", "uncertain"),
    [
        ("ended by a signal", "kill -9 $$", True),
        ("no answer in time", "sleep 600", True),
        ("not there", None, False),
    ],
)
def test_a_program_that_does_not_end_well(beyond: Beyond, why: str, text: str | None, uncertain: bool) -> None:
    if text is None:
        beyond.variables["PATH"] = str(bare(beyond.dir))
    slurm = RemoteSlurm(beyond.connection(), timeout_s=2.0)
    try:
        slurm.identify()
        if text is not None:
            beyond.program("sbatch", text)
        with pytest.raises(SlurmUnreachable) as caught:
            slurm.sbatch("#!/bin/sh\n", {})
        assert caught.value.uncertain is uncertain, caught.value
        assert slurm.connection.greeting is not None, "the connection is there"
    finally:
        slurm.connection.close()


@pytest.mark.ssh
@pytest.mark.parametrize("has_timeout", [True, False])
def test_the_id_is_enough_over_there_too(beyond: Beyond, has_timeout: bool) -> None:
    if not has_timeout:
        beyond.variables["PATH"] = str(bare(beyond.dir, "env", "cat", "sleep"))
        (beyond.dir / "bare" / "sbatch").symlink_to(beyond.dir / "wrappers" / "sbatch")
    slurm = RemoteSlurm(beyond.connection(), timeout_s=60.0)
    try:
        slurm.identify()
        beyond.program("sbatch", f"echo $$ > {beyond.home}/pid; cat > {beyond.home}/script; echo 12; exec sleep 600")
        assert slurm.sbatch("#!/bin/sh\n%s \\n", {}) == "12"
        assert (beyond.home / "script").read_text() == "#!/bin/sh\n%s \\n"
        assert not Path(f"/proc/{(beyond.home / 'pid').read_text().strip()}").exists(), "nobody waits for the job"
        beyond.program("sbatch", "echo 'sbatch: error: Batch script is empty!' >&2; exit 3")
        with pytest.raises(SlurmInvalid, match="Batch script is empty") as caught:
            slurm.sbatch("", {})
        assert caught.value.exit_code == 3
    finally:
        slurm.connection.close()


def bare(folder: Path, *more: str) -> Path:
    """A folder with what every system has, and of SLURM only scontrol."""
    made = folder / "bare"
    made.mkdir()
    for name in more or ("env", "timeout"):
        (made / name).symlink_to(f"/usr/bin/{name}")
    (made / "scontrol").symlink_to(folder / "wrappers" / "scontrol")
    return made


@pytest.mark.ssh
def test_folders_are_made_with_the_submission(slurm: RemoteSlurm, beyond: Beyond) -> None:
    slurm.identify()
    before = beyond.calls()
    wanted = {f"folder {name}": str(beyond.home / name) for name in ("a b", "it's", "-x/y", "é\n")}
    slurm.sbatch("#!/bin/sh\n", {"chdir": str(beyond.home)}, needs=Needs(wanted))
    assert all(Path(folder).is_dir() for folder in wanted.values())
    (beyond.home / "file").touch()
    with pytest.raises(FolderRefused, match=rf"^it's {beyond.home}/file/x: mkdir: .*: Not a directory$"):
        slurm.sbatch("#!/bin/sh\n", {}, needs=Needs({"it's": str(beyond.home / "file" / "x")}))
    assert (beyond.calls() - before)["sbatch"] == 1


@pytest.mark.ssh
def test_files_are_written_with_the_submission_for_their_owner_only(slurm: RemoteSlurm, beyond: Beyond) -> None:
    slurm.identify()
    before, work = beyond.calls(), beyond.home / "it's" / "work"
    files = {"input/it's \n $(x) é": b"END\n\0", "-n": b"", "large": os.urandom(3_000_000), "a/b/c": b"old"}
    needs = Needs({"work_dir": str(work), "log_dir": str(work / "logs")}, files=files)
    slurm.sbatch("#!/bin/sh\n", {"chdir": str(work)}, needs=needs)
    for name, data in files.items():
        assert (work / name).read_bytes() == data and (work / name).stat().st_mode & 0o777 == 0o600, name
    assert work.stat().st_mode & 0o777 == 0o700, "nor is what programs make of them for others"
    again = replace(needs, files={"a/b/c": b"new"})
    slurm.sbatch("#!/bin/sh\n", {"chdir": str(work)}, needs=again)
    assert (work / "a/b/c").read_bytes() == b"new"
    (work / "file").touch()
    with pytest.raises(FolderRefused, match=r"^work_dir /\S+: tar: file"):
        slurm.sbatch("#!/bin/sh\n", {"chdir": str(work)}, needs=replace(needs, files={"file/x": b""}))
    assert (beyond.calls() - before)["sbatch"] == 2


@pytest.mark.ssh
def test_secrets_stand_in_no_argv(beyond: Beyond) -> None:
    variables = {**beyond.variables, "A_TOKEN": "of the profile"}
    made = Connection(Login(**beyond.sshd.login), str(beyond.sshd.config), variables, secret_names=["A_TOKEN"])
    beyond.program("sbatch", f"cat /proc/[0-9]*/cmdline > {beyond.dir}/argvs; env > {beyond.dir}/got; cat; echo 7")
    try:
        script = "#!/bin/sh\necho 7\n"
        RemoteSlurm(made).sbatch(script, {}, needs=Needs(secrets={"SLURM_SLUICE_T": "of the job"}))
    finally:
        made.close()
    got, argvs = ((beyond.dir / name).read_text(errors="replace") for name in ("got", "argvs"))
    assert {"A_TOKEN=of the profile", "SLURM_SLUICE_T=of the job"} <= set(got.splitlines())
    assert "sbatch" in argvs and "of the profile" not in argvs and "of the job" not in argvs


FILES = [
    ("a file", "log", 0, 100, Slice(b"0123456789", 10)),
    ("from an offset", "log", 4, 100, Slice(b"456789", 10)),
    ("a few bytes", "log", 4, 2, Slice(b"45", 10)),
    ("from the end", "log", -3, 100, Slice(b"789", 10)),
    ("from before the beginning", "log", -30, 3, Slice(b"012", 10)),
    ("at the end", "log", 10, 100, Slice(b"", 10)),
    ("behind the end", "log", 2**70, 100, Slice(b"", 10)),
    ("any bytes", "bytes", 0, 1000, Slice(bytes(range(256)) + b"\n\n", 258)),
    ("a name with all that a shell knows", 'it\'s $(touch x) `id` \\ "q" *', 0, 9, Slice(b"odd\n", 4)),
    ("a name that looks like an option", "-n", 0, 9, Slice(b"", 0)),
    ("ten gigabytes", "large", -2, 100, Slice(b"\0\0", 10**10)),
    ("not there", "nope", 0, 9, Slice()),
    ("a file where a folder should be", "log/x", 0, 9, Slice()),
    ("a link", "link", 0, 9, Slice(refused="is a symbolic link")),
    ("a link to nowhere", "broken", 0, 9, Slice(refused="is a symbolic link")),
    ("a folder", ".", 0, 9, Slice(refused="is not a regular file")),
    ("a pipe that nobody writes to", "pipe", 0, 9, Slice(refused="is not a regular file")),
    ("a device", "/dev/zero", 0, 9, Slice(refused="is not a regular file")),
]


@pytest.mark.ssh
def test_files_over_there(slurm: RemoteSlurm, beyond: Beyond) -> None:
    home = beyond.home
    (home / "log").write_bytes(b"0123456789")
    (home / "bytes").write_bytes(bytes(range(256)) + b"\n\n")
    (home / FILES[8][1]).write_bytes(b"odd\n")
    (home / "-n").touch()
    (home / "link").symlink_to(home / "log")
    (home / "broken").symlink_to(home / "nowhere")
    os.mkfifo(home / "pipe")
    with (home / "large").open("wb") as large:
        large.truncate(10**10)
    slurm.identify()
    before = slurm.connection._made
    (home / "linked").symlink_to(home)
    folders = [f"{home}/linked/none", "/proc/self/cwd/.."]
    wanted = [(str(home / path), at, most) for _, path, at, most, _ in FILES]
    found, real = slurm.read_files(wanted, os.getuid(), folders)
    for (why, path, _, _, expected), piece in zip(FILES, found, strict=True):
        assert replace(piece, path="", modified_at=0) == expected, why
        if piece.size_bytes is not None:
            status = (home / path).stat()
            assert (piece.path, piece.modified_at) == (str((home / path).resolve()), int(status.st_mtime)), why
    assert real[folders[0]] == f"{home.resolve()}/none" and real[folders[1]].startswith("/")
    assert slurm.connection._made == before == 1
    assert not (home / "x").exists() and not Path("x").exists()
    foreign, _ = slurm.read_files([(str(home / "log"), 0, 9)], os.getuid() + 1)
    assert foreign == [Slice(refused="belongs to somebody else")]
    with pytest.raises(ValueError, match="NUL"):
        slurm.read_files([("a\0b", 0, 9)])


@pytest.mark.ssh
def test_a_connection_is_private_shared_and_ended(beyond: Beyond) -> None:
    slurm = RemoteSlurm(beyond.connection())
    folder = Path(slurm.identify().socket).parent
    assert folder.stat().st_mode & 0o777 == 0o700 and folder.stat().st_uid == os.getuid()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: slurm.squeue(), range(8))) == [[]] * 8
    assert slurm.connection._made == 1
    beyond.sshd.kill()
    with pytest.raises(ConnectionLost):
        slurm.squeue()
    beyond.sshd.start()
    slurm.connection.connect(now=True)
    attempts = slurm.connection._made
    barrier = threading.Barrier(8)

    def ask(_: int) -> list[object]:
        barrier.wait(120)
        return list(slurm.squeue())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[]] * 8
    assert slurm.connection._made == attempts, "one connection serves all"
    socket = slurm.identify().socket
    slurm.connection.close()
    assert not folder.exists()
    assert not [line for line in list_command_lines() if socket.encode() in line], "no ssh is left"
    with pytest.raises(ConnectionLost, match="closed"):
        slurm.squeue()


def list_command_lines() -> list[bytes]:
    """Those of all processes, but for those that end meanwhile."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


@pytest.mark.ssh
def test_a_call_over_a_connection_that_has_ended_is_made_again(slurm: RemoteSlurm, beyond: Beyond) -> None:
    """Nothing was begun, so nothing can be done twice."""
    socket = Path(slurm.identify().socket)
    socket.unlink()
    assert slurm.sbatch("#!/bin/sh\n", {"chdir": str(beyond.home)}) == "1"
    assert slurm.connection._made == 2 and beyond.calls()["sbatch"] == 1


@pytest.mark.ssh
def test_another_cluster_behind_the_same_name_is_refused(slurm: RemoteSlurm, beyond: Beyond) -> None:
    slurm.identify()
    conf = Path(beyond.conf)
    conf.write_text(conf.read_text().replace("ClusterName=beyond", "ClusterName=other"))
    assert slurm.squeue() == [], "over the connection that was recognised"
    beyond.sshd.kill()
    with pytest.raises(ConnectionLost):
        slurm.squeue()
    beyond.sshd.start()
    slurm.connection.connect(now=True)
    with pytest.raises(SlurmUnreachable, match="leads to the cluster other now, not to beyond"):
        slurm.squeue()


@pytest.mark.ssh
def test_a_failed_connection_is_not_tried_at_once_again(beyond: Beyond, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "PAUSE_S", 3600.0)
    beyond.sshd.kill()
    connection = beyond.connection()
    with pytest.raises(ConnectionLost, match="Connection refused"):
        connection.connect()
    beyond.sshd.start()
    with pytest.raises(SlurmUnreachable, match=r"not asked again yet: .*Connection refused"):
        connection.connect()
    assert connection._made == 1
    assert connection.connect(now=True).home == str(beyond.home), "somebody who asks for it need not wait"
    connection.close()


@pytest.mark.ssh
def test_a_jump_leads_there(beyond: Beyond) -> None:
    connection: Connection = beyond.connection(proxy_jump="cluster")
    assert connection.connect().user == beyond.sshd.user
    connection.close()


@pytest.mark.ssh
def test_an_sbatch_over_a_connection_that_breaks_is_uncertain(slurm: RemoteSlurm, beyond: Beyond) -> None:
    slurm.identify()
    begun = beyond.dir / "begun"
    beyond.program("sbatch", f"touch {begun}; sleep 30")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(slurm.sbatch, "#!/bin/sh\n", {})
        eventually(begun.exists)
        beyond.sshd.kill()
        with pytest.raises(ConnectionLost) as caught:
            asked.result(300)
    assert caught.value.uncertain


@pytest.mark.ssh
def test_accounting_that_is_switched_off_is_noticed(slurm: RemoteSlurm, beyond: Beyond) -> None:
    assert slurm.find_accounted(["1"]) == []
    beyond.program("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    before = beyond.calls()
    assert [slurm.find_accounted(["1"]) for _ in range(3)] == [None] * 3
    assert beyond.calls() - before == {"sacct": 1}
