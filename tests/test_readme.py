"""What README and docs/ show is what happens: their commands are run, and their output is compared with the page."""

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
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
WITH_COMMANDS = [name for name, text in PAGES.items() if "```console" in text]
BORROWED = "The examples use the workflow `sum` of the [README]"
README_LINES = 150


def list_commands(page: str) -> list[tuple[str, str]]:
    """Each command of a page with the output shown below it; `…` stands for anything."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            # A here-document is part of its command.
            mark = re.search(r"<<'(\w+)'", lines[0])
            end = lines.index(mark[1]) + 1 if mark else 1
            found.append(("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return found


def to_pattern(expected: str) -> re.Pattern[str]:
    """What the output must look like."""
    return re.compile(".*".join(re.escape(piece) for piece in re.split(r" ?…", expected)), re.DOTALL)


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_the_commands_of_a_page_do_what_it_shows(name: str, tmp_path: Path) -> None:
    (tmp_path / "slurm_shim").symlink_to(ROOT / "slurm_shim")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    server = Server(tmp_path / "data", "embedded")
    steps = list_commands(PAGES[name])
    if BORROWED in PAGES[name]:
        steps = list_commands(README)[:2] + steps  # write the workflow, and wait until the server has it
    try:
        server.start()
        for command, expected in steps:
            line = command.replace("localhost:8000", f"localhost:{server.port}")

            def is_as_shown(line: str = line, expected: str = expected) -> bool:
                done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, (line, done.stderr)
                return bool(to_pattern(expected).match(done.stdout))

            changes = "-X POST" in command or "-d '" in command
            if changes:
                assert is_as_shown(), (line, expected, server.http.get("/api/workflows/runs").text)
            else:
                eventually(is_as_shown, 60, line)
    finally:
        server.close()


def test_the_pages_are_short_and_lead_to_each_other() -> None:
    assert len(README.splitlines()) <= README_LINES
    for name, text in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (folder / target).exists(), f"{name} leads to {target}"
    assert {f"docs/{name}" for name in PAGES if name != "README.md"} <= set(re.findall(r"\]\(([^)]+)\)", README))


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

    table: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`SLUICE_[^|]+) \|([^|]*)\|", README, re.MULTILINE):
        variables = re.findall(r"SLUICE_(\w+)", names)
        table |= dict(zip(variables, re.findall(r"`([^`]*)`", defaults) or [""] * len(variables), strict=True))
    for name, field in app.Settings.__dataclass_fields__.items():
        default = table.pop(name.upper())
        assert default == ("" if field.default in ((), None) else str(field.default)), name
    assert not table


@pytest.mark.parametrize("recipe", sorted(set(re.findall(r"\bjust ([a-z][\w-]+)`", "\n".join(PAGES.values())))))
def test_recipes_exist(recipe: str) -> None:
    assert re.search(rf"^{recipe}\b.*:", (ROOT / "justfile").read_text(), re.MULTILINE)


def test_flags_exist() -> None:
    command = [sys.executable, str(ROOT / "app.py"), "serve", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    for flag in re.findall(r"`(--[\w-]+)", README):
        assert flag in said.stdout
