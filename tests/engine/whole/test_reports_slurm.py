"""Reports beside SLURM: jobs that died are settled; many report at once, and the server is killed in between."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app_client import Client, down, up
from tests.app_server import Server
from tests.report_calls import JOBS, page, post, put
from tests.waiting import eventually

pytestmark = pytest.mark.long

# --- beside SLURM ----------------------------------------------------------------------------------------------------

RUN_ON = "#!/bin/bash\nsleep 120\n"


def await_detail(client: Client, job_id: Any, **more: Any) -> dict[str, Any]:
    """Await a report that says these things."""

    def so() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"{JOBS}/{job_id}").json()
        return found if all(found[key] == value for key, value in more.items()) else None

    return eventually(so, 60, f"{job_id}: {more}")  # type: ignore[return-value]


def stage_in_list(client: Client, job_id: Any) -> Any:
    """What the list of SLURM's jobs shows as the job's stage."""
    return next(job.get("stage") for job in client.get("/api/jobs").json() if job["job_id"] == job_id)


def test_a_job_that_died_without_its_last_word(client: Client) -> None:
    job_id = client.submit(RUN_ON, "bench")
    eventually(lambda: client.job(job_id, over=False)["status"] == "RUNNING", 30)
    assert stage_in_list(client, job_id) is None
    post(client, str(job_id), submitted_at="2026-03-30T12:00:00Z", cluster="a-name-of-its-own")
    put(client, f"{JOBS}/{job_id}", {"status": "benchmark", "stage": "benchmark", "message": "Running benchmark"})
    assert stage_in_list(client, job_id) == "benchmark"
    assert client.job(job_id, over=False)["stage"] == "benchmark"
    detail = await_detail(client, job_id, slurm_state="RUNNING")
    assert client.get(detail["links"]["slurm"]).json()["job_id"] == job_id
    client.delete(f"/api/jobs/{job_id}")
    detail = await_detail(client, job_id, status="failed")
    assert (detail["slurm_state"], detail["stage"]) == ("CANCELLED", "benchmark")
    last = detail["events"][-1]
    assert last["source"] == "slurm" and last["message"].startswith("SLURM says CANCELLED")
    assert detail["completed_at"] and detail["message"] == last["message"]
    assert client.get(f"/srtslurm/api/events?after={last['id'] - 1}").json()["events"][0] == last
    assert str(job_id) in page(client, status="failed")
    # A later real report still wins.
    put(client, f"{JOBS}/{job_id}", {"status": "completed", "stage": "cleanup", "exit_code": 0})
    detail = client.get(f"{JOBS}/{job_id}").json()
    assert (detail["status"], detail["slurm_state"]) == ("completed", "CANCELLED")
    assert client.job(job_id)["stage"] == "cleanup"


@pytest.mark.parametrize(
    ("why", "script", "status", "state", "exit_code"),
    [
        ("it fails", "#!/bin/bash\nexit 3\n", "failed", "FAILED", 3),
        ("its last word was lost", "#!/bin/bash\ntrue\n", "completed", "COMPLETED", 0),
    ],
)
def test_a_job_that_ended_without_its_last_word(
    client: Client, why: str, script: str, status: str, state: str, exit_code: int
) -> None:
    job_id = client.submit(script, "bench")
    put(client, f"{JOBS}/{job_id}", {"status": "starting", "stage": "starting"})
    detail = await_detail(client, job_id, status=status)
    assert (detail["slurm_state"], detail["exit_code"]) == (state, exit_code)


def test_what_a_job_told_of_its_end_stands(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\nsleep 1; exit 1\n", "bench")
    put(client, f"{JOBS}/{job_id}", {"status": "completed", "exit_code": 0, "message": "fine"})
    detail = await_detail(client, job_id, slurm_state="FAILED")
    assert (detail["status"], detail["exit_code"], detail["message"]) == ("completed", 0, "fine")
    assert [event["source"] for event in detail["events"]] == ["report"]


def test_a_job_of_another_cluster_with_the_same_id(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\nexit 1\n", "ours")
    other = client.submit("#!/bin/bash\nexit 1\n", "bench")
    post(client, str(job_id), job_name="theirs", cluster="another-cluster")
    put(client, f"{JOBS}/{job_id}", {"status": "benchmark", "stage": "benchmark"})
    put(client, f"{JOBS}/{other}", {"status": "benchmark", "stage": "benchmark"})
    await_detail(client, other, status="failed")
    assert "stage" not in client.job(job_id)
    detail = client.get(f"{JOBS}/{job_id}").json()
    assert (detail["status"], detail["slurm_state"], detail["links"]) == ("benchmark", None, {"slurm": None})


def test_a_job_that_no_slurm_ever_saw_stays_as_it_is(client: Client) -> None:
    put(client, f"{JOBS}/4000000", {"status": "benchmark"})
    probe = client.submit("#!/bin/bash\nexit 1\n", "bench")
    put(client, f"{JOBS}/{probe}", {"status": "starting"})
    await_detail(client, probe, status="failed")
    assert client.get(f"{JOBS}/4000000").json()["status"] == "benchmark"
    assert "4000000" not in [str(job["job_id"]) for job in client.get("/api/jobs").json()]


def test_an_array_task_that_died(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\n#SBATCH --array=0-1\ntest $SLURM_ARRAY_TASK_ID = 0\n", "bench")
    for name in (job_id, f"{job_id}_0", f"{job_id}_1"):
        put(client, f"{JOBS}/{name}", {"status": "benchmark", "stage": "benchmark"})
    assert await_detail(client, f"{job_id}_0", status="completed")["slurm_state"] == "COMPLETED"
    assert await_detail(client, f"{job_id}_1", status="failed")["slurm_state"] == "FAILED"
    assert await_detail(client, job_id, status="failed")["slurm_state"] == "FAILED", "and the whole of them"


def test_while_slurm_does_not_answer_reports_are_taken_and_nothing_is_made_of_it(client: Client) -> None:
    if client.cluster != "embedded":
        pytest.skip("a real controller is stopped in test_outage")
    job_id = client.submit(RUN_ON, "bench")
    eventually(lambda: client.job(job_id, over=False)["status"] == "RUNNING", 30)
    put(client, f"{JOBS}/{job_id}", {"status": "benchmark", "stage": "benchmark"})
    down(client.store)
    try:
        eventually(lambda: client.get("/health").json()["slurm"]["answers"] is False, 30)
        asked = client.server.cluster.snapshot._polls
        assert put(client, f"{JOBS}/{job_id}", {"status": "benchmark", "message": "still here"}).status_code == 200
        assert post(client, "while-away").status_code == 201
        assert client.get(JOBS).status_code == 200
        eventually(lambda: client.server.cluster.snapshot._polls > asked + 2, 30)
        detail = client.get(f"{JOBS}/{job_id}").json()
        assert (detail["status"], detail["message"], detail["slurm_state"]) == ("benchmark", "still here", "RUNNING")
    finally:
        up(client.store)
    eventually(lambda: client.get("/health").json()["slurm"]["answers"], 30)
    client.delete(f"/api/jobs/{job_id}")
    assert await_detail(client, job_id, status="failed")["slurm_state"] == "CANCELLED"


def test_an_endpoint_is_a_url_with_a_token(tmp_path: Path) -> None:
    server = Server(tmp_path / "store", "embedded")
    try:
        server.start()
        for word, token, status in [
            ("write", server.tokens["write"], 200),
            ("read", server.tokens["read"], 403),
            ("no", "x", 401),
        ]:
            endpoint = f"http://{word}:{token}@127.0.0.1:{server.port}/srtslurm//".rstrip("/")
            assert httpx.put(f"{endpoint}/api/jobs/123+0", json={"status": "workers"}).status_code == status, word
        assert server.http.get(JOBS).json()["jobs"][0]["job_id"] == "123+0"
    finally:
        server.close()


@pytest.mark.parametrize("prefix", ["/slurm", ""])
def test_links_lead_through_the_proxy(tmp_path: Path, prefix: str) -> None:
    server = Server(tmp_path / "store", "embedded", SLUICE_ROOT_PATH=prefix)
    try:
        server.start()
        made = server.http.post(f"{prefix}/api/jobs", json={"name": "n", "script_content": "#!/bin/bash\ntrue\n"})
        path = f"{prefix}{JOBS}/{made.json()['job_id']}"
        assert server.http.put(path, json={"status": "starting"}).status_code == 200
        link = server.http.get(path).json()["links"]["slurm"]
        assert link.startswith(f"{prefix}/api/jobs/") and server.http.get(link).status_code == 200
        assert server.http.get(path.removeprefix(prefix)).status_code == 200, "a proxy may also take it away"
    finally:
        server.close()


# --- many at once, and after a crash ---------------------------------------------------------------------------------


def test_64_reporters_lose_nothing_and_keep_their_order(client: Client, job_id: str) -> None:
    reporters, words = 64, ["starting", "workers", "frontend", "benchmark", "completed"]
    start = client.get("/srtslurm/api/events?limit=1000").json()["next_cursor"] or 0
    seen: list[dict[str, Any]] = []
    over = threading.Event()

    def read() -> None:
        cursor = start
        while True:
            last = over.is_set()
            more = client.get(f"/srtslurm/api/events?after={cursor}&limit=50").json()
            seen.extend(more["events"])
            cursor = more["next_cursor"] or cursor
            if last and not more["events"]:
                return

    def report(number: int) -> httpx.Response:
        path = f"{JOBS}/{job_id}-{number}"
        assert post(client, f"{job_id}-{number}").status_code == 201
        for word in words:
            answer = put(client, path, {"status": word, "message": f"{number} {word}"})
            assert answer.status_code == 200
        return answer

    reader = threading.Thread(target=read)
    reader.start()
    client.together([lambda number=number: report(number) for number in range(reporters)])
    over.set()
    reader.join(60)
    for number in range(reporters):
        events = client.get(f"{JOBS}/{job_id}-{number}").json()["events"]
        assert [event["status"] for event in events] == ["submitted", *words]
    ours = [event for event in seen if event["job_id"].startswith(f"{job_id}-")]
    assert len(ours) == reporters * (len(words) + 1), "who reads on from a cursor misses none"
    numbers = [event["id"] for event in seen]
    assert numbers == sorted(set(numbers))


def test_64_reporters_of_one_job(client: Client, job_id: str) -> None:
    path = f"{JOBS}/{job_id}"
    bodies = [{"status": "benchmark", "message": str(number), "metadata": {str(number): 1}} for number in range(64)]
    client.together([lambda body=body: put(client, path, body) for body in bodies])
    detail = client.get(path).json()
    assert sorted(int(event["message"]) for event in detail["events"]) == list(range(64))
    assert len(detail["metadata"]) == 64


def test_a_restart_in_the_middle_loses_nothing_that_was_answered(server: Server) -> None:
    done: dict[str, list[str]] = {}
    stop = threading.Event()

    def report(name: str) -> None:
        number = 0
        with httpx.Client(base_url=server.url, timeout=180) as http:
            while not stop.is_set():
                try:
                    answer = http.put(f"{JOBS}/{name}", json={"status": "benchmark", "message": str(number)})
                except httpx.TransportError:
                    stop.wait(0.1)
                    continue
                if answer.status_code == 200:
                    done.setdefault(name, []).append(str(number))
                    number += 1

    reporters = [threading.Thread(target=report, args=(f"r-{number}",)) for number in range(8)]
    for reporter in reporters:
        reporter.start()
    try:
        for round_ in range(1, 4):
            eventually(lambda least=round_ * 5: len(done) == 8 and min(map(len, done.values())) >= least, 60)
            server.end(signal.SIGKILL)
            server.start()
    finally:
        stop.set()
        for reporter in reporters:
            reporter.join()
    assert server.http.get("/api/store/problems").json() == []
    numbers: list[int] = []
    for name, messages in done.items():
        events = server.http.get(f"{JOBS}/{name}").json()["events"]
        messages_read = [event["message"] for event in events]
        # A report that was written but not answered is told again, and is no other event then.
        assert [message for message in messages_read if message in messages] == messages
        numbers += [event["id"] for event in events]
    feed, cursor = [], 0
    while more := server.http.get(f"/srtslurm/api/events?after={cursor}&limit=1000").json()["events"]:
        feed += [event["id"] for event in more]
        cursor = feed[-1]
    assert feed == sorted(numbers)


def test_a_job_that_dies_while_nobody_looks_is_settled_after_the_restart(server: Server) -> None:
    script = {"name": "bench", "script_content": "#!/bin/bash\nsleep 2; exit 7\n"}
    job_id = server.http.post("/api/jobs", json=script).json()["job_id"]
    server.http.put(f"{JOBS}/{job_id}", json={"status": "benchmark", "stage": "benchmark"})
    server.end(signal.SIGKILL)
    record = Path(server.store / "jobs" / f"{job_id}.json")
    assert record.exists(), "a record like any job's"
    server.start()
    detail = eventually(
        lambda: (found := server.http.get(f"{JOBS}/{job_id}").json())["status"] == "failed" and found, 60
    )
    assert (detail["slurm_state"], detail["exit_code"], detail["events"][-1]["source"]) == ("FAILED", 7, "slurm")
    record.unlink()
    eventually(lambda: server.http.get(f"{JOBS}/{job_id}").status_code == 404, 10)
