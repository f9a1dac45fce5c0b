"""The rules together with the programs on the nodes: from an input to its merged results, without any cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import slurm_shim.simulators
from store.rules.simulations import advance, inputs, splitting, states
from store.rules.simulations.simulators import parse_simulator
from store.store import EXAMPLES
from store.views import yaptide
from tests.store.rules.simulations.samples import ID, array, make_run, make_simulation, merge, step_on

PROGRAMS = Path(slurm_shim.simulators.__file__).parent


def run_programs(work: Path, name: str, *arguments: str) -> list[int]:
    """Run one of the programs as jobs do, once for each argument at the same time; return the exit codes."""
    words = [sys.executable, str(PROGRAMS / name), str(work)]
    pipe = subprocess.DEVNULL
    begun = [subprocess.Popen([*words, *filter(None, [last])], stdout=pipe, stderr=pipe) for last in arguments]
    return [process.wait() for process in begun]


def simulate(work: Path, failing_seeds: list[int]) -> tuple[list[int], Any]:
    """Simulate ten primaries in three tasks; return the exit codes and the simulation as it ends."""
    simulators = {"dummy": parse_simulator((EXAMPLES / "simulators" / "dummy.yaml").read_bytes(), "dummy")}
    text = json.dumps({"primaries": 10, "layers": [{"material": "water", "thickness_cm": 20}], "bins": 10,
                       "failing_seeds": failing_seeds})  # fmt: skip
    looked = inputs.check_input("dummy", simulators, {"dummy.json": text})
    assert looked == ("dummy.json", 10)
    tasks = splitting.build_tasks(looked.primaries, splitting.count_tasks(3, looked.primaries), 1)
    simulation = make_simulation(tasks=tasks)
    (work / "input").mkdir(parents=True)
    (work / "input" / "dummy.json").write_text(text)
    (work / "simulator.json").write_text(simulators["dummy"].model_dump_json())
    rows = [{"task_id": task.task_id, "primaries": task.requested_primaries, "seed": task.seed} for task in tasks]
    plan = {"id": ID, "sim_type": "dummy", "platform": "direct", "tasks": rows, "outputs": [], "report_url": None}
    (work / "simulation.json").write_text(json.dumps(plan))
    codes = run_programs(work, "run_task.py", *(str(task.task_id) for task in tasks))
    merged = any(run_programs(work, "merge.py", ""))
    reports = {
        task.task_id: report
        for task in tasks
        if (report := states.parse_report(json.loads((work / "tasks" / f"{task.task_id:04d}.json").read_text())))
    }
    ends = {f"t{number}": "FAILED" if code else "COMPLETED" for number, code in enumerate(codes, 1)}
    run = make_run(array("FAILED" if any(codes) else "COMPLETED", **ends), merge("FAILED" if merged else "COMPLETED"),
                   status="failed" if any(codes) else "completed")  # fmt: skip
    simulation, _ = step_on(simulation, run, reports)
    summary = advance.parse_summary(json.loads((work / "summary.json").read_text()))
    simulation, _ = step_on(advance.record_results(simulation, summary), run, reports)
    return codes, simulation


@pytest.mark.parametrize(
    ("why", "failing_seeds", "ends", "state"),
    [
        ("all end well", [], ["COMPLETED", "COMPLETED", "COMPLETED"], "COMPLETED"),
        ("one fails half-way", [2], ["COMPLETED", "FAILED", "COMPLETED"], "FAILED"),
        ("all fail", [1, 2, 3], ["FAILED", "FAILED", "FAILED"], "FAILED"),
    ],
)
def test_from_input_to_results(tmp_path: Path, why: str, failing_seeds: list[int], ends: list[str], state: str) -> None:
    codes, simulation = simulate(tmp_path, failing_seeds)
    answer = yaptide.to_status_json(simulation)
    assert [bool(code) for code in codes] == [end != "COMPLETED" for end in ends], why
    assert ([row["task_state"] for row in answer["job_tasks_status"]], answer["job_state"]) == (ends, state)
    assert [row["requested_primaries"] for row in answer["job_tasks_status"]] == [4, 3, 3]
    assert answer.get("partial", False) is (0 < len(failing_seeds) < 3)
    if len(failing_seeds) == 3:
        return
    for facts in simulation.estimators:
        whole = json.loads((tmp_path / "results" / facts.file).read_bytes())
        assert [page.page_number for page in facts.pages] == list(range(len(whole["pages"])))
        numbers = [page.page_number for page in facts.pages]
        assert numbers == [int(page["metadata"]["page_number"]) for page in whole["pages"]]
        assert {page["dimensions"] for page in whole["pages"]} == {page.page_dimension for page in facts.pages}


def test_the_same_seeds_give_the_same_results(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        _codes, simulation = simulate(tmp_path / name, [])
        texts.append([(tmp_path / name / "results" / facts.file).read_bytes() for facts in simulation.estimators])
    assert texts[0] == texts[1] and texts[0]
