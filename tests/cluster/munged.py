"""A real munged of a test's own, and credentials made by it."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually


class Munged:
    """A munged; `socket` is where it listens. It may be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "socket"
        self.process: subprocess.Popen[bytes] | None = None
        owner = pwd.getpwnam("munge")
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_bytes(secrets.token_bytes(128))
        folder.chmod(0o755)  # for other users, who have credentials made
        for path in (folder, folder / "key"):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [
                "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", "--force",
                f"--socket={self.socket}", f"--key-file={self.folder}/key", f"--pid-file={self.folder}/pid",
                f"--seed-file={self.folder}/seed",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        eventually(lambda: self.run("munge", "-n").returncode == 0, 30, "munged listens")

    def end(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def run(self, program: str, *words: str, uid: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run munge or unmunge as a user."""
        prefix = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        command = [*prefix, program, f"--socket={self.socket}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def make_credential(self, *words: str, uid: int | None = None) -> str:
        """A new credential of a user."""
        return self.run("munge", "-n", *words, uid=uid).stdout.strip()


@contextlib.contextmanager
def run_munged() -> Iterator[Munged]:
    """A munged until the block ends."""
    if os.geteuid() != 0 or shutil.which("munged") is None:
        pytest.skip("munged is not installed, or only root can start it")
    # Not below pytest's own folder, which munged's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="sluice"))
    made = Munged(folder)
    try:
        made.start()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)
