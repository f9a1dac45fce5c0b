"""Time, and a disk to write on, are taken from a server for a while: it goes on once they are back."""

from __future__ import annotations

import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app_client import serving
from tests.app_server import Server
from tests.faulty_disk import Faulty
from tests.waiting import eventually

# The first job lasts until the file `gate` is there, and leaves a file `over`.
TWO = """
name: two
jobs:
  - {{name: a, command: 'until [ -e {folder}/gate ]; do sleep 0.1; done; echo a >> {folder}/over'}}
  - {{name: b, command: 'echo b >> {folder}/over', depends_on: [a]}}
"""
JOB = {"name": "x", "script_content": "#!/bin/bash\ntrue\n"}


def submit(server: Server, key: str) -> httpx.Response:
    return server.http.post("/api/jobs", json=JOB, headers={"Idempotency-Key": key})


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_server_that_was_stopped_for_a_while_goes_on(server: Server, tmp_path: Path) -> None:
    (server.store / "workflows" / "two.yaml").write_text(TWO.format(folder=tmp_path))
    eventually(lambda: server.http.get("/api/workflows/two").status_code == 200)
    run = server.http.post("/api/workflows/two/run").json()
    eventually(lambda: server.http.get(f"/api/workflows/runs/{run['id']}").json()["job_statuses"]["a"] == "RUNNING", 60)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        (tmp_path / "gate").touch()
        with ThreadPoolExecutor() as pool:
            # Both jobs are the cluster's by now: they end while nobody looks, and the caller waits.
            waiting = pool.submit(submit, server, "meanwhile")
            eventually(lambda: (tmp_path / "over").read_text() == "a\nb\n", 60)
            assert not waiting.done()
            server.process.send_signal(signal.SIGCONT)
            assert waiting.result().status_code == 201
    finally:
        server.process.send_signal(signal.SIGCONT)
    path = f"/api/workflows/runs/{run['id']}"
    ended = eventually(lambda: (now := server.http.get(path).json())["status"] == "completed" and now, 60)
    assert [len(job["attempts"]) for job in ended["jobs"]] == [1, 1]
    assert submit(server, "meanwhile").json()["job_id"] == waiting.result().json()["job_id"]
    eventually(lambda: server.http.get("/health").json()["status"] == "healthy", 60, server.log())


# --- a disk to write on ----------------------------------------------------------------------------------------------


def test_a_disk_that_is_only_read_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the kernel remounts a disk with errors."""
    with serving(tmp_path / "store", "embedded") as client:
        kept = client.submit("#!/bin/bash\ntrue\n")
        assert client.job(kept)["status"] == "COMPLETED"
        changing = {"write", "rename", "link", "unlink", "mkdir", "ftruncate", "pwrite", "rmdir"}
        with monkeypatch.context() as patch:
            read_only = Faulty(lambda at, name: errno.EROFS if name in changing else None)
            patch.setattr(client.server.store.files, "ops", read_only)
            refused = client.post("/api/jobs", JOB, headers={"Idempotency-Key": "one"})
            assert refused.status_code == 503 and "retry-after" in refused.headers, refused.text
            assert client.get(f"/api/jobs/{kept}").json()["status"] == "COMPLETED"
            assert client.get("/api/workflows/runs").status_code == 200
        made = client.post("/api/jobs", JOB, headers={"Idempotency-Key": "one"})
        assert client.job(made.json()["job_id"])["status"] == "COMPLETED"
        assert len(client.get("/api/history").json()) == 2, "what was refused left nothing"


# --- permissions -----------------------------------------------------------------------------------------------------

# A file that people edit, and a question whose answer rests on it.
EDITED = [
    ("access.yaml", "/api/workflows"),
    ("config.yaml", "/api/config"),
    ("profiles.yaml", "/api/config/ssh/profiles"),
    ("workflows/flow.yaml", "/api/workflows/flow"),
]


@pytest.mark.parametrize(("name", "question"), EDITED, ids=[row[0] for row in EDITED])
def test_a_file_that_may_not_be_read_for_a_while_stays_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, question: str
) -> None:
    """As after `chmod 000`; root, who may read all the same, is refused here as well."""
    path, really_open = tmp_path / "store" / name, os.open

    def refuse(opened: Any, *given: Any, **named: Any) -> int:
        if str(opened) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_open(opened, *given, **named)

    with serving(tmp_path / "store", "embedded") as client:
        client.workflow("flow", "name: flow\njobs: [{name: a, command: 'true'}]\n")
        path.touch()
        before = client.get(question, token="admin").json()

        def list_reasons() -> list[str]:
            return [row["reason"] for row in client.get("/api/store/problems").json() if row["path"] == name]

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            path.chmod(0)
            assert "cannot be opened for reading" in eventually(list_reasons)[0]
            assert client.get(question, token="admin").json() == before
            assert client.get(question, token="wrong").status_code == 401
        path.chmod(0o600)
        eventually(lambda: not list_reasons())
        assert client.get(question, token="admin").json() == before
