"""Why ssh failed: the texts that OpenSSH prints, the step that each means, and what is told of it."""

from __future__ import annotations

import pytest

from slurm_shim.remote import reasons

BEHIND = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n"
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Offending ED25519 key in /home/me/.ssh/known_hosts:1
Host key for [h]:2 has changed and you have requested strict checking.
Host key verification failed.
"""
OPEN = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Permissions 0644 for '/k' are too open.
It is required that your private key files are NOT accessible by others.
This private key will be ignored.
Load key "/k": bad permissions
me@h: Permission denied (publickey).
"""
QUANTUM = """\
** WARNING: connection is not using a post-quantum key exchange algorithm.
** This session may be vulnerable to "store now, decrypt later" attacks.
** The server may need to be upgraded. See https://openssh.com/pq.html
"""
NOISE = (
    "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\r\n"
    "Warning: No xauth data; using fake authentication data for X11 forwarding.\r\n"
    "Pseudo-terminal will not be allocated because stdin is not a terminal.\r\n"
    '/home/me/.ssh/config line 3: Unsupported option "rsaauthentication"\r\n'
    "bash: warning: setlocale: LC_ALL: cannot change locale (de_DE)\r\n" + QUANTUM
)
DENIED = "me@h: Permission denied (publickey).\r\n"
ROWS = [
    (
        "name",
        "ssh: Could not resolve hostname x: Name or service not known\r\n",
        "host",
        "Could not resolve hostname x: Name",
    ),
    ("name for now", "ssh: Could not resolve hostname x: Temporary failure in name resolution", "host", "Temporary"),
    ("refused", "ssh: connect to host h port 22: Connection refused", "port", "nothing listens there"),
    ("timeout", "ssh: connect to host h port 22: Connection timed out", "port", "no way to it"),
    ("route", "ssh: connect to host h port 22: No route to host", "port", "No route to host"),
    ("network", "ssh: connect to address 10.0.0.1 port 22: Network is unreachable", "port", "unreachable"),
    (
        "no banner",
        "Connection timed out during banner exchange\r\nConnection to h port 22 timed out",
        "port",
        "is no sshd",
    ),
    ("other service", "kex_exchange_identification: banner line contains invalid characters", "port", "is no sshd"),
    (
        "closed at once",
        "kex_exchange_identification: Connection closed by remote host",
        "port",
        "shuts this address out",
    ),
    (
        "closed, of old",
        "ssh_exchange_identification: Connection closed by remote host",
        "port",
        "shuts this address out",
    ),
    (
        "old server",
        "Unable to negotiate with 1.2.3.4 port 22: no matching host key type found. Their offer: ssh-rsa",
        "host_key",
        "HostKeyAlgorithms",
    ),
    (
        "unknown key",
        "No RSA host key is known for h and you have requested strict checking.\nHost key verification failed.",
        "host_key",
        "the host key of h is not in known_hosts",
    ),
    ("changed key", CHANGED, "host_key", "[h]:2 is another"),
    (
        "revoked key",
        "@@@@\nHost key h is marked as revoked\nHost key verification failed.",
        "host_key",
        "not to be trusted",
    ),
    ("refused key", DENIED, "login", "me@h: Permission denied (publickey) (the public key has to stand"),
    ("several ways", "me@h: Permission denied (gssapi-with-mic,publickey,password).", "login", "check username"),
    ("password", "me@h: Permission denied (password).", "login", "asks for a password"),
    ("second factor", "me@h: Permission denied (keyboard-interactive).", "login", "a code"),
    (
        "open key",
        OPEN,
        "login",
        "Permissions 0644 for '/k' are too open; Load key \"/k\": bad permissions; me@h: Permission",
    ),
    (
        "no key file",
        f"no such identity: /k: No such file or directory\n{DENIED}",
        "login",
        "no such identity: /k: No such file",
    ),
    ("bad key file", f'Load key "/k": invalid format\n{DENIED}', "login", 'Load key "/k": invalid format; me@h'),
    (
        "agent says no",
        f'sign_and_send_pubkey: signing failed for RSA "/k" from agent: agent refused operation\n{DENIED}',
        "login",
        "agent refused",
    ),
    (
        "many keys",
        "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures",
        "login",
        "key_filename",
    ),
    ("expired", "Your account has expired; please contact your system administrator.", "login", "by hand"),
    ("closed later", "Connection closed by 1.2.3.4 port 22", "login", "see sshd's log"),
    (
        "configuration",
        "/c: line 5: Bad configuration option: foo\n/c: terminating, 1 bad configuration options",
        "profile",
        "/c: line 5: Bad configuration option: foo (mend",
    ),
    ("its owner", "Bad owner or permissions on /home/me/.ssh/config", "profile", "mend the ssh configuration"),
    (
        "a banner",
        f"Access only with permission. Connection refused to others.\n{DENIED}",
        "login",
        "me@h: Permission denied",
    ),
    ("in no list", "something new", "login", "something new"),
    (
        "jump's name",
        f"ssh: Could not resolve hostname j: Name or service not known\r\n{BEHIND}",
        "jump",
        "the jump host: Could not resolve hostname j",
    ),
    (
        "jump is down",
        f"ssh: connect to host j port 22: Connection refused\r\n{BEHIND}",
        "jump",
        "host j port 22: Connection",
    ),
    ("jump unknown", f"Host key verification failed.\r\n{BEHIND}", "jump", "its host key is not in known_hosts"),
    ("jump changed", f"{CHANGED}{BEHIND}", "jump", "[h]:2 is another"),
    ("jump's login", f"me@j: Permission denied (publickey).\r\n{BEHIND}", "jump", "me@j: Permission denied"),
    (
        "jump's password",
        "Permission denied, please try again.\r\n" * 2 + f"me@j: Permission denied (publickey,password).\r\n{BEHIND}",
        "jump",
        "me@j: Permission denied (publickey,password) (",
    ),
    (
        "jump silent",
        "Connection timed out during banner exchange\nConnection to UNKNOWN port 65535 timed out",
        "jump",
        "timed out during banner exchange",
    ),
    (
        "jump forbids",
        f"channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n{BEHIND}",
        "jump",
        "AllowTcpForwarding",
    ),
    (
        "refused behind",
        f"channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n{BEHIND}",
        "port",
        "the jump host cannot reach",
    ),
    (
        "name behind",
        f"channel 0: open failed: connect failed: Name or service not known\nstdio forwarding failed\n{BEHIND}",
        "host",
        "the jump host does not know",
    ),
    ("a program", f"sh: 1: cloudflared: not found\n{BEHIND}", "jump", "cloudflared: not found"),
    (
        "keys behind",
        "Received disconnect from UNKNOWN port 65535:2: Too many authentication failures",
        "login",
        "too many keys",
    ),
]


