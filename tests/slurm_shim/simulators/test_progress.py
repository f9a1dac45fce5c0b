"""Progress out of the logs of simulators."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.simulators.progress import LogFollower, ProgressParser
from tests.slurm_shim.simulators.work_folders import read_simulator

SHIELDHIT = "Primary particle no."


@pytest.mark.parametrize(
    ("simulator", "lines", "found"),
    [
        ("shieldhit", [" Requested number of primaries NSTAT :       5000"], {"requested_primaries": 5000}),
        (
            "shieldhit",
            [f" {SHIELDHIT}   1250 ETR:   1 hour(s)  2 minute(s)  3 second(s)"],
            {"simulated_primaries": 1250, "estimated_s": 3723},
        ),
        ("shieldhit", [f" {SHIELDHIT} 7"], {"simulated_primaries": 7}),
        ("shieldhit", [" Run time:    0 hour(s)  0 minute(s)  4 second(s)"], {"ended": True}),
        ("shieldhit", [" something else 5000", ""], {}),
        ("fluka", ["        10        90        90  1.0E-03  1.0E+30        10"], {}),
        (
            "fluka",
            [" NEXT SEEDS:  181CD  0", "        10        90        90  1.0E-03  1.0E+30        10"],
            {"simulated_primaries": 10, "requested_primaries": 100},
        ),
        ("fluka", [" NEXT SEEDS:", " All cases handled", "* ====== End of FLUKA  run ====== *"], {"ended": True}),
        ("geant4", ["--> Event 400 starts with initial seeds (1,2)."], {"simulated_primaries": 400}),
        ("topas", ["Begin processing for Run: 0, History: 300"], {"simulated_primaries": 300}),
        (
            "dummy",
            [f" {SHIELDHIT}     500 ETR: 0 hour(s) 0 minute(s) 9 second(s)"],
            {"simulated_primaries": 500, "estimated_s": 9},
        ),
    ],
)  # fmt: skip
def test_lines(simulator: str, lines: list[str], found: dict[str, Any]) -> None:
    parser = ProgressParser(read_simulator(simulator)["progress"])
    said: dict[str, Any] = {}
    for line in lines:
        said.update(parser.parse_line(line))
    assert {name: value for name, value in said.items() if value is not None} == found


def test_a_log_is_read_on_from_where_it_ended(tmp_path: Path) -> None:
    moment = [0.0]
    parser = ProgressParser(read_simulator("shieldhit")["progress"])
    follower = LogFollower(tmp_path, "shieldhit_*.log", parser, lambda: moment[0])
    log = tmp_path / "shieldhit_0001.log"
    steps: list[tuple[str, str, dict[str, Any], float]] = [
        ("no log yet", "", {}, 1.0),
        ("half a line", f"{SHIELDHIT} 10", {}, 0.0),
        ("its end, which is more of the number", f"0\n{SHIELDHIT} 20", {"simulated_primaries": 100}, 0.0),
        ("nothing new", "", {}, 1.0),
        ("two lines", f"0\n{SHIELDHIT} 300\n", {"simulated_primaries": 300}, 0.0),
        ("a line without an end", "x" * 200_000, {}, 0.0),
        ("after it", f"\n{SHIELDHIT} 400\n", {"simulated_primaries": 400}, 0.0),
    ]
    for why, text, found, idle_s in steps:
        moment[0] += 1
        if text:
            with log.open("a") as file:
                file.write(text)
        assert (follower.read_progress(), follower.count_idle_s()) == (found, idle_s), why


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.log")
    follower = LogFollower(tmp_path, "*.log", ProgressParser(read_simulator("shieldhit")["progress"]), lambda: 0.0)
    assert follower.read_progress() == {}, "to open it would wait for a writer"


def test_the_newest_log_is_followed(tmp_path: Path) -> None:
    parser = ProgressParser(read_simulator("shieldhit")["progress"])
    follower = LogFollower(tmp_path, "run_*/x.log", parser)
    for number in (1, 2):
        (tmp_path / f"run_{number}").mkdir()
        path = tmp_path / f"run_{number}/x.log"
        path.write_text(f"{SHIELDHIT} {number}00\n")
        os.utime(path, (number, number))
        assert follower.read_progress() == {"simulated_primaries": number * 100}
