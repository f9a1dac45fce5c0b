"""Binary results of SHIELD-HIT12A, which pymchelper reads on the nodes, from the program to the answer."""

from __future__ import annotations

import json
import os
import sys

import pytest

from slurm_shim.simulators import convert
from tests import ROOT
from tests.app.operations.yaptide.calls import find, submit
from tests.app_client import Client
from tests.slurm_shim.simulators.binary_files import write_bdo
from tests.waiting import eventually

pytestmark = pytest.mark.long

BEAM = "NSTAT       400    0       ! primaries\n"
# It takes what the test made, as the program of this seed leaves it, and tells that it is done.
PROGRAM = """
import pathlib, shutil, sys
seed, work = int(sys.argv[2]), pathlib.Path(sys.argv[3])
shutil.copy(pathlib.Path(__file__).with_name(f"{seed}.bdo"), work / f"dose_{seed:04d}.bdo")
print("done")
"""


@pytest.fixture(scope="module", params=["embedded"])
def cluster(request: pytest.FixtureRequest) -> str:
    """Tasks there have the Python of the server, and so pymchelper."""
    return str(request.param)


@pytest.mark.skipif(
    convert.find_reader() is None and os.environ.get("CI") != "true", reason="pymchelper is not installed"
)
def test_values_are_averaged_over_the_tasks(client: Client) -> None:
    place = client.store / "shieldhit"
    place.mkdir()
    for seed, values in ((1, [100.0, 300.0]), (2, [300.0, 900.0])):
        # Normalized by the primaries (2), as the program has summed them.
        write_bdo(place / f"{seed}.bdo", 200, (1, 1, 2), [(2, values)])
    (place / "shieldhit.py").write_text(PROGRAM)
    text = (ROOT / "store/examples/simulators/shieldhit.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("command:")]
    words = json.dumps([sys.executable, str(place / "shieldhit.py"), "-N", "{seed}", "{work}"])
    (client.store / "simulators" / "shieldhit.yaml").write_text("\n".join([*lines, f"command: {words}", ""]))
    known = client.server.store.simulators
    eventually(lambda: known.get("shieldhit").command[0] == sys.executable)
    answer = submit(client, sim_type="shieldhit", input_files={"beam.dat": BEAM, "geo.dat": "x"}, ntasks=2)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    eventually(lambda: find(client, job_id).settled_at, 60)
    ended = find(client, job_id)
    assert (ended.state, ended.error) == ("COMPLETED", None)
    page = client.get(f"/results?job_id={job_id}&estimator_name=dose&page_number=0").json()["page"]
    assert page["data"]["values"] == pytest.approx([1.0, 3.0])
    assert page["axis_dim1"]["values"] == [0.5, 1.5] and page["data"]["unit"] == "MeV/g/prim"
