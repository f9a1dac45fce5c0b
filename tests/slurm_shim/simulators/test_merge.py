"""The merge: exact, whatever the order of tasks, right when some of them failed, and small."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.simulators.merge import average_values, combine_rows, main, measure_spread, propagate_errors
from slurm_shim.simulators.pages import LINE_VALUES
from tests.slurm_shim.simulators.work_folders import (
    build_page,
    make_work,
    measure_merge,
    put_task,
    read_result,
    read_simulator,
    read_summary,
    run_program,
)

Page = dict[str, Any]


def make_tasks(folder: Path, found: Sequence[Page | None], primaries: Sequence[int], **changes: Any) -> Path:
    """Make tasks with one estimator of one page each; None for one that failed."""
    work = make_work(folder, read_simulator(**changes), primaries=primaries)
    for task_id, (page, count) in enumerate(zip(found, primaries, strict=True), 1):
        if page is not None:
            put_task(work, task_id, {"dose": {"pages": [page]}}, count)
    return work


# --- values and errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "found", "primaries", "values", "errors"),
    [
        ("equal tasks", [build_page([1, 2], [3, 0]), build_page([3, 6], [4, 0])], [5, 5], [2, 4], [2.5, 0]),
        # (2 * 1 + 1 * 4) / 3; sqrt((2 * 3) ** 2 + (1 * 8) ** 2) / 3
        ("weights", [build_page([1], [3]), build_page([4], [8])], [20, 10], [2], [10 / 3]),
        # No errors of their own: mean 2, variance 2, divided by the 2 tasks.
        ("spread", [build_page([1]), build_page([3])], [7, 7], [2], [1]),
        # Mean 2; sum of w (x - m) ** 2 = 2 * 1 + 1 * 4 = 6; 6 / (3 - 5 / 3) = 4.5; * 5 / 9 = 2.5
        ("weighted spread", [build_page([1]), build_page([4])], [2, 1], [2], [math.sqrt(2.5)]),
        ("errors of some only", [build_page([1], [9]), build_page([3])], [7, 7], [2], [1]),
        ("one task with errors", [build_page([1], [3])], [7], [1], [3]),
        ("one task without", [build_page([1])], [7], [1], None),
        ("one task failed", [build_page([1], [3]), None, build_page([3], [4])], [5, 90, 5], [2], [2.5]),
        ("sums", [build_page([1], [3], "sum"), build_page([4], [4], "sum")], [20, 10], [5], [5]),
        ("sums without errors", [build_page([1], None, "sum"), build_page([4], None, "sum")], [20, 10], [5], None),
        ("the first", [build_page([7], None, "first"), build_page([7], None, "first")], [20, 10], [7], None),
        ("a hole in one", [build_page([1, 2]), build_page([None, 4])], [5, 5], [1, 3], [None, 1]),
        ("a hole in both", [build_page([None], [None]), build_page([None], [None])], [5, 5], [None], [None]),
        ("a hole with errors", [build_page([1], [3]), build_page([None], [None])], [1, 2], [1], [3]),
        ("beyond all numbers", [build_page([1e308], [3]), build_page([1e308], [4])], [9, 9], [None], [2.5]),
        ("no value", [build_page([]), build_page([])], [5, 5], [], []),
        ("primaries unknown", [build_page([1], [3]), build_page([3], [4])], [0, 0], [2], [2.5]),
    ],
)  # fmt: skip
def test_values_and_errors(
    tmp_path: Path, why: str, found: list[Page | None], primaries: list[int], values: Any, errors: Any
) -> None:
    work = make_tasks(tmp_path / "w", found, primaries)
    assert main([str(work)]) == 0
    got = read_result(work)
    assert got[0] == values, why
    assert (got[1] is None) == (errors is None), why
    for error, wanted in zip(got[1] or [], errors or [], strict=True):
        assert error == (None if wanted is None else pytest.approx(wanted, rel=1e-15)), why


def test_the_definition_may_ask_for_sums(tmp_path: Path) -> None:
    work = make_tasks(tmp_path / "w", [build_page([1.0]), build_page([4.0])], [20, 10], merge="sum")
    main([str(work)])
    assert read_result(work) == ([5.0], None)


def test_pages_that_cannot_be_averaged_follow_each_other(tmp_path: Path) -> None:
    page = build_page([1.0, 2.0], None, "concatenate")
    work = make_tasks(tmp_path / "w", [page, page], [20, 10])
    main([str(work)])
    assert read_result(work) == ([1.0, 2.0, 1.0, 2.0], None)


def test_a_file_knows_its_primaries_best(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[10, 10])
    for task_id, (value, count) in enumerate([(1.0, "30"), (5.0, "10")], 1):
        dose = {"metadata": {"number_of_primaries": count}, "pages": [build_page([value])]}
        put_task(work, task_id, {"dose": dose}, 10)
    main([str(work)])
    assert read_result(work)[0] == [2.0]
    assert json.loads((work / "results/dose.json").read_text())["metadata"]["number_of_primaries"] == "40"


NUMBERS = st.floats(-1e30, 1e30, allow_subnormal=False)
TASKS = st.lists(st.tuples(NUMBERS, st.integers(1, 10**6)), min_size=1, max_size=8)


@given(TASKS)
def test_means_are_those_of_exact_arithmetic(tasks: list[tuple[float, int]]) -> None:
    row, weights = [value for value, _ in tasks], [weight for _, weight in tasks]
    exact = sum(Fraction(value) * weight for value, weight in tasks) / sum(weights)
    # Each product is rounded once, the sum of them once, the quotient once.
    bound = sum(abs(Fraction(value)) * weight for value, weight in tasks) / sum(weights) * Fraction(3, 2**53)
    assert abs(Fraction(average_values(weights)(row)) - exact) <= bound


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8), st.lists(st.integers(1, 2**10), min_size=8))
def test_numbers_that_need_no_rounding_are_exact(values: list[int], weights: list[int]) -> None:
    weights = weights[: len(values)]
    exact = Fraction(sum(value * weight for value, weight in zip(values, weights, strict=True)), sum(weights))
    assert average_values(weights)([float(value) for value in values]) == float(exact)


@given(TASKS, st.randoms(use_true_random=False))
def test_the_order_of_tasks_does_not_matter(tasks: list[tuple[float, int]], numbers: random.Random) -> None:
    other = list(tasks)
    numbers.shuffle(other)
    for combination in (average_values, propagate_errors, measure_spread):
        found = []
        for order in (tasks, other):
            rows, weights = [[value] for value, _ in order], [weight for _, weight in order]
            if combination is measure_spread:
                rows, weights = [*rows, combine_rows(rows, weights, average_values)], [*weights, 0]
            found.append(combine_rows(rows, weights, combination))
        assert found[0] == found[1]


# --- which tasks -----------------------------------------------------------------------------------------------------


def damage(work: Path, why: str) -> None:
    """Make the second of three tasks one that cannot be merged."""
    report, folder = work / "tasks/0002.json", work / "tasks/0002/pages"
    path = folder / "dose.json"
    said = json.loads(report.read_text())
    match why:
        case "failed":
            report.write_text(json.dumps(said | {"task_state": "FAILED", "reason": "its disk was full"}))
        case "killed":
            report.write_text(json.dumps(said | {"task_state": "RUNNING"}))
        case "never began":
            report.unlink()
        case "torn report":
            report.write_text(report.read_text()[:40])
        case "no primaries":
            report.write_text(json.dumps(said | {"simulated_primaries": 0}))
        case "no pages":
            path.unlink()
        case "torn pages":
            path.write_bytes(path.read_bytes()[:-40])
        case "torn line":
            path.write_bytes(path.read_bytes().replace(b"2.0", b"2.0,,"))
        case "zeros":
            path.write_bytes(b"\0" * 100)
        case "text for a number":
            path.write_bytes(path.read_bytes().replace(b"2.0", b'"x"'))
        case "fewer values":
            path.write_bytes(path.read_bytes().replace(b"2.0,2.0", b"2.0"))
        case "another unit":
            path.write_bytes(path.read_bytes().replace(b"MeV/g", b"Gy"))
        case "another axis":
            path.write_bytes(path.read_bytes().replace(b'"cm", "values": [\n0,1', b'"cm", "values": [\n0,2'))
        case "another estimator":
            path.rename(folder / "other.json")


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("failed", "its disk was full"),
        ("killed", "it is RUNNING"),
        ("never began", "it never began, or its report is gone"),
        ("torn report", "Unterminated string|Expecting"),
        ("no primaries", "it simulated no primaries"),
        ("no pages", "it has no result"),
        ("torn pages", "a line of numbers is torn|the file ends too early|a page does not"),
        ("torn line", "a line of numbers is torn"),
        ("zeros", "the file ends too early"),
        ("text for a number", "a value is not a number"),
        ("fewer values", "it has not as many values as task 1"),
        ("another unit", "its pages are not those of task 1"),
        ("another axis", "its pages are not those of task 1"),
        ("another estimator", "it has no dose.json"),
    ],
)
def test_what_cannot_be_merged_is_left_out(tmp_path: Path, why: str, reason: str) -> None:
    work = make_tasks(tmp_path / "w", [build_page([value] * 2) for value in (1.0, 2.0, 5.0)], [10, 20, 30])
    damage(work, why)
    assert main([str(work)]) == 0
    assert read_result(work)[0] == [4.0, 4.0], why
    summary = read_summary(work)
    assert summary["tasks"] == {"completed": 2, "failed": [2]} and summary["partial"] is True
    assert (summary["requested_primaries"], summary["simulated_primaries"]) == (60, 40)
    assert any(part in summary["problems"]["2"] for part in reason.split("|")), summary["problems"]
    assert [path.name for path in (work / "results").iterdir()] == ["dose.json"]


def test_a_torn_file_late_in_one_estimator_takes_the_task_out_of_all(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[10, 10])
    many = [1.0] * (LINE_VALUES * 3)
    for task_id in (1, 2):
        page = build_page([value * task_id for value in many])
        put_task(work, task_id, {"a": {"pages": [page]}, "b": {"pages": [page]}}, 10)
    path = work / "tasks/0002/pages/b.json"
    path.write_bytes(path.read_bytes()[:-2000])
    assert main([str(work)]) == 0
    assert read_result(work, "a")[0] == many and read_result(work, "b")[0] == many
    assert read_summary(work)["simulated_primaries"] == 10


def test_nothing_to_merge_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = make_tasks(tmp_path / "w", [None, None], [10, 10])
    (work / "results").mkdir()
    (work / "results/old.json").write_text("{}")
    assert main([str(work)]) == 1
    assert "there is nothing to merge" in capsys.readouterr().err
    assert read_summary(work)["estimators"] == [] and list((work / "results").iterdir()) == []


# --- names and pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "outputs", "names"),
    [
        ("files", [], ["a", "b"]),
        ("the editor's outputs, in the order of their names", ["Zone", "Mesh"], ["Mesh", "Zone"]),
        ("names that no file may have", ["../x", ".y"], ["_./x".replace("/", "_"), "_y"]),
        ("the same name twice", ["Dose", "Dose"], ["Dose", "Dose_"]),
        ("another number of outputs", ["Dose"], ["a", "b"]),
    ],
)
def test_estimators_have_their_names(tmp_path: Path, why: str, outputs: list[str], names: list[str]) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[10], outputs=outputs)
    put_task(work, 1, {"a": {"pages": [build_page([1.0])]}, "b": {"pages": [build_page([2.0])]}}, 10)
    assert main([str(work)]) == 0
    found = {estimator["name"] for estimator in read_summary(work)["estimators"]}
    assert found == {path.stem for path in (work / "results").iterdir()}, why
    if "/" not in "".join(outputs):
        assert [estimator["name"] for estimator in read_summary(work)["estimators"]] == names, why
    first = read_summary(work)["estimators"][0]["name"]
    assert (read_result(work, first)[0], json.loads((work / f"results/{first}.json").read_text())["name"]) == (
        [1.0], first,
    )  # fmt: skip


def test_pages_are_numbered_and_described(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[10])
    scalar = {"dimensions": 0, "data": {"name": "Energy", "unit": "MeV", "values": [1.0]}}
    put_task(work, 1, {"dose": {"pages": [build_page([1.0]), scalar]}}, 10)
    main([str(work)])
    assert read_summary(work)["estimators"] == [
        {
            "name": "dose",
            "pages": [
                {"page_number": 0, "page_name": "Dose", "page_dimension": 1},
                {"page_number": 1, "page_name": "Energy", "page_dimension": 0},
            ],
        }
    ]
    found = json.loads((work / "results/dose.json").read_text())["pages"]
    assert [page["metadata"]["page_number"] for page in found] == ["0", "1"]


def test_a_second_merge_gives_the_same(tmp_path: Path) -> None:
    work = make_tasks(tmp_path / "w", [build_page([1.0]), build_page([4.0])], [20, 10])
    assert run_program(work, "merge.py", str(work)).returncode == 0
    before = (work / "results/dose.json").read_bytes(), read_summary(work)
    assert run_program(work, "merge.py", str(work)).returncode == 0
    assert ((work / "results/dose.json").read_bytes(), read_summary(work)) == before


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_tasks(tmp_path: Path) -> None:
    numbers = random.Random(1)
    values = [numbers.random() for _ in range(40 * LINE_VALUES)]
    page = build_page(values, values)
    page["axis_dim1"]["values"] = values
    most = []
    for name, count in (("few", 2), ("many", 42)):
        work = make_work(tmp_path / name, read_simulator(), primaries=[10] * count)
        put_task(work, 1, {"dose": {"pages": [page]}}, 10)
        for task_id in range(2, count + 1):
            put_task(work, task_id, {}, 10)
            os.link(work / "tasks/0001/pages/dose.json", work / f"tasks/{task_id:04d}/pages/dose.json")
        most.append(measure_merge(work))
    # 40 tasks whole would be 40 * 3 * 40,960 numbers of 32 bytes, 157 MB; a line of each is 1.3 MB.
    assert most[1] - most[0] < 12_000, most
