"""One job over the S9S API, and its script; on both clusters."""

from __future__ import annotations

from typing import Any

from tests.app_client import Client
from tests.waiting import eventually

# What the document shows of a job, in its order, without what the list has beside.
DOCUMENT = ["command", "environment", "resources", "dependencies", "array_job_id", "array_task_id"]
BUSY = "#!/bin/bash\n#SBATCH --mem=200M\npython3 -c 'sum(number for number in range(3_000_000))'\n"
HELD = "#!/bin/bash\n#SBATCH --hold{more}\ntrue\n"


def get_job(client: Client, job_id: str, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}", **asked).json()
    return found


def test_an_ended_job_tells_what_it_used(client: Client) -> None:
    job_id = str(client.submit(BUSY, "busy"))
    client.job(job_id)
    # Accounting hears of an end some seconds later.
    found = eventually(lambda: (job := get_job(client, job_id))["submit_line"] and job, 60)
    assert isinstance(found, dict) and [name for name in found if name in DOCUMENT] == DOCUMENT
    used = found["resources"]
    assert used["unknown_because"] is None or None in used.values(), "what is null is explained"
    assert "sbatch --parsable" in found["submit_line"] and "sluice:" not in found["submit_line"]
    assert (found["comment"], found["state"], found["restarts"]) == (None, "COMPLETED", 0)
    assert found["tres"]["cpu"] == "1" and found["batch_host"] and found["source"] == "queue"


def test_a_running_job(client: Client) -> None:
    job_id = str(client.submit("#!/bin/bash\nsleep 600\n", "running"))
    eventually(lambda: get_job(client, job_id)["state"] == "RUNNING")
    found = get_job(client, job_id)
    assert set(found["resources"]) >= {"cpu_efficiency", "max_memory_used", "unknown_because"}
    assert found["end_time"] is None and found["exit_code"] is None and found["nodes"]
    client.delete(f"/api/v1/jobs/{job_id}")


def test_dependencies_with_their_states(client: Client) -> None:
    first = str(client.submit(HELD.format(more=""), "first"))
    second = str(client.submit(HELD.format(more=f" --dependency=afterok:{first}"), "second"))
    found = eventually(lambda: (job := get_job(client, second))["dependencies"] and job)
    assert isinstance(found, dict) and found["dependencies"] == [
        {"type": "afterok", "job_id": first, "state": "unfulfilled", "job_state": "PENDING"}
    ]


def test_an_array_and_its_tasks(client: Client) -> None:
    job_id = str(client.submit(HELD.format(more=" --array=1-4%2"), "array"))
    eventually(lambda: get_job(client, job_id)["array_tasks_summary"] == {"PENDING": 4})
    whole, task = get_job(client, job_id), get_job(client, f"{job_id}_3")
    assert (whole["array_job_id"], whole["array_task_id"]) == (job_id, None)
    assert (task["array_job_id"], task["array_task_id"], task["array_tasks_summary"]) == (job_id, 3, None)


def test_an_environment_is_for_those_who_may_see_it(client: Client) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", "HF_TOKEN": "hf_x"}
    masked = given | {"HF_TOKEN": "***"}
    body = {"script": "/bin/sleep 600", "job_name": "sleeper", "environment": given}
    job_id = str(client.post("/api/v1/jobs", body).json()["job_id"])
    for token, environment in (("read", {}), ("write", masked), ("admin", masked)):
        found = get_job(client, job_id, token=token)
        assert found["environment"] == environment
        assert found["command"] == "/bin/sleep 600"
    client.delete(f"/api/v1/jobs/{job_id}")


def test_the_script_of_a_job_of_ours(client: Client) -> None:
    script = HELD.format(more=" --comment=x")
    job_id = str(client.submit(script, "held"))
    assert client.get(f"/v1/jobs/{job_id}/script").json() == {"job_id": job_id, "script": script, "source": "sluice"}
    plain = client.get(f"/v1/jobs/{job_id}/script", headers={"Accept": "text/plain"})
    assert plain.text == script and plain.headers["content-type"] == "text/plain; charset=utf-8"
    refused = client.get(f"/v1/jobs/{job_id}/script", token="read")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert client.get("/v1/jobs/99999999/script").status_code == 404


def test_the_script_of_a_job_that_did_not_come_through_here(client: Client) -> None:
    slurm = client.server.cluster.slurm
    job_id = slurm.sbatch("#!/bin/bash\necho by hand\n", {"hold": True, "job_name": "by-hand"})
    found = client.get(f"/api/v1/jobs/{job_id}/script").json()
    assert found["script"] == "#!/bin/bash\necho by hand\n" and found["source"] == "slurm"
    slurm.scancel([job_id])
