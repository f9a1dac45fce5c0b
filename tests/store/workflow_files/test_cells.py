"""Cells of a sweep that would work in one folder are told."""

from __future__ import annotations

import pytest

from store.rendering.renderer import Renderer
from store.workflow_files import cells

TEXT = """\
name: w
args: {{lr: 1, seed: 1}}
jobs:
  - {{name: a, command: pwd, work_dir: '{a}'}}
  - {{name: b, command: pwd}}
sweep: {{matrix: {{lr: [1, 2], seed: [1, 2]}}, exclude: {exclude}}}
"""


@pytest.mark.parametrize(
    ("why", "folder", "exclude", "warned"),
    [
        ("one for all", "/out", "[]", True),
        ("one below the home", "~/out", "[]", True),
        ("one for each lr", "/out/{{ lr }}", "[]", True),
        ("one for each seed", "/out/{{ seed }}", "[]", True),
        ("one for each cell, by its values", "/out/{{ lr }}-{{ seed }}", "[]", False),
        ("one for each cell, by its number", "/out/{{ sweep.cell }}", "[]", False),
        ("no two cells are left that share", "/out/{{ lr }}", "[{seed: 2}]", False),
        ("a folder of the run's own", "out", "[]", False),
    ],
)
def test_cells_that_share_a_folder(renderer: Renderer, why: str, folder: str, exclude: str, warned: bool) -> None:
    text = TEXT.format(a=folder, exclude=exclude).encode()
    found = [warning["msg"] for warning in cells.find_warnings(text, renderer, limit=100)]
    assert [warning.partition(" works in ")[0] for warning in found] == (["job 'a'"] if warned else []), why
    assert all("{{ sweep.cell }}" in warning for warning in found)
