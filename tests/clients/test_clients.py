"""What programs make of the contract: a Python and a TypeScript client, generated and used against a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_server import Server

pytestmark = pytest.mark.clients
HERE = Path(__file__).parent
PACKAGES = ["openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3"]
# What the clients print in the end: they have seen all of it.
SEEN = ["submitted", "got", "listed", "cancelled", "refused: 422", "unknown: 404"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on the embedded cluster."""
    made = Server(tmp_path / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """What the program prints; it is to end well."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_python_client(server: Server, tmp_path: Path) -> None:
    generate = ["generate", "--url", f"{server.url}/openapi.json", "--meta", "none", "--fail-on-warning"]
    run(tmp_path, "openapi-python-client", *generate, "--output-path", "sluice_client")
    said = run(
        tmp_path, sys.executable, HERE / "call_server.py",
        URL=server.url, TOKEN=server.tokens["write"], PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert said.splitlines() == SEEN


def test_a_typescript_client(server: Server, tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        assert os.environ.get("CI") != "true", "npm is missing"
        pytest.skip("npm is not installed")
    run(tmp_path, npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", tmp_path, *PACKAGES)
    programs = tmp_path / "node_modules" / ".bin"
    run(tmp_path, programs / "openapi-typescript", f"{server.url}/openapi.json", "--output", "contract.d.ts")
    shutil.copy(HERE / "call_server.mts", tmp_path)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"]
    run(tmp_path, programs / "tsc", *options, "call_server.mts")
    said = run(tmp_path, "node", "call_server.mjs", URL=server.url, TOKEN=server.tokens["write"])
    assert said.splitlines() == SEEN
