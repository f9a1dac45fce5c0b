"""What is done to jobs that have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.queue import job_actions
from slurm_shim.errors import JobFinished
from tests.engine.servers.pretended import CALLER, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous


@asynchronous
async def test_a_job_of_ours_that_ended_is_not_cancelled(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue()
        await world.store.jobs.put("j", record("7", "COMPLETED"))
        with pytest.raises(JobFinished, match="already finished"):
            await job_actions.cancel_job(world.server, "7", CALLER)
