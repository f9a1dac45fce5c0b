"""A real sshd on loopback, for tests: its own host key, a key to log in with, and an ssh configuration that knows both.

    with Sshd(folder) as sshd:                      # runs as whoever runs the tests, on a free port
        subprocess.run(["ssh", "-F", sshd.config, "cluster", "hostname"])

`config` is an ssh_config(5) file with the host `cluster`; it is what `SLUICE_SSH_CONFIG` may name. `login` has the
fields of a profile. `stop`, `kill` (connections included) and `start` take the server away and bring it back on the
same port with the same key; `rekey` gives it another host key, as an impostor would have.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.cluster.real import free_ports

PACKAGES = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}
# Daemons live in /usr/sbin, which the PATH of an ordinary login does not name.
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
READY_S = 120.0

SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/authorized_keys
PidFile none
StrictModes no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
AllowTcpForwarding yes
PrintMotd no
MaxStartups 200
MaxSessions 200
AcceptEnv *
SetEnv {environment}
"""
CLIENT = """\
Host *
  UserKnownHostsFile {dir}/known_hosts
  GlobalKnownHostsFile none
  HashKnownHosts no
  IdentityAgent none
Host cluster
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {dir}/key
  IdentitiesOnly yes
"""


def missing() -> list[str]:
    """The Debian packages of the programs that are not installed."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=PATH) is None})


def needed() -> None:
    """Skip the test where programs are missing; never in CI."""
    if missing() and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")


class Sshd:
    """An sshd below one folder; `environment` is what sessions get beside what sshd sets (PATH, SLURM_CONF …)."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.dir = folder
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = free_ports(1)[0]
        self.environment = {"PATH": PATH, **(environment or {})}
        self.key, self.config, self.known_hosts = folder / "key", folder / "ssh_config", folder / "known_hosts"
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []  # words before the command
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._make_key("key")
        self._make_key("host_key")
        (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
        self.trust()
        said = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        self._write("sshd_config", SERVER.format(dir=folder, port=self.port, environment=said))
        self._write("ssh_config", CLIENT.format(dir=folder, port=self.port, user=self.user))

    @property
    def login(self) -> dict[str, Any]:
        """The fields of a profile that leads here."""
        return {"hostname": "127.0.0.1", "username": self.user, "key_filename": str(self.key), "port": self.port}

    @property
    def known_hosts_line(self) -> str:
        """What known_hosts says of the key that the host has now."""
        return f"[127.0.0.1]:{self.port} {(self.dir / 'host_key.pub').read_text()}"

    def start(self) -> Sshd:
        """Itself, answering."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd shuts itself in there before a login
        program = shutil.which("sshd", path=PATH)
        assert program is not None, "openssh-server is not installed"
        with (self.dir / "log").open("ab") as log:
            argv = [*self.prefix, program, "-D", "-e", "-f", str(self.dir / "sshd_config")]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + READY_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"sshd does not answer:\n{self.log()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Take no new connection; those that are open go on."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """Kill the server and its connections, as when a host goes down."""
        mine = list(self._sessions())
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):  # it ended with its connection
                os.kill(pid, signal.SIGKILL)

    def rekey(self) -> None:
        """Make another host key, which no client knows."""
        for name in ("host_key", "host_key.pub"):
            (self.dir / name).unlink()
        self._make_key("host_key")

    def configure(self, options: str) -> None:
        """Start again with these lines of sshd_config(5), which come before its own."""
        self.stop()
        self._write("sshd_config", f"{options}\n{(self.dir / 'sshd_config').read_text()}")
        self.start()

    def trust(self) -> None:
        """Let clients know the key that the host has now."""
        self._write("known_hosts", self.known_hosts_line)

    def log(self) -> str:
        """What sshd wrote."""
        path = self.dir / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def _sessions(self) -> Iterator[int]:
        """The processes of this sshd that serve a connection: its children, and theirs that are sshd too."""
        if self.process is None:
            return
        parents = {self.process.pid}
        table = [pair for pair in map(_parent, Path("/proc").iterdir()) if pair]
        for _ in range(3):
            found = {pid for pid, parent, name in table if parent in parents and name.startswith("sshd")}
            parents |= found
        yield from parents - {self.process.pid}

    def _make_key(self, name: str) -> None:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(self.dir / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def _write(self, name: str, text: str) -> None:
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o600)


def _parent(entry: Path) -> tuple[int, int, str] | None:
    """Pid, parent and name of a process, from its folder in /proc."""
    try:
        text = (entry / "stat").read_text() if entry.name.isdigit() else ""
    except OSError:  # ended while we looked
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return (int(entry.name), int(rest.split()[1]), name) if rest else None
