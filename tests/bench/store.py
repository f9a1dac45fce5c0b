"""Starts with 100,000 runs in the store, the first list, and moving runs into the archive.

Each start is a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from store.disk.archive import Group
from store.documents import Attempt, Run, RunJob, to_json
from store.store import Store
from store.times import to_epoch, to_rfc3339
from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes, read_cpu_s

RUNS, ARCHIVED = 100_000, 10_000
START = 1_774_828_800  # 2026-03-30T00:00:00Z
SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output={place}/logs/%x_%j.log
#SBATCH --nodes=1
#SBATCH --cpus-per-task=4

set -euo pipefail
cd {place}
srun python3 train.py --seed {number} --stage {name}
"""
STAGES = ("prepare", "train")


def make_run(number: int, root: str = "/home/somebody/data/work") -> Run:
    """A run of two ended jobs, as the server writes them; numbered runs are a minute apart."""
    run_id = str(uuid.uuid4())
    place, begun = f"{root}/{run_id}", START + number * 60
    return Run(
        id=run_id,
        workflow_name=f"flow-{number % 20}",
        workflow_path=f"workflows/flow-{number % 20}.yaml",
        args={"seed": number, "lr": number / 7},
        cluster="embedded",
        status="completed",
        work_dir=place,
        started_at=to_rfc3339(begun),
        completed_at=to_rfc3339(begun + 70.5),
        triggered_by="web",
        request_hash=uuid.uuid4().hex * 2,
        jobs=[make_job(name, number * 2 + at, run_id, place, begun + at * 30) for at, name in enumerate(STAGES)],
    )  # fmt: skip


def make_job(name: str, number: int, run_id: str, place: str, begun: int) -> RunJob:
    """An ended job of such a run."""
    return RunJob(
        name=name,
        depends_on=["prepare"] if name == "train" else [],
        script=SCRIPT.format(name=name, place=place, number=number),
        options={"job_name": name, "nodes": 1, "cpus_per_task": 4},
        resources={"nodes": 1, "gpus_per_node": 0, "time_limit": "0:10:00"},
        command=["python3", "train.py", "--seed", str(number)],
        work_dir=place,
        log_dir=f"{place}/logs",
        result={"loss": 1 / (number + 1)},
        result_path=f"{place}/.sluice/{run_id}/{name}.%j.json",
        result_read=True,
        attempts=[
            Attempt(
                number=1, tag=f"sluice:{uuid.uuid4().hex}", job_id=str(number + 1), state="COMPLETED", exit_code=0,
                intended_at=to_rfc3339(begun + 0.5), submitted_at=to_rfc3339(begun + 1),
                started_at=to_rfc3339(begun + 2),
                ended_at=to_rfc3339(begun + 29), stdout=f"{place}/logs/{name}_{number + 1}.log",
                stderr=f"{place}/logs/{name}_{number + 1}.log", nodes="node01", partition="main",
            )
        ],
    )  # fmt: skip


def fill(folder: Path, count: int) -> None:
    """Write so many runs into the folder, not durably."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(count):
        document = make_run(number)
        (folder / f"{document.id}.json").write_bytes(to_json(document))


def look_at(folder: Path) -> int:
    """List a folder and look at each file: what must be done to miss no edit."""
    with os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def read_all(folder: Path) -> int:
    """Read and parse each file of a folder."""
    with os.scandir(folder) as entries:
        return sum(len(json.loads(Path(entry.path).read_bytes())) for entry in entries)


def measure_s(call: Callable[..., object], *given: object) -> float:
    """Return how long the call took."""
    begun = time.perf_counter()
    call(*given)
    return time.perf_counter() - begun


def measure_start(root: Path) -> tuple[float, float, float, float]:
    """Start a server; return the seconds until it answers, of them CPU, its MB, and those of the first list."""
    server = Server(root, "embedded", PYTHONDONTWRITEBYTECODE="")
    try:
        begun = time.perf_counter()
        server.start(ready=False)
        assert server.process is not None
        while True:
            try:
                urllib.request.urlopen(f"{server.url}/health").read()
                break
            except OSError:
                assert server.process.poll() is None, server.log()
                time.sleep(0.01)
        took_s, cpu_s = time.perf_counter() - begun, read_cpu_s(server.process.pid)
        first_s = measure_s(server.http.get, "/api/workflows/runs")
        return took_s, cpu_s, memory_bytes(server.process.pid) / 1e6, first_s
    finally:
        server.http.close()
        if server.process is not None:
            server.process.terminate()
            server.process.wait()


def measure_starts(folder: Path) -> Iterator[Figure]:
    """Measure starts with nothing kept, and with a checkpoint."""
    root = folder / "store"
    fill(root / "runs", RUNS)
    # Once empty: so that both starts find compiled modules.
    measure_start(folder / "empty")
    read_s = measure_s(read_all, root / "runs")
    for why, bare, bare_s, target_s in (
        ("nothing kept", "all files read and parsed", read_s, 10),
        ("a checkpoint", "all files looked at", None, 1.5),
    ):
        bare_s = measure_s(look_at, root / "runs") if bare_s is None else bare_s
        took_s, cpu_s, memory_mb, first_s = measure_start(root)
        note = f"{cpu_s:.2f} s CPU; {bare}: {bare_s:.2f} s"
        yield Figure(f"start with {RUNS:,} runs, {why}", "s", took_s, target=target_s, is_most=True, note=note)
        yield Figure("memory then, after the first list", "MB", memory_mb, target=200, is_most=True)
        yield Figure("first list of runs", "ms", first_s * 1e3)


def measure_archive(folder: Path) -> Iterator[Figure]:
    """Measure how runs move into the archive, and a start with them there."""
    fill(folder / "runs", ARCHIVED)
    store = Store(folder)
    store.open()

    async def move() -> float:
        runs = [(entry.name, entry.document) for entry in store.runs.iterate_entries()]
        groups = [Group(to_epoch(run.completed_at) or 0.0, "run", name) for name, run in runs]
        begun = time.perf_counter()
        assert await store.archive.move(groups) == ARCHIVED
        took_s = time.perf_counter() - begun
        await store.close()
        return took_s

    yield Figure("runs moved into the archive", "/s", ARCHIVED / asyncio.run(move()))
    store = Store(folder)
    yield Figure(f"store opened with {ARCHIVED:,} runs there", "ms", measure_s(store.open) * 1e3)
    asyncio.run(store.close())
    shutil.rmtree(folder / "archive")


BENCHES = (
    Bench("many-runs", "start, memory and first list with 100,000 runs", measure_starts),
    Bench("archive", "moving old runs into the archive", measure_archive),
)
