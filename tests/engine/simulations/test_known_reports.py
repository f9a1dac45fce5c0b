"""What is known of tasks is kept while their simulation is open."""

from __future__ import annotations

from pathlib import Path

from engine.simulations import task_reports
from tests.engine.servers.opened import open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, make_simulation


@asynchronous
async def test_what_is_over_is_forgotten(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        for name in (ID, "other"):
            await server.store.simulations.create(name, make_simulation(id=name))
            task_reports.note_viewer(server, name)
        assert sorted(server.task_reports.known) == sorted([ID, "other"])
        await server.store.simulations.put(ID, make_simulation(settled_at="2026-11-21T16:39:17Z"))
        await server.store.simulations.delete("other")
        task_reports.note_viewer(server, ID)
        task_reports.note_viewer(server, "other")
        assert server.task_reports.known == {}
