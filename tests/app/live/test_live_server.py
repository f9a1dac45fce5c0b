"""The WebSocket on a server of its own: over its restart, beside others, and with a job's output."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.app_server import Server
from tests.waiting import eventually

HELD = "#!/bin/bash\n#SBATCH --hold\ntrue\n"


def hear(connection: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(connection.recv(timeout=60))
    return found


def await_update(connection: ClientConnection, job_id: Any, state: str) -> dict[str, Any]:
    while True:
        found = hear(connection)
        if found.get("resource_id") == str(job_id) and found["data"].get("state") == state:
            return found


def submit(server: Server, script: str) -> str:
    answer = server.http.post("/api/jobs", json={"name": "live", "script_content": script})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def test_clients_are_told_that_the_server_ends_and_find_their_jobs_again(server: Server) -> None:
    url = f"{server.url.replace('http', 'ws')}/api/v1/ws"
    with connect(url) as connection:
        connection.send('{"action": "subscribe", "channel": "jobs"}')
        assert hear(connection)["action"] == "subscribed"
        job_id = submit(server, HELD)
        assert await_update(connection, job_id, "PENDING")["action"] == "created"
        server.end()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                connection.recv(timeout=60)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
    server.start()
    with connect(url) as connection:
        wanted = {"action": "subscribe", "channel": "jobs", "filter": {"job_id": job_id}, "snapshot": True}
        connection.send(json.dumps(wanted))
        assert hear(connection)["action"] == "subscribed"
        assert [row["job_id"] for row in hear(connection)["data"]["jobs"]] == [job_id]
        server.http.delete(f"/api/v1/jobs/{job_id}")
        await_update(connection, job_id, "CANCELLED")
    assert "Traceback" not in server.log()


def test_the_audit_has_a_line_for_each_socket(server: Server) -> None:
    with connect(f"{server.url.replace('http', 'ws')}/api/v1/ws") as connection:
        connection.close(4000)

    def read_lines() -> list[dict[str, Any]]:
        lines = [line for path in (server.store / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]
        return [row for row in map(json.loads, lines) if "code" in row]

    eventually(lambda: read_lines() != [], 60, "the line is written")
    (row,) = read_lines()
    assert (row["what"], row["path"], row["status"], row["code"]) == ("s9s_open_socket", "/api/v1/ws", 101, 4000)
    assert row["who"] and row["from"] == "127.0.0.1"


def test_pages_of_others_are_refused_and_noted(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url.replace('http', 'ws')}/v1/ws", origin="https://evil.example").__enter__()  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["error"]["code"] == "PERMISSION_DENIED"
    assert "refused websocket /api/v1/ws" in server.log() or "refused websocket /v1/ws" in server.log()


def test_the_output_of_a_job_is_followed_to_its_end(server: Server) -> None:
    job_id = submit(server, "#!/bin/bash\necho begin\nsleep 1\necho end\nexit 3\n")
    with connect(f"{server.url.replace('http', 'ws')}/api/v1/jobs/{job_id}/output?follow=true") as connection:
        text, found = "", hear(connection)
        while found["type"] != "end":
            text += found.get("data", "") if found["type"] == "output" else ""
            found = hear(connection)
        assert (text, found["exit_code"]) == ("begin\nend\n", 3)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=60)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
