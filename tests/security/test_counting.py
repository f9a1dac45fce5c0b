"""What a few bytes ask for is counted before it is made: of very much only the count is ever known."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from slurm_shim.embedded import arrays, hosts, times
from slurm_shim.ids import expand_hosts, expand_tasks, list_tasks
from store.deadlines import check_deadline, limit_computing
from store.documents import Sweep
from store.errors import COMPARED_CHARS, COMPARED_PAIRS, Invalid, suggest_word
from store.rules import matrix, sweeps, workflows
from store.workflow_files.words import join_templates

RANGE = {"range": [0, 10**6]}
WORKFLOW = "jobs: [{{name: a, command: x}}]\nsweep: {{matrix: {{{axes}}}}}\n"
LITTLE_BYTES = 10_000_000


@pytest.mark.parametrize(
    ("why", "work"),
    [
        ("a hundred axes", lambda: matrix.expand_matrix({f"a{n}": RANGE for n in range(100)}, 10_000)),
        ("axes in a file", lambda: parse_sweep(", ".join(f"a{n}: {{range: [0, 1000000]}}" for n in range(100)))),
        ("one axis", lambda: matrix.expand_matrix({"a": {"range": [0, 10**12]}}, 10_000)),
        ("one axis in a file", lambda: parse_sweep("a: {range: [0, 1000000000000]}")),
        ("tiny steps", lambda: matrix.expand_matrix({"a": {"range": [0, 1, 1e-12]}}, 10_000)),
        ("steps that are none", lambda: matrix.expand_matrix({"a": {"range": [0, 1, 0]}}, 10_000)),
        ("all numbers of a logspace", lambda: matrix.expand_matrix({"a": {"logspace": [1, 2, 10**300]}}, 10_000)),
        ("more than exclusions may take away", lambda: matrix.list_cells({"a": [0] * 10**4}, [{"a": 1}], 999)),
        ("array tasks", lambda: expand_tasks("0-999999999")),
        ("array tasks beyond any length", lambda: expand_tasks("1-99999999999999999999:1")),
        ("array tasks of an id", lambda: list_tasks("8_[0-9999999999999999999%1]")),
        ("array tasks with thousands of digits", lambda: expand_tasks("9" * 5000)),
        ("array tasks of the embedded cluster", lambda: arrays.parse_array("0-1999999999%1", 1 << 31)),
        ("array tasks, part by part", lambda: arrays.parse_array(",".join(["0-4000000"] * 9000), 1 << 31)),
        ("cells of a sweep's file", lambda: make_sweep(waiting="0-999999999999")),
        ("cells of a sweep's file, part by part", lambda: make_sweep(again=",".join(["0-99"] * 9000))),
        ("nodes", lambda: expand_hosts("n[1-1000000000]")),
        ("nodes beyond any length", lambda: expand_hosts("n[1-99999999999999999999]")),
        ("nodes by factors", lambda: expand_hosts("n[1-999]x[1-999]")),
        ("nodes of the embedded cluster", lambda: hosts.expand_hosts("n[1-1000000000]")),
        ("nodes of the embedded cluster, part by part", lambda: hosts.expand_hosts("n[1-60000]," * 50)),
        ("a time beyond the calendar", lambda: times.parse_time("now+999999999999999999weeks", 0)),
        ("a limit beyond the calendar", lambda: times.parse_limit_min("999999999999999999-0:00")),
    ],
)
def test_it_is_refused_before_it_is_made(why: str, work: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((Invalid, ValueError)):
            work()
        assert tracemalloc.get_traced_memory()[1] < LITTLE_BYTES, why
    finally:
        tracemalloc.stop()


def make_sweep(**more: Any) -> Sweep:
    """Make the document of a sweep of 100 cells."""
    names = dict.fromkeys(("id", "uid", "name", "workflow_name", "workflow_text", "started_at"), "x")
    return Sweep(**names, matrix={"a": list(range(100))}, cell_count=100, **more)


def parse_sweep(axes: str) -> None:
    """Parse a workflow whose sweep has these axes."""
    workflows.parse_workflow(WORKFLOW.format(axes=axes).encode())


def test_exclusions_are_looked_up_not_tried() -> None:
    axes = {"a": list(range(200)), "b": list(range(200))}
    exclude = [{"a": n, "b": m} for n in range(100) for m in range(99)] + [{"b": 199}, {}]
    with limit_computing(5):  # each entry with each cell would be 400 million comparisons
        cells = sweeps.list_cells(axes, exclude, 30_000)
        check_deadline()
    assert len(cells) == 200 * 200 - 100 * 99 - 200
    assert {"a": 0, "b": 99} in cells and {"a": 99, "b": 98} not in cells and {"a": 150, "b": 199} not in cells


def test_near_words_are_looked_for_within_bounds() -> None:
    asked = 0

    def list_known() -> Any:
        nonlocal asked
        for number in range(10**6):
            asked += 1
            yield f"{number:0128}"

    assert suggest_word("x" * 128, list_known()) == ""
    assert asked <= COMPARED_PAIRS // COMPARED_CHARS
    assert suggest_word("trian", ["t", "train" * 9, "train"]) == "; did you mean 'train'?"


@pytest.mark.parametrize(
    ("why", "work"),
    [
        ("values", lambda: workflows.parse_workflow(b"args: {a: [" + b"1," * 20_000 + b"1]}\njobs: []")),
        ("jobs", lambda: workflows.parse_workflow(b"jobs:\n" + b"- {name: a, command: [1, 2]}\n" * 900)),
        ("a template that never ends", lambda: join_templates(["{{"] * 5000)),
    ],
)
def test_what_takes_too_long_is_refused(why: str, work: Any) -> None:
    with limit_computing(0.01), pytest.raises(Invalid, match="too complicated"):
        work()


def test_a_limit_ends_with_its_block() -> None:
    with limit_computing(100):
        with limit_computing(0), pytest.raises(Invalid):
            check_deadline()
        check_deadline()
