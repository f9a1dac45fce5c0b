"""However many clients look, SLURM is asked once per interval, and no request starts a program."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from slurm_shim.embedded import conf
from tests import ROOT
from tests.app_server import Server

INTERVAL_S = 1.0
INTERVALS = 5
VIEWERS = 64
PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol")


@pytest.fixture
def counted(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Path]]:
    """A server whose SLURM programs write a line into a log each time they are started; and that log."""
    path = os.environ["PATH"]
    if cluster == "embedded":
        folder = tmp_path / "cluster"
        folder.mkdir()
        wanted = {"nodes": 1, "cpus": 4, "memory_mb": 1000, "gpus": 0, "partitions": [], "execute": True}
        (folder / "slurm.conf").write_text(conf.build_fitting_conf(wanted, sys.executable))
        monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        path = f"{ROOT / 'slurm_shim' / 'bin'}:{path}"
    log, wrappers = tmp_path / "calls", tmp_path / "wrappers"
    wrappers.mkdir()
    for name in PROGRAMS:
        real = shutil.which(name, path=path)
        (wrappers / name).write_text(f'#!/bin/sh\necho {name} >> {log}\nexec {real} "$@"\n')
        (wrappers / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrappers}:{path}")
    server = Server(tmp_path / "store", "slurm")
    (server.store / "config.yaml").write_text(f"poll: {{min_s: {INTERVAL_S}, max_s: {INTERVAL_S}}}\n")
    try:
        yield server.start(), log
    finally:
        server.close()


def calls(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def queries() -> int:
    """How often slurmctld was asked for its queue, as it counts itself."""
    said = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    return sum(int(count) for count in re.findall(r"REQUEST_JOB_INFO\s.*?count:(\d+)", said))


async def look(server: Server, until: float) -> None:
    """Ask for the jobs from 64 clients until then, twice at least, each over a connection of its own that it keeps."""
    async with httpx.AsyncClient(
        base_url=server.url, limits=httpx.Limits(max_connections=VIEWERS), timeout=180
    ) as client:

        async def viewer() -> None:
            asked = 0
            while asked < 2 or time.monotonic() < until:
                answer = await client.get("/api/jobs")
                assert answer.status_code == 200 and "x-snapshot-age" in answer.headers
                asked += 1

        await asyncio.gather(*(viewer() for _ in range(VIEWERS)))


def test_viewers_cost_one_squeue_per_interval(counted: tuple[Server, Path], cluster: str) -> None:
    server, log = counted
    before, asked, began = calls(log), queries() if cluster == "slurm" else 0, time.monotonic()
    asyncio.run(look(server, began + INTERVALS * INTERVAL_S))
    made = calls(log) - before
    polls_allowed = (time.monotonic() - began) / INTERVAL_S + 1
    assert made["squeue"] <= polls_allowed, made
    assert set(made) <= {"squeue", "scontrol"} and made["scontrol"] <= 2 * polls_allowed, made
    if cluster == "slurm":
        queried = queries() - asked
        assert queried <= (time.monotonic() - began) / INTERVAL_S + 1


def test_own_doings_are_seen_at_once(counted: tuple[Server, Path]) -> None:
    server, log = counted
    body = {"name": "held", "script_content": "#!/bin/bash\n#SBATCH --hold\ntrue\n"}
    made = server.http.post("/api/jobs", json=body).json()
    jobs = {job["job_id"]: job for job in server.http.get("/api/jobs").json()}
    assert jobs[made["job_id"]]["status"] == "PENDING"
    assert server.http.delete(f"/api/jobs/{made['job_id']}").status_code == 204
    jobs = {job["job_id"]: job for job in server.http.get("/api/jobs").json()}
    assert jobs[made["job_id"]]["status"] == "CANCELLED"
    assert calls(log)["scancel"] == 1
