"""What Sluice leans on goes away and comes back: nothing changes state meanwhile, and everything goes on by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app_client import down, up
from tests.app_server import Server
from tests.cluster.beyond import Beyond
from tests.cluster.real import Cluster, missing
from tests.cluster.sshd import needed
from tests.engine.whole.remote.machines import ssh_config, write_profiles
from tests.pair_sweep import CONFIG, get_sweep
from tests.waiting import eventually

# What a caller may have to wait at most while SLURM does not answer; httpx raises when it takes longer.
PATIENCE_S = 6
# Each cell writes down that it ran, and in which job. One whose srun finds no controller ends with status 1, as SLURM
# has it, whether its command has run by then or not, and is tried again.
CELLS = 50
LEDGER = """
name: ledger
args: {{n: 0}}
jobs:
  - {{name: a, command: 'echo {{{{ n }}}} $SLURM_JOB_ID >> {folder}/ran', retry: 3, retry_delay: 1}}
"""
# The first job leaves a file `begun`, lasts until the file `gate` is there, and leaves a file `over`.
TEXT = """
name: two
jobs:
  - {{name: a, command: 'touch {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done; touch {folder}/over'}}
  - {{name: b, command: 'true', depends_on: [a]}}
"""


def make_server(folder: Path, cluster: str, **environment: str) -> Server:
    """Make a server, not started yet, with the workflows of this file."""
    server = Server(folder / "store", cluster, **environment)
    (server.store / "config.yaml").write_text(CONFIG)
    (server.store / "workflows" / "two.yaml").write_text(TEXT.format(folder=folder))
    (server.store / "workflows" / "ledger.yaml").write_text(LEDGER.format(folder=folder))
    return server


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    """A SLURM of this file's own, since it is stopped."""
    if missing() and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")
    folder = Path(tempfile.mkdtemp(prefix="outage"))
    made = Cluster(folder)
    try:
        yield made.up()
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def outage(real: Cluster, tmp_path: Path) -> Iterator[tuple[Cluster, Server]]:
    """The SLURM, and a server on it."""
    server = make_server(tmp_path, "slurm", SLURM_CONF=str(real.conf))
    try:
        yield real, server.start()
    finally:
        real.up()
        server.close()


@pytest.mark.slurm
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


@pytest.mark.slurm
def test_accounting_goes_and_comes_back(outage: tuple[Cluster, Server], tmp_path: Path) -> None:
    real, server = outage
    (tmp_path / "gate").touch()
    real.stop("slurmdbd")
    run = server.http.post("/api/workflows/two/run").json()
    path = f"/api/workflows/runs/{run['id']}"
    ended = eventually(lambda: (now := server.http.get(path).json())["status"] == "completed" and now, 60)
    assert ended["job_statuses"] == {"a": "COMPLETED", "b": "COMPLETED"}
    real.start("slurmdbd")


# Who asks for what only accounting knows is told that it does not answer.
ACCOUNTED = ("users", "users/root", "qos", "qos/normal", "metrics/efficiency", "jobs?state=CD&start_time=2026-01-01")


@pytest.mark.slurm
def test_nothing_is_made_up_while_accounting_is_away(outage: tuple[Cluster, Server]) -> None:
    real, server = outage
    real.stop("slurmdbd")
    for path in ACCOUNTED:
        answer = server.http.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SLURM_ERROR"), (path, answer.text)
        assert "Connection refused" in answer.json()["error"]["message"] and answer.headers["Retry-After"], answer.text
    answers = {path: server.http.get(f"/api/v1/{path}").json() for path in ("jobs?state=CD", "search?q=root", "status")}
    assert "accounting does not answer" in answers["jobs?state=CD"]["warnings"][0]
    assert "accounting does not answer" in answers["search?q=root"]["warnings"][0]
    assert answers["status"]["slurm"]["database"] == "DOWN"
    metrics = server.http.get("/api/v1/metrics/cluster").json()
    assert sum(metrics["node_counts"].values()) == len(real.node_names), "what slurmctld knows is told"
    export = server.http.post("/api/v1/export", json={"type": "users", "format": "json"}).json()["export_id"]
    ended = eventually(
        lambda: (seen := server.http.get(f"/api/v1/exports/{export}").json())["status"] == "failed" and seen, 60
    )
    assert "Connection refused" in ended["error"]
    real.start("slurmdbd")
    for path in ACCOUNTED:
        eventually(lambda path=path: server.http.get(f"/api/v1/{path}").status_code == 200, 60, path)  # type: ignore[misc]


