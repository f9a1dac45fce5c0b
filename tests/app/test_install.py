"""The wheel: what `pip install .` gives works from any folder, whatever lies there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests import ROOT
from tests.app_server import free_port
from tests.pipeline import SUMMING_PIPELINE
from tests.waiting import eventually

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that has the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=500)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=500)
    wheel = str(*folder.glob("sluice-*.whl"))
    subprocess.run([*pip, "install", "-c", str(ROOT / "constraints.txt"), wheel], check=True, timeout=500)
    return folder / "venv" / "bin"


def test_only_one_name_is_taken(programs: Path) -> None:
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    for name in ("app.py", "engine", "store", "slurm_shim", "tests", "web"):
        assert not (packages / name).exists()


@pytest.mark.parametrize("words", [["sluice"], ["python", "-m", "sluice"]])
def test_the_commands_answer(programs: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "engine").mkdir()  # what lies where it is called does not matter
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong app')")

    def call(*more: str) -> str:
        command = [str(programs / words[0]), *words[1:], *more]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120).stdout

    assert call("--version").startswith("sluice 0.")
    assert "srunx_list_jobs " in call("routes")
    assert "Authorization: Bearer slc_" in call("token", "create", "me", "--scope", "read")
    assert "token  me    read" in call("token", "list")
    assert "Revoked the token me" in call("token", "revoke", "me")


def test_the_pipeline_runs_in_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "SLUICE_CLUSTER": "embedded"}
    server = subprocess.Popen(["sluice", "--port", str(port)], cwd=tmp_path, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            eventually(lambda: http.get("/health").json()["status"] == "healthy", 30)
            for path in ("/docs", "/openapi.yaml", "/redoc", "/redoc/redoc.standalone.js", "/api/v1/openapi.json"):
                assert http.get(path).status_code == 200, path
            (tmp_path / "data" / "workflows" / "ml-pipeline.yaml").write_bytes(SUMMING_PIPELINE)
            eventually(lambda: http.get("/api/workflows/ml-pipeline").status_code == 200)
            run = http.post("/api/workflows/ml-pipeline/run").raise_for_status().json()
            path = f"/api/workflows/runs/{run['id']}"
            ended = eventually(lambda: (now := http.get(path).json())["completed_at"] and now, 60)
            assert (ended["status"], ended["jobs"][1]["result"]) == ("completed", {"total": 500500}), ended
    finally:
        server.terminate()
        assert server.wait(180) in (0, -signal.SIGTERM)
