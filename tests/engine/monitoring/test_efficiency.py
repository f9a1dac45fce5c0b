"""Which jobs the list of efficiencies has, and what it sums up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.monitoring import efficiency
from store.errors import Invalid
from tests.engine.servers.pretended import Slurm, open_server
from tests.pretended import asynchronous

USED = {
    "job_id": "1",
    "raw_id": "1",
    "name": "burn",
    "user": "ann",
    "partition": "main",
    "state": "COMPLETED",
    "gpus": 0,
    "submit_time": 1,
    "start_time": 1,
    "end_time": 0,
    "elapsed_s": 3600,
    "cpu_count": 4,
    "cpu_s": 7200.0,
    "memory_mb": 2048,
    "memory_used_mb": 1024.0,
    "cpu_efficiency": 0.5,
    "memory_efficiency": 0.5,
    "gpu_utilization": None,
}


class Accounting(Slurm):
    """A cluster whose accounting has some jobs."""

    def list_usage(self, _ids: None, _since_s: float) -> list[dict[str, Any]]:
        now = int(time.time())
        rows: list[dict[str, Any]] = [
            {},
            {"job_id": "2", "user": "bob", "cpu_s": None, "cpu_efficiency": None},
            {"job_id": "3", "partition": "gpu", "cpu_s": 0.0, "cpu_efficiency": 0.0, "elapsed_s": 7200},
            {"job_id": "4", "state": "RUNNING", "end_time": None},
            {"job_id": "5", "start_time": None},
            {"job_id": "6", "end_time": now - 90_000},
        ]
        return [{**USED, "end_time": now, **row} for row in rows]


CHOICES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("all that ended in the last 24 hours, the most wasteful first", {}, ["3", "1", "2"]),
    ("of a user", {"user": "bob"}, ["2"]),
    ("of users", {"user": "ann,bob"}, ["3", "1", "2"]),
    ("of a partition", {"partition": "gpu"}, ["3"]),
    ("that ran for long", {"min_runtime": "1:30:00"}, ["3"]),
    (
        "since another time",
        {"start_time": time.strftime("%Y-%m-%d", time.gmtime(time.time() - 172_800))},
        ["3", "1", "6", "2"],
    ),
    ("a page", {"limit": 1, "offset": 1}, ["1"]),
]


@pytest.mark.parametrize(("why", "given", "expected"), CHOICES, ids=[row[0] for row in CHOICES])
@asynchronous
async def test_choices(why: str, given: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=Accounting()) as world:
        asked = {
            "user": None,
            "partition": None,
            "min_runtime": None,
            "start_time": None,
            "limit": 100,
            "offset": 0,
        } | given
        found = orjson.loads((await efficiency.get_efficiency(world.server, **asked)).value.data)
        assert [row["job_id"] for row in found["jobs"]] == expected, why
        if not given:
            assert found["summary"] == {
                "count": 3,
                "avg_cpu_efficiency": 0.25,
                "avg_memory_efficiency": 0.5,
                "wasted_cpu_hours": 10.0,
            }
            assert found["jobs"][1]["max_memory_used"] == "1024MB" and found["jobs"][1]["requested_memory"] == "2GB"


@pytest.mark.parametrize("given", [{"min_runtime": "long"}, {"start_time": "2001-01-01"}, {"start_time": "2101-01-01"}])
@asynchronous
async def test_refusals(given: dict[str, Any], tmp_path: Path) -> None:
    async with open_server(tmp_path, slurm=Accounting()) as world:
        asked = {
            "user": None,
            "partition": None,
            "min_runtime": None,
            "start_time": None,
            "limit": 100,
            "offset": 0,
        } | given
        with pytest.raises(Invalid):
            await efficiency.get_efficiency(world.server, **asked)
