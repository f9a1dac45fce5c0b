"""Sweeps made by hand, for tests of what a sweep is and what becomes of it."""

from __future__ import annotations

from typing import Any

from store.documents import Sweep
from store.rules import sweeps, workflows

NOW = 1_700_000_000.0


WORKFLOW = b"""\
name: train
args: {lr: 1, dataset: cifar10, out: "runs/{{ lr }}"}
jobs:
  - {name: fit, command: "echo {{ lr }}"}
"""


def make_sweep(matrix: dict[str, Any], body: dict[str, Any] | None = None, limit: int = 10_000, **wanted: Any) -> Sweep:
    """Make a new sweep over the workflow."""
    given = {"mount": None, "cluster": "embedded", "source": "web", "request_hash": "x"}
    workflow = workflows.parse_workflow(WORKFLOW, stem="train")
    return sweeps.build_sweep(workflow, WORKFLOW.decode(), {"matrix": matrix, **wanted}, body or {}, limit, given, NOW)
