"""What Prometheus reads of a server."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from engine.monitoring import alerts, prometheus
from store.documents.configuration import MetricsConfig
from store.rules.changes import Filter
from tests.engine.monitoring.test_sampler import NODE, begin_sampling, ended, make_slurm
from tests.engine.notify.test_deliveries import build_delivery
from tests.engine.servers.pretended import Slurm, World, make_cell, make_sweep, open_server
from tests.pretended import asynchronous, job

NOON = 1_702_641_600.0


def make_counted() -> Slurm:
    """Make a cluster whose programs were called."""
    slurm = make_slurm()
    slurm.partition_rows = [{"name": "main", "nodes": ["n1"]}]
    for failed in (False, False, True):
        slurm.calls.note_call("squeue", failed)
    return slurm


async def read(world: World) -> dict[tuple[str, ...], float]:
    """Read all values by name and labels."""
    text = (await prometheus.write_metrics(world.server)).value.decode()
    return {
        (sample.name, *(value for _name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynchronous
async def test_queue_nodes_and_calls_are_told(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_counted()) as world:
        await begin_sampling(world, NOON)
        await world.show_queue(
            job("1", "RUNNING", partition="main", user="ann"), job("2", "PENDING", partition="main,gpu", user="bob"),
            ended("3", int(NOON) + 5),
        )  # fmt: skip
        world.server.sampler.follow_jobs(world.cluster, None)
        found = await read(world)
        assert found["sluice_slurm_up",] == 1.0 and found["sluice_snapshot_age_seconds",] >= 0
        assert (found["sluice_slurm_calls_total", "squeue"], found["sluice_slurm_failures_total", "squeue"]) == (
            3.0,
            1.0,
        )
        assert (
            found["sluice_queue_jobs", "main", "RUNNING"] == 1.0
            and found["sluice_queue_jobs", "other", "PENDING"] == 1.0
        )
        assert found["sluice_ended_jobs_total", "COMPLETED"] == 1.0
        assert found["sluice_partition_cpus", "main", "allocated"] == 2.0
        assert found["sluice_cluster_memory_bytes", "total"] == 1000.0 * 2**20
        assert found["sluice_cluster_cpus", "allocated"] == 2.0
        assert found["sluice_nodes", "MIXED"] == 1.0 and found["sluice_store_problems",] == 0.0
        assert not [key for key in found if "ann" in key], "no names"
        world.store.config.metrics = MetricsConfig(by_user=True)
        assert (await read(world))["sluice_user_jobs", "RUNNING", "ann"] == 1.0


@asynchronous
async def test_what_the_store_holds_and_who_reads_is_told(tmp_path: Path) -> None:
    slurm = make_counted()
    slurm.node_rows = [NODE | {"gpus": 4, "gpus_allocated": 1}, NODE | {"name": "n2", "state": "DOWN", "usable": False}]
    async with open_server(tmp_path, slurm=slurm) as world:
        await begin_sampling(world, NOON)
        await world.show_queue()
        cell = make_cell(0, status="running")
        await world.store.sweeps.create("7", make_sweep(status="running"))
        await world.store.runs.put(cell.id, cell)
        await world.store.deliveries.create("1", build_delivery(1, status="abandoned"))
        await alerts.check_alerts(world.server)
        nobody = (await read(world))["sluice_event_readers",]
        async with world.server.changes.read(Filter()):
            found = await read(world)
    assert (nobody, found["sluice_event_readers",]) == (0.0, 1.0)
    assert (found["sluice_runs", "running"], found["sluice_sweeps", "running"]) == (1.0, 1.0)
    assert (found["sluice_deliveries", "abandoned"], found["sluice_alerts", "critical"]) == (1.0, 1.0)
    gpus = [found["sluice_partition_gpus", "main", state] for state in ("allocated", "idle")]
    assert gpus == [1.0, 3.0] and found["sluice_cluster_gpus", "total"] == 4.0
    assert found["sluice_store_failing",] == 0.0 and found["process_open_fds",] > 0


# Base units of the Prometheus conventions; what is counted has no unit.
UNITS = ("_seconds", "_bytes")
WRONG_ENDS = ("_mb", "_kb", "_ms", "_minutes", "_percent", "_count", "_created", "_sum")


@asynchronous
async def test_names_follow_the_conventions_and_labels_are_few(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_counted()) as world:
        await begin_sampling(world, NOON)
        await world.show_queue(*(job(str(number), "RUNNING", partition=f"p{number}") for number in range(50)))
        for status in (200, 404):
            world.server.requests.observe_request("s9s_list_nodes", status, 0.01)
        families = list(text_string_to_metric_families((await prometheus.write_metrics(world.server)).value.decode()))
        for family in families:
            assert re.fullmatch(r"(sluice|process)_[a-z]+(_[a-z]+)*", family.name), family.name
            assert not family.name.endswith(WRONG_ENDS) and family.documentation, family.name
            assert family.type != "counter" or all(sample.name.endswith("_total") for sample in family.samples)
            assert family.type != "histogram" or family.name.endswith(UNITS), family.name
            values = {tuple(sample.labels.items()) for sample in family.samples}
            assert len(values) <= 40, f"{family.name}: jobs of partitions that are none count as other"
        assert len({family.name for family in families}) == len(families)


@asynchronous
async def test_a_cluster_that_is_away_is_told(tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=make_counted()) as world:
        await begin_sampling(world, NOON)
        await world.lose_cluster()
        assert (await read(world))["sluice_slurm_up",] == 0.0
