"""Why an account is out of reach: the step that failed, and what to do.

Read from what OpenSSH prints. It prints much beside its reason, and where there is a jump host two of them print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# In the order in which they are taken: the profile is complete, the jump host lets through, the host has an address,
# something listens, it is the right machine, it lets the user in, its shell runs commands, finds SLURM, SLURM answers.
STEPS = ("profile", "jump", "host", "port", "host_key", "login", "shell", "path", "slurm")
MOST_LETTERS = 1000


@dataclass(frozen=True)
class Failure:
    """The step that failed, and ssh's reason with what to do about it."""

    step: str
    text: str


def list_steps(failed: str | None, jump: bool) -> list[dict[str, str]]:
    """List the steps as passed, failed, or not reached.

    Without a jump host its step is left out.
    """
    steps = [step for step in STEPS if jump or step != "jump" or failed == "jump"]
    at = len(steps) if failed is None else steps.index(failed)
    states = ["passed"] * at + ["failed"] + ["not reached"] * len(steps)
    return [{"name": name, "state": state} for name, state in zip(steps, states, strict=False)]


_KEY_ADVICE = "the public key has to stand in ~/.ssh/authorized_keys there: check username and key_filename"
# First match wins. Each pattern takes a whole line of ssh.
_RULES = tuple(
    (step, re.compile(rf"(?:ssh: )?(?:{pattern})", re.IGNORECASE), advice)
    for step, pattern, advice in (
        (
            "profile",
            r".*bad configuration option.*|bad owner or permissions on .*|can't open user config file .*",
            "mend the ssh configuration of the server's user",
        ),
        ("host", r"could not resolve hostname .*", "no name service knows it: check the name"),
        (
            "host",
            r"channel \d+: open failed: connect failed: .*(?:name|address|hostname).*",
            "the jump host does not know hostname",
        ),
        (
            "port",
            r"channel \d+: open failed: connect failed: .*",
            "the jump host cannot reach hostname and port: check both",
        ),
        (
            "jump",
            r"channel \d+: open failed: .*",
            "the jump host lets nobody through: its AllowTcpForwarding or PermitOpen forbids it",
        ),
        ("port", r"connect to .*connection refused", "nothing listens there: check the host and the port"),
        ("port", r"connect to .*", "there is no way to it: check the host, the port, VPN and firewalls"),
        (
            "host_key",
            r"unable to negotiate with .*",
            "ssh and sshd have no method in common: see HostKeyAlgorithms and KexAlgorithms in ssh_config(5)",
        ),
        (
            "host_key",
            r".*certificate.*(?:invalid|expired).*|.*marked as revoked.*",
            "its host key is not to be trusted: ask who runs the host",
        ),
        (
            "host_key",
            r"host key verification failed\.",
            "its host key is not in known_hosts: log in once by hand, and compare it before saying yes",
        ),
        (
            "login",
            r".*too many authentication failures",
            "the agent offers too many keys: name the right one in key_filename",
        ),
        ("login", r"\S+: permission denied \((?:[\w-]+,)*publickey.*\)\.?", _KEY_ADVICE),
        (
            "login",
            r"\S+: permission denied \(.*\)\.?",
            "it asks for a password or a code, and nobody is there to type it: the account has to take a key alone",
        ),
        ("login", r".*(?:account|password).*(?:expired|locked|changed?\b).*", "log in once by hand"),
        (
            "port",
            r"connection timed out during banner exchange|connection to .* timed out|"
            r"(?:kex|ssh)_exchange_identification: .*|banner exchange: .*",
            "what listens there is no sshd, is overloaded, or shuts this address out",
        ),
        (
            "login",
            r"(?:connection (?:closed|reset) by|received disconnect from|disconnected from) .*",
            "see sshd's log",
        ),
    )
)
# Beside a reason these say more; alone they are none.
_DETAILS = re.compile(
    r"load key .*|no such identity: .*|permissions .* are too open\.|(?:sign_and_send_pubkey|send_pubkey_test): .*",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"warning: .*|\*\* .*|@.*|debug\d: .*|pseudo-terminal .*|authenticated .*|transferred: .*|.*permanently added.*|"
    r".*xauth.*|.* line \d+: (?:unsupported|deprecated) option .*|.*setlocale: .*|stty: .*|mux_.*|controlsocket .*|"
    r"permission denied, please try again\.|stdio forwarding failed|shared connection .*|rsync.*|"
    r"failed to add the host to .*|stdin: is not a tty|.*terminating, \d+ bad configuration options",
    re.IGNORECASE,
)
# Printed by the ssh whose way leads through another program when that gave it no connection.
_CUT = re.compile(
    r"(?:kex|ssh)_exchange_identification: .*|connection timed out during banner exchange|banner exchange: .*|"
    r"connection .* UNKNOWN port 65535.*",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"No \S+ host key is known for (\S+) and you have requested strict checking")
