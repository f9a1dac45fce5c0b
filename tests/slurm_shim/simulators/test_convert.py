"""Results of simulators become files of estimators."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.simulators import convert
from slurm_shim.simulators.pages import PagesReader, PagesWriter
from tests.slurm_shim.simulators.binary_files import write_bdo, write_usrbin
from tests.slurm_shim.simulators.test_tables import DOSE, MESH
from tests.slurm_shim.simulators.work_folders import (
    build_page,
    make_work,
    read_report,
    read_result,
    read_simulator,
    read_summary,
    run_program,
)

PLAIN = {"name": "dose", "metadata": {"a": "b"}, "pages": [build_page([1.0, 2.0], [0.1, 0.2])]}


@pytest.fixture
def pymchelper() -> None:
    """Go on only where pymchelper is; CI has it."""
    if convert.find_reader() is None:
        assert os.environ.get("CI") != "true", "pymchelper is among the dependencies of development"
        pytest.skip("pymchelper is not installed")


def convert_folder(folder: Path, form: str, files: list[str], inputs: set[str] | None = None) -> dict[str, Any]:
    """Convert what is in the folder; return estimators by file."""
    made = convert.convert_results({"form": form, "files": files}, folder, inputs or set(), 10)
    for path in made:
        PagesReader(path).close()
    return {path.name: json.loads(path.read_text()) for path in made}


@pytest.mark.parametrize("indent", [None, 2])
def test_plain_json_is_brought_into_lines(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "x.json").write_text(json.dumps(PLAIN, indent=indent))
    assert convert_folder(tmp_path, "pages", ["x.json"]) == {"dose.json": PLAIN}


def test_lines_are_only_linked(tmp_path: Path) -> None:
    with PagesWriter(tmp_path / "x.json", "dose", {"a": "b"}) as writer:
        writer.write_page(PLAIN["pages"][0])  # type: ignore[index]
    assert convert_folder(tmp_path, "pages", ["x.json"]) == {"dose.json": PLAIN}
    assert (tmp_path / "x.json").stat().st_nlink == 2


@pytest.mark.parametrize(("form", "text", "count"), [("geant4_csv", MESH, 1), ("topas_csv", DOSE, 2)])
def test_tables(tmp_path: Path, form: str, text: str, count: int) -> None:
    (tmp_path / "eDep.csv").write_text(text)
    found = convert_folder(tmp_path, form, ["*.csv"])
    assert list(found) == ["eDep.json"] and len(found["eDep.json"]["pages"]) == count


def test_the_input_is_no_result(tmp_path: Path) -> None:
    for name in ("in.json", "out.json"):
        (tmp_path / name).write_text(json.dumps(dict(PLAIN, name=name)))
    assert list(convert_folder(tmp_path, "pages", ["*.json"], {"in.json"})) == ["out.json.json"]


@pytest.mark.parametrize(
    ("why", "files", "problem"),
    [
        ("none", {}, "there is no result: no file is named *.json or *.est"),
        ("torn", {"a.json": "{"}, "a.json cannot be read: Expecting"),
        ("something else", {"a.json": "[]"}, "a.json cannot be read: it is no estimator with pages"),
        ("no pages", {"a.json": '{"name": "x"}'}, "a.json cannot be read: it is no estimator with pages"),
        ("no values", {"a.json": '{"pages": [{"data": {}}]}'}, "a.json cannot be read: a page has no values"),
        (
            "a name twice",
            {"a.json": json.dumps(PLAIN), "b.json": json.dumps(PLAIN)},
            "two estimators have the name dose",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, why: str, files: Mapping[str, str], problem: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(convert.NoResults) as refused:
        convert_folder(tmp_path, "pages", ["*.json", "*.est"])
    assert problem in str(refused.value), why
    assert not (tmp_path / "pages").exists()


@pytest.mark.usefixtures("pymchelper")
def test_a_file_of_shieldhit(tmp_path: Path) -> None:
    write_bdo(tmp_path / "dose_0007.bdo", 10, (1, 2, 3), [(2, [10.0, 20, 30, 40, 50, 60]), (1, [1.0, 2, 3, 4, 5, 6])])
    found = convert_folder(tmp_path, "convertmc", ["*.bdo"])["dose.json"]
    assert found["name"] == "dose" and found["metadata"]["number_of_primaries"] == "10"
    dose, count = found["pages"]
    assert dose["data"]["values"] == [1, 2, 3, 4, 5, 6], "per primary"
    assert count["data"]["values"] == [1, 2, 3, 4, 5, 6], "as it is"
    assert [page["metadata"]["merge"] for page in (dose, count)] == ["mean", "sum"]
    assert (dose["dimensions"], dose["metadata"]["data_order"], dose["metadata"]["page_number"]) == (2, "F", "0")
    assert dose["axis_dim1"] == {"name": "Position (Y)", "unit": "cm", "values": [0.5, 1.5]}
    assert dose["axis_dim2"] == {"name": "Position (Z)", "unit": "cm", "values": [0.5, 1.5, 2.5]}


@pytest.mark.usefixtures("pymchelper")
def test_a_file_of_fluka(tmp_path: Path) -> None:
    write_usrbin(tmp_path / "beam001_fort.21", 20, (1, 1, 4), [0.5, 0.25, 0.125, 0.0])
    found = convert_folder(tmp_path, "convertmc", ["*_fort.*"])["beam_fort.21.json"]
    assert found["metadata"]["number_of_primaries"] == "20"
    (page,) = found["pages"]
    assert page["data"] == {"name": "ENERGY", "unit": "MeV", "values": [500, 250, 125, 0]}
    assert (page["dimensions"], page["axis_dim1"]["name"]) == (1, "Position (Z)")


# pymchelper leaves a file open that it does not know.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("pymchelper")
@pytest.mark.parametrize("data", [b"", b"x", b"xSH12A", bytes(500)])
def test_a_broken_binary_file_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.bdo").write_bytes(data)
    with pytest.raises(convert.NoResults, match=r"a\.bdo cannot be read"):
        convert_folder(tmp_path, "convertmc", ["*.bdo"])


@pytest.mark.usefixtures("pymchelper")
def test_a_torn_file_of_shieldhit_is_told(tmp_path: Path) -> None:
    write_bdo(tmp_path / "a.bdo", 10, (1, 1, 3), [(2, [10.0, 20, 30])])
    path = tmp_path / "a.bdo"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(convert.NoResults, match="a page has 2 values for 3 bins"):
        convert_folder(tmp_path, "convertmc", ["*.bdo"])


@pytest.mark.usefixtures("pymchelper")
def test_a_scalar_of_shieldhit(tmp_path: Path) -> None:
    write_bdo(tmp_path / "a.bdo", 10, (1, 1, 1), [(2, [10.0])])
    (page,) = convert_folder(tmp_path, "convertmc", ["*.bdo"])["a.json"]["pages"]
    assert (page["dimensions"], page["data"]["values"]) == (0, [1])


@pytest.mark.usefixtures("pymchelper")
def test_tasks_of_shieldhit_are_merged_by_what_their_files_say(tmp_path: Path) -> None:
    """The second task simulated three times as much."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.slurm_shim.simulators.binary_files import write_bdo
seed = int(sys.argv[1])
count = 10 if seed == 1 else 30
pages = [(2, [count * float(seed)] * 2), (3, [float(seed)] * 2), (1, [5.0, float(seed)]), (0, [7.0, 8.0])]
write_bdo(Path(f"dose_{{seed:04d}}.bdo"), count, (1, 1, 2), pages)
"""
    definition = read_simulator("shieldhit") | {"command": ["{python}", "-c", code, "{seed}"]}
    work = make_work(tmp_path / "w", definition, {"beam.dat": "NSTAT 40\n"}, primaries=[10, 30])
    for number in (1, 2):
        ended = run_program(work, "run_task.py", str(work), str(number))
        assert ended.returncode == 0, ended.stderr
        assert read_report(work, number)["task_state"] == "COMPLETED"
    ended = run_program(work, "merge.py", str(work))
    assert ended.returncode == 0, ended.stderr
    assert [read_result(work, page=page)[0] for page in range(4)] == [[1.75] * 2, [1.75] * 2, [10, 3], [7, 8]]
    assert [len(estimator["pages"]) for estimator in read_summary(work)["estimators"]] == [4]
