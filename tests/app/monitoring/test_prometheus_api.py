"""Metrics for Prometheus over HTTP, on both clusters."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.app_client import Client


def read(client: Client) -> dict[tuple[str, ...], float]:
    """Read all values by name and labels."""
    answer = client.get("/metrics", token="read")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_and_the_cluster_are_measured(client: Client) -> None:
    client.get("/api/jobs")
    before = read(client)
    client.get("/api/jobs")
    client.get("/nowhere")
    found = read(client)
    key = ("sluice_requests_total", "srunx_list_jobs", "200")
    assert found[key] == before[key] + 1
    assert found["sluice_requests_total", "none", "404"] >= 1
    assert found["sluice_requests_total", "sluice_get_metrics", "200"] >= 1
    assert found["sluice_slurm_up",] == 1 and found["sluice_slurm_calls_total", "squeue"] >= 1
    assert sum(value for key, value in found.items() if key[0] == "sluice_partition_cpus") > 0
    operations = {labels[0] for kind, *labels in found if kind == "sluice_requests_total"}
    assert len(operations) < 20, "no ids and paths among the labels"


def test_metrics_need_the_scope_read(client: Client) -> None:
    assert client.get("/metrics", token=None).status_code == 401
    assert client.get("/metrics", token="report").status_code == 403
