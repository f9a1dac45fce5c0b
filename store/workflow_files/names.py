"""The names that a workflow uses, and those that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.errors import MAX_SEARCHES, Invalid, make_problem, suggest_word
from store.rendering.renderer import Renderer
from store.rules.shapes import MAX_PROBLEMS, Loc, Problem, Workflow
from store.rules.workflows import pick_sample_args, plan_workflow


def refuse_unused_names(workflow: Workflow, body: Mapping[str, Any], renderer: Renderer) -> None:
    """Raise Invalid for args and axes that nothing in the workflow uses.

    They are those of a request's body; the axes are those of the file where the body has none. A name is used if it is
    among `args`, or in a template anywhere in the file. Blocks while the renderer works.
    """
    places: list[Loc] = [("body", "args_override", arg) for arg in body.get("args_override") or {}]
    if body.get("sweep"):
        places += [("body", "sweep", "matrix", axis) for axis in body["sweep"]["matrix"]]
    elif workflow.sweep:
        places += [("sweep", "matrix", axis) for axis in workflow.sweep.matrix]
    # That `deps` is reserved is said where args are planned.
    unknown = [place for place in places if place[-1] not in workflow.args and place[-1] != "deps"]
    if not unknown:
        return
    texts = renderer.find_names(workflow.model_dump(exclude={"sweep"}))
    known = {*workflow.args, *(name for names in texts.values() for name in names)}
    unused = [place for place in unknown if place[-1] not in known]
    problems = []
    for number, place in enumerate(unused[:MAX_PROBLEMS]):
        near = suggest_word(str(place[-1]), known) if number < MAX_SEARCHES else ""
        problems.append(make_problem(f"nothing in the workflow uses '{place[-1]}'{near}", place, type="unused"))
    if problems:
        raise Invalid(workflow.locate_problems(problems))


def list_warnings(workflow: Workflow, renderer: Renderer) -> list[Problem]:
    """List what is doubtful about a file that can be read.

    Its name may be another one, its templates may use names that only a run can give, its sweep may vary what nothing
    uses. Blocks while the renderer works.
    """
    warnings = workflow.list_warnings()
    sample = pick_sample_args(workflow)
    for check in (
        lambda: plan_workflow(workflow, args_override=sample, renderer=renderer),
        lambda: refuse_unused_names(workflow, {}, renderer),
    ):
        try:
            check()
        except Invalid as error:
            warnings += error.problems
    return warnings
