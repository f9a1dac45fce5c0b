"""One store, several clusters: what is open on one of them waits while the server speaks to another."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.clusters import find_own_folder
from slurm_shim.cluster import PROGRAMS
from tests.app_client import serving
from tests.app_server import Server
from tests.waiting import eventually

pytestmark = pytest.mark.long

TEXT = """\
name: waits
jobs:
  - {name: first, command: 'until test -e go; do sleep 0.1; done; echo first >> ran'}
  - {name: second, command: 'echo second >> ran', depends_on: [first]}
"""


@pytest.fixture
def elsewhere(server: Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which the embedded cluster is a SLURM that the server did not set up."""
    if server.cluster != "embedded":
        pytest.skip("two clusters at once need the embedded one")
    conf = tmp_path / "elsewhere" / "slurm.conf"
    conf.parent.mkdir()
    conf.write_text((server.store / "cluster" / "slurm.conf").read_text().replace("=embedded", "=elsewhere"))
    environment = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "SLURM_CONF": str(conf)}
    yield environment
    # Whatever the test came to: the server may have ended on the other cluster.
    subprocess.run(["scancel", "-u", getpass.getuser()], env=environment, check=True, timeout=300)


def test_the_end_of_an_embedded_job_has_its_cluster_asked(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "embedded") as client:
        eventually(lambda: client.get("/health").json()["store"]["watching"] == "events")
        snapshot = client.server.cluster.snapshot
        snapshot.min_s = snapshot.max_s = 86_400
        # Each cell waits for the end of the one before, so that none of the ends may be missed.
        text = "name: cells\nargs: {n: 0}\njobs:\n  - {name: one, command: 'echo {{ n }}'}\n"
        sweep = client.start_run("cells", text, sweep={"matrix": {"n": [1, 2, 3]}, "max_parallel": 1})
        path = f"/api/sweep_runs/{sweep['sweep_run_id']}"
        eventually(lambda: client.get(path).json()["status"] == "completed")


@pytest.mark.parametrize(
    ("why", "path", "own"),
    [
        ("below it", "/tmp/x/y", "/tmp"),
        ("a link to it", "link/store", "/dev/shm"),
        ("what the user's programs take instead", "mine/store", "mine"),
        ("only the name begins alike", "/tmpfiles/store", None),
        ("everywhere the same", "/home/me/data", None),
    ],
)
def test_folders_that_each_machine_has_for_itself(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, why: str, path: str, own: str | None
) -> None:
    base = Path(__file__).parent
    monkeypatch.setenv("TMPDIR", str(base / "mine"))
    if path.startswith("link"):
        base = tmp_path_factory.mktemp("base")
        (base / "link").symlink_to("/dev/shm")
    assert find_own_folder(base / path) == (None if own is None else base / own), why


def test_a_store_that_other_nodes_do_not_see_is_warned_of(
    cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path / "store", cluster):
        warned = [record for record in caplog.records if "each machine has for itself" in record.getMessage()]
    assert len(warned) == (cluster == "slurm" and find_own_folder(tmp_path) is not None)


def settle_jobs(server: Server, name: str) -> None:
    """Write down the jobs whose names begin so as cancelled."""

    def over() -> bool:
        rows = [row for row in server.http.get("/api/history").json() if row["job_name"].startswith(name)]
        return {row["status"] for row in rows} == {"CANCELLED"}

    eventually(over)


def test_what_is_open_elsewhere_waits(server: Server, elsewhere: dict[str, str], tmp_path: Path) -> None:
    server.end()
    server.cluster, server.environment = "slurm", elsewhere
    (server.store / "workflows" / "waits.yaml").write_text(TEXT)
    server.start()
    run = server.http.post("/api/workflows/waits/run").json()
    path = f"/api/workflows/runs/{run['id']}"
    key = {"Idempotency-Key": "elsewhere"}
    body = {
        "name": "single",
        "script_content": f"#!/bin/bash\nuntil test -e {run['work_dir']}/go; do sleep 0.1; done\n",
    }
    single = server.http.post("/api/jobs", json=body, headers=key).json()
    eventually(lambda: server.http.get(path).json()["job_statuses"]["first"] == "RUNNING")
    before = server.http.get(path).json()
    server.end()

    # The same ids mean other jobs on the embedded cluster.
    server.cluster, server.environment = "embedded", {}
    server.start()
    assert "of cluster elsewhere wait" in server.log()
    others = [server.http.post("/api/jobs", json=body | {"name": f"other{i}"}).json()["job_id"] for i in range(3)]
    assert {int(before["job_ids"]["first"]), single["job_id"]} <= set(others)
    (server.store / "workflows" / "quick.yaml").write_text("name: quick\njobs:\n  - {name: a, command: 'true'}\n")
    done = eventually(lambda: server.http.post("/api/workflows/quick/run").json()["id"])
    eventually(lambda: server.http.get(f"/api/workflows/runs/{done}").json()["status"] in ("completed", "failed"))
    assert server.http.get(path).json() == before, "nobody knows anything new of it"
    assert server.http.get(f"/api/jobs/{others[0]}").json()["name"] == "other0"
    assert server.http.post("/api/jobs", json=body, headers=key).json()["job_id"] == single["job_id"]
    for job_id in others:
        server.http.delete(f"/api/jobs/{job_id}")
    settle_jobs(server, "other")
    server.end()

    server.cluster, server.environment = "slurm", elsewhere
    server.start()
    (Path(run["work_dir"]) / "go").touch()
    eventually(lambda: server.http.get(path).json()["status"] == "completed", 30)
    assert (Path(run["work_dir"]) / "ran").read_text().split() == ["first", "second"], "each once"
    eventually(lambda: server.http.get(f"/api/jobs/{single['job_id']}").json()["status"] == "COMPLETED")


def test_what_is_cancelled_from_elsewhere_ends_there(server: Server, elsewhere: dict[str, str]) -> None:
    server.end()
    server.cluster, server.environment = "slurm", elsewhere
    (server.store / "workflows" / "waits.yaml").write_text(TEXT)
    server.start()
    run = server.http.post("/api/workflows/waits/run").json()
    path = f"/api/workflows/runs/{run['id']}"
    eventually(lambda: server.http.get(path).json()["job_statuses"]["first"] == "RUNNING")
    server.end()

    server.cluster, server.environment = "embedded", {}
    server.start()
    other = server.http.post("/api/jobs", json={"name": "o", "script_content": "#!/bin/bash\nexec sleep 300\n"}).json()
    assert str(other["job_id"]) == run["job_ids"]["first"]
    eventually(lambda: server.http.get(f"/api/jobs/{other['job_id']}").json()["status"] == "RUNNING")
    answer = server.http.post(f"{path}/cancel").json()
    assert answer["status"] == "cancelled" and "cluster elsewhere" in answer["warnings"][0]
    assert server.http.get(f"/api/jobs/{other['job_id']}").json()["status"] == "RUNNING", "not the one of the same id"
    server.http.delete(f"/api/jobs/{other['job_id']}")
    settle_jobs(server, "o")
    server.end()

    server.cluster, server.environment = "slurm", elsewhere
    server.start()
    eventually(lambda: server.http.get(f"/api/jobs/{run['job_ids']['first']}").json()["status"] == "CANCELLED")
