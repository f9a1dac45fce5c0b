"""Runs, jobs and sweeps on a cluster behind SSH, and what becomes of them when the connection is lost."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.engine.whole.remote.machines import MAKE, TWO, await_clusters
from tests.waiting import eventually

pytestmark = pytest.mark.ssh


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


def test_homes_are_those_over_there(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    text = "name: homes\njobs:\n  - {{name: a, command: pwd, work_dir: {}}}\n"
    ended = client.await_run(client.start_run("homes", text.format("~/x"))["id"], 120)
    assert (ended["status"], (beyond.home / "x").is_dir()) == ("completed", True), ended
    client.workflow("homes", text.format("~root/x"))
    dry = client.post("/api/workflows/homes/run", {"dry_run": True}).json()
    assert "--chdir=/root/x" in dry["jobs"][0]["script"]
    client.workflow("homes", text.format("~nobody-has-this/x"))
    answer = client.post("/api/workflows/homes/run")
    assert answer.status_code == 422 and "no user 'nobody-has-this'" in answer.text


def test_a_failed_run_over_there_tells_why_and_leaves_nothing(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    work = beyond.home / "shared work"
    text = (
        f"name: broken\njobs:\n  - name: a\n    work_dir: {work}\n"
        '    command: \'set -e; echo "{}" > "$SLUICE_RESULT"; echo no memory >&2; test -e mended\'\n'
    )
    started = client.start_run("broken", text)
    failed = client.await_run(started["id"], 120)
    assert failed["error"].startswith("Jobs failed: a\na, exit code 1:\n") and "\nno memory" in failed["error"], failed
    assert failed["jobs"][0]["result"] == {}
    eventually(lambda: not (work / ".sluice").exists())
    (work / "mended").touch()
    assert client.post(f"/api/workflows/runs/{started['id']}/rerun", {"only": "failed"}).status_code == 202
    assert client.await_run(started["id"], 120)["status"] == "completed"


def test_secrets_arrive_over_there(client: Client, beyond: Beyond, project: Path) -> None:
    (project / "srunx.json").write_text('{"environment": {"env_vars": {"HF_TOKEN": "hf_x\\ny"}}}')
    text = "name: secret\njobs:\n  - {name: a, command: printenv HF_TOKEN}\n"
    (project / ".srunx" / "workflows" / "secret.yaml").write_text(text)
    eventually(lambda: client.get("/api/workflows/secret?mount=ml").status_code == 200)
    await_clusters(client)
    run = client.await_run(client.post("/api/workflows/secret/run?mount=ml").json()["id"])
    assert client.get(f"/api/jobs/{run['jobs'][0]['job_id']}/logs").json()["stdout"] == "hf_x\ny\n"
    assert "hf_x" not in (client.store / "runs" / f"{run['id']}.json").read_text()


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
    run = client.start_run("two", TWO.replace("sleep 4", f"while [ ! -e {beyond.home}/go ]; do sleep 0.1; done"))
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
    (beyond.home / "go").touch()
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
