"""What programs of a simulation need in the work folder of its run.

simulation.json (the tasks with their primaries and seeds), simulator.json (the definition), update_key, programs/ and
input/. They are written before each submission of the tasks, so one that is repeated finds them too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.server import Server
from engine.simulations import update_keys
from slurm_shim.simulators import read_programs
from store.documents import Run, Simulation
from store.errors import Conflict
from store.jsons import dump_json
from store.rules.simulations.simulators import Simulator
from store.rules.simulations.states import TASKS


async def load_work_files(server: Server, run: Run, job: str) -> dict[str, bytes]:
    """Load the files that a job of a run needs; none but for simulations.

    By their names below its work folder. Raises Conflict where they are not there any more.
    """
    if run.simulation is None or job != TASKS:
        return {}
    simulation: Simulation = server.store.simulations.get(run.simulation)
    simulator: Simulator = server.store.simulators.get(simulation.sim_type)
    given = await asyncio.to_thread(read_input, server.store.join_path("simulations", simulation.id, "input"))
    if not given:
        raise Conflict(f"the input of simulation {simulation.id} is not there any more")
    about = {
        "id": simulation.id,
        "sim_type": simulation.sim_type,
        "platform": simulation.platform.lower(),
        "tasks": [
            {"task_id": task.task_id, "primaries": task.requested_primaries, "seed": task.seed}
            for task in simulation.tasks
        ],
        "outputs": simulation.outputs,
        "report_url": update_keys.find_report_url(server, run.cluster),
    }
    key = await update_keys.make_update_key(server, simulation.id)
    return {
        **{f"programs/{name}": data for name, data in read_programs().items()},
        **{f"input/{name}": data for name, data in given.items()},
        "update_key": key.encode(),
        "simulator.json": dump_json(simulator.model_dump()),
        # Last: with it the folder is complete.
        "simulation.json": dump_json(about),
    }


def read_input(folder: Path) -> dict[str, bytes]:
    """Read the input of a simulation; nothing where it is gone."""
    try:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    except FileNotFoundError:
        return {}
