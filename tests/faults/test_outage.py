"""A real controller goes away and comes back: nothing changes state meanwhile, and everything goes on by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_server import Server
from tests.cluster.real import Cluster, missing
from tests.waiting import eventually

pytestmark = pytest.mark.slurm

# What a caller may have to wait at most while SLURM does not answer; httpx raises when it takes longer.
PATIENCE_S = 6
# The first job leaves a file `begun`, lasts until the file `gate` is there, and leaves a file `over`.
TEXT = """
name: two
jobs:
  - {{name: a, command: 'touch {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done; touch {folder}/over'}}
  - {{name: b, command: 'true', depends_on: [a]}}
"""


@pytest.fixture
def outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Server]]:
    """A SLURM of this test's own, since it is stopped, and a server on it."""
    if missing() and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")
    folder = Path(tempfile.mkdtemp(prefix="outage"))
    real = Cluster(folder).up()
    monkeypatch.setenv("SLURM_CONF", str(real.conf))
    server = Server(tmp_path / "store", "slurm")
    (server.store / "workflows" / "two.yaml").write_text(TEXT.format(folder=tmp_path))
    try:
        yield real, server.start()
    finally:
        try:
            server.close()
        finally:
            real.down()
            shutil.rmtree(folder, ignore_errors=True)


def test_the_controller_goes_and_comes_back(outage: tuple[Cluster, Server], tmp_path: Path) -> None:
    real, server = outage
    server.http.timeout = PATIENCE_S
    run = server.http.post("/api/workflows/two/run").json()
    path = f"/api/workflows/runs/{run['id']}"
    eventually(lambda: server.http.get(path).json()["job_statuses"].get("a") == "RUNNING", 30)
    # A job is RUNNING in SLURM before its node has heard of it.
    eventually((tmp_path / "begun").exists, 30)
    real.stop("slurmctld")
    eventually(lambda: server.http.get("/health").json()["slurm"]["answers"] is False, 60)
    before = server.http.get(path).json()
    assert before["status"] == "running" and before["job_statuses"]["a"] == "RUNNING"
    answer = server.http.get("/api/jobs")
    assert answer.status_code == 200 and float(answer.headers["x-snapshot-age"]) > 0
    refused = server.http.post("/api/jobs", json={"name": "x", "script_content": "#!/bin/bash\ntrue\n"})
    assert refused.status_code == 503 and "retry-after" in refused.headers
    assert server.http.post("/api/workflows/two/run").status_code == 503
    # The job ends while nobody can say so.
    (tmp_path / "gate").touch()
    eventually((tmp_path / "over").exists, 10)
    assert server.http.get(path).json()["job_statuses"] == before["job_statuses"]
    real.start("slurmctld")
    ended = eventually(lambda: (now := server.http.get(path).json())["status"] == "completed" and now, 90)
    assert ended["job_statuses"] == {"a": "COMPLETED", "b": "COMPLETED"}
    assert [len(job["attempts"]) for job in ended["jobs"]] == [1, 1]
    assert len(server.http.get("/api/workflows/runs").json()) == 1, "what was refused left nothing"


def test_accounting_goes_and_comes_back(outage: tuple[Cluster, Server], tmp_path: Path) -> None:
    real, server = outage
    (tmp_path / "gate").touch()
    real.stop("slurmdbd")
    run = server.http.post("/api/workflows/two/run").json()
    path = f"/api/workflows/runs/{run['id']}"
    ended = eventually(lambda: (now := server.http.get(path).json())["status"] == "completed" and now, 60)
    assert ended["job_statuses"] == {"a": "COMPLETED", "b": "COMPLETED"}
    real.start("slurmdbd")
