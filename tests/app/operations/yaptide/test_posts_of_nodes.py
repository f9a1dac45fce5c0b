"""The programs of a simulation report to a server that really listens, over HTTP, with their key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.app_server import Server
from tests.waiting import eventually

# Tasks that go on until they are cancelled.
DUMMY = {"primaries": 100_000, "layers": [{"material": "water", "thickness_cm": 20}], "bins": 10, "pace": 50}
BODY = {"sim_type": "dummy", "ntasks": 3, "input_type": "files", "input_files": {"dummy.json": json.dumps(DUMMY)}}
PREFIX = {"SLUICE_ROOT_PATH": "/sluice"}


@pytest.mark.parametrize("more", [{}, PREFIX], ids=["at the root", "below a prefix"])
def test_tasks_report_over_http_and_are_seen_at_once(tmp_path: Path, more: dict[str, str]) -> None:
    server = Server(tmp_path / "store", "embedded", SLUICE_LOG_LEVEL="debug", **more)
    http, prefix = server.http, more.get("SLUICE_ROOT_PATH", "")
    try:
        server.start()
        answer = http.post(f"{prefix}/jobs/direct", json=BODY)
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        who = f"simulation {job_id}"

        # One report each at its begin, and then of its progress.
        eventually(lambda: server.log().count(f"/tasks: 202 for {who}") >= 6, 60)

        def is_going_on() -> bool:
            answer = http.get(f"{prefix}/jobs/direct?job_id={job_id}").json()
            tasks = answer["job_tasks_status"]
            return answer["job_state"] == "RUNNING" and all(task["simulated_primaries"] > 0 for task in tasks)

        eventually(is_going_on, 60)
        check_key(server, job_id, prefix)
        http.delete(f"{prefix}/jobs/direct?job_id={job_id}")
    finally:
        server.close()


def check_key(server: Server, job_id: str, prefix: str) -> None:
    """The key stands in one file of the owner's, and lets in until the simulation ends."""
    (path,) = server.store.rglob("update_key")
    key = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600 and key.startswith("eyJ")
    files = [file for file in server.store.rglob("*") if file.is_file() and file != path]
    assert not [file for file in files if key.encode() in file.read_bytes()]
    assert key not in server.log()
    for process in Path("/proc").glob("[0-9]*"):  # neither in arguments nor in environments
        for name in ("cmdline", "environ"):
            try:
                assert key.encode() not in (process / name).read_bytes()
            except OSError:
                continue
    # Without a cookie or a token, from another user's point of view: only the key counts.
    body = {"simulation_id": job_id, "task_id": 2, "update_key": key, "update_dict": {"task_state": "COMPLETED"}}
    with httpx.Client(base_url=server.url, headers={"x-forwarded-for": "192.0.2.1"}) as stranger:
        assert stranger.post(f"{prefix}/tasks", json=body).status_code == 202
        assert stranger.post(f"{prefix}/tasks", json={**body, "update_key": key[:-2]}).status_code == 400
    answer = server.http.get(f"{prefix}/jobs/direct?job_id={job_id}").json()
    assert answer["job_tasks_status"][1]["task_state"] == "COMPLETED"
    assert os.getuid() == path.stat().st_uid
