"""The sampler: a line for each answer of SLURM, gaps where there is none, counts that outlive the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.monitoring import sampler
from engine.monitoring.sampler import TIDY_AFTER, Sampler
from slurm_shim.queue import answers
from store.rules.monitoring.samples import Sample, build_buckets, make_period, parse_sample
from tests.engine.servers.pretended import Slurm, World, open_server
from tests.pretended import asynchronous, job

NODE = {
    "name": "n1",
    "state": "MIXED",
    "flags": [],
    "usable": True,
    "cpus": 8,
    "cpus_allocated": 2,
    "memory_mb": 1000,
    "memory_allocated_mb": 500,
    "gpus": 0,
    "gpus_allocated": 0,
    "gpus_tracked": True,
    "partitions": ["main"],
}


def make_slurm() -> Slurm:
    """Make a cluster with one node."""
    slurm = Slurm()
    slurm.node_rows = [NODE]
    return slurm


async def begin_sampling(world: World, at: float) -> list[float]:
    """Begin sampling with a snapshot of this time, under a clock of the test's own, which is returned."""
    clock = [at]
    world.server.sampler = Sampler(world.store, lambda: world.cluster, lambda: clock[0])
    world.cluster.snapshot.taken_at_epoch = at
    await world.server.sampler.load()
    return clock


async def sample(world: World, at: float, *rows: Any) -> Sample | None:
    """Take a sample of a queue with these rows, asked for at this time."""
    await world.show_queue(*rows)
    world.cluster.snapshot.taken_at_epoch = at
    return await world.server.sampler.take_sample()


def ended(job_id: str, at: int) -> Any:
    """Make a job that ran for a second."""
    return job(job_id, "COMPLETED", submit_time=at - 3, start_time=at - 1, end_time=at)


