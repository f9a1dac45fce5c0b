"""One shared SSH connection to an account on another machine.

Blocking; call in a thread.

ssh itself keeps the connection (ControlMaster): it is made once, by whoever comes first, and everything else goes
through its socket and never makes another. What is to be done travels through standard input to a shell of the
account, as one block that is only done when all of it has arrived: a connection that breaks in the middle of a script
submits no half of it. What comes back stands between two marks that nobody can guess, so that whatever the account's
own start files print is told from it, and so that an answer which was cut off is seen to be one.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import shlex
import shutil
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm_shim import programs
from slurm_shim.errors import ClusterUnreachable, SlurmUnreachable
from slurm_shim.remote import keys, reasons, ssh
from slurm_shim.remote.reasons import Failure

# Whatever the account's shell is, it reads this alike.
SHELL = """exec /bin/sh -c 'eval "$(cat)"'"""
# A connection that nobody uses ends: after a crash of the server it stays no longer than this.
IDLE_S = 120
# Silence for two of these, and the connection is given up.
ALIVE_S = 5
GREETING_S = 20.0
# What a call may take beyond its own time: the connection may be found silent only after two of ALIVE_S.
GRACE_S = 2 * ALIVE_S + 2
MOST_BYTES = 256_000_000
PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
# unix(7): sun_path has 108 bytes, and ssh puts 17 behind the name while it makes the socket.
LONGEST_FOLDER = 70
# Variables that ssh gets: where keys are available without a passphrase.
_KEPT = ("SSH_AUTH_SOCK", "KRB5CCNAME")
# What the account's own start files may have set for SLURM's programs.
_TAKEN = ("PATH", "SLURM_CONF", "LD_LIBRARY_PATH", "TZ")
# What is printed where nothing is behind the socket any more (see _build_session_argv).
_GONE = "sluice: no connection is behind this socket"


class ConnectionLost(ClusterUnreachable):
    """The account is unreachable, or an answer was cut off.

    `step` is the one of `reasons.STEPS` that failed, "" for a connection that was there.
    """

    step = ""


class ConnectionGone(ConnectionLost):
    """The connection had ended before: the block was surely not begun."""


@dataclass(frozen=True, eq=False)
class Greeting:
    """What an account reported when the connection to it was made.

    `variables` are those of a login, `umask` too: what the programs of a session may leave on the disk for others.
    `noise` is what its shell printed before the first command, `unwritable` why no file can be written in the home
    folder (no space left, quota).
    """

    socket: str
    home: str
    user: str
    host: str
    shell: str
    variables: Mapping[str, str]
    umask: str
    noise: str = ""
    unwritable: str = ""


@dataclass(frozen=True)
class BlockResult:
    """The result of a block that ran whole.

    The exit status of its last command, and the bytes it printed.

    `took_s` is how long it took over there, by the clock of that machine; None where it does not tell.
    """

    code: int
    out: bytes
    err: bytes
    took_s: float | None = None


class Connection:
    """The connection to `login`, made on demand and again when lost.

    Pauses between attempts grow.

    `config` is an ssh_config(5) file instead of the user's own; `more` are variables that programs get over there, of
    which those of `secret_names` stand in no argv; `profile` is the name that errors begin with. All methods raise
    ConnectionLost.
    """

    def __init__(
        self,
        login: ssh.Login,
        config: str | None = None,
        more: Mapping[str, str] | None = None,
        profile: str | None = None,
        secret_names: Collection[str] = (),
    ) -> None:
        self.login, self.config, self._more, self.secret_names = login, config, dict(more or {}), secret_names
        self.title = f"SSH profile {profile}" if profile else f"SSH to {login.host}"
        self._greeting: Greeting | None = None
        self._folder: str | None = None
        self._made = 0
        self._lock = threading.Lock()
        self._closed = False
        self._breaker = _make_breaker()
        self.error: str | None = None

    @property
    def greeting(self) -> Greeting | None:
        """Greeting of the present connection; None without one."""
        return self._greeting

    def connect(self, now: bool = False) -> Greeting:
        """Connect unless connected; return the greeting.

        `now` skips the pause after a failure.
        """
        with self._lock:
            if self._closed:
                raise self._make_error("ssh", "the connection was closed")
            if self._greeting is not None:
                return self._greeting
            if now:
                self._breaker = _make_breaker()
            try:
                self._breaker.enter("ssh")
            except SlurmUnreachable as waits:
                raise ConnectionLost("ssh", waits.text) from None
            failed: SlurmUnreachable | None = None
            try:
                self._greeting = self._open_master()
                self.error = None
                return self._greeting
            except SlurmUnreachable as problem:
                failed, self.error = problem, problem.text
                raise
            finally:
                self._breaker.leave(failed)
                if self._closed:
                    self._close_master()

    def run_block(self, greeting: Greeting, name: str, block: str, timeout_s: float) -> BlockResult:
        """Run a block of shell over the connection of this greeting only.

        ConnectionGone when it was not even begun. Otherwise `.uncertain` says that it may have been done.
        """
        nonce = secrets.token_hex(16)
        ended = self._run_ssh(_build_session_argv(greeting.socket), frame_block(block, nonce), timeout_s + GRACE_S)
        return self._read_result(greeting, name, ended, nonce)

    def close(self) -> None:
        """Close the connection for good.

        One that is being made right now is closed as soon as it is there.
        """
        self._closed = True
        if self._lock.acquire(timeout=1.0):
            try:
                self._close_master()
            finally:
                self._lock.release()

    def _close_master(self) -> None:
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            self._end_master(greeting.socket)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end_master(self, socket: str) -> None:
        with contextlib.suppress(SlurmUnreachable):  # there is no ssh any more, so no connection either
            self._run_ssh(["ssh", "-Fnone", f"-S{socket}", "-Oexit", "--", "there"], "", 5.0)

    def build_environment(self, greeting: Greeting) -> dict[str, str]:
        """Build the variables that programs get on the remote machine.

        Those of the account, and what the profile gives.
        """
        own = {"HOME": greeting.home, "USER": greeting.user, "LOGNAME": greeting.user, "SHELL": greeting.shell}
        return own | {"LANG": "C.UTF-8"} | dict(greeting.variables) | self._more

    # ----------------------------------------------------------------------------------------------------- making

    def _open_master(self) -> Greeting:
        try:
            self._folder = self._folder or _make_private_folder()
        except OSError as error:
            raise self._make_error("ssh", f"no folder for its socket can be made: {error.strerror}") from None
        self._made += 1
        socket, nonce, mark = f"{self._folder}/{self._made}", secrets.token_hex(16), secrets.token_hex(16)
        if problem := keys.find_key_problem(self.login.own_key) if self.login.own_key else "":
            raise self._make_error("ssh", problem, step="profile")
        words = ssh.build_argv(self.login, self.config, socket, master=True)
        sooner = [f"-oControlPersist={IDLE_S}", f"-oServerAliveInterval={ALIVE_S}", "-oServerAliveCountMax=2"]
        # At INFO ssh also tells of key files that it cannot read.
        sooner += ["-oRemoteCommand=none", "-oLogLevel=INFO"]
        ended = self._run_ssh(
            [words[0], *sooner, *words[1:], SHELL],
            frame_block(_build_greeting_block(mark, self._more.get("HOME")), nonce),
            GREETING_S,
        )
        begun, said = parse_framed(ended, nonce)
        if said is None:
            # The socket is made after the login.
            failure = _find_failure(ended, begun or Path(socket).exists(), self.login)
            self._end_master(socket)
            failure = self._ask_jump_host() or failure if failure.step == "jump" else failure
            raise self._make_error("ssh", failure.text, step=failure.step)
        facts = dict(re.findall(rf"\n{mark}(\w+)=(.*?)(?=\n{mark})", said.out.decode("utf-8", "replace"), re.DOTALL))
        if not facts.get("HOME", "").startswith("/"):
            raise self._make_error("ssh", f"the account on {self.login.host} has no home folder", step="shell")
        variables = {name: facts[name] for name in _TAKEN if facts.get(name)}
        variables["PATH"] = _join_paths(variables.get("PATH", ""), facts.get("SESSION_PATH", ""))
        home = self._more.get("HOME") or facts["HOME"]
        umask = facts["UMASK"] if re.fullmatch("[0-7]{1,4}", facts.get("UMASK", "")) else facts["SESSION_UMASK"]
        account = facts["USER"], facts["HOST"], facts["SHELL"] or "/bin/sh"
        noise = ended.out.partition(nonce.encode())[0].decode("utf-8", "replace").strip()
        unwritable = facts["UNWRITABLE"].strip().rpartition(": ")[2]
        return Greeting(socket, home, *account, variables, umask, noise, unwritable)

    def _ask_jump_host(self) -> Failure | None:
        # Where a connection is to be shared, ssh throws away what the ssh to the jump host prints.
        words = ssh.build_argv(self.login, self.config)
        ended = self._run_ssh([words[0], "-oLogLevel=INFO", "-oRemoteCommand=none", *words[1:], "true"], "", GREETING_S)
        return reasons.find_failure(ended.err.decode("utf-8", "replace"), jump=True)

    def _read_result(self, greeting: Greeting, name: str, ended: programs.Outcome, nonce: str) -> BlockResult:
        begun, said = parse_framed(ended, nonce)
        if said is not None:
            return said
        complaint = ended.err.decode("utf-8", "replace")
        if ended.exit_code is None:
            raise self._make_error(name, f"{self.login.host} gave no answer in time", uncertain=True)
        if ended.exit_code == 255 or begun:
            self._mark_lost(greeting)
            if not begun and _GONE in complaint:
                raise ConnectionGone(name, f"{self.title}: the connection to {self.login.host} has ended")
            raise self._make_error(name, f"the connection to {self.login.host} was lost", uncertain=True)
        raise self._make_error(name, _find_failure(ended, True, self.login).text)

    def _make_error(self, name: str, text: str, *, uncertain: bool = False, step: str = "") -> ConnectionLost:
        error = ConnectionLost(name, f"{self.title}: {text}", uncertain)
        error.step = step
        return error

    def _mark_lost(self, greeting: Greeting) -> None:
        with self._lock:
            if self._greeting is greeting:
                self._greeting, self.error = None, f"the connection to {self.login.host} was lost"

    def _run_ssh(self, words: Sequence[str], given: str, timeout_s: float) -> programs.Outcome:
        path = os.environ.get("PATH", os.defpath)
        program = shutil.which("ssh", path=path)
        if program is None:
            raise self._make_error("ssh", "ssh is not installed here (not on PATH)", step="profile")
        environment = programs.build_user_environment() | {"PATH": path, "LANG": "C.UTF-8"}
        environment |= {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            return programs.run_program(
                program, words, environment, given.encode(errors="replace"), timeout_s, most_bytes=MOST_BYTES
            )
        except SlurmUnreachable as problem:
            raise self._make_error("ssh", problem.text, uncertain=problem.uncertain) from None


def _make_breaker() -> programs.Breaker:
    return programs.Breaker(limit=1, pause_s=PAUSE_S, longest_s=LONGEST_PAUSE_S)


def _make_private_folder() -> str:
    # Only its owner may enter a folder that mkdtemp makes, and its name must leave room for the socket's.
    return tempfile.mkdtemp(prefix="sluice-", dir=None if len(tempfile.gettempdir()) <= LONGEST_FOLDER else "/tmp")  # noqa: S108 - a new folder with a random name


def _build_session_argv(socket: str) -> list[str]:
    # Without a connection behind the socket ssh would make one of its own; in its place a command says so and ends.
    # What ssh itself prints then differs from version to version, and it may end without a word.
    quiet = ("-oBatchMode=yes", "-oLogLevel=ERROR", "-oControlMaster=no", f"-oProxyCommand=sh -c 'echo {_GONE} >&2'")
    return ["ssh", "-T", "-Fnone", f"-S{socket}", *quiet, "--", "there", SHELL]


# ----------------------------------------------------------------------------------------------------------- blocks


def frame_block(block: str, nonce: str) -> str:
    """Wrap a block so that marks and exit status frame its output.

    All of it is one command for the shell, so a text that was cut off does nothing.
    """
    return f"""{{
printf '%s\\n' {nonce}; printf '%s\\n' {nonce} >&2
{{ read -r began _ </proc/uptime; }} 2>/dev/null
{block}
code=$?
{{ read -r ended _ </proc/uptime; }} 2>/dev/null
printf '\\n%s %s %s %s\\n' {nonce} "$code" "$began" "$ended"
exit 0
}}
"""


def parse_framed(ended: programs.Outcome, nonce: str) -> tuple[bool, BlockResult | None]:
    """Return whether the block began, and its result; None if cut off.

    >>> from slurm_shim.programs import Outcome
    >>> parse_framed(Outcome(0, b"Welcome!\\nn0\\nrows\\nn0 3 7.5 8.0\\n", b"stty: no\\nn0\\nwarning"), "n0")
    (True, BlockResult(code=3, out=b'rows', err=b'warning', took_s=0.5))
    >>> parse_framed(Outcome(255, b"Welcome!\\nn0\\nro", b""), "n0"), parse_framed(Outcome(0, b"Welcome!", b""), "n0")
    ((True, None), (False, None))
    """
    mark = nonce.encode()
    _, begun, rest = ended.out.partition(mark + b"\n")
    out, finished, status = rest.rpartition(b"\n" + mark + b" ")
    result = re.fullmatch(rb"(\d{1,3}) (?:(\d+\.\d+) (\d+\.\d+))?[^\n]*\n.*", status, re.DOTALL)
    if not begun or not finished or result is None:
        return bool(begun), None
    before, marked, err = ended.err.partition(mark + b"\n")
    took_s = None if result[2] is None else float(result[3]) - float(result[2])
    return True, BlockResult(int(result[1]), out, err if marked else before, took_s)


def build_timeout_line(timeout_s: float) -> str:
    """Build a line of shell that sets `$T`, a prefix limiting the time.

    Without timeout(1) on the remote machine `$T` is empty.
    """
    return f"T=; command -v timeout >/dev/null 2>&1 && T='timeout {math.ceil(timeout_s)}'"


def _build_greeting_block(mark: str, own_home: str | None) -> str:
    # A login shell reads the account's own start files; what they print stands before the first mark. The line is
    # read alike by the Bourne shells, csh and fish.
    pairs = " ".join(f'{mark} {name} "${name}"' for name in _TAKEN)
    line = f"""exec /bin/sh -c 'printf "\\n%s%s=%s" {pairs} {mark} UMASK "$(umask)" {mark} LOGIN yes'"""
    own = {"HOME": "$HOME", "USER": "$(id -un)", "HOST": "$(uname -n)", "SHELL": "$SHELL", "SESSION_PATH": "$PATH"}
    own |= {"SESSION_UMASK": "$(umask)", "UNWRITABLE": "$w"}
    own_pairs = " ".join(f'{mark} {name} "{value}"' for name, value in own.items())
    home = '"$HOME"' if own_home is None else shlex.quote(own_home)
    # Written by a program, which also says so when the disk is full.
    return f"""{build_timeout_line(GREETING_S / 2)}
f={home}/.sluice-{mark}
w=$( (umask 077; id -un >"$f") 2>&1; rm -f -- "$f")
printf '%s\\n' {shlex.quote(line)} | $T "${{SHELL:-/bin/sh}}" -l 2>/dev/null
printf '\\n%s%s=%s' {own_pairs} {mark} END yes"""


def _join_paths(first: str, second: str) -> str:
    return ":".join(dict.fromkeys(part for part in [*first.split(":"), *second.split(":")] if part))


def _find_failure(ended: programs.Outcome, logged_in: bool, login: ssh.Login) -> Failure:
    err, out = (text.decode("utf-8", "replace") for text in (ended.err, ended.out))
    if logged_in or ended.exit_code not in (255, None):
        return Failure("shell", reasons.explain_shell(f"{out}\n{err}", f"the account on {login.host}"))
    found = reasons.find_failure(err, login.proxy_jump is not None and login.ssh_host is None)
    if found is None:
        return Failure("login", f"{login.host} did not let in within {GREETING_S:g} s")
    if found.step == "login" and login.own_key and (why := keys.explain_refused_key(login.own_key)):
        return Failure("login", f"{why}; {found.text}")
    return found
