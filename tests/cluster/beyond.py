"""A cluster that is reached over SSH only: an sshd of its own in front of an embedded cluster, or of a real SLURM.

    with Beyond(folder, "embedded") as one:
        one.profile(mounts=[…])       # what profiles.yaml says of it
        one.calls()                   # which of SLURM's programs were started over there, and how often

`home` is the folder that stands for the other machine's disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from slurm_shim.embedded import conf
from slurm_shim.remote.connection import Connection
from slurm_shim.remote.ssh import Login
from tests.cluster.sshd import Sshd

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")


class Beyond:
    """The machine behind SSH; `kind` is embedded or slurm (then SLURM_CONF leads to the real one)."""

    def __init__(
        self, folder: Path, kind: str = "embedded", name: str = "beyond", environment: dict[str, str] | None = None
    ) -> None:
        self.dir, self.kind, self.name = folder, kind, name
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        path = os.environ["PATH"]
        self.conf = os.environ.get("SLURM_CONF", "")
        if kind == "embedded":
            self.conf = str(self._write_embedded())
            path = f"{ROOT / 'slurm_shim' / 'bin'}:{path}"
        self.log, wrappers = folder / "calls", folder / "wrappers"
        wrappers.mkdir()
        self.log.touch()
        for program in PROGRAMS:
            real = shutil.which(program, path=path)
            self.program(program, f'exec {real} "$@"')
        self.variables = {"PATH": f"{wrappers}:{path}", "SLURM_CONF": self.conf, "HOME": str(self.home)}
        self.sshd = Sshd(folder / "sshd", environment)

    def _write_embedded(self) -> Path:
        wanted = {"nodes": 2, "cpus": 8, "memory_mb": 16000, "gpus": 4, "partitions": [], "execute": True}
        folder = self.dir / "cluster"
        folder.mkdir()
        text = conf.build_fitting_conf(wanted, sys.executable).replace(
            "ClusterName=embedded", f"ClusterName={self.name}"
        )
        (folder / "slurm.conf").write_text(text)
        return folder / "slurm.conf"

    def connection(self, **fields: Any) -> Connection:
        """A connection to it that is not made yet."""
        return Connection(Login(**{**self.sshd.login, **fields}), str(self.sshd.config), self.variables)

    def program(self, name: str, text: str) -> None:
        """Replace a program of the other machine by this shell text."""
        made = self.dir / "wrappers" / f"{name}.new"
        made.write_text(f"#!/bin/sh\necho {name} >> {self.log}\n{text}\n")
        made.chmod(0o755)
        made.replace(made.with_suffix(""))

    def profile(self, **more: Any) -> dict[str, Any]:
        """The profile that leads here."""
        return {**self.sshd.login, "env_vars": self.variables, **more}

    def submit(self, script: str) -> int:
        """The id of a job that somebody submits on that machine itself."""
        return int(self._say("sbatch", "--parsable", stdin=script).split(";")[0])

    def cancel(self, job_id: int) -> None:
        """Cancel a job as somebody on that machine would."""
        self._say("scancel", str(job_id))

    def _say(self, *words: str, stdin: str = "") -> str:
        environment = {**os.environ, **self.variables}
        said = subprocess.run(
            words, input=stdin, capture_output=True, text=True, env=environment, cwd=self.home, check=True
        )
        return said.stdout

    def calls(self) -> Counter[str]:
        """How often each of SLURM's programs was started over there."""
        return Counter(self.log.read_text().split())

    def __enter__(self) -> Beyond:
        self.sshd.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(AssertionError):
            self.sshd.kill()
