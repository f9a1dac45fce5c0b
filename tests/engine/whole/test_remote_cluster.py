"""A cluster behind SSH: a real sshd on loopback in front of an embedded cluster, or of a real SLURM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.yaml.reader import load_yaml
from tests.app_client import Client, serving
from tests.app_server import Server, free_port
from tests.cluster.beyond import Beyond
from tests.cluster.sshd import needed
from tests.pipeline import SUMMING_PIPELINE
from tests.waiting import eventually

pytestmark = pytest.mark.ssh

# Over there the numbers are made by a program of the mount.
PIPELINE = SUMMING_PIPELINE.replace(b"seq ", b"python3 make.py ")
MAKE = "import sys\nfor one in range(1, int(sys.argv[1]) + 1):\n    print(one)\n"
TWO = "name: two\njobs:\n  - {name: a, command: 'sleep 4'}\n  - {name: b, command: 'true', depends_on: [a]}\n"


def write_profiles(store: Path, current: str | None, **profiles: dict[str, Any]) -> None:
    """Nothing; profiles.yaml says this (JSON is YAML), put in place whole as an editor would."""
    store.mkdir(parents=True, exist_ok=True)
    made = store / "profiles.yaml.new"
    made.write_text(json.dumps({"current": current, "profiles": profiles}))
    made.replace(store / "profiles.yaml")


def ssh_config(*beyond: Beyond) -> str:
    """An ssh configuration that knows the host keys of all of these."""
    known = beyond[0].sshd.known_hosts
    known.write_text("".join(dict.fromkeys(machine.sshd.known_hosts.read_text() for machine in beyond)))
    return str(beyond[0].sshd.config)


@pytest.fixture
def beyond(cluster: str, tmp_path: Path) -> Iterator[Beyond]:
    """The machine behind SSH."""
    needed()
    with Beyond(tmp_path / "beyond", cluster) as machine:
        yield machine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder here that is a mount."""
    folder = tmp_path / "project"
    (folder / ".srunx" / "workflows").mkdir(parents=True)
    (folder / ".srunx" / "workflows" / "ml-pipeline.yaml").write_bytes(PIPELINE)
    (folder / "make.py").write_text(MAKE)
    return folder


@pytest.fixture
def client(beyond: Beyond, project: Path, tmp_path: Path) -> Iterator[Client]:
    """The app, its active profile leading to the machine behind SSH."""
    mount = {"name": "ml", "local": str(project), "remote": str(beyond.home / "ml")}
    write_profiles(tmp_path / "store", "lab", lab=beyond.profile(mounts=[mount]))
    with serving(tmp_path / "store", "embedded", SLUICE_SSH_CONFIG=ssh_config(beyond)) as server:
        yield server


def await_clusters(client: Client) -> dict[str, Any]:
    """Await the answer of the cluster in force; return what is known of all."""

    def find_cluster() -> dict[str, Any] | None:
        status: dict[str, Any] = client.get("/api/config/ssh/status").json()
        return status if status["connected"] else None

    return eventually(find_cluster, 60, "the cluster over there answers")  # type: ignore[return-value]


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_the_pipeline_runs_over_there(client: Client, beyond: Beyond, project: Path) -> None:
    await_clusters(client)
    started = client.post("/api/workflows/ml-pipeline/run?mount=ml")
    assert started.status_code == 202, started.text
    run = client.await_run(started.json()["id"], 120)
    assert (run["status"], run["error"]) == ("completed", None)
    assert run["cluster"].startswith("ssh:lab:") and run["work_dir"] == str(beyond.home / "ml")
    jobs = {job["name"]: job for job in run["jobs"]}
    assert jobs["total"]["result"] == {"total": 500500}
    assert jobs["cleanup"]["status"] == "CANCELLED" and jobs["report"]["status"] == "COMPLETED"
    assert client.get(f"/api/jobs/{jobs['total']['job_id']}/logs").json()["stdout"].endswith("500500\n")
    assert (beyond.home / "ml" / "work-1000" / "report").read_text() == "done\n"
    assert sorted(path.name for path in project.iterdir()) == [".srunx", "make.py"], "nothing ran here"
    assert beyond.calls()["sbatch"] == 3, "each job that ran was submitted once"


