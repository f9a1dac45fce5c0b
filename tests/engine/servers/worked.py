"""A simulation whose run has worked, in folders that a test writes as nodes do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.server import Server
from engine.simulations import fetching
from slurm_shim.simulators import pages
from store.documents import Part, Run, Simulation
from store.times import to_rfc3339
from tests.engine.servers.opened import open_server
from tests.store.rules.simulations.samples import ID, RUN_ID, make_attempt, make_run, make_simulation, merge

PAGE = {
    "dimensions": 1,
    "axis_dim1": {"name": "Z", "unit": "cm", "values": [0.5, 1.5]},
    "metadata": {"page_number": "0"},
    "data": {"name": "Dose", "unit": "Gy", "errors": [0.1, 0.2], "values": [1.0, 2.0]},
}


class Worked:
    """A server with a simulation whose run worked in `work`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.work = server.store.join_path("work", RUN_ID)
        self.folder = server.store.join_path("simulations", ID)

    def write(self, name: str, data: str | bytes) -> Path:
        """Write a file of the work folder."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def write_results(self, *names: str, count: int = 1) -> None:
        """Write results of so many pages each, and their summary."""
        for name in names:
            (self.work / "results").mkdir(parents=True, exist_ok=True)
            with pages.PagesWriter(self.work / "results" / f"{name}.json", name, {"by": "us"}) as writer:
                for number in range(count):
                    writer.write_page({**PAGE, "metadata": {"page_number": str(number)}})
        self.write_summary([{"name": name, "pages": []} for name in names])

    def write_summary(self, estimators: Any, **more: Any) -> None:
        """Write what the merge says of its results."""
        self.write("summary.json", json.dumps({"estimators": estimators, "problems": {}, **more}))

    @property
    def simulation(self) -> Simulation:
        found: Simulation = self.server.store.simulations.get(ID)
        return found

    async def fetch(self) -> None:
        """Fetch the results of the simulation as it is now."""
        await fetching.fetch_results(self.server, self.simulation, self.server.store.runs.get(RUN_ID))

    def read_all(self, *parts: str) -> dict[str, str]:
        """Read the files of a folder of the simulation."""
        folder = self.folder.joinpath(*parts)
        return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}


@asynccontextmanager
async def make_worked(
    tmp_path: Path, tasks: str = "COMPLETED", merged: str | None = "COMPLETED", logs: Mapping[int, str] | None = None
) -> AsyncIterator[Worked]:
    """Make a simulation whose array and merge have ended so, with the array's logs by task."""
    async with open_server(tmp_path / "store", cluster=True) as server:
        worked = Worked(server)
        worked.work.mkdir(parents=True)
        attempt = make_attempt("7", tasks)
        attempt.parts = {
            f"7_{task}": Part(raw_id=task, state=tasks, stdout=str(worked.work / name))
            for task, name in (logs or {}).items()
        }
        collect = None if merged is None else merge(merged)
        if collect is not None:
            collect.stdout, collect.ended_at = str(worked.work / "collect.log"), to_rfc3339(1.0)
        run: Run = make_run(attempt, collect, cluster="embedded", work_dir=str(worked.work), status="completed")
        await server.store.runs.create(RUN_ID, run)
        await server.store.simulations.create(ID, make_simulation())
        yield worked
