"""The list of jobs before SLURM has answered, and jobs that it has forgotten."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.queue import job_list
from slurm_shim.errors import SlurmUnreachable
from tests.engine.servers.pretended import open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job


@asynchronous
async def test_before_the_first_answer_there_is_no_list(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.server.cluster.snapshot.taken_at = None
        with pytest.raises(SlurmUnreachable):
            job_list.list_jobs(world.server, 100, 0)


@asynchronous
async def test_a_job_of_ours_that_slurm_forgot_keeps_what_is_known(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("55"))
        await world.store.jobs.put("j", record("7", "COMPLETED", exit_code=0, submitted_at="2026-01-01T00:00:00Z"))
        found = orjson.loads((await job_list.get_job(world.server, "7")).value.data)
        first_row = orjson.loads(job_list.list_jobs(world.server, 100, 0).value.data)["jobs"][0]
        assert (found["job_id"], found["state"], found["exit_code"], found["account"]) == ("7", "COMPLETED", 0, None)
        assert list(found) == list(first_row) and first_row["job_id"] == "55"