_CHANGED = re.compile(r"Host key for (\S+) has changed and you have requested strict checking")


def find_failure(stderr: str, jump: bool = False) -> Failure | None:
    """Find in what ssh printed why it failed; None when it does not say.

    `jump` is true where the way leads through another host.

    >>> find_failure("Warning: No xauth data\\nssh: connect to host a port 2: Connection refused\\r\\n")
    Failure(step='port', text='connect to host a port 2: Connection refused (nothing listens there: check the host and the port)')
    >>> find_failure("Warning: No xauth data\\n")
    """  # noqa: E501 - a doctest's answer is one line
    lines = [line.strip() for line in stderr.splitlines()]
    lines = list(dict.fromkeys(line for line in lines if line and not _NOISE.fullmatch(line)))
    through = any("UNKNOWN port 65535" in line for line in lines) or jump
    if not (through and any(_CUT.fullmatch(line) for line in lines)):
        return _find_reason(lines, stderr)
    found = _find_reason([line for line in lines if not _CUT.fullmatch(line)], stderr)
    if found is None:
        said = "; ".join(lines)[:MOST_LETTERS]
        return Failure("jump", f"no connection came through the jump host: {said} (check proxy_jump)")
    if any(line.startswith("channel ") for line in lines):
        return found
    keys = "; its keys come from the ssh configuration, not from key_filename" if found.step == "login" else ""
    return Failure("jump", f"the jump host: {found.text}{keys}")


def explain_host_key(stderr: str) -> str:
    """Explain why ssh refused the host's key; "" when it did not."""
    if match := _CHANGED.search(stderr):
        return (
            f"the host key of {match[1]} is another than the one in known_hosts: if the host was set up anew, remove "
            "the old key (ssh-keygen -R) and log in once by hand; if not, somebody else answers in its place"
        )
    if match := _UNKNOWN.search(stderr):
        return (
            f"the host key of {match[1]} is not in known_hosts: log in once by hand, and compare it before saying yes"
        )
    return ""


def _find_reason(lines: list[str], stderr: str) -> Failure | None:
    if said := explain_host_key(stderr):
        return Failure("host_key", said)
    for step, pattern, advice in _RULES:
        reasons = [line for line in lines if pattern.fullmatch(line)]
        if reasons:
            whole = [line for line in lines if _DETAILS.fullmatch(line)] + reasons
            return Failure(step, f"{_join_lines(whole)} ({advice})")
    return Failure("login", _join_lines(lines[-3:])) if lines else None


def _join_lines(lines: list[str]) -> str:
    return "; ".join(line.removeprefix("ssh: ").rstrip(".") for line in lines)[:MOST_LETTERS]


# What an account says that may not run any command, and why.
_SHELLS = (
    (r"account is (?:currently )?not available|nologin", "the account may not log in: its shell is nologin"),
    (
        r"sftp connections only|rrsync|SSH_ORIGINAL_COMMAND|restricted|not allowed|only .* (?:allowed|permitted)",
        "the account may run only what sshd or authorized_keys force on it: ask for a whole shell",
    ),
    (r"is not recognized|not found|no such file|unknown command", "its shell is none that knows `exec /bin/sh`"),
)
_START_FILES = (
    "its start files (.bashrc, .cshrc, .profile) or its shell end, wait, or start another program before a command "
    "runs: let them do so only where somebody types"
)


def explain_shell(printed: str, login: str) -> str:
    """Explain why an account that was logged in to runs no command.

    `printed` is what came in place of the command's output.
    """
    lines = [line.strip() for line in printed.splitlines()]
    said = _join_lines([line for line in lines if line and not _NOISE.fullmatch(line)][-3:])
    advice = next((text for pattern, text in _SHELLS if re.search(pattern, said, re.IGNORECASE)), _START_FILES)
    return f"{login} runs no command{f': {said}' if said else ''} ({advice})"
