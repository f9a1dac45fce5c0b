"""Tables of Geant4 and TOPAS as pages."""

from __future__ import annotations

import math
from typing import Any

import pytest

from slurm_shim.simulators.tables import Bad, read_geant4, read_topas

MESH = """\
# mesh name: boxMesh
# primitive scorer name: eDep
# iX, iY, iZ, total(value) [MeV], total(val^2), entry
0,0,0,1,1,1
0,0,1,2,4,1
0,0,2,6,20,2
"""
OLD_MESH = """\
# mesh name: cylMesh
# primitive scorer name: flux
# iZ, iPHI, iR, total(value) [percm2]
0,0,0,1
0,0,1,2
1,0,0,3
1,0,1,4
"""
DOSE = """\
# TOPAS Version: 3.9
# Parameter File: run.txt
# Results for scorer: Dose
# Scored in component: Phantom
# X in 2 bins of 0.5 cm
# Y in 1 bin  of 10 cm
# Z in 3 bins of 2 cm
# DoseToMedium ( Gy ) : Sum   Mean   Standard_Deviation   Maximum
0, 0, 0, 10, 1, 3, 9
0, 0, 1, 20, 2, 0, 9
0, 0, 2, 30, 3, 0, 9
1, 0, 0, 40, 4, 0, 9
1, 0, 1, 50, 5, 0, 9
1, 0, 2, 60, 6, 0, 9
"""
SPECTRUM = """\
# TOPAS Version: 3.9
# Results for scorer: Fluence
# Scored in component: Plane
# Fluence ( /mm2 ) : Sum
# Binned by incident track energy in 2 bins of 50 MeV from 0 MeV to 100 MeV
7, 1, 2, 8, 9
"""
SINGLE = "# TOPAS Version: 3.9\n# Scored in component: Plug\n# DoseToWater ( Gy ) : Sum   \n5.1e-10\n"


def test_a_mesh_of_geant4() -> None:
    (page,) = read_geant4(MESH, 10)
    assert page["data"]["values"] == [1, 2, 6] and page["data"]["unit"] == "MeV" and page["data"]["name"] == "eDep"
    assert (page["dimensions"], page["axis_dim1"]) == (1, {"name": "Z", "unit": "", "values": [0, 1, 2]})
    # 10 events: n / (n - 1) * (sum of squares - square of the sum / n)
    wanted = [math.sqrt((squares - total**2 / 10) * 10 / 9) for total, squares in ((1, 1), (2, 4), (6, 20))]
    assert page["data"]["errors"] == pytest.approx(wanted) and page["metadata"]["merge"] == "sum"


def test_several_quantities_of_geant4_in_one_file() -> None:
    first, second = read_geant4(MESH + OLD_MESH, 0)
    assert first["data"]["name"] == "eDep" and "errors" not in first["data"], "the number of events is not known"
    assert (second["data"]["name"], second["data"]["unit"], second["dimensions"]) == ("flux", "percm2", 2)
    assert [second[f"axis_dim{number}"]["name"] for number in (1, 2)] == ["Z", "R"]
    assert second["data"]["values"] == [1, 3, 2, 4], "the first axis runs fastest"


def test_a_table_of_topas() -> None:
    total, mean = read_topas(DOSE, 100)
    assert total["data"] == {
        "name": "DoseToMedium", "unit": "Gy", "values": [10, 40, 20, 50, 30, 60], "errors": [30, 0, 0, 0, 0, 0],
    }  # fmt: skip
    assert mean["data"]["values"] == [1, 4, 2, 5, 3, 6] and mean["data"]["errors"][0] == pytest.approx(0.3)
    assert [page["metadata"]["merge"] for page in (total, mean)] == ["sum", "mean"]
    assert total["axis_dim1"] == {"name": "X", "unit": "cm", "values": [0.25, 0.75]}
    assert total["axis_dim2"] == {"name": "Z", "unit": "cm", "values": [1, 3, 5]}


def test_a_spectrum_of_topas_without_what_is_beyond_its_bins() -> None:
    (page,) = read_topas(SPECTRUM, 100)
    assert page["data"]["values"] == [1, 2]
    assert page["axis_dim1"] == {"name": "incident track energy", "unit": "MeV", "values": [25, 75]}


def test_a_single_number_of_topas() -> None:
    (page,) = read_topas(SINGLE, 100)
    assert (page["dimensions"], page["data"]["values"]) == (0, [5.1e-10])


@pytest.mark.parametrize(
    ("why", "read", "text"),
    [
        ("empty", read_geant4, ""),
        ("no head", read_geant4, "0,0,0,1\n"),
        ("head only", read_geant4, MESH.split("0,0,0")[0]),
        ("another head", read_geant4, "# x\n0,0,0,1\n"),
        ("few columns", read_geant4, MESH.replace("0,0,1,2,4,1", "0,0,1")),
        ("no number", read_geant4, MESH.replace("0,0,1,2,4,1", "0,0,1,two,4,1")),
        ("a bin is missing", read_geant4, MESH.replace("0,0,1,2,4,1\n", "")),
        ("a bin below all", read_geant4, MESH.replace("0,0,1,2,4,1", "0,0,-1,2,4,1")),
        ("no bin", read_geant4, MESH.replace("0,0,1,2,4,1", "0,0,nan,2,4,1")),
        ("endless bins", read_geant4, MESH.replace("0,0,1,2,4,1", "0,0,1e300,2,4,1")),
        ("empty", read_topas, ""),
        ("neither sum nor mean", read_topas, DOSE.replace("Sum   Mean", "Minimum   Median")),
        ("a row of few columns", read_topas, SPECTRUM.replace("7, 1, 2, 8, 9", "7, 1")),
        ("a bin too many", read_topas, DOSE.replace("X in 2", "X in 1")),
        ("torn", read_topas, DOSE[:-30]),
        ("two tables", read_topas, DOSE + DOSE),
    ],
)
def test_what_is_no_table_is_refused(why: str, read: Any, text: str) -> None:
    with pytest.raises(Bad):
        read(text, 10)
