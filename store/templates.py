"""Script templates: text files that people keep in `templates/`, looked up by name and rendered with a job's variables.

The template `base` is built in; its script is made where the words of SLURM are known, not here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from store import yamls
from store.errors import Denied, Invalid, NotFound, problem
from store.files import read_whole
from store.render import Renderer
from store.shapes import Workflow, near_name

BASE = "base"
SCRIPT_BYTES = 1_000_000


def parse(data: bytes) -> str:
    """The text of a template or script file; Invalid when it is empty, too large, not UTF-8 or holds NUL."""
    text = yamls.decode(data)
    if not text.strip():
        raise Invalid([problem("the file is empty", line=1, column=1)])
    return text


def names(kept: Iterable[str]) -> list[str]:
    """The names that a job's `template` may have: the built-in one, then people's own."""
    return [BASE, *sorted(set(kept) - {BASE})]


def find(name: str, kept: Mapping[str, str]) -> str:
    """The text of people's template of that name; NotFound when there is none."""
    if name not in kept:
        raise NotFound("Template", name)
    return kept[name]


def refuse_unknown(workflow: Workflow, jobs: Iterable[Mapping[str, Any]], known: Collection[str]) -> None:
    """Nothing; raises Invalid with the place of each planned job's template that is not there."""
    index = {job.name: number for number, job in enumerate(workflow.jobs)}
    problems = []
    for job in jobs:
        if (name := job.get("template")) is not None and name not in known:
            loc = ("jobs", index[job["name"]], "template")
            message = f"Template '{name}' not found{near_name(name, known)}"
            problems.append(problem(message, loc, input=name))
    if problems:
        raise Invalid(workflow.located(problems))


def render(text: str, variables: Mapping[str, Any], renderer: Renderer, *, name: str = "template") -> str:
    """The text with its templates rendered; text without any comes back as it is.

    Raises Invalid with loc `[name]` and Jinja's reason. Blocks while the renderer works.
    """
    try:
        rendered = renderer.render(text, dict(variables))
    except Invalid as error:
        raise Invalid([{**one, "loc": [name, *one["loc"]]} for one in error.problems]) from error
    return rendered if isinstance(rendered, str) else str(rendered)


def script(path: str, roots: Sequence[Path]) -> str:
    """The text of a script file that a job names, relative to the first of `roots` or absolute below any of them.

    Raises Denied for a path that leads outside of all roots, NotFound when there is no such file.
    """
    inside = [root.resolve() for root in roots]
    found = (inside[0] / path).resolve()
    if not any(found.is_relative_to(root) for root in inside):
        raise Denied(f"Script path '{path}' is outside allowed directories")
    data, _ = read_whole(found, SCRIPT_BYTES)
    return parse(data)
