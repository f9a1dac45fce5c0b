"""Arrays on a cluster behind SSH: ids of their tasks, what was cancelled while it waited, and their logs."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.engine.whole.remote.machines import await_clusters
from tests.waiting import eventually

pytestmark = pytest.mark.ssh
LINES = 3_000_000


def test_the_tasks_of_an_array_over_there(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    script = (
        f"#!/bin/bash\n#SBATCH --array=1-4%1 --output={beyond.home}/%x-%A-%a-%j.out\n"
        f"echo task $SLURM_ARRAY_TASK_ID\nif [ $SLURM_ARRAY_TASK_ID = 2 ]; then seq {LINES}; fi\n"
        f"while [ ! -e {beyond.home}/go ]; do sleep 0.05; done\n"
    )
    array = client.submit(script, name="far")
    fresh = client.job(f"{array}_2", over=False)
    assert (fresh["array_job_id"], fresh["array_task_id"]) == (array, 2), "before SLURM was asked"
    assert fresh["user"] and fresh["gpus"] == 0
    eventually(lambda: client.job(f"{array}_1", over=False)["status"] == "RUNNING")
    rows = client.get("/api/jobs").json()
    rest = next(row["display_id"] for row in rows if row.get("array_job_id") == array and row["status"] == "PENDING")
    assert client.get(f"/api/jobs/{quote(rest, safe='')}").json()["display_id"] == rest
    assert client.delete(f"/api/jobs/{quote(f'{array}_[3-4%1]', safe='')}").status_code == 204
    (beyond.home / "go").touch()
    ended = {task: client.job(f"{array}_{task}") for task in (1, 2, 3, 4)}
    assert [row["status"] for row in ended.values()] == ["COMPLETED", "COMPLETED", "CANCELLED", "CANCELLED"]
    assert client.get(f"/api/jobs/{ended[1]['job_id']}/logs").json()["stdout"] == "task 1\n", "by its own number"
    assert client.get(f"/api/jobs/{array}_3/logs").json()["stdout"] == ""
    log = client.get(f"/api/jobs/{array}_2/logs").json()
    size = next(beyond.home.glob("far-*-2-*.out")).stat().st_size
    assert (log["truncated"], log["stdout_offset"]) == (True, size)
    assert log["stdout"].endswith(f"\n{LINES}\n") and log["stdout"].partition("\n")[0].isdigit()
    url, lines = f"/api/jobs/{array}_2/logs/stdout", LINES + 1
    counted = eventually(lambda: (found := client.get(url, params={"count": True}).json())["line_count"] and found)
    assert (counted["line_count"], counted["size_bytes"], counted["ended"]) == (lines, size, True)
    window = client.get(url, params={"line": 777, "lines": 2}).json()
    assert [line["text"] for line in window["lines"]] == ["776", "777"]
    hit = client.get(f"{url}/search", params={"q": "^4321$", "regex": True}).json()["hit"]
    assert (hit["line"], hit["text"]) == (4322, "4321")
    assert client.get(f"{url}/file", params={"offset": size - 1}).content == b"\n"
