"""Key files: those that ssh would pass over are told before it is started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from slurm_shim.remote import keys
from tests.cluster.sshd import needed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys of several kinds."""
    needed()
    for name, words in {
        "plain": ["-t", "ed25519"],
        "locked": ["-t", "ed25519", "-N", "secret"],
        "pem": ["-t", "rsa", "-m", "PEM"],
        "locked_pem": ["-t", "rsa", "-m", "PEM", "-N", "secret"],
        "locked_pkcs8": ["-t", "rsa", "-m", "PKCS8", "-N", "secret"],
    }.items():
        given = words if "-N" in words else [*words, "-N", ""]
        subprocess.run(["ssh-keygen", "-q", *given, "-f", str(tmp_path / name)], check=True)
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "putty").write_text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "open").write_bytes((tmp_path / "plain").read_bytes())
    (tmp_path / "open").chmod(0o640)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plain", ""),
        ("locked", ""),
        ("pem", ""),
        ("plain.pub", ""),
        ("nope", "cannot be read: No such file"),
        ("plain/x", "cannot be read: Not a directory"),
        (".", "is not a file"),
        ("pipe", "is not a file"),
        ("text", "holds no key"),
        ("putty", "holds no key"),
        ("open", "chmod 600"),
    ],
)
def test_a_key_that_ssh_would_not_try_is_told(folder: Path, name: str, says: str) -> None:
    problem = keys.find_key_problem(str(folder / name))
    assert says in problem and bool(says) == bool(problem)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_key_that_may_not_be_read_is_told(folder: Path) -> None:
    (folder / "plain").chmod(0)
    assert "cannot be read: Permission denied" in keys.find_key_problem(str(folder / "plain"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plain", ""),
        ("pem", ""),
        ("nope", ""),
        ("plain.pub", "is a public key"),
        ("locked", "needs a passphrase"),
        ("locked_pem", "needs a passphrase"),
        ("locked_pkcs8", "needs a passphrase"),
    ],
)
def test_why_a_key_was_of_no_use(folder: Path, name: str, says: str) -> None:
    found = keys.explain_refused_key(str(folder / name))
    assert says in found and bool(says) == bool(found)
