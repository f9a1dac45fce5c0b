"""Zones and summer time: a server's, SLURM's and a job's own never spoil a time or a duration."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.faults.wrapped import PROGRAMS, make_server
from tests.waiting import eventually

GATED = """\
name: gated
jobs:
  - {{name: a, command: 'touch {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done'}}
"""
# Half an hour off as well, and on the other side of the day.
SERVER_ZONE, SLURM_ZONE = "NZST-12", "NST3:30"


def make_zoned(folder: Path, cluster: str, server_zone: str, slurm_zone: str) -> Server:
    """Make a server in one zone, with SLURM's programs in another."""
    line = f'TZ="{slurm_zone}" exec {{program}} "$@"'
    server = make_server(folder, cluster, dict.fromkeys(PROGRAMS, line), TZ=server_zone)
    (server.store / "workflows" / "gated.yaml").write_text(GATED.format(folder=folder))
    return server


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def get_job(server: Server, run_id: str) -> dict[str, Any]:
    job: dict[str, Any] = server.http.get(f"/api/workflows/runs/{run_id}").json()["jobs"][0]
    return job


def check_times(job: dict[str, Any], before: float, names: tuple[str, ...]) -> None:
    """Each of the times is between `before` and now, and they follow each other."""
    times = [int(datetime.fromisoformat(job[name]).timestamp()) for name in names]  # SLURM's have whole seconds
    assert times == sorted(times), job
    assert before - 2 <= times[0] and times[-1] <= time.time() + 2, job


def read_elapsed(server: Server, job_id: str) -> int:
    """Read how many seconds the job has lasted."""
    row = server.http.get(f"/api/jobs/{job_id}").json()
    hours, minutes, seconds = (int(part) for part in row["elapsed_time"].split(":"))
    return hours * 3600 + minutes * 60 + seconds


def live(server: Server, folder: Path, until: float = 0) -> None:
    """Have a run begin, last until this time, and end; its times are those of this machine's clock."""
    before = time.time()
    run_id = server.http.post("/api/workflows/gated/run", json={}).json()["id"]
    eventually((folder / "begun").exists, 60)
    eventually(lambda: get_job(server, run_id)["status"] == "RUNNING")
    job = get_job(server, run_id)
    check_times(job, before, ("submitted_at", "started_at"))
    eventually(lambda: time.time() > until, 60)
    least_s = time.time() - datetime.fromisoformat(job["started_at"]).timestamp() - 1
    # Polled since then.
    eventually(lambda: read_elapsed(server, job["job_id"]) >= least_s)
    assert read_elapsed(server, job["job_id"]) <= time.time() - before + 2
    (folder / "gate").touch()
    run = eventually(
        lambda: (run := server.http.get(f"/api/workflows/runs/{run_id}").json())["status"] == "completed" and run, 60
    )
    check_times(run["jobs"][0], before, ("submitted_at", "started_at", "ended_at"))
    check_times(run, before, ("started_at", "completed_at"))


def test_the_server_and_slurm_are_in_different_zones(cluster: str, tmp_path: Path, servers: list[Server]) -> None:
    servers.append(make_zoned(tmp_path, cluster, SERVER_ZONE, SLURM_ZONE).start())
    live(servers[0], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("why", "offset"), [("forward", "-1"), ("back", "1")])
def test_summer_time_begins_or_ends_during_a_job(
    cluster: str, tmp_path: Path, servers: list[Server], why: str, offset: str
) -> None:
    """The zone of the server and of SLURM's programs has its step once the job has begun."""
    step = int(time.time()) + 20
    zone = make_zone(step, offset)
    assert [read_offset(zone, step + later) for later in (-1, 1)] == ["+0000", f"{-int(offset):+03}00"]
    servers.append(make_zoned(tmp_path, cluster, zone, zone).start())

    live(servers[0], tmp_path, step + 1)


def read_offset(zone: str, at: int) -> str:
    """Read the offset of a zone at this time."""
    asked = subprocess.run(["date", "-d", f"@{at}", "+%z"], env={"TZ": zone}, capture_output=True, text=True)
    return asked.stdout.strip()


def make_zone(step: int, offset: str) -> str:
    """Make a zone (tzset(3)) that is UTC until this time, and an hour off from then on."""
    at = datetime.fromtimestamp(step, UTC)
    day = at.timetuple().tm_yday - 1
    return f"AAA0BBB{offset},{day}/{at:%H:%M:%S},{(day + 180) % 365}/00:00:00"
