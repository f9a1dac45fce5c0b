"""Arrays over HTTP: the ids of their tasks, what waits, what was cancelled, and logs that outlive SLURM's memory."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.app_client import Client
from tests.app_server import Server
from tests.waiting import eventually

SLEEP = (
    "#!/bin/bash\n#SBATCH --array={tasks} --output={folder}/%x_%A_%a.out\n"
    "echo task $SLURM_ARRAY_TASK_ID\nexec sleep 300\n"
)


def list_tasks(client: Client, array: int) -> dict[str, dict[str, Any]]:
    """List the rows of an array, by what squeue calls them."""
    rows = client.get("/api/jobs").json()
    return {row["display_id"]: row for row in rows if array in (row.get("array_job_id"), row["job_id"])}


def find_rest(client: Client, array: int) -> str | None:
    """Find what squeue calls the tasks that wait together."""
    return next((name for name, row in list_tasks(client, array).items() if row["status"] == "PENDING"), None)


def call(client: Client, method: str, job_id: Any, tail: str = "") -> httpx.Response:
    """Ask about a job by any of its ids."""
    answer: httpx.Response = client.request(method, f"/api/jobs/{quote(str(job_id), safe='')}{tail}")
    return answer


def get_status(client: Client, job_id: Any) -> str:
    """Get the status of a job by any of its ids."""
    answer = call(client, "GET", job_id)
    assert answer.status_code == 200, answer.text
    status: str = answer.json()["status"]
    return status


def test_array_tasks_have_their_own_ids(client: Client, tmp_path: Path) -> None:
    job_id = client.submit(
        f"#!/bin/bash\n#SBATCH --array=0-2\necho $SLURM_JOB_ID > {tmp_path}/$SLURM_ARRAY_TASK_ID\n"
        "echo task $SLURM_ARRAY_TASK_ID\nexit $SLURM_ARRAY_TASK_ID\n"
    )
    ended = [client.job(f"{job_id}_{task}") for task in range(3)]
    own_numbers = [int((tmp_path / str(task)).read_text()) for task in range(3)]
    assert [row["job_id"] for row in ended] == own_numbers, "as each task calls itself"
    assert [row["display_id"] for row in ended] == [f"{job_id}_{task}" for task in range(3)]
    assert [(row["array_job_id"], row["array_task_id"]) for row in ended] == [(job_id, task) for task in range(3)]
    assert [row["exit_code"] for row in ended] == [0, 1, 2]
    assert {row["job_id"] for row in list_tasks(client, job_id).values()} == set(own_numbers)
    assert client.job(job_id)["status"] == "FAILED", "the whole is what became of its tasks"
    for task, own in enumerate(own_numbers):
        assert call(client, "GET", f"{job_id}_{task}", "/logs").json()["stdout"] == f"task {task}\n"
        assert call(client, "GET", own, "/logs").json()["stdout"] == f"task {task}\n"


def test_every_id_of_an_array_is_taken_everywhere(client: Client, tmp_path: Path) -> None:
    array = client.submit(SLEEP.format(tasks="1,2,3,5%1", folder=tmp_path), name="many")
    fresh = call(client, "GET", f"{array}_2").json()
    assert (fresh["array_job_id"], fresh["array_task_id"], fresh["status"]) == (array, 2, "PENDING"), "at once"
    eventually(lambda: get_status(client, f"{array}_1") == "RUNNING")
    rows = eventually(lambda: len(found := list_tasks(client, array)) == 2 and found)
    assert len({row["job_id"] for row in rows.values()}) == len(rows)
    for name, row in rows.items():
        for job_id in (name, row["job_id"]):
            answer = call(client, "GET", job_id)
            assert (answer.status_code, answer.json()["job_id"]) == (200, row["job_id"]), job_id
            assert call(client, "GET", job_id, "/logs").status_code == 200, job_id

        def is_as_listed(name: str = name) -> bool:
            row, single = list_tasks(client, array)[name], call(client, "GET", name).json()
            return bool(single == row | {"elapsed_time": single["elapsed_time"]})

        # SLURM may have told more of a task that has just started between the two answers.
        eventually(is_as_listed)
    assert call(client, "DELETE", f"{array}_3").status_code == 204
    assert get_status(client, f"{array}_3") == "CANCELLED", "at once"
    rest = eventually(lambda: (found := find_rest(client, array)) and "3" not in found.partition("_")[2] and found)
    assert rest.startswith(f"{array}_[2,5")
    assert get_status(client, f"{array}_3") == "CANCELLED", "though SLURM shows it no more"
    assert call(client, "GET", f"{array}_3", "/logs").json()["stdout"] == ""
    assert get_status(client, f"{array}_2") == "PENDING"
    assert call(client, "DELETE", rest).status_code == 204
    assert get_status(client, rest) == get_status(client, f"{array}_5") == "CANCELLED"
    assert get_status(client, f"{array}_1") == "RUNNING", "only what waited was cancelled"
    assert call(client, "DELETE", array).status_code == 204
    assert client.job(f"{array}_1")["status"] == "CANCELLED"
    assert call(client, "DELETE", f"{array}_3").status_code == 204, "over already"


def test_waiting_for_tasks_that_wait_together(client: Client) -> None:
    array = client.submit("#!/bin/bash\n#SBATCH --array=0-1 --hold\ntrue\n")
    together = eventually(lambda: find_rest(client, array))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, client, "GET", together, "?wait=60")
        eventually(lambda: client.server.changes.readers)
        assert call(client, "DELETE", f"{array}_0").status_code == 204
        eventually(lambda: find_rest(client, array) not in (None, together))
        assert call(client, "DELETE", f"{array}_1").status_code == 204
        assert answer.result(timeout=40).json()["status"] == "CANCELLED", "though no row has that id any more"


def test_cancelling_one_task_leaves_the_others(client: Client, tmp_path: Path) -> None:
    array = client.submit(SLEEP.format(tasks="0-1", folder=tmp_path))
    own = eventually(lambda: (task := client.job(f"{array}_0", over=False))["status"] == "RUNNING" and task["job_id"])
    eventually(lambda: get_status(client, f"{array}_1") == "RUNNING")
    assert own != array
    assert call(client, "DELETE", own).status_code == 204
    assert client.job(f"{array}_0")["status"] == "CANCELLED"
    assert get_status(client, f"{array}_1") == "RUNNING"
    assert call(client, "DELETE", array).status_code == 204
    assert client.job(f"{array}_1")["status"] == "CANCELLED"


def test_what_slurm_has_forgotten_of_an_array(server: Server, tmp_path: Path) -> None:
    get = lambda job_id, tail="": server.http.get(f"/api/jobs/{job_id}{tail}").json()  # noqa: E731
    script = (
        f"#!/bin/bash\n#SBATCH --array=1-4%1 --output={tmp_path}/%x-%A-%a-%j-%u.out\n"
        "echo task $SLURM_ARRAY_TASK_ID\n"
        f"while [ ! -e {tmp_path}/go$SLURM_ARRAY_TASK_ID ]; do sleep 0.05; done\n"
    )
    array = server.http.post("/api/jobs", json={"name": "kept", "script_content": script}).json()["job_id"]
    eventually(lambda: get(f"{array}_1")["status"] == "RUNNING")
    assert server.http.delete(f"/api/jobs/{array}_3").status_code == 204
    for task in (1, 2, 4):
        (tmp_path / f"go{task}").touch()
    eventually(lambda: server.http.get("/api/history").json()[0]["status"] in ("COMPLETED", "CANCELLED"))
    own_numbers = {task: get(f"{array}_{task}")["job_id"] for task in (1, 2)}
    logs = {task: get(f"{array}_{task}", "/logs") for task in (1, 2, 4)}
    assert {task: answer["stdout"] for task, answer in logs.items()} == {t: f"task {t}\n" for t in (1, 2, 4)}
    server.end()
    if server.cluster == "embedded":  # a SLURM without accounting: it has forgotten all
        for file in server.store.glob("cluster/state*"):
            file.unlink()
    server.start()
    assert [get(f"{array}_{task}")["status"] for task in (1, 2, 3, 4)] == [*["COMPLETED"] * 2, "CANCELLED", "COMPLETED"]
    assert {task: get(f"{array}_{task}", "/logs") for task in (1, 2, 4)} == logs
    assert {task: get(number, "/logs") for task, number in own_numbers.items()} == {1: logs[1], 2: logs[2]}
    names = sorted(path.name for path in tmp_path.glob("kept-*"))
    assert [re.fullmatch(rf"kept-{array}-\d-\d+-\w+\.out", name) is not None for name in names] == [True] * 3


def test_a_job_that_waits_does_not_show_the_log_of_another(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "shared.out"
    log.write_text("of another job\n")
    body = f"#!/bin/bash\n#SBATCH --begin=now+1hour --output={log}\necho mine\n"
    job_id = client.submit(body)
    assert call(client, "GET", job_id, "/logs").json()["stdout"] == ""
    eventually(lambda: client.job(job_id, over=False)["reason"] == "BeginTime")
    assert call(client, "GET", job_id, "/logs").json()["stdout"] == ""
    client.delete(f"/api/jobs/{job_id}")
    assert client.job(job_id)["status"] == "CANCELLED"
    assert call(client, "GET", job_id, "/logs").json()["stdout"] == "", "it has never begun"


def test_a_fresh_job_shows_what_its_script_says(client: Client) -> None:
    lines = "--partition=gpu --gpus-per-node=2 --nodes=1 --time=1:30:00 --mem-per-cpu=100 -c 2 --hold"
    if client.cluster == "embedded":
        lines = lines.replace("--partition=gpu ", "")
    client.server.cluster.snapshot.min_s = 60  # SLURM is not asked before
    job_id = client.submit(f"#!/bin/bash\n#SBATCH {lines}\ntrue\n")
    fresh = client.job(job_id, over=False)
    client.server.cluster.snapshot.min_s = 0.2
    client.server.cluster.snapshot.wake()
    row_of_slurm = eventually(lambda: (row := client.job(job_id, over=False))["reason"] and row)
    keys = ("user", "partition", "gpus", "cpus", "nodes", "resources")
    assert {key: fresh[key] for key in keys} == {key: row_of_slurm[key] for key in keys}
    assert fresh["gpus"] == 2
    assert (fresh["resources"]["time_limit"], fresh["resources"]["memory_per_node"]) == ("1:30:00", "200MB")
    client.delete(f"/api/jobs/{job_id}")
    assert client.job(job_id)["resources"]["memory_per_node"] == "200MB", "after its end too"


def test_a_long_log_shows_its_end(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\nseq 3000000\n")
    client.job(job_id)
    whole = "".join(f"{number}\n" for number in range(1, 3_000_001))
    answer = client.get(f"/api/jobs/{job_id}/logs").json()
    assert (answer["truncated"], answer["stdout_offset"]) == (True, len(whole))
    assert whole.endswith("\n" + answer["stdout"]) and 15_900_000 < len(answer["stdout"]) <= 16_000_000
    first = client.get(f"/api/jobs/{job_id}/logs", params={"stdout_offset": 0}).json()
    assert (first["truncated"], first["stdout"]) == (False, whole[:1_000_000]), (
        "who begins at 0 gets all, piece by piece"
    )
