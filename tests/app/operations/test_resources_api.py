"""What each partition has, over HTTP."""

from __future__ import annotations

import pytest

from tests.app_client import Client
from tests.waiting import eventually


def test_each_partition_and_its_sums(client: Client) -> None:
    rows = eventually(lambda: client.get("/api/resources").json())
    names = [row["partition"] for row in rows]
    assert names == sorted(names) and names
    for row in rows:
        assert row["gpus_available"] == row["total_gpus"] - row["gpus_in_use"] >= 0
        assert row["nodes_total"] >= row["nodes_idle"] + row["nodes_down"] and row["nodes_total"] > 0
    assert sum(row["total_gpus"] for row in rows) >= 8


def test_one_partition(client: Client) -> None:
    name = client.get("/api/resources").json()[-1]["partition"]
    assert [row["partition"] for row in client.get("/api/resources", params={"partition": name}).json()] == [name]


def test_a_partition_that_is_not_there_has_nothing(client: Client) -> None:
    (row,) = client.get("/api/resources", params={"partition": "nowhere"}).json()
    assert (row["partition"], row["total_gpus"], row["nodes_total"], row["gpu_utilization"]) == ("nowhere", 0, 0, 0)
    assert row["has_available_gpus"] is False


@pytest.mark.parametrize("bad", ["", "a b", "a;b", "é", "x" * 65, "a,b"])
def test_names_that_no_partition_has(client: Client, bad: str) -> None:
    answer = client.get("/api/resources", params={"partition": bad})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", "partition"]


def test_gpus_in_use_are_those_of_running_jobs(client: Client) -> None:
    gpu = "gpu" if client.cluster == "slurm" else "main"
    row = lambda: client.get("/api/resources", params={"partition": gpu}).json()[0]  # noqa: E731
    before = row()
    script = f"#!/bin/bash\n#SBATCH --partition={gpu} --nodes=2 --gpus-per-node=3\nexec sleep 300\n"
    job_id = client.submit(script)
    eventually(lambda: client.job(job_id, over=False)["status"] == "RUNNING")
    during = eventually(lambda: (now := row())["gpus_in_use"] == before["gpus_in_use"] + 6 and now)
    assert during["jobs_running"] == before["jobs_running"] + 1
    assert during["gpus_available"] == before["gpus_available"] - 6
    assert during["gpu_utilization"] == pytest.approx(during["gpus_in_use"] / during["total_gpus"])
    assert client.get(f"/api/jobs/{job_id}").json()["resources"]["gpus_per_node"] == 3
    client.delete(f"/api/jobs/{job_id}")
    client.job(job_id)
    eventually(lambda: row()["gpus_in_use"] == before["gpus_in_use"])
