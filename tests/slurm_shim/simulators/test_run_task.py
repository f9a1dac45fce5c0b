"""One task: its input, its command, its progress, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.simulators import run_task
from store.errors import Invalid
from store.rules.simulations import inputs
from store.rules.simulations.simulators import Simulator, parse_simulator
from tests import ROOT
from tests.slurm_shim.simulators.work_folders import DUMMY, make_work, read_report, read_simulator, run_program
from tests.waiting import eventually

INPUTS: dict[str, dict[str, str]] = {
    "shieldhit": {"beam.dat": "JPART0 2\nNSTAT    10000   -1\n", "geo.dat": "x\n"},
    "fluka": {
        "fl_sim.inp": "TITLE\nBEAM         -0.15\n" + "START".ljust(10) + "1000.0".rjust(10) + "\nSTOP\n",
        "notes.txt": "START\n",
    },
    "geant4": {"run.mac": "/run/initialize\r\n/run/beamOn 1000\r\n", "b.mac": "/gun/energy 5\n"},
    "topas": {"topas_config.txt": 'i:So/Beam/NumberOfHistoriesInRun = 100\ns:Ge/World/Material = "Air"', "c.txt": ""},
    "dummy": {"dummy.json": json.dumps(DUMMY)},
}


def load_simulator(name: str) -> Simulator:
    """Load a definition that comes with Sluice."""
    return parse_simulator((ROOT / f"store/examples/simulators/{name}.yaml").read_bytes(), name)


def read_files(folder: Path) -> dict[str, str]:
    """Read the files of a folder as they are."""
    return {path.name: path.read_bytes().decode() for path in folder.iterdir() if path.is_file()}


def prepare(folder: Path, definition: dict[str, Any], files: dict[str, str], task: dict[str, Any]) -> dict[str, str]:
    """Prepare the folder of a task; return its files."""
    work = make_work(folder, definition, files)
    run_task.prepare_folder(work, work / "tasks/0001", definition, task)
    return read_files(work / "tasks/0001")


# --- input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INPUTS)
def test_the_input_is_what_the_server_would_make_of_it(tmp_path: Path, name: str) -> None:
    simulator, files = load_simulator(name), INPUTS[name]
    found = prepare(tmp_path / "w", read_simulator(name), files, {"task_id": 1, "primaries": 77, "seed": 12})
    assert found == inputs.set_seed(simulator, inputs.set_primaries(simulator, files, 77), 12)
    assert read_files(tmp_path / "w/input") == files, "the input of the other tasks stays"


LINES = st.lists(st.sampled_from(["A", "N 5", "N  50 x", "SEED 3", "R", "S", ""]), max_size=6)
PLACES = st.fixed_dictionaries(
    {
        "file": st.sampled_from(["a*", "b.dat", "*"]),
        "pattern": st.sampled_from([r"^N\s+(\d+)", r"^SEED (\d+)", "^(R)"]),
    },
    optional={
        "columns": st.sampled_from([[2, 9], [11, 14]]),
        "form": st.sampled_from(["{value}.0", "<{value}>"]),
        "missing_line": st.sampled_from(["N 1", "SEED 1", "R"]),
        "before": st.sampled_from(["^S", "^A"]),
    },
)


@given(LINES, LINES, st.sampled_from(["\n", "\r\n"]), PLACES, st.integers(1, 9999))
def test_places_are_those_of_the_server(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str], end: str, place: Any, value: int
) -> None:
    files = {"a.dat": end.join(first), "b.dat": end.join([*second, ""])}
    place = {"columns": None, "form": "{value}", "missing_line": None, "before": None} | place
    folder = tmp_path_factory.mktemp("task")
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    try:
        expected = inputs.set_value(inputs.Place.model_construct(**place), files, value, "a.dat")
    except Invalid:
        with pytest.raises(run_task.Failed, match="does not fit"):
            run_task.set_value(place, folder, value, "a.dat")
        return
    run_task.set_value(place, folder, value, "a.dat")
    assert read_files(folder) == expected


def test_without_a_number_of_primaries_the_input_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"beam.dat": "NSTAT 10\n"}
    task = {"task_id": 1, "primaries": 0, "seed": 1}
    assert prepare(tmp_path / "w", read_simulator("shieldhit"), files, task) == files
    assert "this task simulates all of them" in capsys.readouterr().err


@pytest.mark.parametrize(("why", "copies", "links"), [("linked", False, ["geo.dat"]), ("copied", True, [])])
def test_files_that_do_not_change_are_linked_or_copied(
    tmp_path: Path, why: str, copies: bool, links: list[str]
) -> None:
    definition = read_simulator("shieldhit", copies_input=copies)
    prepare(tmp_path / "w", definition, INPUTS["shieldhit"], {"task_id": 1, "primaries": 5, "seed": 1})
    assert [path.name for path in (tmp_path / "w/tasks/0001").iterdir() if path.is_symlink()] == links, why


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("shieldhit", ["shieldhit", "-N", "3", "WORK/tasks/0002"]),
        ("fluka", ["rfluka", "-N0", "-M1", "fl_sim.inp"]),
        ("geant4", ["geant4-app", "run.mac"]),
        ("topas", ["topas", "topas_config.txt"]),
        ("dummy", [sys.executable, "PROGRAMS/dummy.py", "--seed", "3", "dummy.json"]),
    ],
)
def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: list[str]) -> None:
    monkeypatch.setattr("shutil.which", lambda word: word)
    work = make_work(tmp_path / "w", read_simulator(name), INPUTS[name])
    task = {"task_id": 2, "primaries": 5, "seed": 3}
    folder = work / "tasks/0002"
    run_task.prepare_folder(work, folder, read_simulator(name), task)
    programs = str(Path(run_task.__file__).parent)
    expected = [word.replace("WORK", str(work)).replace("PROGRAMS", programs) for word in command]
    assert run_task.build_command(read_simulator(name), work, folder, task) == expected


# --- how it ends -----------------------------------------------------------------------------------------------------

RESULT = '{"name": "x", "metadata": {}, "pages": [{"dimensions": 0, "data": {"name": "n", "unit": "", "values": [1]}}]}'
WRITES = f"open('x.pages.json', 'w').write({RESULT!r})"


@pytest.mark.parametrize(
    ("why", "code", "changes", "state", "reason", "exit_code"),
    [
        ("all is well", WRITES, {}, "COMPLETED", None, 0),
        (
            "an exit code",
            "import sys; print('no beam'); sys.exit(3)",
            {},
            "FAILED",
            "ended with exit code 3: no beam",
            3,
        ),
        ("no log", "import os; os.remove('output.log'); os._exit(3)", {}, "FAILED", "ended with exit code 3", 3),
        ("a crash", "import os; os.kill(os.getpid(), 11)", {}, "FAILED", "ended by SIGSEGV", 139),
        ("no result", "pass", {}, "FAILED", "there is no result: no file is named *.pages.json", 1),
        ("a torn result", "open('x.pages.json', 'w').write('{')", {}, "FAILED", "x.pages.json cannot be read", 1),
        (
            "no program",
            "",
            {"command": ["no-such-program"]},
            "FAILED",
            "there is no program no-such-program here: install it, or correct `command` in simulators/dummy.yaml",
            127,
        ),
        ("a silent log", "import time; time.sleep(600)", {"idle_s": 0.01}, "FAILED", "did not grow for 0.01 s", 1),
        (
            "in spite of another's word",
            WRITES,
            {"results": {"form": "pages", "files": ["d*"]}},
            "FAILED",
            "no result",
            1,
        ),
    ],
)
def test_how_a_task_ends(
    tmp_path: Path, why: str, code: str, changes: dict[str, Any], state: str, reason: str | None, exit_code: int
) -> None:
    definition = read_simulator() | {"command": ["{python}", "-c", code], "seed": None} | changes
    work = make_work(tmp_path / "w", definition)
    ended = run_program(work, "run_task.py", str(work), "1")
    assert ended.returncode == exit_code, (why, ended.stderr)
    report = read_report(work, 1)
    assert (report["task_state"], report["exit_code"]) == (state, exit_code), why
    assert report["reason"] is None if reason is None else reason in report["reason"], report
    assert report["end_time"] and report["estimated_s"] is None
    assert (report["simulated_primaries"] == 50) is (state == "COMPLETED")
    assert "Traceback" not in ended.stderr


def test_what_the_simulator_prints_is_in_both_places(tmp_path: Path) -> None:
    code = f"import sys; print('to be read'); print('an error', file=sys.stderr); {WRITES}"
    work = make_work(tmp_path / "w", read_simulator() | {"command": ["{python}", "-c", code], "seed": None})
    ended = run_program(work, "run_task.py", str(work), "1")
    kept = (work / "tasks/0001/output.log").read_text()
    assert sorted(ended.stdout.split("\n")) == sorted(kept.split("\n")) == ["", "an error", "to be read"]


def test_a_second_attempt_begins_anew(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator())
    (work / "tasks/0001").mkdir()
    (work / "tasks/0001/old.pages.json").write_text("{")
    assert run_program(work, "run_task.py", str(work), "1").returncode == 0
    assert not (work / "tasks/0001/old.pages.json").exists()


FAMILY = """
import os, pathlib, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}\\n")
if STUBBORN: signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("ready").touch()
child.wait()
signal.pause()
"""


@pytest.mark.parametrize(
    ("why", "number", "stubborn"),
    [
        ("scancel", signal.SIGTERM, False),
        ("a person", signal.SIGINT, False),
        ("the time limit is near", signal.SIGUSR1, False),
        ("a simulator that does not listen", signal.SIGTERM, True),
    ],
)
def test_a_signal_ends_all_that_runs(tmp_path: Path, why: str, number: signal.Signals, stubborn: bool) -> None:
    code = f"STUBBORN = {stubborn}\n{FAMILY}"
    work = make_work(tmp_path / "w", read_simulator() | {"command": ["{python}", "-c", code], "seed": None})
    words = [sys.executable, str(work / "programs/run_task.py"), str(work), "1"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        eventually((work / "tasks/0001/ready").exists)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 128 + number, why
    report = read_report(work, 1)
    assert (report["task_state"], report["reason"]) == ("CANCELED", f"ended by {number.name}"), errors
    for pid in (work / "tasks/0001/pids").read_text().split():
        eventually(partial(is_gone, int(pid)))


def is_gone(pid: int) -> bool:
    """Return whether the process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_results_stay_where_no_reader_is(tmp_path: Path) -> None:
    """A node without pymchelper: whoever merges may have it."""
    if os.environ.get("CI") == "true":
        assert run_task.convert.find_reader(), "CI has pymchelper"
    code = "open('dose_0001.bdo', 'wb').write(b'x')"
    definition = read_simulator("shieldhit") | {"command": ["{python}", "-c", code], "seed": None, "primaries": None}
    work = make_work(tmp_path / "w", definition, {"beam.dat": "x"})
    (work / "programs/pymchelper.py").write_text("raise ImportError")
    ended = run_program(work, "run_task.py", str(work), "1")
    assert ended.returncode == 0, ended.stderr
    assert "the results are left as they are: pymchelper is not installed" in ended.stderr
    assert read_report(work, 1)["task_state"] == "COMPLETED" and not (work / "tasks/0001/pages").exists()
    merged = run_program(work, "merge.py", str(work))
    assert (merged.returncode, "pymchelper is not installed" in merged.stderr) == (1, True)
