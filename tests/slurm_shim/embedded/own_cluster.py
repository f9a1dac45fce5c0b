"""An embedded cluster in a folder of its own, asked through its programs."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.waiting import eventually

BIN = ROOT / "slurm_shim" / "bin"


CONF = """\
ClusterName=embedded
SluicePython={python}
KillWait=1
NodeName=node[01-02] CPUs=4 RealMemory=8000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=node02 MaxTime=60 State=UP
"""


class Cluster:
    """A cluster in a folder of its own, asked through its programs."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder, self.work = folder / "cluster", folder / "work"
        self.folder.mkdir(parents=True)
        self.work.mkdir()
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(CONF.format(python=sys.executable) + more)
        self.env = {
            "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder), "LANG": "C.UTF-8", "SLURM_BITSTR_LEN": "0",
            "SLURM_CONF": str(self.conf),
        }  # fmt: skip

    def run(self, *argv: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command."""
        done = subprocess.run(
            argv, env=self.env | env, cwd=self.work, input=stdin, capture_output=True, text=True, timeout=240
        )
        return done.returncode, done.stdout, done.stderr

    def out(self, *argv: str, stdin: str = "", **env: str) -> str:
        """The stdout of a command that must succeed."""
        code, out, err = self.run(*argv, stdin=stdin, **env)
        assert code == 0, (argv, out, err)
        return out.rstrip("\n")

    def submit(self, command: str, *options: str) -> str:
        """The id of a job that runs a shell command."""
        return self.out("sbatch", "--parsable", "-o", "out-%j", *options, "--wrap", command)

    def state(self, job: str) -> str:
        """`STATE|reason` as squeue tells it."""
        return self.out("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%T|%r")

    def reaches(self, job: str, state: str) -> None:
        eventually(lambda: self.state(job).partition("|")[0] == state or None)

    def await_end(self, job: str) -> str:
        """`STATE|code:signal` of accounting, once the job is over."""
        eventually(lambda: self.out("squeue", "-h", "-j", job + ",999999", "-o", "%i") == "" or None)
        return self.out("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode")

    def database(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.folder / "state.db", timeout=30, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    def row(self, job: str) -> sqlite3.Row:
        with contextlib.closing(self.database()) as db:
            found: sqlite3.Row = db.execute("SELECT * FROM jobs WHERE raw_id = ?", (int(job),)).fetchone()
            return found

    def processes(self) -> list[int]:
        """Everything on this machine that carries this cluster's SLURM_CONF."""
        mark = f"SLURM_CONF={self.conf}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Ends every job and waits until nothing of the cluster runs; fails when something is left."""
        self.conf.write_text(self.conf.read_text().replace("SluiceDown=yes", ""))
        self.run("scancel", "--me")
        try:
            eventually(lambda: not self.processes() or None)
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        log = self.folder / "supervisor.log"
        assert not log.exists(), log.read_text()
