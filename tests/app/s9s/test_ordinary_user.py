"""Jobs of an ordinary user on a real SLURM: what the owner may do, and what SLURM keeps to its operators."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.cluster.real import Cluster
from tests.waiting import eventually

pytestmark = pytest.mark.slurm
WAITS = "#!/bin/bash\n#SBATCH --begin=now+1hour\nsleep 60\n"


@pytest.fixture(scope="module")
def server(real_slurm: Cluster) -> Iterator[Server]:
    """A server of the user nobody, who is no operator of this SLURM."""
    nobody = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="sluice"))
    made = Server(folder / "store", "slurm", SLURM_CONF=str(real_slurm.conf), HOME=str(folder), USER=nobody.pw_name)
    made.prefix = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    made.http.headers["authorization"] = f"Bearer {made.tokens['admin']}"
    try:
        yield made.start()
    finally:
        made.close()
        shutil.rmtree(folder)


def submit(server: Server, script: str = WAITS, **fields: Any) -> str:
    """Submit a job; return its id."""
    answer = server.http.post("/v1/jobs", json={"script": script, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def put(server: Server, job_id: str, action: str, body: Any = None) -> tuple[int, Any]:
    """PUT an action of a job; return status and answer, or its error."""
    answer = server.http.put(f"/v1/jobs/{job_id}/{action}", json=body) if body else server.http.put(
        f"/v1/jobs/{job_id}/{action}"
    )  # fmt: skip
    return answer.status_code, answer.json().get("error", answer.json())


def test_a_hold_of_the_owner_and_one_of_the_operator(server: Server, real_slurm: Cluster) -> None:
    job_id = submit(server)
    assert server.http.get(f"/v1/jobs/{job_id}").json()["user"] == "nobody"
    assert put(server, job_id, "hold", {"reason": "mine"})[0] == 200
    found = server.http.get(f"/v1/jobs/{job_id}").json()
    assert (found["reason"], found["hold_reason"]) == ("JobHeldUser", "mine")
    assert put(server, job_id, "release")[0] == 200
    real_slurm.run("scontrol", "hold", job_id)
    eventually(lambda: server.http.get(f"/v1/jobs/{job_id}").json()["reason"] == "JobHeldAdmin")
    status, error = put(server, job_id, "release")
    assert (status, error["code"]) == (403, "PERMISSION_DENIED") and "Access/permission denied" in error["message"]
    assert server.http.delete(f"/v1/jobs/{job_id}").status_code == 200


def test_a_priority_may_be_lowered_but_not_raised(server: Server) -> None:
    job_id = submit(server)
    assert put(server, job_id, "priority", {"priority": 5}) == (
        200, {"job_id": job_id, "priority": 5, "message": "Job priority updated"},
    )  # fmt: skip
    assert server.http.get(f"/v1/jobs/{job_id}").json()["priority"] == 5
    status, error = put(server, job_id, "priority", {"priority": 1500})
    assert (status, error["code"]) == (403, "PERMISSION_DENIED")
    assert server.http.delete(f"/v1/jobs/{job_id}").status_code == 200


def test_only_operators_suspend(server: Server) -> None:
    job_id = submit(server, "/bin/sleep 60")
    eventually(lambda: server.http.get(f"/v1/jobs/{job_id}").json()["state"] == "RUNNING")
    assert put(server, job_id, "suspend")[0] == 403
    assert server.http.delete(f"/v1/jobs/{job_id}", params={"force": True}).status_code == 200


def test_many_jobs_of_which_one_is_anothers(server: Server, real_slurm: Cluster) -> None:
    own = [submit(server) for _ in range(2)]
    other = real_slurm.run("sbatch", "--parsable", "-H", "-o", "/dev/null", "--wrap", "true").stdout.strip()
    eventually(lambda: server.http.get(f"/v1/jobs/{other}").status_code == 200)
    answer = server.http.post("/v1/jobs/bulk", json={"action": "cancel", "job_ids": [own[0], other, own[1]]}).json()
    assert [(row["job_id"], row["status"]) for row in answer["results"]] == [
        (own[0], "success"), (other, "error"), (own[1], "success"),
    ]  # fmt: skip
    assert "Access/permission denied" in answer["results"][1]["message"]
    headers = {"authorization": f"Bearer {server.tokens['write']}"}
    refused = server.http.delete(f"/v1/jobs/{other}", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    real_slurm.run("scancel", other)


def test_output_is_followed_to_its_end(server: Server) -> None:
    job_id = submit(server, "#!/bin/bash\necho one\nsleep 1\nid -un\n")
    path, data = f"/v1/jobs/{job_id}/output?follow=true", ""
    with server.http.stream("GET", path, headers={"accept": "text/event-stream"}) as answer:
        for line in answer.iter_lines():
            message = json.loads(line[6:]) if line.startswith("data: ") else {}
            data += message.get("data", "")
    assert data == "one\nnobody\n" and (message or {"type": "end"})["type"] == "end"
