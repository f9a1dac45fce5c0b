"""Workflows of a mount: they lie below its folder, run in it, and are seen as soon as they are saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_client import Client, serving
from tests.waiting import eventually

TEXT = "name: here\nargs: {n: 0}\njobs:\n  - {name: a, command: 'pwd > where'}\n"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Client, Path]]:
    project = tmp_path / "project"
    (project / ".srunx" / "workflows").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    profile = f"{{mounts: [{{name: ml, local: {project}, remote: /home/me/ml}}]}}"
    (tmp_path / "store" / "profiles.yaml").write_text(f"current: mine\nprofiles:\n  mine: {profile}\n")
    with serving(tmp_path / "store", "embedded") as client:
        yield client, project


def test_listed_run_and_deleted(mounted: tuple[Client, Path]) -> None:
    client, project = mounted
    assert client.get("/api/workflows", params={"mount": "ml"}).json() == []
    (project / ".srunx" / "workflows" / "here.yaml").write_text(TEXT)
    eventually(lambda: client.get("/api/workflows/here", params={"mount": "ml"}).status_code == 200)
    assert client.get("/api/workflows/here").status_code == 404, "the store's own are others"
    run = client.post("/api/workflows/here/run?mount=ml").json()
    assert run["mount"] == "ml" and run["work_dir"] == str(project)
    assert client.await_run(run["id"])["status"] == "completed"
    assert (project / "where").read_text().strip() == str(project)
    assert client.delete("/api/workflows/here", params={"mount": "ml"}).status_code == 200
    assert not (project / ".srunx" / "workflows" / "here.yaml").exists()


def test_a_refused_file_says_why(mounted: tuple[Client, Path]) -> None:
    """Nobody has asked for the mount before; problems have its name too."""
    client, project = mounted
    path = project / ".srunx" / "workflows" / "typo.yml"
    path.write_text(TEXT.replace("here", "typo").replace("command", "comand"))
    place = "line 4, column 15: jobs.0.comand: unknown key 'comand'; did you mean 'command'?"
    rows = eventually(lambda: [row for row in client.get("/api/store/problems").json() if row["line"] == 4])
    assert {(row["mount"], row["path"], row["severity"]) for row in rows} == {("ml", "typo.yml", "error")}
    for method, more in (("GET", ""), ("POST", "/run")):
        answer = client.request(method, f"/api/workflows/typo{more}?mount=ml", **({"json": {}} if more else {}))
        assert answer.status_code == 409 and f"typo.yml, {place}" in answer.json()["detail"], method
    assert client.get("/api/workflows/typo").status_code == 404, "the store has none"
    path.write_text(TEXT)
    eventually(lambda: client.get("/api/workflows/typo?mount=ml").status_code == 200)
    (row,) = client.get("/api/store/problems").json()
    assert (row["mount"], row["severity"], row["line"]) == ("ml", "warning", 1), "its name inside is another"


def test_a_sweep_says_which_file_it_is_of(mounted: tuple[Client, Path]) -> None:
    client, project = mounted
    path = project / ".srunx" / "workflows" / "swept.yml"
    path.write_text(TEXT.replace("here", "swept"))
    eventually(lambda: client.get("/api/workflows/swept", params={"mount": "ml"}).status_code == 200)
    made = client.post(
        "/api/workflows/swept/run?mount=ml", json={"sweep": {"matrix": {"n": [1, 2]}, "max_parallel": 1}}
    )
    row = eventually(
        lambda: (found := client.get(f"/api/sweep_runs/{made.json()['sweep_run_id']}").json())["completed_at"] and found
    )
    assert (row["status"], row["workflow_yaml_path"]) == ("completed", str(path))


def test_scripts_of_a_mount(mounted: tuple[Client, Path]) -> None:
    client, project = mounted
    (project / "train.sh").write_text("#!/bin/bash\npwd > trained\n")
    body = {"name": "train", "script_path": "train.sh", "mount_name": "ml"}
    made = client.post("/api/jobs", json=body)
    assert made.status_code == 201, made.text
    assert client.job(made.json()["job_id"])["status"] == "COMPLETED"
    assert (project / "trained").read_text().strip() == str(project)
    (project / "out").symlink_to("/etc")
    for path in ("../x.sh", "/etc/passwd", "out/passwd"):
        assert client.post("/api/jobs", json={**body, "script_path": path}).status_code == 403, path


def test_a_mount_that_is_not_there(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    answer = client.get("/api/workflows", params={"mount": "nope"})
    assert answer.status_code == 404 and answer.json() == {"detail": "Mount 'nope' not found"}


def test_a_folder_that_is_not_there_is_not_made(mounted: tuple[Client, Path]) -> None:
    client, project = mounted
    body = {"name": "gone", "local": str(project / "gone"), "remote": "/gone"}
    assert client.post("/api/files/mounts", body).status_code == 200
    missing = {"detail": "Mount 'gone' not found: its folder is not there"}
    assert client.get("/api/workflows", params={"mount": "gone"}).json() == missing
    for method, path, more in (("PUT", "", {"json": {}}), ("POST", "/init", {})):
        answer = client.request(method, f"/api/config/projects/gone{path}", **more)
        assert answer.status_code == 404 and answer.json() == missing
    assert client.get("/api/config/projects/gone").json()["exists"] is False
    assert not (project / "gone").exists()
