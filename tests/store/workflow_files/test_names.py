"""Args and axes that nothing in a workflow uses are refused; whatever a template mentions is used."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import Invalid
from store.rendering.renderer import Renderer
from store.rules.workflows import parse_workflow
from store.workflow_files.names import refuse_unused_names

TEXT = b"""\
args: {n: 1, out: "{{ root }}/x"}
default_project: "{{ project }}"
jobs:
  - name: a
    command: [echo, "{{ cfg.lr }}", "{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}"]
    environment: {env_vars: {SEED: "{{ seed | int }}"}}
  - {name: b, script_path: b.sh, script_vars: {size: "{{ size }}"}}
sweep: {matrix: {n: [1], m: [1, 2]}}
"""
USED = ["n", "out", "root", "project", "cfg", "xs", "seed", "size"]


@pytest.mark.parametrize(
    ("why", "body", "messages"),
    [
        ("all that is mentioned", {"args_override": dict.fromkeys(USED, 1), "sweep": {"matrix": {"xs": [1]}}}, {}),
        ("names of the template's own", {"args_override": {"x": 1, "loop": 1}, "sweep": {"matrix": {"n": [1]}}},
         {"body.args_override.x": "nothing in the workflow uses 'x'; did you mean 'xs'?",
          "body.args_override.loop": "nothing in the workflow uses 'loop'"}),
        ("an axis", {"sweep": {"matrix": {"sed": [1], "n": [1]}}},
         {"body.sweep.matrix.sed": "nothing in the workflow uses 'sed'; did you mean 'seed'?"}),
        ("an axis of the file", {}, {"sweep.matrix.m": "nothing in the workflow uses 'm'"}),
    ],
)  # fmt: skip
def test_what_nothing_uses_is_named(why: str, body: Any, messages: dict[str, str], renderer: Renderer) -> None:
    found = {}
    try:
        refuse_unused_names(parse_workflow(TEXT), body, renderer)
    except Invalid as error:
        found = {".".join(map(str, row["loc"])): row["msg"] for row in error.problems}
        assert all(row["line"] == (8 if row["loc"][0] == "sweep" else None) for row in error.problems)
    assert found == messages, why
