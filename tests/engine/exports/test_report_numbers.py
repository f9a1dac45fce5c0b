"""Where the numbers of a report come from: jobs of the period, in its partitions."""

from __future__ import annotations

from pathlib import Path

from engine.exports import cluster_reports, report_numbers
from tests.engine.exports.test_cluster_reports import NOW, begin, used
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous, job


@asynchronous
async def test_only_the_partitions_that_were_asked_for(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.used = [used("1", 600, partition="gpu"), used("2", 600, partition="main")]
        await world.show_queue(job("3", partition="main", start_time=NOW - 60, cpu_count=9))
        name = await begin(world, type="utilization", parameters={"partitions": ["gpu"], "period": "day"})
        report = report_numbers.open_numbers(world.server, world.store.reports.get(name), False)()
        assert [row[0] for row in report["tables"][1]["rows"]] == ["gpu"] and report["charts"] == []
        assert len(report["tables"][0]["rows"]) == 24


@asynchronous
async def test_of_a_job_counts_what_lies_in_the_period(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        # It ran for two hours around the end of the period, and ended after it.
        world.slurm.used = [used("1", 3600, start_time=NOW - 3 * 3600)]
        end = "1970-01-01T00:00:00Z".replace("1970-01-01T00:00:00", to_text(NOW - 2 * 3600))
        name = await begin(world, type="utilization", parameters={"end_date": end, "period": "day"})
        summary = dict(report_numbers.open_numbers(world.server, world.store.reports.get(name), False)()["summary"])
        assert (summary["CPU hours"], summary["Jobs ended"]) == (4.0, 0)
        assert cluster_reports.KIND == "cluster_report"


def to_text(epoch_s: int) -> str:
    from store.times import to_rfc3339

    return (to_rfc3339(epoch_s) or "").removesuffix("Z")
