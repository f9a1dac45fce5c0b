"""An account checked step by step: each thing that can be wrong is named as what it is, with a real sshd and a jump."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.remote import connection as connections
from slurm_shim.remote import reasons
from slurm_shim.remote.commands import Check, RemoteSlurm, check_account
from tests.app_server import free_port
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import Sshd, needed

pytestmark = pytest.mark.ssh
Fields = dict[str, Any]


@dataclass
class World:
    """A machine behind SSH, and one that leads to it; both start each test as they were."""

    beyond: Beyond
    gate: Sshd
    folder: Path

    def reset(self) -> None:
        """Make all as it was before anything was changed."""
        target = self.beyond.sshd
        for server, text in ((target, self.configs[0]), (self.gate, self.configs[1])):
            if (server.dir / "sshd_config").read_text() != text or server.process is None:
                server.stop()
                (server.dir / "sshd_config").write_text(text)
                server.start()
        target.known_hosts.write_text(self.known)
        target.config.write_text(self.client)
        (self.home / ".bashrc").unlink(missing_ok=True)
        self.beyond.program("scontrol", self.scontrol)

    def __post_init__(self) -> None:
        target = self.beyond.sshd
        self.home = self.folder / "home"
        self.configs = [(server.dir / "sshd_config").read_text() for server in (target, self.gate)]
        self.known = target.known_hosts.read_text() + self.gate.known_hosts.read_text()
        self.gate_host = f"Host gate\n  HostName 127.0.0.1\n  Port {self.gate.port}\n  IdentityFile {self.gate.key}\n"
        self.client = target.config.read_text() + self.gate_host
        self.scontrol = (self.beyond.dir / "wrappers" / "scontrol").read_text()

    def write_start_file(self, text: str) -> Fields:
        """Have each shell of the account read this text first."""
        (self.home / ".bashrc").write_text(text)
        return {}

    def configure(self, options: str) -> Fields:
        """Start the machine's sshd with more options."""
        self.beyond.sshd.configure(options)
        return {}

    def configure_gate(self, options: str) -> Fields:
        """Start the jump host's sshd with more options, and go through it."""
        self.gate.configure(options)
        return {"proxy_jump": "gate"}

    def forget(self, server: Sshd) -> Fields:
        """Take the key of this server out of known_hosts."""
        known = self.beyond.sshd.known_hosts
        known.write_text(known.read_text().replace(server.known_hosts_line, ""))
        return {}

    def confuse(self, server: Sshd) -> Fields:
        """Have known_hosts say another key of this server."""
        other = (self.folder / "other.pub").read_text()
        self.forget(server)
        with self.beyond.sshd.known_hosts.open("a") as known:
            known.write(f"[127.0.0.1]:{server.port} {other}")
        return {}

    def use_key(self, name: str, mode: int = 0o600, passphrase: str = "") -> Fields:
        """Name a copy of the right key, with this mode and passphrase."""
        path = self.folder / name
        shutil.copy(self.beyond.sshd.key, path)
        path.chmod(0o600)
        if passphrase:
            words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", str(path)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        path.chmod(mode)
        return {"key_filename": str(path)}

    def replace_program(self, text: str) -> Fields:
        """Have scontrol do this."""
        self.beyond.program("scontrol", text)
        return {}

    def check(self, **fields: Any) -> Check:
        """Check the account with these fields of the login."""
        slurm = RemoteSlurm(self.beyond.connection(**fields), timeout_s=20.0)
        try:
            return check_account(slurm)
        finally:
            slurm.connection.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world, started once."""
    needed()
    folder = tmp_path_factory.mktemp("world")
    (folder / "home").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")], check=True)
    environment = {"HOME": str(folder / "home")}
    with Beyond(folder / "beyond", environment=environment) as beyond, Sshd(folder / "gate") as gate:
        yield World(beyond, gate, folder)


@pytest.fixture
def world(built: World) -> World:
    """The world as it was at first."""
    built.reset()
    return built


SILENT = "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
Row = tuple[str, str, str, Callable[[World], Fields]]
ROWS: list[Row] = [
    ("a key that is not there", "profile", "nope cannot be read: No such file", lambda w: {"key_filename": "/nope"}),
    ("a key that others may read", "profile", "chmod 600", lambda w: w.use_key("open", 0o644)),
    ("a folder for a key", "profile", "is not a file", lambda w: {"key_filename": str(w.folder)}),
    ("a name that nobody has", "host", "Could not resolve hostname", lambda w: {"hostname": "nobody.invalid"}),
    ("nobody listens", "port", "Connection refused", lambda w: {"port": free_port()}),
    ("an unknown host key", "host_key", "is not in known_hosts", lambda w: w.forget(w.beyond.sshd)),
    ("another host key", "host_key", "is another than the one", lambda w: w.confuse(w.beyond.sshd)),
    ("another key", "login", "authorized_keys", lambda w: {"key_filename": str(w.folder / "other")}),
    ("another user", "login", "check username", lambda w: {"username": "nobody-here"}),
    ("a key with a passphrase", "login", "needs a passphrase", lambda w: w.use_key("locked", passphrase="secret")),
    ("a public key", "login", "is a public key", lambda w: {"key_filename": f"{w.beyond.sshd.key}.pub"}),
    (
        "a password is asked for",
        "login",
        "asks for a password",
        lambda w: w.configure("PubkeyAuthentication no\nPasswordAuthentication yes"),
    ),
    (
        "a second factor",
        "login",
        "asks for a password or a code",
        lambda w: w.configure("KbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive"),
    ),
    ("no login shell", "shell", "nologin", lambda w: w.configure("ForceCommand /usr/sbin/nologin")),
    (
        "a shell that does nothing",
        "shell",
        "runs no command (its start",
        lambda w: w.configure("ForceCommand /bin/false"),
    ),
    ("files only", "shell", "may run only what", lambda w: w.configure("ForceCommand internal-sftp")),
    (
        "a restricted shell",
        "shell",
        "may run only what",
        lambda w: w.configure("ForceCommand echo 'rbash: exec: restricted'"),
    ),
    ("start files that exit", "shell", "maintenance", lambda w: w.write_start_file("echo maintenance; exit 0\n")),
    ("start files that exit like ssh", "shell", "start files", lambda w: w.write_start_file("exit 255\n")),
    ("start files that exec", "shell", "start files", lambda w: w.write_start_file("exec cat\n")),
    ("SLURM's controller is silent", "slurm", "Unable to contact", lambda w: w.replace_program(SILENT)),
    ("a jump host without a name", "jump", "Could not resolve", lambda w: {"proxy_jump": "nobody.invalid"}),
    ("a jump host that is down", "jump", "Connection refused", lambda w: {"proxy_jump": f"127.0.0.1:{free_port()}"}),
    ("a jump host unknown", "jump", "not in known_hosts", lambda w: w.forget(w.gate) | {"proxy_jump": "gate"}),
    ("a jump host changed", "jump", "is another than", lambda w: w.confuse(w.gate) | {"proxy_jump": "gate"}),
    (
        "a jump host that refuses the login",
        "jump",
        "ssh configuration, not from key_filename",
        lambda w: {"proxy_jump": f"127.0.0.1:{w.gate.port}"},
    ),
    (
        "a jump host that asks for a password",
        "jump",
        "asks for a password",
        lambda w: w.configure_gate("PubkeyAuthentication no\nPasswordAuthentication yes"),
    ),
    (
        "a jump host that lets nobody through",
        "jump",
        "AllowTcpForwarding",
        lambda w: w.configure_gate("AllowTcpForwarding no"),
    ),
    ("nobody listens behind it", "port", "the jump host cannot", lambda w: {"proxy_jump": "gate", "port": free_port()}),
    (
        "an unknown name behind it",
        "host",
        "the jump host does not know",
        lambda w: {"proxy_jump": "gate", "hostname": "nobody.invalid"},
    ),
    (
        "an unknown host key behind it",
        "host_key",
        "known_hosts",
        lambda w: w.forget(w.beyond.sshd) | {"proxy_jump": "gate"},
    ),
    (
        "another key behind it",
        "login",
        "authorized_keys",
        lambda w: {"proxy_jump": "gate", "key_filename": str(w.folder / "other")},
    ),
]


@pytest.mark.parametrize(("why", "step", "says", "arrange"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_wrong_is_named(
    world: World, why: str, step: str, says: str, arrange: Callable[[World], Fields]
) -> None:
    check = world.check(**arrange(world))
    assert (check.failed, says in (check.error or "")) == (step, True), check
    assert check.error is not None and check.error.startswith("SSH to ") and "squeue" not in check.error
    assert "\n" not in check.error and ("user" in check.found) is (step in ("path", "slurm"))


def test_all_steps_pass_and_the_default_key_is_not_used(world: World) -> None:
    assert world.check() == world.check(proxy_jump="gate")
    check = world.check()
    assert (check.failed, check.error, check.warnings) == (None, None, [])
    assert check.found == {
        "hostname": os.uname().nodename,
        "user": world.beyond.sshd.user,
        "cluster": "beyond",
        "slurm_version": "22.05.8",
    }


def test_start_files_that_print_are_told_but_do_not_fail(world: World) -> None:
    world.write_start_file("printf 'Wel\\033\\0come\\n'; echo stty: no tty >&2\n")
    check = world.check()
    assert check.failed is None and "print text: Welcome (" in check.warnings[0], check


def test_a_home_that_takes_no_file_is_told(world: World) -> None:
    slurm = RemoteSlurm(connections.Connection(world.beyond.connection().login, str(world.beyond.sshd.config),
                                               {**world.beyond.variables, "HOME": "/proc/1"}))  # fmt: skip
    check = check_account(slurm)
    slurm.connection.close()
    assert check.failed is None and check.warnings == [
        "nothing can be written in /proc/1: Directory nonexistent (runs need it)"
    ]


def test_start_files_that_wait_are_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GREETING_S", 5.0)
    # Who has given up cannot end what goes on there, so the test does.
    world.write_start_file(f"echo $$ >> {world.folder}/waiting; exec sleep 600\n")
    try:
        check = world.check()
        assert check.failed == "shell" and "wait, or start another program" in (check.error or ""), check
    finally:
        for pid in (world.folder / "waiting").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_programs_that_are_missing_are_named(world: World) -> None:
    path = world.folder / "path"
    path.mkdir()
    for name in ("env", "timeout", "scontrol", "squeue"):
        (path / name).symlink_to(shutil.which(name, path=world.beyond.variables["PATH"]) or name)
    login, config = world.beyond.connection().login, str(world.beyond.sshd.config)
    slurm = RemoteSlurm(connections.Connection(login, config, {**world.beyond.variables, "PATH": str(path)}, "lab"))
    check = check_account(slurm)
    slurm.connection.close()
    assert check.failed == "path"
    assert check.error == (
        f"SSH profile lab: sbatch, scancel are not on the PATH of the account on 127.0.0.1 ({path}): set it in "
        "~/.profile there, or PATH in env_vars of the profile"
    )


def test_nothing_is_left_of_a_login_that_runs_no_command(world: World) -> None:
    world.configure("ForceCommand /bin/false")
    connection = world.beyond.connection()
    with pytest.raises(connections.ConnectionLost):
        connection.connect()
    folder = connection._folder
    assert folder is not None
    processes = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [words for words in processes if folder.encode() in words], "no master stays behind"
    connection.close()


def test_every_step_that_fails_is_one_of_the_list() -> None:
    assert {row[1] for row in ROWS} <= set(reasons.STEPS)