@pytest.mark.parametrize(("why", "stderr", "step", "says"), ROWS, ids=[row[0] for row in ROWS])
def test_each_reason_is_told_as_what_it_is(why: str, stderr: str, step: str, says: str) -> None:
    found = reasons.find_failure(stderr)
    assert found is not None and (found.step, says in found.text) == (step, True), found
    noisy = reasons.find_failure(f"{NOISE}{stderr}\r\nrsync error: unexplained error (code 255) at io.c(231)\n")
    assert noisy == found, "what is no reason changes nothing"


@pytest.mark.parametrize("stderr", ["", "\r\n", NOISE, "debug1: Connecting to h [1.2.3.4] port 22.\r\n"])
def test_without_a_reason_there_is_none(stderr: str) -> None:
    assert reasons.find_failure(stderr) is None


def test_behind_a_jump_host_a_closed_connection_is_its_doing() -> None:
    old = "ssh_exchange_identification: Connection closed by remote host"
    found = reasons.find_failure(old, jump=True)
    assert found is not None and found.step == "jump" and old in found.text


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ("This account is currently not available.\n", "nologin"),
        ("This service allows sftp connections only.\n", "may run only what"),
        ("/usr/bin/rrsync error: SSH_ORIGINAL_COMMAND does not run rsync", "may run only what"),
        ("rbash: line 1: exec: restricted", "may run only what"),
        ("'exec' is not recognized as an internal or external command,", "none that knows"),
        ("bash: line 1: /bin/sh: No such file or directory", "none that knows"),
        ("open terminal failed: not a terminal", "start another program"),
        ("maintenance\n", "a@h runs no command: maintenance (its start files"),
        ("", "a@h runs no command (its start files"),
    ],
)
def test_what_an_account_says_that_runs_nothing(printed: str, says: str) -> None:
    assert says in reasons.explain_shell(printed, "a@h")


def test_steps_are_listed_up_to_the_one_that_failed() -> None:
    states = {step["name"]: step["state"] for step in reasons.list_steps("port", jump=True)}
    assert list(states) == list(reasons.STEPS)
    assert (states["jump"], states["port"], states["login"]) == ("passed", "failed", "not reached")
    assert "jump" not in [step["name"] for step in reasons.list_steps(None, jump=False)]
    assert {step["state"] for step in reasons.list_steps(None, jump=True)} == {"passed"}
    assert reasons.list_steps("jump", jump=False)[1] == {"name": "jump", "state": "failed"}, (
        "from the ssh configuration"
    )
