"""Several clusters behind SSH, and a server that is killed while it uses one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from store.yaml.reader import load_yaml
from tests.app_client import Client, serving
from tests.app_server import Server
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import needed
from tests.engine.whole.remote.machines import TWO, await_clusters, ssh_config, write_profiles
from tests.waiting import eventually

pytestmark = pytest.mark.ssh

# Its job fails the first time.
TWICE = """\
name: twice
args: {{n: 0}}
jobs:
  - name: a
    command: 'echo {{{{ n }}}} >> {ran}; test $(grep -cx {{{{ n }}}} {ran}) = 2'
    retry: 1
    retry_delay: 0
"""


# --- several clusters ------------------------------------------------------------------------------------------------


def test_the_same_job_ids_on_two_clusters(pair: tuple[Beyond, Beyond], tmp_path: Path) -> None:
    alpha, beta = pair
    store = tmp_path / "store"
    write_profiles(store, "one", one=alpha.profile(), two=beta.profile())
    with serving(store, "embedded", SLUICE_SSH_CONFIG=ssh_config(alpha, beta)) as client:
        assert await_clusters(client)["clusters"][0]["name"] == "ssh:one:alpha"
        first = client.start_run("two", TWO.replace("sleep 4", "sleep 60"))
        first_id = first["job_ids"]["a"]
        # By hand; no restart.
        write_profiles(store, "two", one=alpha.profile(), two=beta.profile())
        eventually(lambda: client.get("/api/config/ssh/status").json()["profile_name"] == "two")
        assert await_clusters(client)["clusters"][0]["name"] == "ssh:two:beta"
        assert client.get("/api/jobs").json() == []
        second_id = str(client.submit("#!/bin/bash\necho second; sleep 60\n", name="second"))
        assert first_id == second_id == "1", "both clusters count from 1"
        assert client.get("/api/jobs/1").json()["name"] == "second"
        other = client.get("/api/jobs/1", params={"cluster": "ssh:one:alpha"}).json()
        assert (other["name"], other["cluster"]) == ("a", "ssh:one:alpha")
        assert [row["name"] for row in client.get("/api/jobs", params={"cluster": "ssh:one"}).json()] == ["b", "a"]
        assert client.get("/api/jobs", params={"cluster": "ssh:nope"}).status_code == 404
        assert client.get("/api/jobs", params={"cluster": "ssh:one:gamma"}).status_code == 404
        assert {row["cluster"] for row in client.get("/api/history").json()} == {"ssh:one:alpha", "ssh:two:beta"}
        assert client.delete("/api/jobs/1").status_code == 204
        assert client.job(1)["status"] == "CANCELLED"
        assert client.get(f"/api/workflows/runs/{first['id']}").json()["status"] == "running", "another cluster's job"
        assert client.post(f"/api/workflows/runs/{first['id']}/cancel").status_code == 200
        ended = client.await_run(first["id"])
        assert {job["status"] for job in ended["jobs"]} == {"CANCELLED"}
        assert alpha.calls()["scancel"] == beta.calls()["scancel"] == 1


def test_a_profile_that_leads_elsewhere_is_another_cluster(pair: tuple[Beyond, Beyond], tmp_path: Path) -> None:
    alpha, beta = pair
    store = tmp_path / "store"
    write_profiles(store, "lab", lab=alpha.profile())
    with serving(store, "embedded", SLUICE_SSH_CONFIG=ssh_config(alpha, beta)) as client:
        await_clusters(client)
        run = client.start_run("two", TWO.replace("sleep 4", "sleep 60"))
        eventually(lambda: client.get(f"/api/workflows/runs/{run['id']}").json()["status"] == "running", 60)
        write_profiles(store, "lab", lab=beta.profile())
        eventually(lambda: client.get("/health").json()["cluster"] == "ssh:lab:beta", 60)
        await_clusters(client)
        client.submit("#!/bin/bash\nfalse\n")
        client.job(1)
        kept = client.get(f"/api/workflows/runs/{run['id']}").json()
        assert kept["status"] == "running" and kept["cluster"] == "ssh:lab:alpha"
        write_profiles(store, "lab", lab=alpha.profile())
        eventually(lambda: client.get("/health").json()["cluster"] == "ssh:lab:alpha", 60)
        await_clusters(client)
        client.post(f"/api/workflows/runs/{run['id']}/cancel")
        assert client.await_run(run["id"])["status"] == "cancelled"


def test_from_here_to_there_and_back(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    write_profiles(client.store, None, lab=beyond.profile())
    eventually(lambda: client.get("/health").json()["cluster"] == "embedded")
    eventually(lambda: client.get("/api/jobs").status_code == 200)
    here = client.submit("#!/bin/bash\nsleep 60\n", name="here")
    made = client.post("/api/config/ssh/profiles/lab/connect").json()
    assert (made["connected"], made["profile_name"], made["hostname"], made["error"]) == (
        True,
        "lab",
        "127.0.0.1",
        None,
    )
    assert load_yaml((client.store / "profiles.yaml").read_bytes()).value["current"] == "lab"
    names = [cluster["name"] for cluster in await_clusters(client)["clusters"]]
    assert names[0].startswith("ssh:lab:") and "embedded" in names, "with an open job it stays in view"
    assert client.delete(f"/api/jobs/{here}", params={"cluster": "embedded"}).status_code == 204
    ended = client.get(f"/api/jobs/{here}", params={"cluster": "embedded"}).json()
    assert (ended["name"], ended["status"], ended["cluster"]) == ("here", "CANCELLED", "embedded")


def test_a_watched_job_of_a_cluster_that_is_not_in_force_is_heard_of(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    webhook = {"webhook_url": "https://hooks.slack.com/services/T0/B0/none"}
    made = client.post("/api/endpoints", {"kind": "slack_webhook", "name": "team", "config": webhook}).json()
    foreign = beyond.submit("#!/bin/bash\nsleep 60\n")
    eventually(lambda: client.get(f"/api/jobs/{foreign}").json()["status"] == "RUNNING", 60)
    wanted = {"kind": "job", "job_id": foreign, "endpoint_id": made["id"], "preset": "terminal"}
    watch = client.post("/api/watches", wanted).json()["watch_id"]
    assert client.get(f"/api/watches/{watch}").json()["target_ref"] == f"job:ssh:lab:{foreign}"
    write_profiles(client.store, None, lab=beyond.profile())
    eventually(lambda: client.get("/health").json()["cluster"] == "embedded")
    assert client.get(f"/api/watches/{watch}").json()["closed_at"] is None, "another cluster says nothing about it"
    beyond.cancel(foreign)
    eventually(lambda: client.get(f"/api/watches/{watch}").json()["closed_at"], 60)
    assert len(client.get("/api/deliveries").json()) == 1


# --- kill -9 ---------------------------------------------------------------------------------------------------------


def test_a_killed_server_goes_on_with_the_copying(
    beyond: Beyond, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was answered as syncing, or not at all; in the end its mount is over there and its jobs ran once."""
    mount = {"name": "ml", "local": str(project), "remote": str(beyond.home / "ml")}
    write_profiles(tmp_path / "store", "lab", lab=beyond.profile(mounts=[mount]))
    wrappers, gate = tmp_path / "held", tmp_path / "copying"
    wrappers.mkdir()
    (wrappers / "rsync").write_text(f"#!/bin/sh\ntouch {gate}\nwhile [ -e {gate} ]; do sleep 0.1; done\n")
    (wrappers / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrappers}:{os.environ['PATH']}")
    server = Server(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond))
    try:
        server.start()
        eventually(lambda: server.http.get("/api/config/ssh/status").json()["connected"], 60)
        key = {"Idempotency-Key": "one"}
        with contextlib.suppress(Exception):
            server.http.post("/api/workflows/ml-pipeline/run?mount=ml", headers=key, timeout=3)
        eventually(gate.exists)
        assert server.http.get("/api/workflows/runs").json()[0]["status"] == "syncing"
        server.end(signal.SIGKILL)
        (wrappers / "rsync").unlink()
        gate.unlink()
        server.start()
        run_id = server.http.get("/api/workflows/runs").json()[0]["id"]
        path = f"/api/workflows/runs/{run_id}"
        run = eventually(lambda: (run := server.http.get(path).json())["status"] == "completed" and run, 90)
        assert {job["name"]: job["result"] for job in run["jobs"]}["total"] == {"total": 500500}
        assert beyond.calls()["sbatch"] == 3
    finally:
        server.close()


