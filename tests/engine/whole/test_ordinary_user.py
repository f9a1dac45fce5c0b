"""The server of an ordinary user: folders that it may not use, and whom the folders that it makes are open to."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.cluster.ordinary_user import PREFIX, PROJECT, UNUSABLE, make_project
from tests.waiting import eventually

pytestmark = pytest.mark.long
OVER = ("completed", "failed", "cancelled")


@pytest.fixture
def server(cluster: str, tmp_path: Path) -> Iterator[Server]:
    """A server process of an ordinary user who shares files with a group."""
    made = Server(tmp_path / "store", cluster)
    made.prefix, made.umask = PREFIX, 0o002
    try:
        yield made.start()
    finally:
        made.close()


def save(server: Server, name: str, **job: Any) -> None:
    """Save a workflow of one job."""
    command = "echo '{}' > $SLUICE_RESULT; touch $(dirname $SLUICE_RESULT)/kept; : {{ n }}"
    text = json.dumps({"name": name, "args": {"n": 0}, "jobs": [{"name": "a", "command": command, **job}]})
    answer = server.http.post("/api/workflows/upload", json={"yaml": text, "filename": f"{name}.yaml"})
    assert answer.status_code == 200, answer.text


def await_end(server: Server, path: str) -> dict[str, Any]:
    """Await the end of a run or sweep; return it."""
    return eventually(lambda: (found := server.http.get(path).json())["status"] in OVER and found)  # type: ignore[return-value]


def test_a_folder_that_cannot_be_used_is_refused(server: Server, tmp_path: Path) -> None:
    for at, (why, make) in enumerate(UNUSABLE):
        folder = str(make(tmp_path))
        for field in ("work_dir", "log_dir"):
            save(server, f"{field}{at}", **{field: folder})
            answer = server.http.post(f"/api/workflows/{field}{at}/run", json={})
            wanted = f"sbatch failed: {field} {folder[:100]}"
            assert answer.status_code == 502 and answer.json()["detail"].startswith(wanted), (why, answer.text)
            run = server.http.get("/api/workflows/runs").json()[0]
            assert run["status"] == "failed" and run["error"].startswith(
                f"Submission failed: {field} {folder[:100]}"
            ), why
        use = {"command": ["true"], "job_name": "t", "work_dir": folder, "preview_only": False}
        answer = server.http.post("/api/templates/base/apply", json=use)
        wanted = f"sbatch failed: work_dir {folder[:100]}"
        assert answer.status_code == 502 and answer.json()["detail"].startswith(wanted), (why, answer.text)
    sweep = server.http.post("/api/workflows/work_dir1/run", json={"sweep": {"matrix": {"n": [1, 2]}}}).json()
    assert await_end(server, f"/api/sweep_runs/{sweep['sweep_run_id']}")["cells_failed"] == 2
    assert server.http.get("/api/history").json() == [], "nothing was submitted"
    assert "Traceback" not in server.log()


def test_folders_of_a_group_stay_open_to_it(server: Server, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    save(server, "shared", work_dir=str(project / "work"), log_dir=str(project / "logs"))
    run_id = server.http.post("/api/workflows/shared/run", json={}).json()["id"]
    assert await_end(server, f"/api/workflows/runs/{run_id}")["status"] == "completed"
    assert {"work", "logs", "work/.sluice"} < {str(path.relative_to(project)) for path in project.rglob("*")}
    for path in project.rglob("*"):
        found, wanted = path.stat(), 0o2775 if path.is_dir() else 0o664
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (wanted, PROJECT), path
    private = [server.store, server.store / "runs", server.store / "runs" / f"{run_id}.json"]
    assert [path.stat().st_mode & 0o077 for path in private] == [0, 0, 0], "what is Sluice's own stays private"