def test_folders_of_a_mount_are_those_over_there(client: Client, beyond: Beyond, project: Path) -> None:
    text = f"name: where\njobs:\n  - {{name: a, command: pwd, work_dir: {project}/sub, log_dir: {project}/logs here}}\n"
    (project / ".srunx" / "workflows" / "where.yaml").write_text(text)
    eventually(lambda: client.get("/api/workflows/where?mount=ml").status_code == 200)
    await_clusters(client)
    run = client.await_run(client.post("/api/workflows/where/run?mount=ml").json()["id"])
    assert run["status"] == "completed", run
    logs = beyond.home / "ml" / "logs here"
    assert [path.read_text() for path in logs.iterdir()] == [f"{beyond.home}/ml/sub\n"]


def test_without_a_mount_a_run_works_in_a_folder_of_its_own(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    run = client.start_run("own", "name: own\njobs:\n  - {name: a, command: 'pwd > here'}\n")
    ended = client.await_run(run["id"])
    work = beyond.home / ".sluice" / "work" / run["id"]
    assert ended["status"] == "completed" and ended["work_dir"] == str(work)
    assert (work / "here").read_text() == f"{work}\n"
    dry = client.post("/api/workflows/own/run", {"dry_run": True}).json()
    assert f"{beyond.home}/.sluice/work/" in dry["jobs"][0]["script"]


def test_a_single_job_over_there(client: Client, beyond: Beyond, project: Path) -> None:
    await_clusters(client)
    (project / "train.sh").write_text("#!/bin/bash\ncat make.py\npwd >&2\n")
    made = client.post("/api/jobs", {"name": "train", "script_path": "train.sh", "mount_name": "ml"})
    assert made.status_code == 201, made.text
    job_id = made.json()["job_id"]
    found = client.job(job_id)
    assert found["status"] == "COMPLETED" and found["cluster"].startswith("ssh:lab:")
    logs = eventually(lambda: (answer := client.get(f"/api/jobs/{job_id}/logs").json())["stdout"] and answer)
    assert logs["stdout"] == f"{MAKE}{beyond.home}/ml\n"
    rest = client.get(f"/api/jobs/{job_id}/logs", params={"stdout_offset": len(MAKE)}).json()
    assert rest == {**logs, "stdout": f"{beyond.home}/ml\n"}


def test_a_sweep_copies_its_mount_once(client: Client, beyond: Beyond, project: Path) -> None:
    await_clusters(client)
    body = {"sweep": {"matrix": {"n": [10, 20, 30]}, "max_parallel": 3}}
    sweep_id = client.post("/api/workflows/ml-pipeline/run?mount=ml", body).json()["sweep_run_id"]
    sweep = eventually(
        lambda: (sweep := client.get(f"/api/sweep_runs/{sweep_id}").json())["status"] == "completed" and sweep, 120
    )
    assert sweep["cells_completed"] == 3
    rows = client.get(f"/api/sweep_runs/{sweep_id}/results").json()
    assert sorted(row["result"]["total.total"] for row in rows) == [55, 210, 465]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_mount_that_cannot_be_copied(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    (beyond.home / "ml").write_text("a file in its place")
    answer = client.post("/api/workflows/ml-pipeline/run?mount=ml")
    assert answer.status_code == 502 and answer.json()["detail"].startswith("Mount sync failed: "), answer.text
    run = client.get("/api/workflows/runs").json()[0]
    assert run["status"] == "failed" and run["error"] == answer.json()["detail"]
    assert beyond.calls()["sbatch"] == 0


def test_a_lost_connection_loses_nothing(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    run = client.start_run("two", TWO)
    path = f"/api/workflows/runs/{run['id']}"
    eventually(lambda: client.get(path).json()["job_statuses"].get("a") == "RUNNING", 60)
    beyond.sshd.kill()
    lost = eventually(lambda: (status := client.get("/api/config/ssh/status").json())["error"] and status, 30)
    assert lost["connected"] is False and lost["profile_name"] == "lab"
    before = client.get(path).json()
    assert before["status"] == "running" and before["job_statuses"]["a"] == "RUNNING"
    assert float(client.get(path).headers["x-snapshot-age"]) > 0
    answer = client.get("/api/jobs")
    assert answer.status_code == 200 and float(answer.headers["x-snapshot-age"]) > 0
    refused = client.post("/api/jobs", {"name": "x", "script_content": "#!/bin/bash\ntrue\n"})
    assert refused.status_code == 503 and "retry-after" in refused.headers
    job_id = before["job_ids"]["a"]
    assert client.get(f"/api/jobs/{job_id}/logs").status_code == 503, "what cannot be read is not shown as empty"
    # Until both jobs have ended over there, with nobody to see it.
    ended = "sacct -X -n -P -o State -j"
    environment = {**beyond.variables}
    eventually(
        lambda: (
            subprocess.run([*ended.split(), job_id], env=environment, capture_output=True, text=True).stdout
            == "COMPLETED\n"
        ),
        60,
    )
    assert client.get(path).json()["job_statuses"] == before["job_statuses"], "unknown is not failed"
    beyond.sshd.start()
    client.post("/api/config/ssh/profiles/lab/connect")
    after = client.await_run(run["id"], 90)
    assert client.get(path).headers["x-snapshot-age"] == "0.0"
    assert after["status"] == "completed" and [len(job["attempts"]) for job in after["jobs"]] == [1, 1]
    assert beyond.calls()["sbatch"] == 2


def test_a_connection_lost_in_the_middle_of_sbatch_submits_once(client: Client, beyond: Beyond) -> None:
    """The job is there, its id was never heard: it is found by its tag."""
    await_clusters(client)
    real = beyond.dir / "wrappers" / "sbatch"
    gate = beyond.dir / "held"
    text = real.read_text()
    real.write_text(text.replace("exec ", "").rstrip() + f"\ntouch {gate}\nwhile [ -e {gate} ]; do sleep 0.05; done\n")
    client.workflow("one", "name: one\njobs:\n  - {name: a, command: 'true'}\n")
    with contextlib.ExitStack() as undo:
        undo.callback(gate.unlink, missing_ok=True)
        import concurrent.futures

        pool = undo.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        asked = pool.submit(client.post, "/api/workflows/one/run")
        eventually(gate.exists, 30)
        beyond.sshd.kill()
        run = asked.result(60).json()
        assert run["job_ids"] == {}, "nobody heard an id"
    real.write_text(text)
    beyond.sshd.start()
    client.post("/api/config/ssh/profiles/lab/connect")
    ended = client.await_run(run["id"], 90)
    assert ended["status"] == "completed" and len(ended["jobs"][0]["attempts"]) == 1
    assert beyond.calls()["sbatch"] == 1


# --- how often the other machine is asked ----------------------------------------------------------------------------


def test_readers_cost_one_command_per_interval(client: Client, beyond: Beyond, monkeypatch: pytest.MonkeyPatch) -> None:
    await_clusters(client)
    job_id = client.submit("#!/bin/bash\nsleep 60\n")
    snapshot, connection = client.server.cluster.snapshot, client.server.cluster.connection
    snapshot.min_s = 3.0
    client.run(snapshot.refresh())
    asked: list[str] = []
    run_block = connection.run_block
    monkeypatch.setattr(connection, "run_block", lambda *given: asked.append(given[1]) or run_block(*given))
    before, began, polls = beyond.calls(), snapshot._now(), snapshot._polls
    for _ in range(100):
        assert client.get("/api/jobs").status_code == client.get(f"/api/jobs/{job_id}").status_code == 200
    allowed = 1 + (snapshot._now() - began) / 3.0
    made = beyond.calls() - before
    assert len(asked) <= allowed and set(asked) <= {"squeue"}, "nodes and partitions come with the queue"
    assert made["squeue"] <= allowed and set(made) <= {"squeue", "scontrol"}, made
    client.run(snapshot.refresh())
    assert snapshot._polls > polls and snapshot.nodes and snapshot.partitions and snapshot.nodes_error is None
    client.delete(f"/api/jobs/{job_id}")


# --- profiles --------------------------------------------------------------------------------------------------------


def probe_cluster(client: Client, name: str) -> dict[str, Any]:
    answer = client.post(f"/api/config/ssh/profiles/{name}/test")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_test_tells_the_truth(client: Client, beyond: Beyond) -> None:
    assert client.post("/api/config/ssh/profiles/nope/test").json() == {"detail": "Profile 'nope' not found"}
    assert client.post("/api/config/ssh/profiles/nope/connect").status_code == 404
    found = probe_cluster(client, "lab")
    assert (found["ssh_connected"], found["slurm_available"], found["error"]) == (True, True, None)
    assert found["slurm_version"].startswith("22.05") and found["user"] == beyond.sshd.user
    assert found["hostname"] == os.uname().nodename


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ("an unknown host key", "is not in known_hosts"),
        ("a changed host key", "is another than the one in known_hosts"),
        ("another key", "Permission denied"),
        ("a key that is not there", "not accessible"),
        ("nobody listens there", "Connection refused"),
        ("something else listens there", "banner"),
        ("SLURM is not on the PATH", "not on the PATH"),
        ("no host at all", "neither hostname nor ssh_host"),
        ("a name that nobody has", "Could not resolve hostname"),
    ],
)
def test_what_is_wrong_with_a_profile_is_told(
    client: Client, beyond: Beyond, tmp_path: Path, why: str, says: str
) -> None:
    profile = beyond.profile()
    with contextlib.ExitStack() as undo:
        if why == "an unknown host key":
            beyond.sshd.known_hosts.write_text("")
        elif why == "a changed host key":
            beyond.sshd.stop()
            beyond.sshd.rekey()
            beyond.sshd.start()
        elif why == "another key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
            profile["key_filename"] = str(tmp_path / "other")
        elif why == "a key that is not there":
            profile["key_filename"] = str(tmp_path / "nope")
        elif why == "nobody listens there":
            profile["port"] = free_port()
        elif why == "something else listens there":
            profile["port"] = undo.enter_context(garbage())
            beyond.sshd.known_hosts.write_text("")
        elif why == "SLURM is not on the PATH":
            profile["env_vars"] = {"PATH": "/bin/nowhere:/usr/bin", "SLURM_CONF": "/dev/null"}
            profile["env_vars"]["PATH"] = str(plain_path(tmp_path))
        elif why == "no host at all":
            profile = {"description": "here"}
        elif why == "a name that nobody has":
            profile["hostname"] = "nobody.invalid"
        write_profiles(client.store, "lab", lab=beyond.profile(), bad=profile)
        eventually(lambda: client.post("/api/config/ssh/profiles/bad/test").status_code == 200)
        found = probe_cluster(client, "bad")
        assert says in found["error"], found
        assert not found["slurm_available"] and found["ssh_connected"] is (why == "SLURM is not on the PATH")
        made = client.post("/api/config/ssh/profiles/bad/connect").json()
        assert made["connected"] is False and says in made["error"]
        assert client.get("/api/config/ssh/status").json()["profile_name"] == "lab", "a failure switches nothing"


@contextlib.contextmanager
def garbage() -> Iterator[int]:
    """A port where something answers that is no sshd."""
    import socket
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"220 mail.example.org ready\r\n" * 3 + b"\0" * 50_000)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def plain_path(folder: Path) -> Path:
    """A folder with what every system has, and no SLURM."""
    made = folder / "plain"
    made.mkdir()
    for name in ("env", "timeout", "cat"):
        (made / name).symlink_to(f"/usr/bin/{name}")
    return made


# --- several clusters ------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Beyond, Beyond]]:
    """Two machines, each with a cluster that counts its jobs from 1."""
    needed()
    with Beyond(tmp_path / "a", name="alpha") as alpha, Beyond(tmp_path / "b", name="beta") as beta:
        yield alpha, beta


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
    assert made == {"connected": True, "profile_name": "lab", "hostname": "127.0.0.1", "error": None}
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
        server.end(signal.SIGKILL)
        beyond.sshd.kill()
        server.start()
        path = f"/api/workflows/runs/{run['id']}"
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
