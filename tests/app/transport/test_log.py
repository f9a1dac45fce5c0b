"""What the server says of itself: its log, and /health while something is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from store.errors import StoreFull
from tests.app_client import Client, down, up
from tests.app_server import Server
from tests.faulty_disk import Faulty
from tests.waiting import eventually

GOOD = "name: good\njobs:\n  - {name: a, command: [echo, hello]}\n"
BAD = "name: bad\njobs:\n  - {name: a, command: [bash, -c, 'echo first; echo the last words; exit 3']}\n"
SWEPT = "name: swept\nargs: {x: 1}\njobs:\n  - {name: a, command: [echo, '{{ x }}']}\n"


def test_the_log_tells_what_happens(tmp_path: Path) -> None:
    server = Server(tmp_path / "store", "embedded", SLUICE_LOG_FORMAT="json", SLUICE_LOG_LEVEL="debug")
    for name, text in (("good", GOOD), ("bad", BAD), ("swept", SWEPT)):
        (server.store / "workflows" / f"{name}.yaml").write_text(text)
    try:
        server.start()
        runs = {name: server.http.post(f"/api/workflows/{name}/run", json={}).json()["id"] for name in ("good", "bad")}
        body = {"sweep": {"matrix": {"x": [1, 2]}}}
        sweep = server.http.post("/api/workflows/swept/run", json=body).json()["sweep_run_id"]
        for path in (*[f"/api/workflows/runs/{run_id}" for run_id in runs.values()], f"/api/sweep_runs/{sweep}"):
            eventually(lambda path=path: server.http.get(path).json()["completed_at"], 60)
        for _ in range(3):
            assert server.http.get("/api/jobs", headers={"Authorization": "Bearer secret"}).status_code == 401
        down(server.store)
        found = eventually(lambda: (now := server.http.get("/health").json())["status"] == "degraded" and now)
        assert found["reasons"] == [f"SLURM does not answer: {found['slurm']['error']}"] and found["slurm"]["error"]
        strict = server.http.get("/health?strict=true")
        assert strict.status_code == 503 and "SLURM does not answer" in strict.json()["detail"]
        up(server.store)
        eventually(lambda: server.http.get("/health?strict=true").status_code == 200)
    finally:
        server.close()
    entries = [json.loads(line) for line in server.log().splitlines()]
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    messages = [(entry["level"], entry["message"]) for entry in entries]
    for expected in (
        ("info", f"run {runs['good']} of workflow good started"),
        ("info", f"run {runs['good']} of workflow good is completed"),
        ("warning", f"run {runs['bad']} of workflow bad failed: Jobs failed: a; the last words"),
        ("info", f"sweep {sweep} of workflow swept started: 2 cells"),
        ("info", f"sweep {sweep} of workflow swept is completed"),
        ("warning", "refused GET /api/jobs of 127.0.0.1: Missing or invalid bearer token"),
        ("warning", f"cluster embedded does not answer: {found['slurm']['error']}"),
        ("warning", "cluster embedded answers again"),
    ):
        assert messages.count(expected) == 1, (expected, messages)
    accessed = [entry["message"] for entry in entries if entry["logger"] == "sluice.access"]
    assert any("POST /api/workflows/good/run: 202 for " in line for line in accessed)
    assert "secret" not in server.log()


def test_health_is_degraded_while_the_disk_is_full(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.loop.PROBE_S", 0.1)
    faulty = Faulty(lambda _number, call: errno.ENOSPC if call == "write" else None)
    files = client.server.store.files
    monkeypatch.setattr(files, "ops", faulty)
    with pytest.raises(StoreFull):
        client.run(files.write(client.store / "workflows" / "full.yaml", b"x"))
    found: dict[str, Any] = client.get("/health").json()
    assert found["status"] == "degraded" and os.strerror(errno.ENOSPC) in found["store"]["error"]
    assert found["store"]["error"] in found["reasons"]
    assert client.get("/health", params={"strict": "true"}).status_code == 503
    monkeypatch.setattr(files, "ops", os)
    eventually(lambda: client.get("/health", params={"strict": "true"}).status_code == 200)


def test_a_disk_that_others_have_filled_is_noticed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.loop.PROBE_S", 0.1)
    faulty = Faulty(lambda _number, call: errno.ENOSPC if call == "write" else None)
    room = shutil.disk_usage(client.store)
    monkeypatch.setattr(client.server.store.files, "ops", faulty)
    monkeypatch.setattr("engine.loop.shutil.disk_usage", lambda _path: room._replace(free=0))
    found = eventually(lambda: (now := client.get("/health").json())["status"] == "degraded" and now, 60)
    assert os.strerror(errno.ENOSPC) in found["store"]["error"]
    monkeypatch.setattr(client.server.store.files, "ops", os)
    eventually(lambda: client.get("/health").json()["status"] == "healthy", 60)


def test_audit_entries_that_were_lost_are_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.loop.PROBE_S", 0.1)
    folder, aside = client.store / "audit", client.store / "audit_aside"
    client.delete("/api/workflows/none")
    folder.rename(aside)
    folder.touch()
    client.delete("/api/workflows/none")
    assert "audit entries lost: 1 (audit is not a folder" in client.get("/health").json()["reasons"][0]
    folder.unlink()
    aside.rename(folder)
    eventually(lambda: client.get("/health").json()["status"] == "healthy", 60)
    assert '"what":"entries were lost","lost":1' in "".join(path.read_text() for path in folder.iterdir())
