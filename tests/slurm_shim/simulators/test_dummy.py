"""The simulator that comes with Sluice: right input only, believable physics, the log of SHIELD-HIT12A."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.simulators import dummy
from tests.slurm_shim.simulators.work_folders import DUMMY


def simulate(folder: Path, seed: int = 1, **changes: Any) -> tuple[int, list[str], dict[str, list[dict[str, Any]]]]:
    """Simulate; return the exit code, the log, and the pages of each estimator."""
    folder.mkdir(exist_ok=True)
    (folder / "dummy.json").write_text(json.dumps(DUMMY | changes))
    code = dummy.main(["--seed", str(seed), str(folder / "dummy.json")])
    log = (folder / f"shieldhit_{seed:04d}.log").read_text().splitlines()
    found = {path.name.split(".")[0]: json.loads(path.read_text())["pages"] for path in folder.glob("*.pages.json")}
    return code, log, found


def test_the_dose_has_a_peak_where_protons_stop(tmp_path: Path) -> None:
    _, _, found = simulate(tmp_path, primaries=300, bins=200)
    page = found["depth_dose"][0]
    depths, dose = page["axis_dim1"]["values"], page["data"]["values"]
    peak = depths[dose.index(max(dose))]
    assert 14.5 < peak < 16.0, "150 MeV have a range of 15.6 cm in water"
    assert max(dose) > 2.5 * dose[0]
    assert sum(dose[depth] for depth in range(200) if depths[depth] > 17.5) == 0
    fluence = found["depth_dose"][1]["data"]["values"]
    assert fluence[0] == 1.0 and all(before >= after for before, after in pairwise(fluence))


def test_energy_is_the_same_in_all_estimators(tmp_path: Path) -> None:
    _, _, found = simulate(tmp_path, map_width_cm=1000)
    width = DUMMY["layers"][0]["thickness_cm"] / DUMMY["bins"]  # type: ignore[index]
    deposited = found["totals"][0]["data"]["values"][0]
    assert sum(found["depth_dose"][0]["data"]["values"]) * width == pytest.approx(deposited)
    assert sum(found["energy_map"][0]["data"]["values"]) == pytest.approx(deposited)
    assert 100 < deposited < 155


def test_the_map_runs_across_first(tmp_path: Path) -> None:
    layers = [{"material": "water", "thickness_cm": 25}]
    _, _, found = simulate(tmp_path, layers=layers, beam_width_cm=0.01, map_bins=[3, 5], map_width_cm=3)
    page = found["energy_map"][0]
    assert [len(page[f"axis_dim{number}"]["values"]) for number in (1, 2)] == [3, 5]
    assert page["axis_dim1"]["values"] == [-2.0, 0.0, 2.0] and page["metadata"]["data_order"] == "F"
    rows = [page["data"]["values"][place : place + 3] for place in range(0, 15, 3)]
    assert all(row[1] > row[0] + row[2] for row in rows[:3]), "the beam goes through the middle"
    assert sum(rows[4]) == 0, "and ends before the last bin"


@pytest.mark.parametrize(
    ("why", "first", "second", "same"),
    [
        ("the same", {"seed": 4}, {"seed": 4}, True),
        ("another seed", {"seed": 4}, {"seed": 5}, False),
        ("other primaries", {"seed": 4}, {"seed": 4, "primaries": 99}, False),
    ],
)
def test_seeds(tmp_path: Path, why: str, first: Any, second: Any, same: bool) -> None:
    assert (simulate(tmp_path / "a", **first)[2] == simulate(tmp_path / "b", **second)[2]) is same, why


def test_errors_say_how_far_seeds_differ(tmp_path: Path) -> None:
    seeds = range(1, 21)
    totals = [simulate(tmp_path / str(seed), seed)[2]["totals"][0]["data"] for seed in seeds]
    values = [total["values"][0] for total in totals]
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    error = sum(total["errors"][0] for total in totals) / len(totals)
    assert 0.5 < spread / error < 2.0


def test_the_log(tmp_path: Path) -> None:
    _, log, _ = simulate(tmp_path, primaries=40)
    assert log[:3] == [
        " Random seed N : 1",
        " Requested number of primaries NSTAT : 40",
        " Primary particle no.       2 ETR: 0 hour(s) 0 minute(s) 0 second(s)",
    ]
    assert log[-1].startswith(" Run time: 0 hour(s)") and len(log) == 2 + 20 + 1


def test_pace_is_kept_without_hurry(tmp_path: Path) -> None:
    moment, lines = [0.0], []

    def sleep(seconds: float) -> None:
        moment[0] += seconds

    setup = dummy.parse_setup(json.dumps(DUMMY | {"pace": 2, "primaries": 20}))
    dummy.simulate(setup, 1, tmp_path, lines.append, lambda: moment[0], sleep)
    assert moment[0] == 10.0
    assert "Primary particle no.       5 ETR: 0 hour(s) 0 minute(s) 7 second(s)" in "".join(lines)
    assert lines[-1] == " Run time: 0 hour(s) 0 minute(s) 10 second(s)\n"


def test_a_seed_that_is_to_fail_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, log, found = simulate(tmp_path, 2, failing_seeds=[2, 7])
    assert (code, found) == (1, {}) and "no.      50" in log[-2]
    assert capsys.readouterr().err == "dummy: seed 2 is one of failing_seeds\n"


@pytest.mark.parametrize(
    ("why", "text", "problem"),
    [
        ("no JSON", "{", "Expecting"),
        ("no object", "[]", "the input is no JSON object"),
        ("no primaries", "{}", "does not say how many primaries"),
        ("a word that is near", '{"primaries": 1, "energi_mev": 5}', "there is no key energi_mev; is it energy_mev?"),
        ("a word that is not", '{"primaries": 1, "qqq": 5}', "there is no key qqq"),
        ("no number", '{"primaries": "1"}', "primaries is a number from 1 to 1e+09, not 1"),
        ("yes", '{"primaries": true}', "primaries is a number"),
        ("a fraction", '{"primaries": 1.5}', "primaries is a whole number"),
        ("too much", '{"primaries": 1, "bins": 1e99}', "bins is a number from 1 to 5e+06"),
        ("one bin too few", '{"primaries": 1, "map_bins": [5]}', "map_bins are two whole numbers"),
        ("no list", '{"primaries": 1, "map_bins": 5}', "map_bins are two whole numbers"),
        ("seeds", '{"primaries": 1, "failing_seeds": 5}', "failing_seeds is a list of whole numbers"),
        ("no layers", '{"primaries": 1, "layers": []}', "layers is a list of at least one layer"),
        ("layers", '{"primaries": 1, "layers": 7}', "layers is a list of at least one layer"),
        ("a layer", '{"primaries": 1, "layers": [{"material": "water"}]}', "a layer has a material and a thickness_cm"),
        ("material", '{"primaries": 1, "layers": [{"material": "x", "thickness_cm": 1}]}', "no material x, but air"),
        ("a material", '{"primaries": 1, "layers": [{"material": [], "thickness_cm": 1}]}', "there is no material []"),
        ("thickness", '{"primaries": 1, "layers": [{"material": "air", "thickness_cm": 0}]}', "1000 cm thick, not 0"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], why: str, text: str, problem: str
) -> None:
    (tmp_path / "dummy.json").write_text(text)
    assert dummy.main(["--seed", "1", str(tmp_path / "dummy.json")]) == 2, why
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--seed", "1"], ["--seed", "x", "dummy.json"], ["--seed", "-1", "dummy.json"], ["--seed", "1", "none"]],
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    assert dummy.main(arguments) == 2


def test_layers_follow_each_other(tmp_path: Path) -> None:
    layers = [{"material": "water", "thickness_cm": 5}, {"material": "aluminium", "thickness_cm": 15}]
    _, _, found = simulate(tmp_path, layers=layers, bins=40, primaries=1000)
    dose = found["depth_dose"][0]["data"]["values"]
    # Aluminium is 2.7 times as dense and stops 2.1 times as well.
    assert 0.6 < dose[10] / dose[9] < 0.95
    assert found["totals"][1]["data"]["values"] == [0.0]
