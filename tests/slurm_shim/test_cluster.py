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
from slurm_shim.submissions import Submission
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

        slurm.sbatch = sbatch
        await made.snapshot.refresh()
        submitting = asyncio.create_task(made.sbatch("#!/bin/bash", {"comment": "sluice:a"}, {}))
        assert await asyncio.to_thread(began.wait, 60)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        await made.snapshot.refresh()  # a queue without the job, which sbatch may still be handing over
        assert made.by_tag(Submission("sluice:a"), time.time())[0] == "unknown"
        go.set()


TAG = f"sluice:{'a' * 32}"


def in_accounting(job_id: str, user: str = "ann", **more: Any) -> dict[str, Any]:
    return {"job_id": job_id, "user": user, "uid": 1, "submit_time": 5, "comment": None, "submit_line": TAG, **more}


async def seek(made: Cluster, ago_s: float) -> tuple[str, dict[str, Any] | None]:
    """What is found by a tag that another server used so long ago."""
    for _ in range(2):  # the first answer of the queue began before anybody asked
        await made.snapshot.refresh()
    submission = made.describe_submission(TAG, None, None, None)
    made.by_tag(submission, time.time() - ago_s)
    made._seek_again_at = 0.0
    await made.resolve_missing([])
    return made.by_tag(submission, time.time() - ago_s)


@pytest.mark.parametrize(
    ("why", "ago_s", "remembers_s", "change", "knowledge"),
    [
        ("the queue would still show it", 100.0, 300.0, {}, "absent"),
        ("the queue may have forgotten it", 100.0, 60.0, {}, "unknown"),
        ("nobody knows how long the queue remembers", 100.0, 0.0, {}, "unknown"),
        ("our clock was put back since", -100.0, 300.0, {}, "unknown"),
        ("accounting has it", 100.0, 60.0, {"submitted": [in_accounting("8_1")]}, "seen"),
        ("accounting has it, of another user", 100.0, 60.0, {"submitted": [in_accounting("8", "bob")]}, "unknown"),
        ("there is no accounting", 100.0, 60.0, {"accounting": False}, "lost"),
    ],
)
@asynchronous
async def test_what_a_tag_that_is_not_in_the_queue_means(
    why: str, ago_s: float, remembers_s: float, change: dict[str, Any], knowledge: str
) -> None:
    async with cluster(min_s=0.0) as (made, slurm):
        slurm.queue_remembers_s = remembers_s
        for name, value in change.items():
            setattr(slurm, name, value)
        found, row = await seek(made, ago_s)
        assert found == knowledge, why
        assert row is None or row["job_id"] == "8", "the whole, not a task of it"


@asynchronous
async def test_accounting_must_lack_a_tag_for_as_long_as_it_may_lag() -> None:
    async with cluster(min_s=0.0) as (made, slurm):
        slurm.queue_remembers_s = 5.0
        absence = made.snapshot.missing.absence
        clock = [0.0]
        absence._now = lambda: clock[0]
        assert (await seek(made, 100.0))[0] == "unknown"
        clock[0] = 59.0
        slurm.failure = AWAY
        made._seek_again_at = 0.0
        with pytest.raises(SlurmUnreachable):
            await made.resolve_missing([])
        slurm.failure = None
        clock[0] = 61.0
        assert (await seek(made, 100.0))[0] == "unknown", "accounting did not answer meanwhile, so time begins anew"
        clock[0] = 121.0
        assert (await seek(made, 100.0))[0] == "absent"


@asynchronous
async def test_a_job_that_came_and_went_while_its_tag_was_looked_for_is_found() -> None:
    async with cluster(min_s=0.0) as (made, slurm):
        submission = Submission(TAG)
        await made.snapshot.refresh()
        made._unsure_tags[TAG] = float("inf")  # sbatch may still be handing it over
        assert made.by_tag(submission, time.time())[0] == "unknown"
        slurm.rows = [job("7", comment=TAG)]
        await made.snapshot.refresh()
        slurm.rows = []
        await made.snapshot.refresh()
        found, row = made.by_tag(submission, time.time())
        assert found == "seen" and row is not None and row["job_id"] == "7"


@asynchronous
async def test_what_is_remembered_of_submissions_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm_shim.cluster._REMEMBERED", 3)
    async with cluster(min_s=0.0) as (made, slurm):
        tags = [f"sluice:{number:032x}" for number in range(6)]

        def take_too_long(*_arguments: object) -> str:
            raise SlurmUnreachable("sbatch", "timed out", uncertain=True)

        slurm.sbatch = take_too_long
        for tag in tags:
            with pytest.raises(SlurmUnreachable):
                await made.sbatch("#!/bin/sh\n", {"comment": tag}, {})
        await made.snapshot.refresh()
        for tag in tags:
            # Whatever is forgotten of it: the queue was asked while each of them may still have been on its way.
            assert made.by_tag(Submission(tag), time.time())[0] == "unknown"
        assert {len(kept) for kept in (made._unsure_tags, made._tried_at)} == {3}
        for tag in tags:
            made._settle_tag(tag, "absent")
        assert len(made._settled_tags) == 3
