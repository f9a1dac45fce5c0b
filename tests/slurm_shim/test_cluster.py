"""One cluster to ask: its name, and jobs that the last picture of the queue does not show."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.cluster import Cluster, choose_cluster, read_cluster_name
from slurm_shim.errors import SlurmUnreachable
from tests.pretended import Cluster as Pretended
from tests.pretended import asynchronous, job


@asynccontextmanager
async def cluster(min_s: float = 2.0) -> AsyncIterator[tuple[Cluster, Pretended]]:
    slurm = Pretended()
    with ThreadPoolExecutor(2) as executor:
        yield Cluster("slurm", slurm, executor, min_s), slurm  # type: ignore[arg-type]


AWAY = SlurmUnreachable("squeue", "Unable to contact slurm controller")


@pytest.mark.parametrize(
    ("why", "text", "name"),
    [
        ("as people write it", "ClusterName=tiny\n", "tiny"),
        ("in any case, with blanks", "# c\n  clustername = my-hpc_2 # mine\n", "my-hpc_2"),
        ("only a comment", "#ClusterName=no\n", ""),
        ("none at all", "SlurmctldHost=a\n", ""),
        ("bytes that are no text", "X=\udcff\nClusterName=odd\n", "odd"),
    ],
)
def test_the_name_in_slurm_conf(tmp_path: Path, why: str, text: str, name: str) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text(text, errors="surrogateescape")
    assert read_cluster_name(str(conf)) == name, why


def test_a_cluster_that_does_not_answer_goes_by_the_name_in_its_file(tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    assert choose_cluster("slurm", str(tmp_path), str(conf), "", None)[0] == "slurm", "nobody can say"
    conf.write_text("ClusterName=tiny\n")
    assert choose_cluster("slurm", str(tmp_path), str(conf), "", None)[0] == "tiny"


@asynchronous
async def test_the_name_is_learnt_as_soon_as_slurm_answers() -> None:
    async with cluster() as (made, slurm):
        slurm.failure = AWAY
        await made.snapshot.refresh()
        await made.resolve_missing([])
        assert made.name == "slurm"
        slurm.failure = None
        await made.snapshot.refresh()
        await made.resolve_missing([])
        assert made.name == "pretended"
        slurm.named = "another"
        await made.resolve_missing([])
        assert made.name == "pretended", "asked once"


@asynchronous
async def test_a_job_that_others_submitted_a_moment_ago_is_found() -> None:
    async with cluster(min_s=0.0) as (made, slurm):
        await made.snapshot.refresh()
        slurm.rows = [job("7"), job("8_0", raw_id=9, array_job_id=8, array_task_id="0")]
        assert ((await made.look_up_job("7")) or {})["job_id"] == "7"
        assert ((await made.look_up_job("9")) or {})["job_id"] == "8_0", "as the task calls itself"
        assert slurm.asked == [], "the queue knows enough"


@asynchronous
async def test_who_asks_for_one_job_makes_no_poll() -> None:
    async with cluster(min_s=3600.0) as (made, slurm):
        await made.snapshot.refresh()
        assert await made.look_up_job("7") is None
        slurm.rows = [job("8_[1-5]", "PENDING", array_job_id=8, array_task_id="1-5")]
        assert ((await made.look_up_job("8_3")) or {})["job_id"] == "8_3", "a task that waits with others"
        assert slurm.polls == 1


@asynchronous
async def test_accounting_knows_parts_by_either_number() -> None:
    async with cluster() as (made, slurm):
        await made.snapshot.refresh()
        slurm.accounted = [job("8_0", "COMPLETED", raw_id=9, array_job_id=8, array_task_id="0")]
        for job_id in ("8_0", "9"):
            assert ((await made.look_up_job(job_id)) or {})["job_id"] == "8_0"
        assert await made.look_up_job("10") is None


@asynchronous
async def test_nobody_is_told_no_while_slurm_does_not_answer() -> None:
    async with cluster() as (made, slurm):
        await made.snapshot.refresh()
        assert await made.look_up_job("7") is None
        slurm.failure = AWAY
        await made.snapshot.refresh()
        slurm.failure = None  # accounting still answers
        with pytest.raises(SlurmUnreachable):
            await made.look_up_job("7")
        slurm.accounted = [job("8", "COMPLETED")]
        assert ((await made.look_up_job("8")) or {})["state"] == "COMPLETED"


@asynchronous
async def test_whoever_stops_waiting_for_sbatch_concludes_nothing() -> None:
    async with cluster() as (made, slurm):
        began, go = threading.Event(), threading.Event()

        def sbatch(*_given: Any) -> str:
            began.set()
            go.wait(60)
            return "7"

        slurm.sbatch = sbatch  # type: ignore[method-assign]
        await made.snapshot.refresh()
        submitting = asyncio.create_task(made.sbatch("#!/bin/bash", {"comment": "sluice:a"}, {}))
        assert await asyncio.to_thread(began.wait, 60)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        await made.snapshot.refresh()  # a queue without the job, which sbatch may still be handing over
        assert made.by_tag("sluice:a", time.time())[0] == "unknown"
        go.set()
