"""What tests of the YAPTIDE API have in common: inputs, documents, callers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx

from store.documents import EstimatorFacts, Simulation, SimulationTask
from tests.app_client import Client
from tests.engine.servers.written import write_estimator

PRIMARIES = 100
DUMMY = {"dummy.json": json.dumps({"primaries": PRIMARIES})}
BEAM = "NSTAT  1000  0  ! primaries\nRNDSEED 1\n"
MADE = "2026-11-21T16:39:17Z"
NUMBERS = itertools.count(1)
# What the documents have as the owner of what these callers submit.
OWNER = "token:write"
PAGE: dict[str, Any] = {
    "dimensions": 1,
    "axis_dim1": {"name": "Position (Z)", "unit": "cm", "values": [0.5, 1.5]},
    "metadata": {"page_number": "0"},
    "data": {"name": "Dose", "unit": "MeV/g", "values": [1, 2]},
}


def make_body(**changes: Any) -> dict[str, Any]:
    """Make the body of a submission; a field that is changed to ... is left out."""
    body: dict[str, Any] = {"sim_type": "dummy", "ntasks": 2, "input_type": "files", "input_files": DUMMY, **changes}
    return {key: value for key, value in body.items() if value is not ...}


def submit(client: Client, platform: str = "direct", **changes: Any) -> httpx.Response:
    """Submit a simulation."""
    answer: httpx.Response = client.post(f"/jobs/{platform}", make_body(**changes))
    return answer


def find(client: Client, job_id: str) -> Simulation:
    """The document of a simulation."""
    found: Simulation = client.server.store.simulations.get(job_id)
    return found


def write_simulation(client: Client, owner: str = OWNER, platform: str = "DIRECT", **changes: Any) -> str:
    """Write a document that nobody moves on, in any state; return its id."""
    run_id = f"0b5a9c1e-3b6f-4d0e-8f57-{next(NUMBERS):012x}"
    given = {
        "id": f"20261121-163917-{run_id}{platform}", "owner": owner, "title": "Water", "platform": platform,
        "cluster": client.cluster, "sim_type": "dummy", "input_type": "FILES", "run_id": run_id, "created_at": MADE,
        "requested_primaries": 10, "settled_at": MADE, "tasks": make_tasks("RUNNING", "PENDING"),
    }  # fmt: skip
    simulation = Simulation.model_validate(given | changes)
    client.run(client.server.store.simulations.create(simulation.id, simulation))
    return simulation.id


def make_tasks(*states: Any) -> list[SimulationTask]:
    """Make tasks in these states."""
    return [
        SimulationTask(task_id=number, seed=number, state=state, requested_primaries=5)
        for number, state in enumerate(states, 1)
    ]


def write_results(client: Client, job_id: str, name: str = "dose_", pages: int = 4, **data: Any) -> None:
    """Write an estimator of a simulation, and put it into its document."""
    made = [
        {**PAGE, "metadata": {"page_number": str(number)}, "data": {**PAGE["data"], **data}} for number in range(pages)
    ]
    path = client.store / "simulations" / job_id / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = write_estimator(path, {"name": name, "metadata": {"data_order": "F"}, "pages": made})
    before = find(client, job_id)
    estimators = [*before.estimators, EstimatorFacts(name=name, file=f"{name}.json", pages=facts)]
    after = before.model_copy(update={"estimators": estimators, "results": "there"})
    client.run(client.server.store.simulations.put(job_id, after))


def write_file(client: Client, job_id: str, name: str, text: str) -> None:
    """Write a file into the folder of a simulation."""
    path = client.store / "simulations" / job_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