@asynchronous
async def test_a_sample_holds_what_the_cluster_has_and_does(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        await begin_sampling(world, 1000.5)
        made = await sample(world, 1060.0, job("1", "RUNNING", submit_time=1001, start_time=1005), ended("2", 1050))
        assert made == Sample(
            1060.0,
            "here",
            cpus=(2, 8),
            memory_mb=(500, 1000),
            gpus=(0, 0),
            submitted=2,
            started=2,
            ended=1,
            waited_s=6.0,
            longest_wait_s=4.0,
            jobs={"RUNNING": 1},
            nodes={"MIXED": 1},
            finished={"COMPLETED": 1},
        )
        assert (tmp_path / "store" / "samples" / "1970-01-01.jsonl").read_bytes().count(b"\n") == 1
        assert await world.server.sampler.take_sample() is None, "the same answer again"


@asynchronous
async def test_there_is_no_sample_while_slurm_is_away(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        await world.server.sampler.load()
        await world.lose_cluster()
        assert await world.server.sampler.take_sample() is None
        assert not list((tmp_path / "store" / "samples").iterdir())


@asynchronous
async def test_nodes_that_are_not_told_are_null(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.server.sampler.load()
        made = await sample(world, 2e9, job("1", "RUNNING"))
        assert made and (made.cpus, made.memory_mb, made.gpus, made.nodes) == (None, None, None, {})


@asynchronous
async def test_counts_go_on_after_a_restart(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        await begin_sampling(world, 1000.0)
        await sample(world, 1060.0, ended("1", 1050), ended("2", 1055))
        await world.show_queue(ended("1", 1050), ended("2", 1055), ended("3", 1061))  # it ends before the next sample
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        await world.show_queue(ended("1", 1050), ended("2", 1055), ended("3", 1061), ended("4", 1100))
        await begin_sampling(world, 1110.0)
        made = await sample(world, 1120.0, ended("2", 1055), ended("3", 1061), ended("4", 1100))
        assert made and made.finished == {"COMPLETED": 4} and made.ended == 2
        assert [row.ended for row in world.server.sampler.index.list_rows("here", 0.0)] == [2.0, 2.0]


@asynchronous
async def test_a_disk_that_takes_nothing_costs_no_sample_in_memory(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        await world.server.sampler.load()
        (tmp_path / "store" / "samples").rmdir()
        (tmp_path / "store" / "samples").write_text("in the way")
        assert await sample(world, 2e9) is not None
        assert len(world.server.sampler.index.list_rows("here", 0.0)) == 1


@asynchronous
async def test_old_days_are_removed(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        world.store.config.samples.keep_days = 1
        clock = await begin_sampling(world, 1000.0)
        sampler = world.server.sampler
        await sample(world, 1001.0)
        clock[0] = 10 * 86_400.0
        sampler._taken = 0
        await sample(world, clock[0])
        assert [path.name for path in sampler.files.folder.iterdir()] == ["1970-01-11.jsonl"]


@asynchronous
async def test_retention_bounds_what_a_task_of_weeks_keeps(tmp_path: Path) -> None:
    """In memory and on the disk, also after a restart; SLURM was away on one of the days."""
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        world.store.config.samples.keep_days = 3
        clock = await begin_sampling(world, 86_400.0)
        sampler = world.server.sampler
        for hour in range(24 * 21):
            clock[0] = 86_400.0 + hour * 3600
            if 24 * 19 <= hour < 24 * 20:
                await world.lose_cluster()
                assert await sampler.take_sample() is None
            else:
                assert await sample(world, clock[0])
        # Old ones go with every sixtieth sample, whole days of them.
        most = (world.store.config.samples.keep_days + 1) * 24 + TIDY_AFTER
        rows = sampler.index.list_rows("here", 0.0)
        assert len(rows) <= most and rows[-1].at == clock[0]
        days = sorted(path.name for path in sampler.files.folder.iterdir())
        assert len(days) <= most / 24 + 1 and "1970-01-21.jsonl" not in days, "nothing of the day without SLURM"
        period = make_period("1970-01-21T00:00:00Z", "1970-01-21T23:59:59Z", "1d", clock[0])
        (gap,) = build_buckets(sampler.list_rows(world.cluster, period.first, period.end), period)
        assert {value for name, value in gap.items() if name != "timestamp"} == {None}
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        world.store.config.samples.keep_days = 3
        await begin_sampling(world, clock[0])
        assert [row.at for row in world.server.sampler.index.list_rows("here", 0.0)] == [
            row.at for row in rows if row.at >= clock[0] // 86_400 * 86_400 - 3 * 86_400
        ]


class Over(Exception):
    """The task has done enough."""


@asynchronous
async def test_the_task_takes_one_in_each_interval_and_goes_on_after_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        clock = await begin_sampling(world, 86_430.0)
        sampler, pauses = world.server.sampler, list[float]()
        folder, aside = sampler.files.folder, tmp_path / "aside"
        await world.show_queue()

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            clock[0] += seconds
            world.cluster.snapshot.taken_at_epoch = clock[0]
            if len(pauses) == 2:  # from now on nothing can be written
                folder.rename(aside)
                folder.write_text("in the way")
            if len(pauses) == 3:
                folder.unlink()
                aside.rename(folder)
            if len(pauses) == 5:
                raise Over

        pretended = SimpleNamespace(sleep=pause, to_thread=asyncio.to_thread)
        monkeypatch.setattr("engine.monitoring.sampler.asyncio", pretended)  # and nobody else's
        world.cluster.snapshot.taken_at_epoch = clock[0]
        with pytest.raises(Over):
            await sampler.run_forever()
        assert pauses == [30.0, 60.0, 60.0, 60.0, 60.0], "at whole minutes"
        assert [row.at for row in sampler.index.list_rows("here", 0.0)] == [86_430 + at for at in (0, 30, 90, 150, 210)]
        written = [parse_sample(line).at for line in (folder / "1970-01-02.jsonl").read_bytes().splitlines()]
        assert written == [86_430 + at for at in (0, 30, 150, 210)], "all but the one that there was no room for"


@asynchronous
async def test_very_many_jobs_are_counted_the_first_time_as_few_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = [
        *(ended(str(number), 1_000_020 - 60) for number in range(1, 8)),
        ended("8", 1_000_020),
        job("9", "PENDING"),
    ]
    found = []
    for most in (1000, 2):
        monkeypatch.setattr(sampler, "AT_ONCE", most)
        monkeypatch.setattr(answers, "TOLD_AT_ONCE", most)
        async with open_server(tmp_path / str(most), slurm=make_slurm()) as world:
            await world.show_queue(*queue)
            await begin_sampling(world, 1_000_020)
            first = await sample(world, 1_000_020, *queue)
            queue_now = [*queue[:-1], ended("9", 1_000_020), ended("10", 1_000_020)]
            found.append((first, await sample(world, 1_000_020 + 60, *queue_now)))
    assert found[0] == found[1] and found[0][1] is not None
    assert found[0][1].finished == {"COMPLETED": 10} and found[0][1].ended == 2
