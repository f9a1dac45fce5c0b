"""The wheel: what `pip install .` gives works from any folder, whatever lies there."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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


@contextlib.contextmanager
def serving(programs: Path, folder: Path) -> Iterator[httpx.Client]:
    """The installed server over an empty store, once it is healthy."""
    port = free_port()
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "SLUICE_CLUSTER": "embedded"}
    server = subprocess.Popen(["sluice", "--port", str(port)], cwd=folder, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            eventually(lambda: http.get("/health").json()["status"] == "healthy", 30)
            yield http
    finally:
        server.terminate()
        assert server.wait(180) in (0, -signal.SIGTERM)


def test_the_pipeline_runs_in_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    with serving(programs, tmp_path) as http:
        for path in ("/docs", "/openapi.yaml", "/redoc", "/redoc/redoc.standalone.js", "/api/v1/openapi.json"):
            assert http.get(path).status_code == 200, path
        (tmp_path / "data" / "workflows" / "ml-pipeline.yaml").write_bytes(SUMMING_PIPELINE)
        eventually(lambda: http.get("/api/workflows/ml-pipeline").status_code == 200)
        run = http.post("/api/workflows/ml-pipeline/run").raise_for_status().json()
        path = f"/api/workflows/runs/{run['id']}"
        ended = eventually(lambda: (now := http.get(path).json())["completed_at"] and now, 60)
        assert (ended["status"], ended["jobs"][1]["result"]) == ("completed", {"total": 500500}), ended


READ_PARQUET = """
import sys, pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1])
print({field.name: str(field.type) for field in table.schema}, table.to_pylist(), sep="\\n")
"""


def test_parquet_needs_a_library_that_can_be_installed(programs: Path, tmp_path: Path) -> None:
    body = {"type": "jobs", "format": "parquet", "fields": ["job_name", "submit_time", "end_time", "nodes", "gpus"]}
    with serving(programs, tmp_path) as http:
        refused = http.post("/v1/export", json=body)
        assert refused.status_code == 400 and "pip install pyarrow" in refused.text
        # Not in constraints.txt: with 200 MB it is no part of any environment but this one.
        subprocess.run([programs / "pip", "install", "--quiet", "pyarrow==26.0.1"], check=True, timeout=500)
        http.post("/v1/jobs", json={"job_name": "=odd", "script": "sleep 300"}).raise_for_status()
        eventually(lambda: http.get("/v1/jobs").json()["total"] == 1, 60)
        path = f"/v1/exports/{http.post('/v1/export', json=body).raise_for_status().json()['export_id']}"
        ended = eventually(lambda: (now := http.get(path).json())["status"] != "processing" and now, 120)
        assert (ended["status"], ended["record_count"]) == ("completed", 1), ended
        (tmp_path / "jobs.parquet").write_bytes(http.get(f"{path}/download").content)
        http.delete(f"/v1/jobs/{http.get('/v1/jobs').json()['jobs'][0]['job_id']}")
    command = [programs / "python", "-c", READ_PARQUET, tmp_path / "jobs.parquet"]
    types, rows = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()
    time = "timestamp[ms, tz=UTC]"
    expected = {"job_name": "string", "submit_time": time, "end_time": time, "nodes": "list<element: string>"}
    assert ast.literal_eval(types) == {**expected, "gpus": "int64"}
    assert rows.startswith("[{'job_name': '=odd', 'submit_time': datetime.datetime(")
    assert "'end_time': None" in rows and "'gpus': 0" in rows
