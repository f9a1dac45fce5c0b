"""Metrics of the cluster: now, and over a period."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.monitoring import metrics
from slurm_shim.errors import SlurmUnreachable
from store.rules.monitoring.samples import Sample
from tests.engine.monitoring.test_sampler import NODE, begin_sampling, ended, make_slurm, sample
from tests.engine.servers.pretended import Slurm, open_server
from tests.pretended import asynchronous, job

NOON = 1_702_641_600  # 2023-12-15T12:00:00Z


@asynchronous
async def test_the_metrics_of_the_document(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        clock = await begin_sampling(world, float(NOON))
        rows = [
            ended("1", NOON + 30), job("2", "RUNNING", submit_time=NOON + 1, start_time=NOON + 41),
            job("8_[0-4]", "PENDING", submit_time=NOON - 3600, array_job_id=8, array_task_id="0-4"),
        ]  # fmt: skip
        await sample(world, NOON + 60.0, *rows)
        clock[0] = NOON + 120.0
        found = await metrics.build_cluster_metrics(world.server)
        assert found == {
            "timestamp": "2023-12-15T12:01:00Z",
            "cluster_utilization": {"cpu_percent": 25.0, "memory_percent": 50.0, "gpu_percent": None},
            "job_counts": {"RUNNING": 1, "PENDING": 5, "COMPLETED": 1, "FAILED": 0, "CANCELLED": 0},
            "node_counts": {"IDLE": 0, "MIXED": 1, "ALLOCATED": 0, "DOWN": 0, "DRAIN": 0},
            "queue_stats": {"avg_wait_time": "21s", "max_wait_time": "1h 2m", "throughput": 1.0},
        }


@asynchronous
async def test_what_happened_since_the_last_sample_counts_at_once(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        clock = await begin_sampling(world, float(NOON))
        await world.show_queue(ended("1", NOON + 30))
        world.server.sampler.follow_jobs(world.cluster, ["1"])
        clock[0] = NOON + 31.0
        found = await metrics.build_cluster_metrics(world.server)
        assert (found["job_counts"]["COMPLETED"], found["queue_stats"]["throughput"]) == (1, 1.0)


def read(answer: Any) -> Any:
    """Read the JSON of an answer."""
    return orjson.loads(answer.value.data)


@asynchronous
async def test_performance_is_that_of_the_cluster_in_force(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_slurm()) as world:
        clock = await begin_sampling(world, float(NOON))
        for at, cluster in ((NOON, "here"), (NOON + 60, "here"), (NOON + 30, "elsewhere")):
            world.server.sampler.index.add(
                Sample(at, cluster, cpus=(4, 8), submitted=3, ended=1, started=1, waited_s=8)
            )
        clock[0] = NOON + 3599.0
        found = read(metrics.get_performance_metrics(world.server, None, None, "1h"))
        assert (found["count"], found["interval"]) == (24, "1h")
        assert found["metrics"][-1] == {
            "timestamp": "2023-12-15T12:00:00Z", "cpu_utilization": 50.0, "memory_utilization": None,
            "gpu_utilization": None, "jobs_submitted": 6, "jobs_completed": 2, "avg_queue_time": 8,
        }  # fmt: skip
        assert found["metrics"][0]["cpu_utilization"] is None and found["metrics"][0]["jobs_submitted"] is None


@asynchronous
async def test_what_slurm_has_not_told_is_not_zero(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", "RUNNING"))
        found = await metrics.build_cluster_metrics(world.server)
        assert (found["node_counts"], found["job_counts"]["RUNNING"]) == (None, 1), "nodes could not be asked for"
    away = Slurm()
    away.failure = SlurmUnreachable("squeue", "Unable to contact slurm controller")
    async with open_server(tmp_path, slurm=away) as world:
        with pytest.raises(SlurmUnreachable, match="Unable to contact"):
            await metrics.get_cluster_metrics(world.server)


@asynchronous
async def test_nodes_that_are_no_part_of_the_cluster_now_do_not_count(tmp_path: Path) -> None:
    slurm = make_slurm()
    out = [{"state": "DOWN"}, {"state": "FUTURE"}, {"state": "INVAL"}, {"state": "IDLE", "flags": ["INVALID_REG"]}]
    slurm.node_rows = [NODE, *(NODE | {"name": f"o{place}"} | more for place, more in enumerate(out))]
    async with open_server(tmp_path, slurm=slurm) as world:
        await world.show_queue()
        found = await metrics.build_cluster_metrics(world.server)
        assert found["cluster_utilization"]["cpu_percent"] == 25.0
        assert (found["node_counts"]["DOWN"], found["node_counts"]["FUTURE"]) == (3, 1)
