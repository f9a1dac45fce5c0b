"""What the S9S API does to jobs, one by one or many: cancel, signal, hold, release, requeue, suspend, priority."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

SLEEP = "#!/bin/bash\n#SBATCH --ntasks=1\nsleep 600\n"
HELD = SLEEP.replace("--ntasks=1", "--ntasks=1 --hold")
WAITS = SLEEP.replace("--ntasks=1", "--ntasks=1 --begin=now+1hour")
OTHER = "nobody"


def submit(client: Client, script: str = HELD, **fields: Any) -> str:
    """Submit a job over this API; return its id."""
    answer = client.post("/api/v1/jobs", {"script": script, "standard_output": "/dev/null", **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def put(client: Client, job_id: str, action: str, body: Any = None, **more: Any) -> Any:
    """PUT an action of a job."""
    given = {"json": body} if body is not None else {}
    return client.request("PUT", f"/api/v1/jobs/{job_id}/{action}", **given, **more)


def find(client: Client, job_id: str) -> dict[str, Any]:
    """Get a job."""
    found: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").json()
    return found


def await_state(client: Client, job_id: str, *wanted: str) -> None:
    """Wait until a job is in one of these states."""
    eventually(lambda: find(client, job_id)["state"] in wanted, what=f"{job_id} {wanted}")


def read_comment(client: Client, job_id: str) -> str:
    """Read a job's comment as SLURM has it."""
    (row,) = client.run(client.server.cluster.ask_again([job_id])).values()
    return str(row["comment"])


@pytest.fixture
def running(client: Client) -> Iterator[str]:
    """A job that runs."""
    job_id = submit(client, SLEEP)
    await_state(client, job_id, "RUNNING")
    yield job_id
    client.delete(f"/api/v1/jobs/{job_id}", params={"force": True})


# --- hold and release ------------------------------------------------------------------------------------------------


def test_a_job_is_held_with_a_reason_and_released(client: Client) -> None:
    job_id = submit(client, WAITS.replace("--begin", "--comment='my own' --begin"))
    tagged = read_comment(client, job_id)
    answer = put(client, job_id, "hold", {"reason": "Need to debug"})
    assert answer.json() == {
        "job_id": job_id, "state": "PENDING", "message": "Job held successfully", "hold_reason": "Need to debug",
    }  # fmt: skip
    found = find(client, job_id)
    assert (found["reason"], found["hold_reason"]) == ("JobHeldUser", "Need to debug"), "seen at once"
    assert tagged.startswith("my own sluice:") and read_comment(client, job_id) == f"{tagged} (held: Need to debug)"
    again = put(client, job_id, "hold")
    assert (again.status_code, again.json()["hold_reason"]) == (200, "Need to debug"), "held already"
    answer = put(client, job_id, "release")
    assert answer.json() == {"job_id": job_id, "state": "PENDING", "message": "Job released successfully"}
    eventually(lambda: find(client, job_id)["reason"] == "BeginTime")
    assert read_comment(client, job_id) == tagged
    assert put(client, job_id, "release").status_code == 200, "it was not held any more"
    assert put(client, job_id, "hold").json()["hold_reason"] is None, "forgotten with the release"
    client.delete(f"/api/v1/jobs/{job_id}")


