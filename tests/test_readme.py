"""What the README shows is what happens: its commands are run, and their output is compared with the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.app_server import Server
from tests.waiting import eventually

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Each command of the page with the output shown below it; `…` stands for anything."""
    found = []
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            # A here-document is part of its command.
            mark = re.search(r"<<'(\w+)'", lines[0])
            end = lines.index(mark[1]) + 1 if mark else 1
            found.append(("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return found


def pattern(shown: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in re.split(r" ?…", shown)), re.DOTALL)


def test_the_tour(tmp_path: Path) -> None:
    (tmp_path / "slurm_shim").symlink_to(ROOT / "slurm_shim")
    server = Server(tmp_path / "data", "embedded")
    try:
        server.start()
        for command, shown in commands():
            here = command.replace("localhost:8000", f"localhost:{server.port}")

            def as_shown(here: str = here, shown: str = shown) -> bool:
                done = subprocess.run(["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, timeout=30)
                assert done.returncode == 0, (here, done.stderr)
                return bool(pattern(shown).match(done.stdout))

            changes = "-X POST" in command or "-d '" in command
            if changes:
                assert as_shown(), (here, shown, server.http.get("/api/workflows/runs").text)
            else:
                eventually(as_shown, 30, here)
    finally:
        server.close()


def test_the_first_workflow_of_a_new_store_runs(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "embedded")
    (server.store / "workflows").rmdir()  # a folder that is there already is somebody's, and gets no example
    try:
        server.start()
        run = server.http.post("/api/workflows/hello/run", json={}).json()
        path = f"/api/workflows/runs/{run['id']}"
        ended = eventually(lambda: (now := server.http.get(path).json())["completed_at"] and now)
        assert (ended["status"], ended["error"]) == ("completed", None)
        said = server.http.get(f"/api/jobs/{ended['job_ids']['count']}/logs").json()["stdout"]
        assert said == "3 greetings.txt\n"
    finally:
        server.close()


def test_every_setting_is_in_the_table() -> None:
    import app

    table = dict(re.findall(r"^\| `SLUICE_(\w+)` \| (?:`([^`]*)`)?", README, re.MULTILINE))
    for name, field in app.Settings.__dataclass_fields__.items():
        shown = table.pop(name.upper())
        assert shown == ("" if field.default in ((), None) else str(field.default)), name
    assert not table


@pytest.mark.parametrize("recipe", re.findall(r"`just ([\w-]+)", README))
def test_recipes_exist(recipe: str) -> None:
    assert re.search(rf"^{recipe}\b.*:", (ROOT / "justfile").read_text(), re.MULTILINE)


def test_flags_exist() -> None:
    said = subprocess.run([sys.executable, str(ROOT / "app.py"), "--help"], capture_output=True, text=True, check=True)
    for flag in re.findall(r"`(--[\w-]+)", README):
        assert flag in said.stdout
