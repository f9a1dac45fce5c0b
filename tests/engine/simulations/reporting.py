"""Simulations that tests write down, and what their workers send."""

from __future__ import annotations

import json
import uuid
from typing import Any

from engine.simulations.update_keys import make_update_key
from store.documents import Simulation, SimulationTask
from tests.app_client import Client


class Worker:
    """The programs of a simulation that has `count` tasks of 1000 primaries and is not moved on by the server."""

    def __init__(self, client: Client, count: int = 2, **more: Any) -> None:
        self.client, unique = client, str(uuid.uuid4())
        self.id = f"20261121-163917-{unique}DIRECT"
        tasks = [
            SimulationTask(task_id=number, seed=number, requested_primaries=1000) for number in range(1, count + 1)
        ]
        given = {
            "id": self.id, "owner": "ann", "platform": "DIRECT", "sim_type": "dummy", "input_type": "FILES",
            "run_id": unique, "created_at": "2026-11-21T16:39:17Z", "tasks": tasks, "is_begun": True,
        }  # fmt: skip
        self.put(Simulation.model_validate({**given, **more}))
        self.key = client.run(make_update_key(client.server, self.id))

    def put(self, simulation: Simulation) -> None:
        """Write the document."""
        self.client.run(self.client.server.store.simulations.put(self.id, simulation))

    @property
    def simulation(self) -> Simulation:
        """The document now."""
        found: Simulation = self.client.server.store.simulations.get(self.id)
        return found

    def post(self, path: str, **more: Any) -> Any:
        """Send a body with the id and the key, without credentials; what is None is left out."""
        body = {"simulation_id": self.id, "update_key": self.key} | more
        sent = {name: value for name, value in body.items() if value is not None}
        return self.client.post(path, content=json.dumps(sent).encode(), token=None)

    def report_task(self, task_id: int = 1, **update: Any) -> Any:
        """Send the update of a task."""
        return self.post("/tasks", task_id=task_id, update_dict=update)
