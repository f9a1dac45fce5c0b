"""Secrets of jobs: they arrive in the job, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from slurm_shim.cluster import PROGRAMS
from tests.app_client import Client
from tests.waiting import eventually

pytestmark = pytest.mark.long
OURS, THEIRS, PROXY, GIVEN = "hf_of-the-config", 'it\'s "$own" \\ `x`', "http://me:pw-of-proxy@host", "given at once"
# The parts by which a value is found again in files of any form.
NEEDLES = ("hf_of-the-config", "$own", "pw-of-proxy", "given at once")
PRINT = "printenv HF_TOKEN A_SECRET PROXY N"
TEXT = json.dumps({
    "name": "secret",
    "args": {"n": 8},
    "jobs": [
        {"name": name, "command": PRINT, "environment": {"env_vars": {"A_SECRET": THEIRS, "N": "{{ n }}"}}, **more}
        for name, more in (("a", {}), ("b", {"template": "closed"}))
    ],
})  # fmt: skip
CLOSED = "#!/bin/bash\n#SBATCH --export=NONE --output={{ log_dir }}/%x_%j.log --chdir={{ work_dir }}\n{{ exports }}\n"
OUTPUT = f"{OURS}\n{THEIRS}\n{PROXY}\n8\n"


@pytest.fixture(scope="module")
def secretive(client: Client) -> Iterator[Client]:
    """A server whose configuration, template and workflow have secrets."""
    wanted = {"environment": {"env_vars": {"HF_TOKEN": OURS, "PROXY": PROXY}}}
    assert client.request("PUT", "/api/config", json=wanted, token="admin").status_code == 200
    template = {"name": "closed", "content": CLOSED + PRINT + "\n", "description": "d", "use_case": "u"}
    assert client.post("/api/templates", template).status_code == 201
    client.workflow("secret", TEXT)
    yield client


def find_leaks(client: Client, *more: str) -> list[str]:
    """Find what holds a secret of what Sluice keeps; `more` are texts that it has shown."""
    kept = [client.store / name for name in ("runs", "sweeps", "jobs", "audit", "inbox", "deliveries")]
    texts = {str(path): path.read_text() for folder in kept for path in folder.rglob("*") if path.is_file()}
    texts |= {f"text {at}": text for at, text in enumerate(more)}
    return [name for name, text in texts.items() if any(needle in text for needle in NEEDLES)]


def read_log(client: Client, job_id: Any) -> str:
    """Read what the job has written, once it has ended."""
    assert client.job(job_id)["status"] == "COMPLETED"
    return str(client.get(f"/api/jobs/{job_id}/logs").json()["stdout"])


def read_script(client: Client, job_id: Any) -> str:
    """Read the script that SLURM has."""
    environment = dict(os.environ)
    if client.cluster == "embedded":
        conf = str(client.store / "cluster" / "slurm.conf")
        environment |= {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "SLURM_CONF": conf}
    argv = ["scontrol", "write", "batch_script", str(job_id), "-"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_run_has_its_secrets_and_shows_none(secretive: Client) -> None:
    dry = secretive.post("/api/workflows/secret/run", {"dry_run": True})
    for job in dry.json()["jobs"]:
        for line in ("export HF_TOKEN=***\n", "export A_SECRET=***\n", "export PROXY=***\n", "export N=8\n"):
            assert line in job["script"]
    run = secretive.await_run(secretive.start_run("secret")["id"])
    assert run["status"] == "completed"
    ids = [job["job_id"] for job in run["jobs"]]
    texts = [secretive.get(path).text for path in ("/api/workflows", "/api/workflows/secret")]
    assert [read_log(secretive, job_id) for job_id in ids] == [OUTPUT, OUTPUT]
    texts += [dry.text, json.dumps(run), *(read_script(secretive, job_id) for job_id in ids)]
    assert find_leaks(secretive, *texts) == []


def test_cells_have_their_secrets(secretive: Client) -> None:
    body = {"sweep": {"matrix": {"n": [8]}}}
    dry = secretive.post("/api/workflows/secret/run", {**body, "dry_run": True})
    sweep_id = secretive.post("/api/workflows/secret/run", body).json()["sweep_run_id"]
    path = f"/api/sweep_runs/{sweep_id}"
    assert eventually(lambda: secretive.get(path).json()["status"] == "completed", 60)
    (cell,) = secretive.get(f"{path}/cells").json()
    jobs = secretive.get(f"/api/workflows/runs/{cell['id']}").json()["jobs"]
    assert [read_log(secretive, job["job_id"]) for job in jobs] == [OUTPUT, OUTPUT]
    assert find_leaks(secretive, dry.text) == []


def test_a_single_job_has_what_it_was_given(secretive: Client) -> None:
    more = {"HF_TOKEN": "***", "A_SECRET": GIVEN, "PROXY": PROXY, "N": "8"}
    use = {"command": ["true"], "job_name": "t", "environment": {"env_vars": more}, "preview_only": False}
    preview = secretive.post("/api/templates/closed/apply", {**use, "preview_only": True})
    assert "export A_SECRET=***\n" in preview.json()["script"]
    work_dir = str(secretive.store / "work" / "t")
    job = secretive.post("/api/templates/closed/apply", {**use, "work_dir": work_dir, "log_dir": work_dir})
    job_id = job.json()["job_id"]
    assert read_log(secretive, job_id) == f"{OURS}\n{GIVEN}\n{PROXY}\n8\n"
    assert find_leaks(secretive, preview.text, job.text, read_script(secretive, job_id)) == []
    nothing = secretive.post("/api/jobs/preview", {**PREVIEW, "environment": {"env_vars": {"OTHER_TOKEN": "***"}}})
    assert nothing.status_code == 422, "a mask stands for nothing here"


PREVIEW = {"name": "t", "command": ["true"]}
