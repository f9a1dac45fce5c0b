"""Folders of runs behind SSH: those that the account may not use, and whom those that are made are open to."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client
from tests.cluster.beyond import Beyond
from tests.cluster.ordinary_user import PREFIX, PROJECT, UNUSABLE, make_project
from tests.cluster.sshd import needed
from tests.engine.whole.remote.machines import await_clusters

pytestmark = pytest.mark.ssh


@pytest.fixture
def beyond(cluster: str, tmp_path: Path) -> Iterator[Beyond]:
    """The machine behind SSH, whose account is that of an ordinary user who shares files with a group."""
    needed()
    home = tmp_path / "beyond" / "home"
    machine = Beyond(tmp_path / "beyond", cluster, environment={"HOME": str(home)})
    for name in (".profile", ".bash_profile"):
        (home / name).write_text("umask 002\n")
    machine.sshd.prefix = PREFIX
    with machine:
        yield machine


def start(client: Client, **job: Any) -> Any:
    """Start a run of one job with these fields."""
    command = "echo '{}' > $SLUICE_RESULT; touch $(dirname $SLUICE_RESULT)/kept"
    text = json.dumps({"name": "w", "jobs": [{"name": "a", "command": command, **job}]})
    client.workflow("w", text)
    return client.post("/api/workflows/w/run", {})


def test_a_folder_that_cannot_be_used_over_there_is_refused(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    for why, make in UNUSABLE:
        folder = str(make(beyond.home))
        for field in ("work_dir", "log_dir"):
            answer = start(client, **{field: folder})
            wanted = f"sbatch failed: {field} {folder[:100]}"
            assert answer.status_code == 502 and answer.json()["detail"].startswith(wanted), (why, answer.text)
            run = client.get("/api/workflows/runs").json()[0]
            assert run["status"] == "failed" and run["error"].startswith(
                f"Submission failed: {field} {folder[:100]}"
            ), why
        use = {"command": ["true"], "job_name": "t", "work_dir": folder, "preview_only": False}
        answer = client.post("/api/templates/base/apply", use)
        wanted = f"sbatch failed: work_dir {folder[:100]}"
        assert answer.status_code == 502 and answer.json()["detail"].startswith(wanted), (why, answer.text)
    assert beyond.calls()["sbatch"] == 0


def test_folders_of_a_group_over_there_stay_open_to_it(client: Client, beyond: Beyond) -> None:
    await_clusters(client)
    project = make_project(beyond.home / "shared")
    started = start(client, work_dir=str(project / "work"), log_dir=str(project / "logs"))
    assert client.await_run(started.json()["id"])["status"] == "completed"
    assert {"work", "logs", "work/.sluice"} < {str(path.relative_to(project)) for path in project.rglob("*")}
    for path in project.rglob("*"):
        found, wanted = path.stat(), 0o2775 if path.is_dir() else 0o664
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (wanted, PROJECT), path
