"""Simulations as a caller of HTTP leaves them: input files, and a document that waits."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.simulations.result_files import check_estimator
from slurm_shim.simulators.pages import PagesWriter
from store.documents import PageFacts, Simulation
from store.rules.simulations import advance
from store.rules.simulations.splitting import build_tasks
from tests import ROOT

# A small one, of which each task takes a fraction of a second.
DUMMY = {"primaries": 400, "layers": [{"material": "water", "thickness_cm": 20}], "bins": 10, "map_bins": [4, 5]}


def build_simulation(count: int, platform: str = "DIRECT", primaries: int = 400, **more: Any) -> Simulation:
    """Build a simulation of the dummy in so many tasks, begun by nobody yet."""
    simulation_id = advance.make_id(str(uuid.uuid4()), "BATCH" if platform == "BATCH" else "DIRECT", "20261121-163917")
    fields: dict[str, Any] = {
        "id": simulation_id, "owner": "ann", "title": "Water tank", "platform": platform, "cluster": "embedded",
        "sim_type": "dummy", "input_type": "FILES", "requested_primaries": primaries,
        "tasks": build_tasks(primaries, count, 1), "run_id": advance.make_run_id(simulation_id),
        "created_at": "2026-11-21T16:39:17Z",
    }  # fmt: skip
    return Simulation(**(fields | more))


def write_input(store: Path, simulation: Simulation, **changes: Any) -> None:
    """Write its input, which comes before the document."""
    folder = store / "simulations" / simulation.id / "input"
    folder.mkdir(parents=True)
    given = {**DUMMY, "primaries": simulation.requested_primaries, **changes}
    (folder / "dummy.json").write_text(json.dumps(given))


def write_simulator(store: Path, **changes: Any) -> None:
    """Write the definition of the dummy, with these changes."""
    text = (ROOT / "store/examples/simulators/dummy.yaml").read_text()
    (store / "simulators").mkdir(exist_ok=True)
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in changes.items())
    (store / "simulators" / "dummy.yaml").write_text(text + lines)


def write_document(store: Path, simulation: Simulation) -> None:
    """Write the document at once, as a server does."""
    place = store / "simulations" / f"{simulation.id}.json"
    made = place.with_suffix(".new")
    made.write_text(simulation.model_dump_json())
    made.replace(place)


def read_document(store: Path, simulation: Simulation) -> Simulation:
    """Read what the file says."""
    return Simulation.model_validate_json((store / "simulations" / f"{simulation.id}.json").read_bytes())


def read_results(store: Path, simulation: Simulation) -> dict[str, bytes]:
    """Read its results by name."""
    folder = store / "simulations" / simulation.id / "results"
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def write_estimator(path: Path, estimator: Mapping[str, Any]) -> list[PageFacts]:
    """Write an estimator as the merge does; return what its pages are."""
    with PagesWriter(path, estimator["name"], dict(estimator["metadata"])) as writer:
        for page in estimator["pages"]:
            writer.write_page(page)
    return check_estimator(path)
