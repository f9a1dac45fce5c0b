"""A store that is restored as docs/operating.md says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests import ROOT
from tests.app_server import Server
from tests.waiting import eventually


def test_a_restored_store_goes_on_where_the_copy_was_made(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operating.md").read_text().partition("## Back it up")[2]
    back_up, restore = re.search(r"^\$ (.*)", page, re.MULTILINE), re.search(r"^    (mv .*)", page, re.MULTILINE)
    assert back_up and restore
    server = Server(tmp_path / "data", "embedded")
    try:
        server.start()
        (server.store / "workflows" / "kept.yaml").write_text("jobs: [{name: a, command: hostname}]\n")
        eventually(lambda: server.http.get("/api/workflows/kept").status_code == 200)
        held = server.http.post("/v1/jobs", json={"script": "sleep 600", "job_name": "held"}).json()["job_id"]
        path = f"/v1/jobs/{held}"
        eventually(lambda: server.http.get(path).json()["state"] == "RUNNING")
        subprocess.run(["bash", "-ec", back_up[1]], cwd=tmp_path, check=True, capture_output=True)
        assert server.http.delete("/api/workflows/kept").status_code < 300
        server.end()
        subprocess.run(["bash", "-ec", restore[1]], cwd=tmp_path, check=True)
        server.start()
        assert server.http.get("/api/workflows/kept").status_code == 200
        assert server.http.get(path).json()["state"] == "RUNNING", "the job was never ended"
        assert server.http.delete(path).status_code == 200
        eventually(lambda: server.http.get(path).json()["state"] == "CANCELLED")
        health = server.http.get("/health").json()
        assert (health["store"]["problems"], health["store"]["error"]) == (0, None)
    finally:
        server.close()
