"""The search over the S9S API, on both clusters."""

from __future__ import annotations

import pytest

from tests.app_client import Client
from tests.waiting import eventually

HELD = "#!/bin/bash\n#SBATCH --hold\n#SBATCH --job-name=alice-gpu\ntrue\n"


@pytest.mark.parametrize("root", ["/v1", "/api/v1"])
def test_a_job_is_found_where_the_request_came_from(client: Client, root: str) -> None:
    job_id = str(client.submit(HELD, name="alice-gpu", job_name="alice-gpu"))

    def find_job() -> object:
        found = client.get(f"{root}/search?q=alice%20gpu&limit=20").json()
        assert list(found) == ["results", "total", "query_time"]
        return next((row for row in found["results"] if row["id"] == job_id), None)

    row = eventually(find_job)
    assert row["url"] == f"{root}/jobs/{job_id}" and row["title"] == "alice-gpu"  # type: ignore[index]
    client.delete(f"/api/v1/jobs/{job_id}")


def test_nodes_and_partitions_are_found(client: Client) -> None:
    node = client.server.cluster.snapshot.nodes[0]["name"]
    found = client.get("/v1/search", params={"q": node, "type": "nodes"}).json()
    assert (found["results"][0]["id"], found["results"][0]["score"], found["total"]) == (node, 1.0, 1)


@pytest.mark.parametrize(
    ("why", "query", "field"),
    [
        ("no words", "q=", "q"),
        ("none at all", "", "q"),
        ("blanks", "q=%20", "q"),
        ("no such type", "q=a&type=cats", "type"),
        ("no limit", "q=a&limit=0", "limit"),
        ("an unknown parameter", "q=a&tpye=jobs", "tpye"),
    ],
)
def test_refusals(client: Client, why: str, query: str, field: str) -> None:
    answer = client.get(f"/v1/search?{query}")
    assert (answer.status_code, list(answer.json()["error"]["details"]["fields"])) == (400, [field]), why
