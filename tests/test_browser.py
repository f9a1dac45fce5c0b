"""What a person sees in a browser: the documentation page renders the contract, from this server alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.app_server import Server
from tests.contract_judge import operations

pytestmark = pytest.mark.browser
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OFFLINE = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def test_the_documentation_shows_every_operation(server: Server, tmp_path: Path) -> None:
    if BROWSER is None:
        assert os.environ.get("CI") != "true", "Chromium is missing"
        pytest.skip("Chromium is not installed")
    command = [BROWSER, *OFFLINE, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=15000"]
    html = subprocess.run(
        [*command, "--dump-dom", f"{server.url}/docs"], capture_output=True, text=True, timeout=300
    ).stdout
    for path, method, _ in operations():
        assert f'data-path="{path}"' in html, f"{method} {path} is not on the page"
    assert "Failed to load" not in html and "No operations defined" not in html