def test_a_killed_server_finds_its_jobs_again(beyond: Beyond, tmp_path: Path) -> None:
    write_profiles(tmp_path / "store", "lab", lab=beyond.profile())
    server = Server(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond))
    (server.store / "workflows" / "two.yaml").write_text(TWO)
    try:
        server.start()
        eventually(lambda: server.http.get("/api/config/ssh/status").json()["connected"], 60)
        run = server.http.post("/api/workflows/two/run").json()
        path = f"/api/workflows/runs/{run['id']}"
        eventually(lambda: server.http.get(path).json()["status"] == "running", 60)
        server.end(signal.SIGKILL)
        beyond.sshd.kill()
        server.start()
        waiting_run = server.http.get(path).json()
        assert waiting_run["status"] == "running", (
            "a machine that does not answer at the start keeps nobody from starting"
        )
        assert server.http.post("/api/workflows/two/run").status_code == 503
        beyond.sshd.start()
        run = eventually(lambda: (run := server.http.get(path).json())["status"] == "completed" and run, 90)
        assert beyond.calls()["sbatch"] == 2
    finally:
        server.close()


@pytest.mark.long
def test_a_sweep_from_the_inbox_is_tried_again_though_server_and_connection_are_lost(
    beyond: Beyond, tmp_path: Path
) -> None:
    write_profiles(tmp_path / "store", "lab", lab=beyond.profile())
    server = Server(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond))
    ran = tmp_path / "ran"
    (server.store / "workflows" / "twice.yaml").write_text(TWICE.format(ran=ran))
    try:
        server.start()
        eventually(lambda: server.http.get("/api/config/ssh/status").json()["connected"], 60)
        (server.store / "inbox").mkdir(exist_ok=True)
        (server.store / "inbox" / "a.yaml").write_text("workflow: twice\nsweep: {matrix: {n: [0, 1, 2, 3]}}\n")
        eventually(ran.exists, 60)
        server.end(signal.SIGKILL)
        beyond.sshd.kill()
        server.start()
        (before,) = server.http.get("/api/sweep_runs").json()
        assert before["cells_failed"] == 0
        beyond.sshd.start()
        path = f"/api/sweep_runs/{before['id']}"
        after = eventually(lambda: (now := server.http.get(path).json())["completed_at"] and now, 120)
        assert (after["status"], after["cells_completed"]) == ("completed", 4)
        assert Counter(ran.read_text().split()) == {str(number): 2 for number in range(4)}
        assert len(server.http.get("/api/sweep_runs").json()) == 1
        assert [path.name for path in (server.store / "inbox" / "done").iterdir()] == ["a.yaml"]
    finally:
        server.close()


def test_a_look_at_the_scripts_needs_no_connection(tmp_path: Path) -> None:
    needed()
    with Beyond(tmp_path / "beyond") as beyond:
        beyond.sshd.kill()
        write_profiles(tmp_path / "store", "lab", lab=beyond.profile())
        with serving(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond)) as client:
            client.workflow("two", TWO)
            dry = client.post("/api/workflows/two/run", {"dry_run": True})
            assert dry.status_code == 202 and "~/.sluice/work/" in dry.json()["jobs"][0]["script"]
            for path, body in (("workflows/two/run", {}), ("jobs", {"name": "x", "script_content": "#!/bin/sh\n"})):
                refused = client.post(f"/api/{path}", body)
                assert refused.status_code == 503 and "Connection refused" in refused.json()["detail"]
            assert client.get("/api/workflows/runs").json() == client.get("/api/history").json() == []
