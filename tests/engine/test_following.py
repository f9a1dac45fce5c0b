"""What follows the folders: the indexes know each document, and what is open is looked at."""

from __future__ import annotations

import time
from pathlib import Path

from store.documents import JobRecord
from store.kinds import Key
from tests.engine.servers.pretended import HERE, make_cell, make_sweep, open_server, to_cell_id
from tests.pretended import asynchronous

SWEEP = Key("sweep", "7")


@asynchronous
async def test_an_open_job_is_looked_at_until_it_ends(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        opened, folder = world.server.open_documents, world.store.jobs
        record = JobRecord(id="r", cluster=HERE, name="n", job_id="5", state="RUNNING")
        await folder.put("r", record)
        assert list(opened.get_job_ids(HERE)) == ["5"]
        assert opened.take([HERE], time.time()) == [Key("job", "r")]
        ended = {"state": "COMPLETED", "ended_at": "2026-01-01T00:00:00Z"}
        await folder.put("r", record.model_copy(update=ended))
        assert list(opened.get_job_ids(HERE)) == []
        entry = world.server.job_index.get(HERE, "5")
        assert entry is not None and entry.state == "COMPLETED"
        await folder.delete("r")
        assert world.server.job_index.get(HERE, "5") is None


@asynchronous
async def test_a_cell_that_ends_has_its_sweep_looked_at(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        opened, sweep = world.server.open_documents, make_sweep()
        await world.store.sweeps.put("7", sweep)
        await world.store.runs.put(to_cell_id(0), make_cell(0, status="running"))
        opened.take([HERE], time.time())
        await world.store.runs.put(to_cell_id(0), make_cell(0, status="failed"))
        assert SWEEP in opened.take([HERE], time.time())
        assert world.server.sweep_index.get_states(sweep) == {0: "failed"}
        await world.store.runs.delete(to_cell_id(0))
        assert world.server.sweep_index.get_states(sweep) == {}


@asynchronous
async def test_a_sweep_is_found_by_the_id_of_a_cell_until_it_is_deleted(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.put("7", make_sweep())
        assert world.server.sweep_index.find_cell(to_cell_id(2))[1] == 2
        await world.store.sweeps.delete("7")
        assert world.server.sweep_index.order == []


@asynchronous
async def test_what_was_there_before_the_start_is_followed_too(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.sweeps.put("7", make_sweep())
        await world.store.runs.put(to_cell_id(1), make_cell(1, status="running"))
    async with open_server(tmp_path) as world:
        assert world.server.sweep_index.get_states(make_sweep()) == {1: "running"}
        assert SWEEP in world.server.open_documents.take([HERE], time.time())