def test_holding_for_the_operator_needs_the_scope_admin(client: Client) -> None:
    job_id = submit(client, WAITS)
    refused = put(client, job_id, "hold", {"admin": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    answer = put(client, job_id, "hold", {"admin": True}, token="admin")
    assert answer.status_code == 200
    assert find(client, job_id)["reason"] in ("JobHeldAdmin", "JobHeldUser"), "who is no operator holds as the user"
    assert put(client, job_id, "release").status_code == 200
    client.delete(f"/api/v1/jobs/{job_id}")


# --- states that do not allow it -------------------------------------------------------------------------------------

WHILE_RUNNING = [
    ("hold", None, "only a waiting job can be held"),
    ("priority", {"priority": 5}, "only a waiting job has a priority that counts"),
    ("resume", None, "the job is RUNNING, not suspended"),
]
WHILE_HELD = [
    ("priority", {"priority": 5}, "held"),
    ("requeue", None, "it has not begun"),
    ("suspend", None, "it has not begun"),
    ("resume", None, "it has not begun"),
]
ACTIONS = ["hold", "release", "suspend", "resume", "priority"]


@pytest.mark.parametrize(("action", "body", "why_not"), WHILE_RUNNING)
def test_what_a_running_job_does_not_allow(
    client: Client, running: str, action: str, body: Any, why_not: str
) -> None:  # fmt: skip
    error = put(client, running, action, body).json()["error"]
    assert error["code"] == "RESOURCE_CONFLICT" and why_not in error["message"]


@pytest.mark.parametrize(("action", "body", "why_not"), WHILE_HELD)
def test_what_a_held_job_does_not_allow(client: Client, action: str, body: Any, why_not: str) -> None:
    job_id = submit(client)
    answer = put(client, job_id, action, body)
    assert answer.status_code == 409 and why_not in answer.json()["error"]["message"]
    signal = client.delete(f"/api/v1/jobs/{job_id}", params={"signal": "USR1"})
    assert signal.status_code == 409 and find(client, job_id)["state"] == "PENDING"
    client.delete(f"/api/v1/jobs/{job_id}")


def test_what_has_ended_or_is_unknown_allows_nothing(client: Client) -> None:
    job_id = submit(client)
    client.delete(f"/api/v1/jobs/{job_id}")
    await_state(client, job_id, "CANCELLED")
    for action in ACTIONS:
        body = {"priority": 5} if action == "priority" else None
        ended, unknown = put(client, job_id, action, body), put(client, "99999999", action, body)
        assert (ended.status_code, ended.json()["error"]["code"]) == (409, "RESOURCE_CONFLICT"), action
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND"), action


@pytest.mark.parametrize(
    ("why", "action", "body", "field"),
    [
        ("a negative priority", "priority", {"priority": -1}, "priority"),
        ("more than SLURM takes", "priority", {"priority": 4294967294}, "priority"),
        ("half a priority", "priority", {"priority": 1.5}, "priority"),
        ("none", "priority", {}, "priority"),
        ("a reason of two lines", "hold", {"reason": "a\nb"}, "reason"),
        ("an unknown key", "hold", {"raeson": "x"}, "raeson"),
    ],
)
def test_wrong_values_are_told_with_their_field(client: Client, why: str, action: str, body: Any, field: str) -> None:
    answer = put(client, "1", action, body)
    assert (answer.status_code, list(answer.json()["error"]["details"]["fields"])) == (400, [field]), why


# --- priority, suspend, requeue --------------------------------------------------------------------------------------


def test_a_priority_is_set(client: Client) -> None:
    job_id = submit(client, WAITS)
    answer = put(client, job_id, "priority", {"priority": 1500})
    assert answer.json() == {"job_id": job_id, "priority": 1500, "message": "Job priority updated"}
    assert find(client, job_id)["priority"] == 1500, "seen at once"
    assert put(client, job_id, "priority", {"priority": 0}).status_code == 200
    assert "JobHeld" in find(client, job_id)["reason"]
    client.delete(f"/api/v1/jobs/{job_id}")


def test_a_suspended_job_stops_and_goes_on(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "ticks"
    tmp_path.chmod(0o755)
    job_id = submit(client, "#!/bin/bash\nwhile true; do echo tick; sleep 0.1; done\n", standard_output=str(log))
    eventually(lambda: log.exists() and log.stat().st_size)
    answer = put(client, job_id, "suspend")
    assert answer.json() == {"job_id": job_id, "state": "SUSPENDED", "message": "Job suspended successfully"}
    assert find(client, job_id)["state"] == "SUSPENDED", "seen at once"
    eventually(lambda: all(state == "T" for state in list_process_states(log)), what="its processes are stopped")
    size_bytes = log.stat().st_size
    refused = put(client, job_id, "suspend")
    assert refused.status_code == 409, refused.text
    assert log.stat().st_size == size_bytes, "it wrote nothing meanwhile"
    answer = put(client, job_id, "resume")
    assert answer.json() == {"job_id": job_id, "state": "RUNNING", "message": "Job resumed successfully"}
    eventually(lambda: log.stat().st_size > size_bytes)
    client.delete(f"/api/v1/jobs/{job_id}")


def list_process_states(log: Path) -> list[str]:
    """List the states of a job's processes that have this file open (proc(5)); slurmstepd is none of them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_slurm = (folder / "comm").read_text() == "slurmstepd\n"
            if not is_slurm and any(link.readlink() == log for link in (folder / "fd").iterdir()):
                found.append((folder / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue  # it has ended, or is another user's
    return found


def test_a_job_is_requeued_also_when_it_has_ended(client: Client, running: str) -> None:
    answer = put(client, running, "requeue")
    assert answer.status_code == 200 and answer.json()["message"] == "Job requeued successfully"
    await_state(client, running, "PENDING", "RUNNING")
    done = submit(client, "/bin/true")
    await_state(client, done, "COMPLETED")
    eventually(lambda: client.get(f"/api/jobs/{done}").json()["status"] == "COMPLETED")
    assert put(client, done, "requeue").status_code == 200
    row = next(row for row in client.get("/api/history").json() if str(row["job_id"]) == done)
    assert row["status"] in ("PENDING", "RUNNING", "COMPLETED"), "it is followed again"
    await_state(client, done, "COMPLETED", "PENDING")
    client.delete(f"/api/v1/jobs/{done}")


# --- cancel and signals ----------------------------------------------------------------------------------------------

TRAP = """\
#!/bin/bash
trap 'echo usr1' USR1
trap '' TERM
echo ready
while true; do sleep 0.1; done
"""


@pytest.mark.parametrize(
    ("why", "query"),
    [("nothing said", {}), ("TERM", {"signal": "SIGTERM"}), ("force", {"force": "true"}), ("KILL", {"signal": "9"})],
)
def test_a_running_job_is_cancelled(client: Client, running: str, why: str, query: dict[str, str]) -> None:
    answer = client.delete(f"/v1/jobs/{running}", params=query)
    assert answer.json() == {"job_id": running, "state": "CANCELLED", "message": "Job cancelled successfully"}, why
    assert find(client, running)["state"] == "CANCELLED", "seen at once"
    await_state(client, running, "CANCELLED")


def test_another_signal_leaves_the_job_running(client: Client, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    log = tmp_path / "log"
    job_id = submit(client, TRAP, standard_output=str(log))
    eventually(lambda: log.read_text() == "ready\n")
    answer = client.delete(f"/api/v1/jobs/{job_id}", params={"signal": "usr1"})
    assert answer.json()["message"] == "Signal SIGUSR1 sent" and answer.json()["state"] in ("RUNNING", "SIGNALING")
    eventually(lambda: log.read_text().endswith("usr1\n"), what="bash tells of its sleep, too, that a signal ended it")
    client.delete(f"/api/v1/jobs/{job_id}", params={"force": True})


@pytest.mark.parametrize(
    ("why", "query", "field"),
    [
        ("no signal", {"signal": "FOO"}, "signal"),
        ("beyond the last one", {"signal": "99"}, "signal"),
        ("two signals", {"signal": "USR1", "force": "true"}, "signal"),
        ("neither yes nor no", {"force": "maybe"}, "force"),
    ],
)
def test_wrong_signals_are_refused(client: Client, why: str, query: dict[str, str], field: str) -> None:
    answer = client.delete("/api/v1/jobs/1", params=query)
    assert (answer.status_code, list(answer.json()["error"]["details"]["fields"])) == (400, [field]), why


def test_tasks_of_an_array_are_cancelled_alone_or_together(client: Client) -> None:
    array = submit(client, HELD.replace("--hold", "--hold --array=1-6"))
    for part, left in (("_5", "1-4,6"), ("_[3-4]", "1-2,6")):
        answer = client.delete(f"/api/v1/jobs/{array}{part}")
        assert answer.json()["state"] == "CANCELLED", answer.text
        eventually(lambda left=left: find(client, f"{array}_[{left}]")["state"] == "PENDING")
    assert put(client, f"{array}_6", "release").status_code == 200
    assert client.delete(f"/api/v1/jobs/{array}").json()["state"] == "CANCELLED"
    await_state(client, array, "CANCELLED")


def test_an_array_is_held_while_some_of_it_runs(client: Client) -> None:
    array = submit(client, "#!/bin/bash\n#SBATCH --job-name=tasks --array=1-4%1\nsleep 600\n")
    await_state(client, f"{array}_1", "RUNNING")
    wanted = {"filter": "job_name = tasks", "expand_arrays": "true"}

    def list_reasons() -> list[tuple[str, str | None]]:
        rows = client.get("/api/v1/jobs", params=wanted).json()["jobs"]
        return [(row["job_id"], row["reason"]) for row in rows if row["state"] == "PENDING"]

    assert put(client, f"{array}_3", "hold").status_code == 200
    rows = list_reasons()
    assert [job_id for job_id, _reason in rows] == [f"{array}_{task}" for task in (4, 3, 2)], "none of them twice"
    assert "JobHeldUser" in (rows[1][1] or ""), "as soon as it is done"
    assert put(client, array, "hold").status_code == 200
    assert {reason for _job_id, reason in list_reasons()} == {"JobHeldUser"}
    assert put(client, f"{array}_1", "hold").status_code == 409
    assert client.delete(f"/api/v1/jobs/{array}_3").status_code == 200
    assert put(client, array, "release").status_code == 200, "although one of its tasks has ended"
    client.delete(f"/api/v1/jobs/{array}")
    await_state(client, array, "CANCELLED")


def test_a_component_is_cancelled_while_the_others_run(client: Client) -> None:
    whole = submit(client, "#!/bin/bash\n#SBATCH --ntasks=1\n#SBATCH hetjob\n#SBATCH --ntasks=1\nsleep 600\n")
    await_state(client, f"{whole}+1", "RUNNING")
    assert client.delete(f"/api/v1/jobs/{whole}+1").json()["state"] == "CANCELLED"
    assert find(client, f"{whole}+0")["state"] == "RUNNING"
    refused = put(client, f"{whole}+1", "suspend")
    assert refused.status_code == 409
    client.delete(f"/api/v1/jobs/{whole}")
    await_state(client, whole, "CANCELLED")


# --- many at once ----------------------------------------------------------------------------------------------------


def change_many(client: Client, action: str, job_ids: list[str] | None, **options: Any) -> Any:
    """Call the bulk operation."""
    ids = {} if job_ids is None else {"job_ids": job_ids}
    answer = client.post("/v1/jobs/bulk", {"action": action, **ids, "options": options})
    assert answer.status_code == 200, answer.text
    assert answer.json()["batch_id"].startswith("batch_")
    return answer.json()


def test_many_jobs_are_held_released_and_cancelled(client: Client) -> None:
    first, second, gone = submit(client, WAITS), submit(client, WAITS), submit(client)
    client.delete(f"/api/v1/jobs/{gone}")
    await_state(client, gone, "CANCELLED")
    ids = [second, "99999999", gone, first, second]
    messages = {
        "hold": "Job held", "release": "Job released", "priority": "Job priority updated", "cancel": "Job cancelled",
    }  # fmt: skip
    for action, message in messages.items():
        options: dict[str, Any] = {"priority": {"priority": 7}, "cancel": {"force": True, "reason": "over"}}.get(
            action, {}
        )
        planned = change_many(client, action, ids, dry_run=True, **options)
        assert [row["status"] for row in planned["results"]] == ["success", "error", "error", "success"]
        answer = change_many(client, action, ids, **options)
        assert answer["results"] == [
            {"job_id": second, "status": "success", "message": message},
            {"job_id": "99999999", "status": "error", "message": "Job not found"},
            {"job_id": gone, "status": "error", "message": "Job already completed"},
            {"job_id": first, "status": "success", "message": message},
        ]
        assert answer["summary"] == {"total": 4, "successful": 2, "failed": 2}
    await_state(client, first, "CANCELLED")


def test_many_jobs_are_suspended_resumed_signalled_and_requeued(client: Client, running: str) -> None:
    held = submit(client)
    for action, message, options in (
        ("suspend", "Job suspended", {}),
        ("resume", "Job resumed", {}),
        ("signal", "Signal SIGCONT sent", {"signal": "CONT"}),
        ("requeue", "Job requeued", {}),
    ):
        rows = change_many(client, action, [running, held], **options)["results"]
        assert rows[0] == {"job_id": running, "status": "success", "message": message}
        assert rows[1]["status"] == "error" and "it has not begun" in rows[1]["message"]
    client.delete(f"/api/v1/jobs/{held}")


def test_the_reason_of_many_holds_is_kept(client: Client) -> None:
    ids = [submit(client, WAITS) for _ in range(2)]
    change_many(client, "hold", ids, reason="maintenance")
    assert [put(client, job_id, "hold").json()["hold_reason"] for job_id in ids] == ["maintenance"] * 2
    change_many(client, "cancel", ids)
    assert len(client.server.store.holds) == 0


def test_own_jobs_are_selected_by_their_state(client: Client) -> None:
    ids = [submit(client, WAITS) for _ in range(2)]
    planned = change_many(client, "cancel", None, select={"states": ["suspended", "pd"]}, dry_run=True)
    assert set(ids) <= {row["job_id"] for row in planned["results"]}
    change_many(client, "cancel", None, select={"states": ["PENDING"]})
    for job_id in ids:
        await_state(client, job_id, "CANCELLED")


@pytest.mark.parametrize(
    ("why", "body", "field"),
    [
        ("no action of ours", {"action": "frob", "job_ids": ["1"]}, "action"),
        ("no jobs", {"action": "cancel"}, "job_ids"),
        ("an empty list", {"action": "cancel", "job_ids": []}, "job_ids"),
        ("more than 1,000", {"action": "cancel", "job_ids": [str(at) for at in range(1, 1002)]}, "job_ids"),
        ("jobs and a selection",
         {"action": "cancel", "job_ids": ["1"], "options": {"select": {"states": ["PENDING"]}}}, "job_ids"),
        ("no state",
         {"action": "cancel", "options": {"select": {"states": ["PD", "PENDNG"]}}}, "options.select.states"),
        ("no priority", {"action": "Priority", "job_ids": ["1"]}, "options.priority"),
        ("no signal", {"action": "signal", "job_ids": ["1"]}, "options.signal"),
        ("a wrong signal", {"action": "signal", "job_ids": ["1"], "options": {"signal": "FOO"}}, "options.signal"),
        ("what is no id", {"action": "cancel", "job_ids": ["1", "all"]}, "job_ids.1"),
        ("an unknown option", {"action": "cancel", "job_ids": ["1"], "options": {"froce": True}}, "options.froce"),
    ],
)  # fmt: skip
def test_wrong_bulk_requests_are_refused(client: Client, why: str, body: Any, field: str) -> None:
    answer = client.post("/api/v1/jobs/bulk", body)
    assert (answer.status_code, list(answer.json()["error"]["details"]["fields"])) == (400, [field]), why
