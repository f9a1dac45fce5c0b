"""The ssh command for one login, built from checked fields.

Nothing in it comes unchecked from a request.

Every connection is BatchMode (nobody is there to answer a question) with strict host keys (a host that is not in
known_hosts, or that has another key than it had, is refused), forwards nothing and ends when the other side is silent.
A login by `ssh_host` leaves everything else to the ssh configuration, as `ssh NAME` in a shell would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}", re.ASCII)
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}", re.ASCII)
_HOP = (
    r"([A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}@)?([A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
)
JUMP = re.compile(rf"{_HOP}(,{_HOP}){{0,7}}", re.ASCII)
# ssh expands `%x` and `${X}` in the path of a key, and reads quotes in it.
KEY = re.compile(r"(~/|/)[^\x00-\x1f\x7f\"%$\\]{1,4095}")
SOCKET = re.compile(r"/[^\x00-\x20\x7f\"%$\\']{1,100}")

CONNECT_S = 10
ALIVE_S, ALIVE_COUNT = 15, 3
ALWAYS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": str(CONNECT_S),
    "ConnectionAttempts": "1",
    "ServerAliveInterval": str(ALIVE_S),
    "ServerAliveCountMax": str(ALIVE_COUNT),
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
}


@dataclass(frozen=True)
class Login:
    """Where to log in, as whom and how.

    ValueError names a field that cannot be an argument of ssh.

    `hostname` with `username`, `port`, `key_filename` and `proxy_jump`; or `ssh_host`, a name of the ssh configuration,
    which then says all of these.
    """

    hostname: str | None = None
    username: str | None = None
    port: int = 22
    key_filename: str | None = None
    proxy_jump: str | None = None
    ssh_host: str | None = None

    def __post_init__(self) -> None:
        for name, pattern in _FIELDS:
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(value):
                raise ValueError(f"{name} cannot be used with ssh: {value[:80]!r}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port cannot be used with ssh: {self.port}")
        if self.hostname is None and self.ssh_host is None:
            raise ValueError("hostname or ssh_host is needed")

    @property
    def host(self) -> str:
        """Host as it stands on the command line."""
        return self.ssh_host or self.hostname or ""

    @property
    def own_key(self) -> str | None:
        """Path of the one key that counts; None: as ssh is configured."""
        return None if self.ssh_host else self.key_filename


_FIELDS = (("hostname", HOST), ("ssh_host", HOST), ("username", USER), ("key_filename", KEY), ("proxy_jump", JUMP))


def build_options(
    login: Login, config: str | None = None, control_path: str | None = None, master: bool = False
) -> list[str]:
    """Build the `ssh` command with all options, without the host.

    The host and the command follow, or rsync puts them there.

    `config` is an ssh_config(5) file instead of the user's own. `control_path` is the socket of a shared connection:
    used when there is one, made and kept for a while only by a `master`.
    """
    said = dict(ALWAYS)
    if control_path is not None:
        if not SOCKET.fullmatch(control_path):
            raise ValueError(f"not the path of a socket: {control_path[:120]!r}")
        said["ControlPath"] = control_path
    said["ControlMaster"] = "auto" if master and control_path else "no"
    argv = ["ssh", "-T", "-x", "-a"]
    argv += ["-F", config] if config is not None else []
    if login.ssh_host is None:
        argv += ["-p", str(login.port)]
        argv += ["-l", login.username] if login.username else []
        if login.own_key:
            # Not by -i, which takes the account's default keys in place of a file that is not there.
            said |= {"IdentitiesOnly": "yes", "IdentityFile": f'"{Path(login.own_key).expanduser()}"'}
        argv += ["-J", login.proxy_jump] if login.proxy_jump else []
    for name, value in said.items():
        argv += ["-o", f"{name}={value}"]
    return argv


def build_argv(
    login: Login, config: str | None = None, control_path: str | None = None, master: bool = False
) -> list[str]:
    """Build the `ssh` command up to the host.

    What follows is the command for the remote login shell, quoted by the caller.
    """
    return [*build_options(login, config, control_path, master), "--", login.host]
