"""Metrics over the S9S API, on both clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

BURN = "#!/bin/bash\nend=$((SECONDS+2)); while [ $SECONDS -lt $end ]; do :; done\n"


def get_metrics(client: Client) -> Any:
    """Get the metrics of the cluster."""
    return client.get("/v1/metrics/cluster").json()


def test_a_job_counts_while_it_runs_and_once_it_has_ended(client: Client) -> None:
    before = get_metrics(client)["job_counts"]
    held = client.submit("#!/bin/bash\n#SBATCH --hold\ntrue\n")
    eventually(lambda: get_metrics(client)["job_counts"]["PENDING"] == before["PENDING"] + 1)
    client.delete(f"/api/v1/jobs/{held}")
    eventually(lambda: get_metrics(client)["job_counts"]["CANCELLED"] == before["CANCELLED"] + 1)
    client.job(client.submit("#!/bin/bash\ntrue\n"))
    found = eventually(lambda: (now := get_metrics(client))["job_counts"]["COMPLETED"] > before["COMPLETED"] and now)
    assert found["queue_stats"]["throughput"] >= 2 and found["queue_stats"]["avg_wait_time"]
    assert sum(found["node_counts"].values()) >= 1 and found["cluster_utilization"]["cpu_percent"] is not None


def test_the_metrics_have_the_shape_of_the_document(client: Client) -> None:
    found = get_metrics(client)
    assert list(found) == ["timestamp", "cluster_utilization", "job_counts", "node_counts", "queue_stats"]
    assert list(found["cluster_utilization"]) == ["cpu_percent", "memory_percent", "gpu_percent"]
    assert list(found["queue_stats"]) == ["avg_wait_time", "max_wait_time", "throughput"]
    answer = client.get("/api/v1/metrics/performance")
    found = answer.json()
    assert (found["interval"], found["count"], len(found["metrics"])) == ("1h", 24, 24)
    assert (
        client.get("/api/v1/metrics/performance", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    )


def test_samples_fill_the_present_interval(client: Client) -> None:
    client.run(client.server.sampler.take_sample())
    found = client.get("/v1/metrics/performance", params={"interval": "1d"}).json()
    assert found["metrics"][-1]["cpu_utilization"] is not None and found["metrics"][-1]["jobs_submitted"] is not None
    assert list((client.store / "samples").glob("*.jsonl"))


def test_the_efficiency_of_a_job_that_computes(client: Client) -> None:
    job_id = str(client.submit(BURN, name="burn"))
    client.job(job_id)

    def find_usage() -> Any:
        client.server.cluster.inventory.usages.clear()
        rows = client.get("/v1/metrics/efficiency", params={"min_runtime": "1s", "limit": 1000}).json()["jobs"]
        # Until slurmdbd has all of a job, it calls it "allocation", and then it lacks the steps.
        own = [row for row in rows if (row["job_id"], row["job_name"]) == (job_id, "burn")]
        return next((row for row in own if row["cpu_efficiency"]), None)

    found: Any = eventually(find_usage, 60, "accounting knows of it")
    assert (found["state"], found["gpu_utilization"]) == ("COMPLETED", None)
    assert found["cpu_efficiency"] > 0 and found["wasted_cpu_hours"] is not None
    assert found["elapsed_time"] >= "0:00:01"
    # SLURM measures memory every 30 s, and of a short job not always.
    assert found["max_memory_used"] or client.cluster == "slurm"


REFUSED = [
    ("no such interval", "performance?interval=2m", "interval"),
    ("no time", "performance?start_time=soon", "start_time"),
    (
        "an end before the start",
        "performance?start_time=2023-12-15T14:00:00Z&end_time=2023-12-15T13:00:00Z",
        "end_time",
    ),
    ("too many intervals", "performance?start_time=2023-12-01&end_time=2023-12-15&interval=1m", "interval"),
    ("no duration", "efficiency?min_runtime=long", "min_runtime"),
    ("an unknown parameter", "efficiency?min_runtim=1h", "min_runtim"),
]


@pytest.mark.parametrize(("why", "path", "field"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals(client: Client, why: str, path: str, field: str) -> None:
    answer = client.get(f"/v1/metrics/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], list(error["details"]["fields"])) == (400, "VALIDATION_ERROR", [field])
