"""Work folders of simulations as the programs on nodes find them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slurm_shim.simulators import pages, read_programs
from store.rules.simulations.simulators import parse_simulator
from tests import ROOT

DUMMY = {"primaries": 100, "layers": [{"material": "water", "thickness_cm": 20}], "bins": 10, "map_bins": [4, 5]}


def read_simulator(name: str = "dummy", **changes: Any) -> dict[str, Any]:
    """Read a definition that comes with Sluice, as nodes get it."""
    data = (ROOT / f"store/examples/simulators/{name}.yaml").read_bytes()
    return parse_simulator(data, name).model_dump(mode="json") | changes


def make_work(
    folder: Path,
    simulator: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    primaries: Sequence[int] = (50, 50),
    **changes: Any,
) -> Path:
    """Make a work folder with one task for each number of primaries."""
    (folder / "input").mkdir(parents=True)
    (folder / "tasks").mkdir()
    (folder / "programs").mkdir()
    for name, data in read_programs().items():
        (folder / "programs" / name).write_bytes(data)
    for name, text in ({"dummy.json": json.dumps(DUMMY)} if files is None else files).items():
        (folder / "input" / name).write_text(text, newline="")
    tasks = [{"task_id": at, "primaries": count, "seed": at} for at, count in enumerate(primaries, 1)]
    simulation = {
        "id": "S",
        "sim_type": "dummy",
        "platform": "direct",
        "tasks": tasks,
        "outputs": [],
        "report_url": None,
    }
    (folder / "simulation.json").write_text(json.dumps(simulation | changes))
    (folder / "simulator.json").write_text(json.dumps(simulator))
    return folder


def run_program(work: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a plain file, as on a node."""
    words = [sys.executable, "-W", "error", str(work / "programs" / name), *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


def read_report(work: Path, task_id: int) -> dict[str, Any]:
    """Read what a task says of itself."""
    return json.loads((work / f"tasks/{task_id:04d}.json").read_text())


def put_task(
    work: Path,
    task_id: int,
    estimators: Mapping[str, Mapping[str, Any]],
    primaries: int = 1,
    state: str = "COMPLETED",
) -> None:
    """Put what a task leaves when it has ended."""
    report = {"task_id": task_id, "task_state": state, "requested_primaries": primaries}
    pages.write_json(work / f"tasks/{task_id:04d}.json", report | {"simulated_primaries": primaries, "reason": None})
    folder = work / f"tasks/{task_id:04d}/pages"
    folder.mkdir(parents=True)
    for name, estimator in estimators.items():
        with pages.PagesWriter(folder / f"{name}.json", name, dict(estimator.get("metadata", {}))) as writer:
            for page in estimator["pages"]:
                writer.write_page(page)


def build_page(
    values: Sequence[float | None], errors: Sequence[float | None] | None = None, merge: str | None = None
) -> dict[str, Any]:
    """Build a page of one dimension."""
    axis = {"name": "Z", "unit": "cm", "values": list(range(len(values)))}
    data = {"name": "Dose", "unit": "MeV/g", "values": list(values)} | ({"errors": list(errors)} if errors else {})
    return {"dimensions": 1, "axis_dim1": axis, "metadata": {"merge": merge} if merge else {}, "data": data}


def read_result(work: Path, name: str = "dose", page: int = 0) -> tuple[list[Any], list[Any] | None]:
    """Read the values and the errors of a merged page."""
    data = json.loads((work / f"results/{name}.json").read_text())["pages"][page]["data"]
    return data["values"], data.get("errors")


def read_summary(work: Path) -> dict[str, Any]:
    """Read what the merge says of its results."""
    return json.loads((work / "summary.json").read_text())


# What the system says of a child counts its parent's memory too, before the program begins; the program itself knows.
MEASURED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def measure_merge(work: Path) -> int:
    """Merge in a process of its own; return the most memory it had, in KB."""
    program = str(work / "programs/merge.py")
    environment = {"PYTHONPATH": str(work / "programs")}
    words = [sys.executable, "-c", MEASURED, program, str(work)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return int(ended.stdout.split("VmHWM:")[1].split()[0])
