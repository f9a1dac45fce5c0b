"""The S9S API on a cluster behind SSH: read, changed and followed there."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.engine.whole.remote.machines import await_clusters
from tests.waiting import eventually

pytestmark = pytest.mark.ssh


def submit(client: Client, script: str, **more: object) -> str:
    """Submit a job through the S9S API; return its id."""
    answer = client.post("/v1/jobs", {"script": script, "job_name": "far", **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def get_state(client: Client, job_id: str) -> str:
    """Get SLURM's word for the state of a job."""
    return str(client.get(f"/v1/jobs/{job_id}").json()["state"])


def test_jobs_over_there_are_read_changed_and_followed(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    out = beyond.home / "far.out"
    script = f"#!/bin/bash\necho one\nwhile [ ! -e {beyond.home}/go ]; do sleep 0.05; done\necho two\n"
    job_id = submit(client, script, standard_output=str(out), standard_error=str(beyond.home / "far.err"))
    eventually(lambda: get_state(client, job_id) == "RUNNING")
    detail = client.get(f"/v1/jobs/{job_id}").json()
    assert (detail["job_name"], detail["standard_output"], detail["source"]) == ("far", str(out), "queue")
    assert client.get(f"/v1/jobs/{job_id}/script").json() == {"job_id": job_id, "script": script, "source": "sluice"}
    eventually(lambda: client.get(f"/v1/jobs/{job_id}/output").json()["lines"] == ["one"])

    held = submit(client, "#!/bin/bash\ntrue\n#SBATCH --hold\n", partition=detail["partition"])
    other = str(beyond.submit("#!/bin/bash\n#SBATCH --hold\necho by hand\n"))
    eventually(lambda: {row["job_id"] for row in client.get("/v1/jobs?state=R,PD").json()["jobs"]} >= {other})
    assert client.get(f"/v1/jobs?filter={quote(f'job_id={other}')}").json()["total"] == 1
    found = client.get(f"/v1/jobs/{other}/script").json()
    assert (found["script"], found["source"]) == ("#!/bin/bash\n#SBATCH --hold\necho by hand\n", "slurm")
    for verb, body in (("release", None), ("hold", {"reason": "why"})):
        answer = client.request("PUT", f"/v1/jobs/{other}/{verb}", **({"json": body} if body else {}))
        assert answer.status_code in (200, 409), answer.text  # it may have begun with its release
    many = {"action": "cancel", "job_ids": [held, other, "99999"]}
    answer = client.post("/v1/jobs/bulk?cluster=ssh:lab", many).json()
    assert answer["summary"]["total"] == 3 and answer["results"][2]["message"] == "Job not found"

    (beyond.home / "go").touch()
    eventually(lambda: get_state(client, job_id) == "COMPLETED")
    followed = client.get(f"/v1/jobs/{job_id}/output?follow=true", headers={"Accept": "text/event-stream"}).text
    events = [json.loads(line.removeprefix("data: ")) for line in followed.splitlines() if line.startswith("data: ")]
    assert "".join(event.get("data", "") for event in events) == "one\ntwo\n"
    assert (events[-1]["type"], events[-1]["state"], events[-1]["exit_code"]) == ("end", "COMPLETED", 0)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 409


def test_a_cluster_that_is_not_in_force_is_read_and_changed_by_its_name(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    job_id = str(beyond.submit("#!/bin/bash\n#SBATCH --hold\ntrue\n"))
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/output"):
        for cluster, status in (("embedded", 404), ("ssh:lab", 200)):
            eventually(lambda: client.get(f"{path}?cluster={cluster}").status_code == status)  # noqa: B023
    assert client.delete(f"/v1/jobs/{job_id}?cluster=embedded").status_code == 404
    answer = client.delete(f"/v1/jobs/{job_id}?cluster=ssh:lab")
    assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
    for method, path in (("DELETE", f"/v1/jobs/{job_id}"), ("GET", f"/v1/jobs/{job_id}/output"), ("GET", "/v1/jobs")):
        assert client.request(method, f"{path}?cluster=ssh:nope").status_code == 404, path
