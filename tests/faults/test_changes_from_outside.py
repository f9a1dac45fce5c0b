"""Jobs that somebody changes behind Sluice's back: its rows follow, nothing ends that goes on, nothing runs twice."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.app_client import Client, serving
from tests.waiting import eventually

CONFIG = """\
cluster:
  {nodes: 4, cpus: 8, memory_mb: 16000, partitions: [{name: cpu, nodes: "node[01-02]", default: true}, {name: gpu}]}
poll: {min_s: 1, max_s: 1}
"""
# It begins, waits for the gate, and is over.
GATED = """\
echo begin $SLURM_JOB_ID >> {folder}/ran
until [ -e {folder}/gate ]; do sleep 0.1; done
echo end $SLURM_JOB_ID >> {folder}/ran
"""


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app over a cluster with two partitions."""
    store = tmp_path_factory.mktemp("store")
    (store / "config.yaml").write_text(CONFIG)
    with serving(store, cluster) as made:
        yield made


@pytest.fixture
def scontrol(client: Client) -> Callable[..., str]:
    """Call scontrol, as somebody else would."""
    environment = dict(os.environ)
    if client.cluster == "embedded":
        environment |= {
            "PATH": f"{ROOT / 'slurm_shim' / 'bin'}:{os.environ['PATH']}",
            "SLURM_CONF": str(client.store / "cluster" / "slurm.conf"),
        }

    def call(*words: str) -> str:
        done = subprocess.run(["scontrol", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def submit(client: Client, folder: Path, *options: str) -> str:
    """The id of a new job that waits for the gate."""
    lines = "".join(f"#SBATCH {option}\n" for option in options)
    return str(client.submit(f"#!/bin/bash\n{lines}{GATED.format(folder=folder)}"))


def read(folder: Path) -> list[str]:
    """What the job wrote."""
    return (folder / "ran").read_text().split("\n")[:-1] if (folder / "ran").exists() else []


def get_job(client: Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json()
    return {**found, "limit": found["resources"]["time_limit"]}


@pytest.mark.parametrize(
    ("why", "change", "row"),
    [
        ("another name", "JobName=other", {"name": "other"}),
        ("a shorter limit", "TimeLimit=5", {"limit": "0:05:00"}),
        ("another partition", "Partition=gpu", {"partition": "gpu"}),
        ("last in the queue", "Nice=100", {}),
        ("a comment, which had our mark", "Comment=theirs", {}),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_is_changed_is_shown_and_the_job_is_still_ours(
    client: Client, scontrol: Callable[..., str], tmp_path: Path, why: str, change: str, row: dict[str, Any]
) -> None:
    (tmp_path / "gate").touch()
    job_id = submit(client, tmp_path, "--hold")
    scontrol("update", f"JobId={job_id}", change)
    eventually(lambda: row.items() <= get_job(client, job_id).items(), 20, why)
    scontrol("release", job_id)
    ended = client.job(job_id, timeout_s=60)
    assert (ended["status"], ended["exit_code"]) == ("COMPLETED", 0), ended
    assert read(tmp_path) == [f"begin {job_id}", f"end {job_id}"]
    history = [known for known in client.get("/api/history").json() if str(known["job_id"]) == job_id]
    assert len(history) == 1


def test_a_priority_that_is_changed(client: Client, scontrol: Callable[..., str], tmp_path: Path) -> None:
    """Another one changes nothing for us; 0 holds the job, which waits until it is released."""
    (tmp_path / "gate").touch()
    job_id = submit(client, tmp_path, "--begin=now+1hour")
    scontrol("update", f"JobId={job_id}", "Priority=7")
    scontrol("update", f"JobId={job_id}", "Priority=0")
    eventually(lambda: "Held" in (get_job(client, job_id)["reason"] or ""), 20)
    assert get_job(client, job_id)["status"] == "PENDING" and read(tmp_path) == []
    scontrol("release", job_id)
    scontrol("update", f"JobId={job_id}", "Priority=9")
    scontrol("update", f"JobId={job_id}", "StartTime=now")
    ended = client.job(job_id, timeout_s=60)
    assert (ended["status"], ended["exit_code"]) == ("COMPLETED", 0), ended
    assert read(tmp_path) == [f"begin {job_id}", f"end {job_id}"]


def test_a_job_of_a_run_that_is_held_and_released(client: Client, scontrol: Callable[..., str], tmp_path: Path) -> None:
    text = GATED.format(folder=tmp_path).replace("\n", "\n      ")
    run = client.start_run(
        "held",
        f"name: held\njobs:\n  - name: a\n    command: |\n      cd /\n      {text}\n"
        "  - {name: b, command: 'true', depends_on: [a]}\n",
    )
    path = f"/api/workflows/runs/{run['id']}"
    first, second = eventually(lambda: len(ids := client.get(path).json()["job_ids"]) == 2 and ids, 30).values()
    eventually(lambda: read(tmp_path), 30)
    scontrol("hold", second)
    scontrol("update", f"JobId={first}", "Comment=theirs", "JobName=theirs")
    (tmp_path / "gate").touch()
    eventually(lambda: get_job(client, second)["reason"] in ("JobHeldAdmin", "JobHeldUser"), 30)
    eventually(lambda: get_job(client, first)["status"] == "COMPLETED", 60)
    meanwhile = client.get(path).json()
    assert meanwhile["status"] == "running" and meanwhile["job_statuses"]["b"] == "PENDING", meanwhile
    scontrol("release", second)
    ended = client.await_run(run["id"])
    assert ended["status"] == "completed", ended
    assert [len(job["attempts"]) for job in ended["jobs"]] == [1, 1]


@contextlib.contextmanager
def down(client: Client, scontrol: Callable[..., str], job_id: str) -> Iterator[None]:
    """Set the node of this job down, until the block ends or its slurmd reports it back."""
    node = eventually(lambda: get_job(client, job_id).get("nodelist"))
    scontrol("update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        yield
    finally:
        with contextlib.suppress(AssertionError):  # it is back
            scontrol("update", f"NodeName={node}", "State=RESUME")


def watch_until_over(client: Client, job_id: str) -> list[str]:
    """The states that were shown one after the other, until the job has ended."""
    states: list[str] = []

    def is_over() -> bool:
        status = get_job(client, job_id)["status"]
        if states[-1:] != [status]:
            states.append(status)
        return status in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")

    eventually(is_over, 120)
    return states


@pytest.mark.parametrize("how", ["requeue by hand", "its node goes down"])
def test_a_job_that_slurm_begins_anew_goes_on_under_its_id(
    client: Client, scontrol: Callable[..., str], tmp_path: Path, how: str
) -> None:
    job_id = submit(client, tmp_path, "--requeue")
    eventually(lambda: read(tmp_path), 30)
    with contextlib.ExitStack() as stack:
        if how == "requeue by hand":
            scontrol("requeue", job_id)
        else:
            stack.enter_context(down(client, scontrol, job_id))
        (tmp_path / "gate").touch()
        states = watch_until_over(client, job_id)
    assert states[-1] == "COMPLETED" and set(states) <= {"RUNNING", "PENDING", "COMPLETED"}, states
    assert read(tmp_path).count(f"begin {job_id}") == 2, "SLURM began it twice, under one id"


def test_a_job_that_its_node_takes_along_has_failed(
    client: Client, scontrol: Callable[..., str], tmp_path: Path
) -> None:
    job_id = submit(client, tmp_path, "--no-requeue")
    eventually(lambda: read(tmp_path), 30)
    with down(client, scontrol, job_id):
        ended = client.job(job_id, timeout_s=60)
    assert (ended["status"], ended["slurm_state"]) == ("FAILED", "NODE_FAIL")
    assert read(tmp_path) == [f"begin {job_id}"]
