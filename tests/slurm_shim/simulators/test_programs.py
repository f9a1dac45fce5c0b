"""The programs run on any cluster: with an old Python, the standard library, and nothing of Sluice."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from slurm_shim.simulators import read_programs
from tests import ROOT
from tests.slurm_shim.simulators.work_folders import make_work, read_report, read_simulator, read_summary, run_program

PROGRAMS = sorted(read_programs())
# What is used of the standard library is in that of 3.6 too; not there are dataclasses and contextvars, for example.
OLD = {
    "array", "collections", "contextlib", "datetime", "difflib", "fnmatch", "hashlib", "itertools", "json", "math",
    "operator", "os", "pathlib", "random", "re", "resource", "shutil", "signal", "subprocess", "sys", "threading",
    "time", "typing", "urllib",
}  # fmt: skip
# Names that came after 3.6, and would only be missed on a node.
LATER = {
    "removeprefix", "removesuffix", "is_relative_to", "with_stem", "readlink", "hardlink_to", "prod", "dist", "comb",
    "isqrt", "sumprod", "fma", "fromisoformat", "capture_output", "dirs_exist_ok", "missing_ok", "raise_signal",
    "cache", "pairwise", "batched", "process_group", "text",
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_needs_only_an_old_python(name: str) -> None:
    tree = ast.parse(read_programs()[name], name, feature_version=(3, 6))
    imported = {
        module.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for module in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert imported <= OLD | {other.removesuffix(".py") for other in PROGRAMS} | {"pymchelper"}
    # Annotations are evaluated where a class or function is defined, so they are of the old kind.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)]
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    assert not used & LATER


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_hides_a_module_of_the_standard_library(name: str) -> None:
    assert name.removesuffix(".py") not in sys.stdlib_module_names


def test_all_files_are_copied() -> None:
    there = {path.name for path in (ROOT / "slurm_shim/simulators").glob("*.py")} - {"__init__.py"}
    assert set(PROGRAMS) == there


def test_a_whole_simulation_runs_from_plain_files(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[34, 33, 33])
    for number in (3, 1, 2):
        ended = run_program(work, "run_task.py", str(work), str(number))
        assert (ended.returncode, ended.stderr) == (0, "")
        report = read_report(work, number)
        assert (report["task_state"], report["simulated_primaries"]) == ("COMPLETED", 34 if number == 1 else 33)
    ended = run_program(work, "merge.py", str(work))
    assert (ended.returncode, ended.stderr) == (0, "")
    summary = read_summary(work)
    assert [estimator["name"] for estimator in summary["estimators"]] == ["depth_dose", "energy_map", "totals"]
    assert (summary["simulated_primaries"], summary["tasks"], summary["partial"]) == (
        100, {"completed": 3, "failed": []}, False,
    )  # fmt: skip


def test_two_runs_give_the_same_to_the_bit(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        work = make_work(tmp_path / name, read_simulator())
        for number in (1, 2):
            run_program(work, "run_task.py", str(work), str(number))
        run_program(work, "merge.py", str(work))
        found.append({path.name: path.read_bytes() for path in (work / "results").iterdir()})
    assert found[0] == found[1] and len(found[0]) == 3
