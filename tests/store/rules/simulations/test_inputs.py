"""Input of simulations, by the definitions that ship: for what program it is, primaries and seeds in their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm_shim.simulators import run_task
from store.documents import SimulationTask
from store.errors import Invalid
from store.rules.simulations import inputs
from store.rules.simulations.simulators import Simulator, parse_simulator
from store.store import EXAMPLES

SIMULATORS: dict[str, Simulator] = {
    path.stem: parse_simulator(path.read_bytes(), path.stem) for path in (EXAMPLES / "simulators").glob("*.yaml")
}
BEAM = "RNDSEED      \t89736501     ! Random seed\nNSTAT           10000    -1 ! number of primaries\nNUCRE  0\n"
FLUKA = """\
TITLE
proton beam simulation
* ..+....1....+....2....+....3....+....4
BEAM           -0.15                                                  PROTON
RANDOMIZ         1.0       7.0
START         1000.0
STOP
"""


def check(sim_type: str, files: dict[str, str]) -> inputs.Input:
    """Look through the files."""
    return inputs.check_input(sim_type, SIMULATORS, files)


@pytest.mark.parametrize(
    ("why", "sim_type", "files", "file", "primaries"),
    [
        ("SHIELD-HIT's line", "shieldhit", {"beam.dat": BEAM, "geo.dat": "NSTAT 5"}, "beam.dat", 10_000),
        ("FLUKA's card", "fluka", {"info.json": "{}", "fl_sim.inp": FLUKA}, "fl_sim.inp", 1000),
        ("an exponent", "fluka", {"a.inp": "START          1.0E5\n"}, "a.inp", 100_000),
        ("a Fortran exponent", "fluka", {"a.inp": "START          2.D+3\n"}, "a.inp", 2000),
        ("an exponent without a point", "fluka", {"a.inp": "START            1E4\n"}, "a.inp", 10_000),
        ("a field that is not right-aligned", "fluka", {"a.inp": "START     50.\n"}, "a.inp", 50),
        ("a comment is no card", "fluka", {"a.inp": "*START         7.0\nSTART          50.0\n"}, "a.inp", 50),
        ("DOS lines", "fluka", {"a.inp": "TITLE\r\nSTART           50.\r\n"}, "a.inp", 50),
        (
            "TOPAS: the file with the number",
            "topas",
            {"a_geometry.txt": "s:Ge/x = 1", "run.txt": "i:So/Beam/NumberOfHistoriesInRun = 123 # all\n"},
            "run.txt",
            123,
        ),
        (
            "Geant4: the macro that runs",
            "geant4",
            {
                "init.mac": "/run/initialize\n",
                "run.mac": "/control/execute init.mac\n /run/beamOn 42\n",
                "g.gdml": "<x/>",
            },
            "run.mac",
            42,
        ),
        ("the dummy, on one line", "dummy", {"dummy.json": '{"layers": [], "primaries": 77}'}, "dummy.json", 77),
        ("not said", "shieldhit", {"beam.dat": "* none\n"}, "beam.dat", None),
    ],
)
def test_what_an_input_says(why: str, sim_type: str, files: dict[str, str], file: str, primaries: int | None) -> None:
    assert check(sim_type, files) == (file, primaries), why


@pytest.mark.parametrize(
    ("why", "sim_type", "files", "problem"),
    [
        ("no file", "shieldhit", {}, "an input has 1 to 1000 files"),
        (
            "the main file is missing",
            "shieldhit",
            {"geo.dat": ""},
            "shieldhit needs a file beam.dat (beam.dat, geo.dat",
        ),
        ("another program's", "fluka", {"beam.dat": BEAM}, "these files look like input for shieldhit"),
        ("two numbers", "shieldhit", {"beam.dat": BEAM * 2}, "line 2 of beam.dat and line 5 of beam.dat both say"),
        ("two files with one", "fluka", {"a.inp": FLUKA, "b.inp": FLUKA}, "line 6 of a.inp and line 6 of b.inp both"),
        ("no number", "fluka", {"a.inp": "START       many\n"}, "line 1 of a.inp: 'many' is no number of primaries"),
        ("an empty field", "fluka", {"a.inp": "START\n"}, "line 1 of a.inp: '' is no number"),
        ("none at all", "shieldhit", {"beam.dat": "NSTAT 0"}, "line 1 of beam.dat: 0 is no number of primaries"),
        ("less than none", "fluka", {"a.inp": "START          -10.\n"}, "-10. is no number"),
        ("without end", "fluka", {"a.inp": "START            inf\n"}, "'inf' is no number"),
        (
            "free format",
            "fluka",
            {"a.inp": "FREE\nSTART, 1000.\n"},
            "line 1 is not taken (FREE); see `refuse` in simulators/fluka",
        ),
        ("a shell", "geant4", {"run.mac": "/run/beamOn 1\n /control/shell rm x"}, "line 2 is not taken"),
        (
            "a shell in another file",
            "geant4",
            {"run.mac": "/run/beamOn 1", "x.txt": "\t/control/shell ls"},
            "is not taken",
        ),
        ("a command from a variable", "geant4", {"run.mac": "/control/{x} ls"}, "is not taken"),
        ("a path", "shieldhit", {"beam.dat": BEAM, "../x": ""}, "no name that a file of an input may have"),
        ("an absolute path", "shieldhit", {"beam.dat": BEAM, "/etc/passwd": ""}, "no name that a file"),
        ("an option", "shieldhit", {"beam.dat": BEAM, "--help": ""}, "no name that a file"),
        ("the folder above", "shieldhit", {"beam.dat": BEAM, "..": ""}, "no name that a file"),
        ("a line feed", "shieldhit", {"beam.dat": BEAM, "a\nb": ""}, "no name that a file"),
        ("NUL", "shieldhit", {"beam.dat": BEAM, "a\0": ""}, "no name that a file"),
        ("no name", "shieldhit", {"beam.dat": BEAM, "": ""}, "file names have 1 to 200 bytes"),
        ("a long name", "shieldhit", {"beam.dat": BEAM, "ä" * 101: ""}, "file names have 1 to 200 bytes"),
        ("a name of the task's own", "shieldhit", {"beam.dat": BEAM, "output.log": ""}, "no name that a file"),
        ("its folder of results", "shieldhit", {"beam.dat": BEAM, "pages": ""}, "no name that a file"),
        ("the same unfinished", "shieldhit", {"beam.dat": BEAM, ".pages": ""}, "no name that a file"),
        ("text that no file can hold", "shieldhit", {"beam.dat": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_wrong_input(why: str, sim_type: str, files: dict[str, str], problem: str) -> None:
    with pytest.raises(Invalid) as found:
        check(sim_type, files)
    assert problem in str(found.value), why


@pytest.mark.parametrize(
    ("why", "sim_type", "text", "primaries", "seed", "after"),
    [
        ("SHIELD-HIT: the seed is an argument", "shieldhit", BEAM, 250, 3, BEAM.replace("10000", "250")),
        (
            "FLUKA: both are right-aligned in their columns",
            "fluka",
            FLUKA,
            334,
            12,
            FLUKA.replace("START         1000.0", "START           334.").replace("1.0       7.0", "1.0      12.0"),
        ),
        (
            "FLUKA: the rest of a card stays",
            "fluka",
            "RANDOMIZ         1.0       7.0     X\nSTART          1.0E5       2.0\n",
            5,
            1,
            "RANDOMIZ         1.0       1.0     X\nSTART             5.       2.0\n",
        ),
        (
            "FLUKA: without a seed, a card before START",
            "fluka",
            "TITLE\nSTART         1000.0\nSTOP\n",
            1000,
            9,
            "TITLE\nRANDOMIZ         1.0       9.0\nSTART          1000.\nSTOP\n",
        ),
        (
            "FLUKA: a card that is too short, with DOS lines",
            "fluka",
            "RANDOMIZ         1.0\r\nSTART     10\r\n",
            5,
            2,
            "RANDOMIZ         1.0       2.0\r\nSTART             5.\r\n",
        ),
        (
            "TOPAS: a line at the end",
            "topas",
            "i:So/B/NumberOfHistoriesInRun = 10",
            5,
            4,
            "i:So/B/NumberOfHistoriesInRun = 5\ni:Ts/Seed = 4",
        ),
        (
            "TOPAS: the last line has its end",
            "topas",
            "i:So/B/NumberOfHistoriesInRun = 10 # n\n",
            5,
            4,
            "i:So/B/NumberOfHistoriesInRun = 5 # n\ni:Ts/Seed = 4\n",
        ),
        (
            "Geant4: the first of two seeds",
            "geant4",
            "/random/setSeeds 11 12\n/run/beamOn 100\n",
            50,
            2,
            "/random/setSeeds 2 12\n/run/beamOn 50\n",
        ),
        (
            "Geant4: a line before it runs",
            "geant4",
            "/x\n/run/beamOn 1",
            1,
            2,
            "/x\n/random/setSeeds 2 1\n/run/beamOn 1",
        ),
        ("nothing to set", "shieldhit", "* none", 5, 1, "* none"),
        ("no share", "shieldhit", BEAM, 0, 1, BEAM),
    ],
)
def test_places_of_values(
    tmp_path: Path, why: str, sim_type: str, text: str, primaries: int, seed: int, after: str
) -> None:
    simulator = SIMULATORS[sim_type]
    name = {"shieldhit": "beam.dat", "fluka": "a.inp", "topas": "a.txt", "geant4": "run.mac"}[sim_type]
    files = {name: text, "other": "START 1"}
    task = SimulationTask(task_id=1, seed=seed, requested_primaries=primaries)
    changed = inputs.build_task_files(simulator, files, task)
    assert changed == {name: after, "other": "START 1"}, why
    assert files[name] == text, "what was given stays"
    (tmp_path / "input").mkdir()
    for known, content in files.items():
        (tmp_path / "input" / known).write_bytes(content.encode())
    run_task.prepare_folder(tmp_path, tmp_path / "task", simulator.model_dump(), {"primaries": primaries, "seed": seed})
    there = {path.name: path.read_bytes().decode() for path in (tmp_path / "task").iterdir()}
    assert there == changed, "programs on the nodes do the same"
    assert run_task.find_main_file(simulator.model_dump(), tmp_path / "task") == name


def test_a_value_that_does_not_fit_its_columns() -> None:
    task = SimulationTask(task_id=1, seed=1, requested_primaries=1_234_567_890)
    with pytest.raises(Invalid, match=r"1234567890\. does not fit columns 11 to 20"):
        inputs.build_task_files(SIMULATORS["fluka"], {"a.inp": FLUKA}, task)
    task = SimulationTask(task_id=1, seed=10**9, requested_primaries=5)
    with pytest.raises(Invalid, match=r"1000000000\.0 does not fit columns 21 to 30"):
        inputs.build_task_files(SIMULATORS["fluka"], {"a.inp": FLUKA}, task)


def test_a_seed_in_a_file_that_is_not_there() -> None:
    simulator = SIMULATORS["geant4"].model_copy(update={"primaries": None})
    assert inputs.set_seed(simulator, {"run.mac": "/x\n"}, 3) == {"run.mac": "/x\n/random/setSeeds 3 1\n"}


def test_which_simulators_files_fit() -> None:
    assert inputs.list_fitting(SIMULATORS, {"beam.dat": "", "a.inp": "", "b.mac": ""}) == [
        "fluka",
        "geant4",
        "shieldhit",
    ]
    assert inputs.list_fitting(SIMULATORS, {"BEAM.DAT": ""}) == []


@pytest.mark.parametrize(
    ("why", "project", "primaries", "outputs"),
    [
        (
            "as the editor sends it",
            {"beam": {"numberOfParticles": 10_000}, "scoringManager": {"outputs": [{"name": "z"}, {"name": "a"}]}},
            10_000,
            ["z", "a"],
        ),
        ("a number with a point", {"beam": {"numberOfParticles": 1e4}}, 10_000, []),
        ("nothing of it", {}, None, []),
        ("something else", {"beam": 5, "scoringManager": {"outputs": {"name": "z"}}}, None, []),
        ("outputs without names", {"scoringManager": {"outputs": [{}, 5, {"name": 7}, {"name": "a"}]}}, None, ["a"]),
    ],
)
def test_projects(why: str, project: dict[str, Any], primaries: int | None, outputs: list[str]) -> None:
    assert inputs.find_project_primaries(project) == primaries, why
    assert inputs.list_project_outputs(project) == outputs, why


@pytest.mark.parametrize("number", [0, -1, "10", True, float("nan"), float("inf"), 10**16, [1]])
def test_wrong_numbers_in_projects(number: Any) -> None:
    with pytest.raises(Invalid, match="no number of primaries"):
        inputs.find_project_primaries({"beam": {"numberOfParticles": number}})