# --- in the middle of a sweep ----------------------------------------------------------------------------------------


def check_sweep(
    server: Server, ran: Path, stop: Callable[[], object], start: Callable[[], object], silent: bool = True
) -> None:
    """Check that a sweep goes on after an outage, in which no cell ends badly and `/health` tells of the silence."""
    body = {"sweep": {"matrix": {"n": {"range": [0, CELLS]}}, "max_parallel": 8}}
    number = server.http.post("/api/workflows/ledger/run", json=body).json()["sweep_run_id"]
    eventually(lambda: get_sweep(server, number)["cells_completed"] >= 5, 60, server.log()[-2000:])
    stop()
    if silent:
        health = eventually(lambda: (now := server.http.get("/health").json())["status"] == "degraded" and now, 90)
        assert health["slurm"]["answers"] is False and health["slurm"]["error"], health
        assert server.http.get("/api/jobs").status_code == 200
    during = get_sweep(server, number)
    assert (during["cells_failed"], during["cells_cancelled"], during["completed_at"]) == (0, 0, None), during
    start()
    eventually(lambda: get_sweep(server, number)["completed_at"], 200, server.log()[-2000:])
    lines = ran.read_text().splitlines()
    assert {int(line.split()[0]) for line in lines} == set(range(CELLS)), "every cell ran"
    runs = server.http.get("/api/workflows/runs", params={"sweep": number}).json()
    tries = [job["attempts"] for run in runs for job in run["jobs"]]
    states = {tuple(attempt["slurm_state"] for attempt in attempts) for attempts in tries}
    assert all(set(before) <= {"FAILED"} and last == "COMPLETED" for *before, last in states), states
    jobs = [line.split()[1] for line in lines]
    tried = {str(attempt["job_id"]) for attempts in tries for attempt in attempts}
    assert len(jobs) == len(set(jobs)) and set(jobs) <= tried, "no job ran twice, or without being an attempt of ours"
    assert (after := get_sweep(server, number))["cells_completed"] == CELLS, after


@pytest.mark.long
def test_a_sweep_while_the_embedded_cluster_is_away(tmp_path: Path) -> None:
    server = make_server(tmp_path, "embedded")
    try:
        server.start()
        check_sweep(server, tmp_path / "ran", lambda: down(server.store), lambda: up(server.store))
    finally:
        up(server.store)
        server.close()


@pytest.mark.slurm
@pytest.mark.parametrize(("daemon", "silent"), [("slurmctld", True), ("slurmdbd", False), ("munged", True)])
def test_a_sweep_while_a_daemon_is_away(
    outage: tuple[Cluster, Server], tmp_path: Path, daemon: str, silent: bool
) -> None:
    real, server = outage
    check_sweep(server, tmp_path / "ran", lambda: real.stop(daemon), lambda: real.start(daemon), silent)


@pytest.mark.ssh
def test_a_sweep_while_sshd_is_away(tmp_path: Path) -> None:
    needed()
    with Beyond(tmp_path / "beyond") as beyond:
        mount = {"name": "here", "local": str(tmp_path), "remote": str(tmp_path)}
        server = make_server(tmp_path, "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond))
        write_profiles(server.store, "lab", lab=beyond.profile(mounts=[mount]))
        try:
            server.start()
            eventually(lambda: server.http.get("/api/config/ssh/status").json()["connected"], 60)
            check_sweep(server, tmp_path / "ran", beyond.sshd.kill, beyond.sshd.start)
        finally:
            server.close()
