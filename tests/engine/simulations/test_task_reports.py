"""Reports of tasks are read from the run's folder: when it is time, what changed, and nothing that is no report."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.server import Server
from engine.simulations import known_reports, task_reports
from slurm_shim.errors import SlurmUnreachable
from store.documents import Run, Simulation
from store.kinds import Key
from tests.engine.servers.opened import open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, array, make_run, make_simulation


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A server with one simulation, whose tasks write files."""

    def __init__(self, server: Server, work: Path) -> None:
        self.server, self.work, self.clock = server, work, Clock()
        server.task_reports.clock = self.clock
        self.simulation: Simulation = make_simulation()
        self.run: Run = make_run(array("RUNNING"), cluster="embedded", work_dir=str(work))

    def write(self, task_id: int, **fields: Any) -> None:
        """Write the file of a task as nodes do."""
        path = self.work / "tasks" / f"{task_id:04d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"task_id": task_id, "task_state": "RUNNING", **fields}))
        new.replace(path)

    async def read(self) -> dict[int, int]:
        """Read the reports; return the primaries that each tells of."""
        found = await task_reports.read_task_reports(self.server, self.simulation, self.run)
        return {task_id: report.simulated_primaries for task_id, report in found.items()}


@asynccontextmanager
async def make_world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_server(tmp_path / "store", cluster=True) as server:
        yield World(server, tmp_path / "work")


@asynchronous
async def test_reports_are_read_more_often_while_somebody_looks(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        assert await world.read() == {}, "no task has begun"
        world.write(1, simulated_primaries=3)
        world.clock.now += known_reports.UNSEEN_S - 0.1
        assert await world.read() == {}
        world.clock.now += 0.1
        assert await world.read() == {1: 3}
        await world.server.store.simulations.create(ID, world.simulation)
        world.server.open_documents.take([None], 1e12)
        task_reports.note_viewer(world.server, ID)
        assert Key("simulation", ID) in world.server.open_documents.take([None], 1e12), "it is looked at in time"
        world.write(1, simulated_primaries=4)
        world.clock.now += known_reports.LOOKED_AT_S
        assert await world.read() == {1: 4}
        world.write(1, simulated_primaries=5)
        world.clock.now += known_reports.LOOKING_S + 0.1
        assert await world.read() == {1: 4}, "nobody has looked for a while"


@asynchronous
async def test_what_a_task_said_last_is_read_as_soon_as_slurm_has_ended_it(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        world.write(1, simulated_primaries=3)
        world.write(2, simulated_primaries=3)
        assert await world.read() == {1: 3, 2: 3}
        world.write(1, task_state="FAILED", reason="no such material", simulated_primaries=4)
        world.write(2, simulated_primaries=4)
        world.run = make_run(array("RUNNING", t1="FAILED"), cluster="embedded", work_dir=str(world.work))
        assert await world.read() == {1: 4, 2: 4}
        world.write(2, simulated_primaries=5)
        assert await world.read() == {1: 4, 2: 4}, "once is enough"


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("torn", '{"task_id": 1, "task_st'),
        ("another task's", '{"task_id": 2, "task_state": "COMPLETED"}'),
        ("no object", "[1]"),
        ("too large", '{"task_id": 1, "reason": "' + "x" * 20_000 + '"}'),
        ("not text", "\udcff"),
        ("very deep", "[" * 8000),
    ],
)
@asynchronous
async def test_what_is_no_report_is_ignored_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, why: str, text: str
) -> None:
    caplog.set_level(logging.WARNING, "sluice")
    async with make_world(tmp_path) as world:
        world.write(1, simulated_primaries=3)
        await world.read()
        (world.work / "tasks" / "0001.json").write_bytes(text.encode(errors="surrogateescape"))
        for _ in range(2):
            world.clock.now += known_reports.UNSEEN_S
            assert await world.read() == {1: 3}, why
        assert [ID in record.message and "task 1" in record.message for record in caplog.records] == [True]


@asynchronous
async def test_a_cluster_that_cannot_be_asked_holds_up_only_ends(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        world.write(1, simulated_primaries=3)
        await world.read()
        world.clock.now += known_reports.UNSEEN_S
        world.run = world.run.model_copy(update={"cluster": "ssh:gone"})
        assert await world.read() == {1: 3}
        world.run = make_run(array("RUNNING", t1="COMPLETED"), cluster="ssh:gone", work_dir=str(world.work))
        for _ in range(2):
            with pytest.raises(SlurmUnreachable):
                await world.read()
