"""`python app.py` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests import ROOT
from tests.app_client import end_jobs, furnish
from tests.cluster.real import free_ports
from tests.waiting import eventually


def free_port() -> int:
    """Return a port that nobody listens on now."""
    return free_ports(1)[0]


class Server:
    """`python app.py` over a store, as a process; `url`, and `http` to call it with."""

    def __init__(self, store: Path, cluster: str, **environment: str) -> None:
        self.store, self.cluster, self.environment = store, cluster, environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=180)
        self.tokens: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []  # words before the command, and the umask that it is started with
        self.umask = -1
        self.program = [str(ROOT / "app.py")]
        furnish(store, self.tokens)

    def start(self, ready: bool = True) -> Server:
        """Itself, serving (or only just started)."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "USER", "SLURM_CONF") if key in os.environ}
        given = {"SLUICE_STORE": str(self.store), "SLUICE_CLUSTER": self.cluster, "SLUICE_PORT": str(self.port)}
        with (self.store.parent / f"{self.store.name}.server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, *self.program],
                env={**kept, **given, **self.environment},
                stderr=log,
                stdout=log,
                umask=self.umask,
            )
        if ready:
            eventually(self.healthy, 30, self.log())
        return self

    def healthy(self) -> bool:
        """Whether it answers; AssertionError once it has ended."""
        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"the server has ended: {self.log()}")
        return self.http.get("/health").status_code == 200

    def log(self) -> str:
        """What it wrote."""
        return (self.store.parent / f"{self.store.name}.server.log").read_text()

    def end(self, how: int = signal.SIGTERM) -> int:
        """The exit status, after this signal."""
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(180)
        self.process = None
        return status

    def end_alone(self) -> None:
        """End the server and leave its jobs as they are; nothing where it has not started or has ended."""
        if self.process is not None:
            self.end()
        self.http.close()

    def close(self) -> None:
        """End the jobs, then the server, also where the jobs do not end."""
        if self.process is not None and self.process.poll() is None:
            try:
                end_jobs(lambda method, path: self.http.request(method, path))
            finally:
                self.end()
        self.http.close()
