"""Cells of a sweep that would work in one folder: found and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from store.errors import Invalid, make_problem
from store.rendering.renderer import Renderer
from store.rules import matrix, workflows
from store.rules.shapes import Problem
from store.workflow_files import names

Folders = Mapping[str, str | None]  # by job


def list_neighbours(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """List a cell for each axis that differs from the first in this only.

    >>> list_neighbours([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 2, "b": 2}])
    [1, 2]
    """
    found: dict[str, int] = {}
    for index, cell in enumerate(cells):
        axes = [axis for axis in cell if cell[axis] != cells[0][axis]]
        if len(axes) == 1:
            found.setdefault(axes[0], index)
        if len(found) == len(cell):
            break
    return list(found.values())


def describe_shared_folders(first: Folders, others: Iterable[Folders]) -> list[str]:
    """Describe the folders of the first cell's jobs that others share."""
    known = list(others)
    return [
        f"job '{job}' works in {folder} in several cells; '{{{{ sweep.cell }}}}' in its work_dir keeps them apart"
        for job, folder in first.items()
        if folder and any(other.get(job) == folder for other in known)
    ]


def find_warnings(data: bytes, renderer: Renderer, limit: int) -> list[Problem]:
    """Find what may surprise in a workflow that is valid.

    `limit` is that of the cells of a sweep. Blocks while the renderer works.
    """
    workflow = workflows.parse_workflow(data)
    if workflow.sweep is None:
        return []
    try:
        exclude = workflow.sweep.exclude
        cells = matrix.list_cells(matrix.expand_matrix(workflow.sweep.matrix, limit, exclude), exclude, limit)
    except Invalid as error:
        return [{**entry, "loc": entry["loc"][1:]} for entry in error.problems]

    def plan_folders(index: int) -> Folders:
        plan = workflows.plan_workflow(workflow, args_override=cells[index], cell=index, renderer=renderer)
        # A relative one lies in the run's own folder.
        return {job["name"]: job["work_dir"] for job in plan["jobs"] if (job["work_dir"] or "").startswith(("/", "~"))}

    unused = names.list_warnings(workflow, renderer)
    try:
        shared = describe_shared_folders(plan_folders(0), map(plan_folders, list_neighbours(cells)))
        return unused + [make_problem(message) for message in shared]
    except Invalid:
        return unused  # a cell that cannot be planned fails when its turn comes
