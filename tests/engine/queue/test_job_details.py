"""One job: all that is known of it, who may read its script, and what is told where SLURM is silent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.queue import holds, job_details
from slurm_shim.errors import JobUnknown, SlurmDenied, SlurmUnreachable
from store import access
from store.errors import Denied, NotFound
from tests.engine.servers.pretended import CALLER, World, open_server
from tests.engine.test_jobs import record
from tests.pretended import asynchronous, job

WRITER, READER = (access.Caller(word, access.INCLUDED[word]) for word in ("write", "read"))
TAG = "sluice:0123456789abcdef0123456789abcdef"
USED = {
    "job_id": "7", "raw_id": "7", "state": "COMPLETED", "end_time": 200, "gpus": 0, "cpu_s": 12.338,
    "memory_used_mb": 213.08, "cpu_efficiency": 0.4113, "memory_efficiency": 0.4162, "gpu_utilization": None,
    "submit_line": f"sbatch --comment={TAG} --export=ALL,HF_TOKEN=hf_x a.sh",
}  # fmt: skip
ENDED = {"start_time": 100, "end_time": 200, "elapsed_s": 100}


async def get(world: World, job_id: str, caller: access.Caller = CALLER) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((await job_details.get_job(world.server, job_id, caller)).value.data)
    return found


@asynchronous
async def test_an_ended_job_with_what_it_used(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        own = {"comment": f"mine {TAG}", "tres": "cpu=2,mem=512M,gres/gpu=1", "batch_host": "n1", "exit_signal": 9}
        await world.show_queue(job("7", "FAILED", **ENDED, **own))
        world.slurm.used = [USED]
        found = await get(world, "7")
        assert found["resources"] == {
            "cpu_efficiency": 0.411, "memory_efficiency": 0.416, "gpu_utilization": None, "max_memory_used": "213MB",
            "max_cpu_time": "0.0034h", "unknown_because": None,
        }  # fmt: skip
        assert found["submit_line"] == "sbatch --export=ALL,HF_TOKEN=*** a.sh"
        assert (found["comment"], found["batch_host"], found["exit_signal"]) == ("mine", "n1", 9)
        assert found["tres"] == {"cpu": "2", "mem": "512M", "gres/gpu": "1"} and found["source"] == "queue"


NULLS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("it waits", job("7", "PENDING"), USED, "the job has not begun"),
    ("accounting is late", job("7"), USED | {"job_id": "6"}, "accounting does not know it yet"),
    ("a running job of somebody else", job("7"), USED | {"cpu_s": None, "memory_used_mb": None, "end_time": None},
     "SLURM tells what a running job uses to its owner and root only, and where it gathers that"),
    ("a cluster that gathers nothing", job("7", "COMPLETED", **ENDED), USED | {"cpu_s": None, "memory_used_mb": None},
     "its steps were not measured (JobAcctGatherType), or were too short for it"),
    ("too short to measure", job("7", "COMPLETED", **ENDED), USED | {"cpu_efficiency": None},
     "it ran for less than a second"),
    ("no memory was asked for", job("7", "COMPLETED", **ENDED), USED | {"memory_efficiency": None},
     "it asked for no amount of memory"),
    ("GPUs are not measured", job("7", "COMPLETED", **ENDED), USED | {"gpus": 2},
     "this cluster does not measure the use of GPUs"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "row", "used", "text"), NULLS, ids=[row[0] for row in NULLS])
@asynchronous
async def test_what_is_null_is_explained(
    tmp_path: Path, why: str, row: dict[str, Any], used: dict[str, Any], text: str
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(row)
        world.slurm.used = [used]
        assert (await get(world, "7"))["resources"]["unknown_because"] == text


@asynchronous
async def test_a_silent_accounting_breaks_nothing(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", "COMPLETED", **ENDED))
        world.slurm.database_failure = SlurmUnreachable("sacct", "Connection refused")
        found = await get(world, "7")
        assert found["resources"]["unknown_because"] == "accounting does not answer: sacct: Connection refused"
        assert (found["state"], found["submit_line"]) == ("COMPLETED", None)
        world.slurm.accounting = False
        assert (await get(world, "7"))["resources"]["unknown_because"] == "the cluster has no accounting"


@asynchronous
async def test_many_who_ask_cost_few_calls(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(*(job(str(number), "COMPLETED", **ENDED) for number in range(1, 9)))
        world.slurm.used = [USED | {"job_id": str(number)} for number in range(1, 9)]
        await asyncio.gather(*(get(world, str(number)) for number in range(1, 9) for _ in range(3)))
        assert len(world.slurm.usage_asked) <= 2 and sorted(
            job_id for ids in world.slurm.usage_asked for job_id in ids
        ) == list("12345678")
        await get(world, "1")
        assert len(world.slurm.usage_asked) <= 2


@asynchronous
async def test_an_array_as_a_whole_says_how_its_tasks_are(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        waiting = job("8_[3-6%2]", "PENDING", raw_id=8, array_job_id=8, array_task_id="3-6%2")
        running = job("8_2", raw_id=12, array_job_id=8, array_task_id="2")
        await world.show_queue(waiting, running)
        world.slurm.used = [USED | {"job_id": "8_2"}]
        whole = await get(world, "8")
        assert (whole["job_id"], whole["array_job_id"], whole["array_task_id"]) == ("8", "8", None)
        assert whole["array_tasks_summary"] == {"PENDING": 4, "RUNNING": 1}
        assert whole["resources"]["unknown_because"] == job_details.OF_TASKS and whole["submit_line"]
        task = await get(world, "8_2")
        assert (task["array_task_id"], task["array_tasks_summary"]) == (2, None)
        assert (await get(world, "8_5"))["array_tasks_summary"] is None


@asynchronous
async def test_a_job_of_ours_that_slurm_forgot_keeps_what_is_known(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounting = False
        await world.store.jobs.put("j", record("7", "COMPLETED", exit_code=0, submitted_at="2026-01-01T00:00:00Z"))
        found = await get(world, "7")
        assert (found["job_id"], found["state"], found["exit_code"], found["account"]) == ("7", "COMPLETED", 0, None)
        assert found["source"] == "sluice"
        world.slurm.accounting = True
        named = {"name": "ours", "submit_time": 1_767_225_600, "account": "lab", "source": "sacct"}
        world.slurm.accounted = [job("9", "COMPLETED", **named)]
        await world.store.jobs.put(
            "k", record("9", "COMPLETED", id="k", submitted_at="2026-01-01T00:00:00Z", stdout="/o")
        )
        found = await get(world, "9")
        assert (found["source"], found["account"], found["standard_output"]) == ("accounting", "lab", "/o")


@asynchronous
async def test_a_job_that_nobody_knows(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(NotFound):
            await get(world, "99")


# ---------------------------------------------------------------------------------------------------- the script

MAY_READ: list[tuple[str, access.Caller, str | None, bool]] = [
    ("who may submit as the same user", WRITER, "ann", True),
    ("who may only read", READER, "ann", False),
    ("a job of another user", WRITER, "bob", False),
    ("an administrator", CALLER, "bob", True),
    ("a user whom MUNGE vouches for", access.Caller("bob", frozenset(["read"]), "munge"), "bob", True),
    ("a token that has a user's name", access.Caller("bob", frozenset(["read"])), "bob", False),
]


@pytest.mark.parametrize(("why", "caller", "user", "may"), MAY_READ, ids=[row[0] for row in MAY_READ])
@asynchronous
async def test_who_may_read_scripts_and_environments(
    tmp_path: Path, why: str, caller: access.Caller, user: str, may: bool
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7", user=user))
        world.slurm.scripts = {"7": "#!/bin/sh\ntrue\n"}
        if may:
            answer = await job_details.read_script(world.server, "7", caller, "*/*")
            assert orjson.loads(answer.value.data) == {"job_id": "7", "script": "#!/bin/sh\ntrue\n", "source": "slurm"}
        else:
            with pytest.raises(Denied, match=f"belongs to user {user}"):
                await job_details.read_script(world.server, "7", caller, "*/*")


@asynchronous
async def test_our_own_record_of_a_script_comes_first(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.jobs.put("j", record("7", "COMPLETED", script="#!/bin/sh\nours\n"))
        answer = await job_details.read_script(world.server, "7", CALLER, "text/plain")
        assert answer.value.data == b"#!/bin/sh\nours\n" and answer.media_type == job_details.PLAIN
        asked = await job_details.read_script(world.server, "7", CALLER, "application/json, text/plain")
        assert orjson.loads(asked.value.data)["source"] == "sluice"


@pytest.mark.parametrize("problem", [SlurmDenied("scontrol", 0, "no"), JobUnknown("7")], ids=["refused", "gone"])
@asynchronous
async def test_what_slurm_says_of_a_script_is_told(tmp_path: Path, problem: Exception) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("7"))
        world.slurm.failure = problem
        with pytest.raises(type(problem)):
            await job_details.read_script(world.server, "7", CALLER, "")


@asynchronous
async def test_a_job_that_is_kept_follows_all_that_it_tells(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        kept = record("7", "PENDING", environment={"A": "b"})
        await world.store.jobs.create(kept.id, kept)
        await world.show_queue(job("7", "PENDING", reason="JobHeldUser", comment=kept.tag))
        first = await job_details.get_job(world.server, "7", WRITER)
        assert (await job_details.get_job(world.server, "7", WRITER)).value is first.value, "it was made once"
        assert (await get(world, "7", WRITER))["environment"] == {"A": "b"}
        assert (await get(world, "7", READER))["environment"] == {}, "the same job, for somebody else"
        await holds.keep_reason(world.server, world.server.cluster, ["7"], "wrong input", "ann")
        assert (await get(world, "7", WRITER))["hold_reason"] == "wrong input"
        await world.show_queue(job("7", "RUNNING", comment=kept.tag))
        assert (await get(world, "7", WRITER))["state"] == "RUNNING"
