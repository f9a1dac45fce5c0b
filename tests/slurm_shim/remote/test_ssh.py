"""The words of ssh: what a field of a profile may be, what ssh then says yes and no to, and why."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.remote import reasons, ssh
from slurm_shim.remote.ssh import Login
from tests.cluster.sshd import Sshd, needed

GOOD: dict[str, Any] = {"hostname": "login.example.org", "username": "me"}


@pytest.mark.parametrize(
    ("why", "field", "value"),
    [
        ("an option instead of a host", "hostname", "-oProxyCommand=touch x"),
        ("an option instead of an alias", "ssh_host", "-F/dev/null"),
        ("a blank makes two words for rsync", "hostname", "a b"),
        ("a shell would read it", "hostname", "a;b"),
        ("a newline is a line of configuration", "hostname", "a\n"),
        ("a user in the host", "hostname", "me@host"),
        ("nothing", "hostname", ""),
        ("an option instead of a user", "username", "-lroot"),
        ("a quote", "username", "a'b"),
        ("a command in backquotes", "username", "`id`"),
        ("a jump that is an option", "proxy_jump", "-oProxyCommand=id"),
        ("the second jump is an option", "proxy_jump", "good,-bad"),
        ("ssh would expand it in ProxyCommand", "proxy_jump", "%h"),
        ("ssh expands tokens in paths", "key_filename", "/keys/%d"),
        ("ssh expands variables in paths", "key_filename", "/keys/${HOME}"),
        ("a relative path, which may be an option", "key_filename", "-F"),
        ("a NUL", "key_filename", "/keys/a\0b"),
    ],
)
def test_a_field_that_is_no_word_is_refused_by_name(why: str, field: str, value: str) -> None:
    with pytest.raises(ValueError, match=field):
        Login(**{**GOOD, field: value})


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_one(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Login(**GOOD, port=port)


def test_a_login_needs_a_host() -> None:
    with pytest.raises(ValueError, match="hostname or ssh_host"):
        Login(username="me")


def test_every_field_is_said() -> None:
    words = ssh.build_argv(Login("h", "u", 2222, "/k", "j@hop:22,[::1]:2"))
    for pair in (["-p", "2222"], ["-l", "u"], ["-o", 'IdentityFile="/k"'], ["-J", "j@hop:22,[::1]:2"]):
        assert " ".join(pair) in " ".join(words)
    assert words[-2:] == ["--", "h"] and "IdentitiesOnly=yes" in words
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=no"} <= set(words)


def test_an_alias_leaves_all_to_the_configuration() -> None:
    words = ssh.build_argv(Login("h", "u", 2222, "/k", "j", "alias"), config="/c")
    assert words[-1] == "alias" and words[words.index("-F") + 1] == "/c"
    assert not {"-p", "-l", "-J"} & set(words) and "IdentityFile" not in " ".join(words)


@pytest.mark.parametrize("master", [True, False])
def test_only_a_master_makes_a_shared_connection(master: bool) -> None:
    words = ssh.build_options(Login(**GOOD), control_path="/run/s", master=master)
    assert "ControlPath=/run/s" in words and f"ControlMaster={'auto' if master else 'no'}" in words
    for path in ("relative", "/a b", "/%h", "/" + "x" * 200):
        with pytest.raises(ValueError, match="socket"):
            ssh.build_options(Login(**GOOD), control_path=path)


# --- with a real sshd ------------------------------------------------------------------------------------------------


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    needed()
    with Sshd(tmp_path / "sshd") as server:
        yield server


def spoken(sshd: Sshd, command: str = "echo here", **fields: Any) -> subprocess.CompletedProcess[str]:
    """What the command over there came to."""
    words = ssh.build_argv(Login(**{**sshd.login, **fields}), str(sshd.config))
    return subprocess.run([*words, command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def explain(stderr: str) -> str:
    """What is told of ssh's failure."""
    found = reasons.find_failure(stderr)
    return found.text if found else ""


@pytest.mark.ssh
def test_a_key_lets_in(sshd: Sshd) -> None:
    assert spoken(sshd).stdout == "here\n"
    assert spoken(sshd, ssh_host="cluster").stdout == "here\n"
    assert spoken(sshd, proxy_jump="cluster").stdout == "here\n"


@pytest.mark.ssh
def test_only_the_key_that_is_named_counts(sshd: Sshd, tmp_path: Path) -> None:
    for name in ("other", "it's \u00e9 #1"):
        (tmp_path / name).write_bytes(sshd.key.read_bytes())
        (tmp_path / name).chmod(0o600)
        assert spoken(sshd, key_filename=str(tmp_path / name)).stdout == "here\n"
    (tmp_path / "other").unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    for name in ("other", "nope"):
        done = spoken(sshd, key_filename=str(tmp_path / name))
        assert done.returncode == 255 and "Permission denied" in explain(done.stderr)
        words = ssh.build_argv(Login(**{**sshd.login, "key_filename": str(tmp_path / name)}), str(sshd.config))
        asked = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=True).stdout
        keys = [line for line in asked.splitlines() if line.startswith("identityfile ")]
        assert keys == [f"identityfile {tmp_path / name}"], "also where there is none, no default one is taken instead"


@pytest.mark.ssh
def test_a_host_key_must_be_the_known_one(sshd: Sshd) -> None:
    sshd.kill()
    assert "Connection refused" in explain(spoken(sshd).stderr)
    sshd.rekey()
    sshd.start()
    assert "another than the one in known_hosts" in explain(spoken(sshd).stderr)
    sshd.known_hosts.write_text("")
    assert "is not in known_hosts" in explain(spoken(sshd).stderr)
    assert sshd.known_hosts.read_text() == "", "nothing is trusted at first sight"
    sshd.trust()
    assert spoken(sshd).stdout == "here\n"
