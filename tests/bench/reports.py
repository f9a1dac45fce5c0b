"""What a report costs, as ratios: `python -m tests.bench.reports [RECORDS]`. Nothing here is a test.

An update among many records of ten events each, against the same among ten, and against one durable write of as many
bytes; pages and filters of the list; the start, and the memory for it all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store.documents import JobRecord, to_json
from store.indexes.reports import ReportIndex
from store.rules import reports
from store.store import Store
from store.times import to_rfc3339
from tests.bench.store import resident_mb

FEW, MANY, ROUNDS, UPDATES = 10, 10_000, 7, 100
START = 1_774_828_800  # 2026-03-30T00:00:00Z
METADATA = {
    "version": "2.0", "orchestrator": True, "generated_at": "2026-03-30 12:00:00",
    "model": {"path": "/models/llama-3-70b", "container": "/containers/sglang.sqsh", "precision": "fp8"},
    "resources": {"gpu_type": "h100", "gpus_per_node": 8, "prefill_nodes": 2, "decode_nodes": 4, "prefill_workers": 2},
    "backend_type": "sglang", "frontend_type": "dynamo", "benchmark": {"type": "sa-bench", "isl": 1024, "osl": 1024},
    "tags": ["pipeline:98765", "suite:kv-router-comparison"],
}  # fmt: skip
STAGES = ("starting", "head_infrastructure", "workers", "frontend", *["benchmark"] * 4, "cleanup")


def record(number: int) -> JobRecord:
    """A record of ten events, the last one an end for all but every tenth."""
    job_id, at, ids = str(100_000 + number), START + number * 60, (START + number * 60) * 1_000_000
    sent = {"job_id": job_id, "job_name": f"llama-{number % 20}", "submitted_at": to_rfc3339(at), "metadata": METADATA}
    made = reports.apply_submission(None, {**sent, "cluster": f"c{number % 3}", "recipe": "r.yaml"}, ids, at, "me")
    for step, stage in enumerate(STAGES, 1):
        over = step == len(STAGES) and number % 10
        body = {"status": "completed" if over else "benchmark", "stage": stage, "message": f"step {step}"}
        made = reports.apply_update(
            made, job_id, {**body, "updated_at": to_rfc3339(at + step)}, ids + step, at + step, "me"
        )
    return made


def fill(folder: Path, count: int) -> None:
    """Nothing; the folder has so many records, not durably."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{100_000 + number}.json").write_bytes(to_json(record(number)))


class Opened:
    """A store of so many records, with its index."""

    def __init__(self, top: Path, count: int) -> None:
        self.count = count
        root = top / str(count)
        fill(root / "jobs", count)
        before, begun = resident_mb()[0], time.perf_counter()
        self.store = Store(root)
        self.report_index = ReportIndex(self.store.jobs)
        self.store.open()
        self.start_s, self.memory_mb = time.perf_counter() - begun, resident_mb()[0] - before

    async def update(self, number: int) -> None:
        """Nothing; a job has told something new, as the server writes it down."""
        job_id = str(100_000 + number * 7 % self.count)
        with self.report_index.reserve_number() as event:
            body = {"status": "benchmark", "stage": "benchmark", "message": f"step {event}"}
            after = reports.apply_update(self.store.jobs.get(job_id), job_id, body, event, time.time(), "me")
            await self.store.jobs.put(job_id, after)


async def each_us(update: Callable[[int], object]) -> float:
    """Microseconds for one of many updates, one after the other."""
    begun = time.perf_counter()
    for number in range(UPDATES):
        await update(number)  # type: ignore[misc]
    return (time.perf_counter() - begun) / UPDATES * 1e6


def durable(folder: Path, data: bytes) -> Callable[[int], object]:
    """What writes these bytes durably and nothing else: a new file, put in the place of the old one."""
    folder.mkdir()

    def write(number: int) -> None:
        new, place = folder / f"{number}.new", folder / f"{number}.json"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        new.replace(place)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    async def update(number: int) -> None:
        await asyncio.to_thread(write, number)

    return update


async def compare(few: Opened, many: Opened, bare: Callable[[int], object]) -> None:
    """Prints the medians and the ratios of each round's pair."""
    rounds = [(await each_us(many.update), await each_us(few.update), await each_us(bare)) for _ in range(ROUNDS)]
    ours, others, writes = (statistics.median(column) for column in zip(*rounds, strict=True))
    for what, at, middle in ((f"among {few.count}", 1, others), ("a bare durable write", 2, writes)):
        ratios = sorted(round[0] / round[at] for round in rounds)
        line = f"{ours:6.0f} µs   {what} {middle:6.0f} µs"
        print(f"update among {many.count:,} {line}   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")  # fmt: skip  # noqa: E501
    begun = time.perf_counter()
    await asyncio.gather(*(many.update(number) for number in range(2000)))
    print(f"2,000 updates at once: {2000 / (time.perf_counter() - begun):,.0f}/s")


def reads(opened: Opened) -> None:
    """Prints what pages cost just after a change, and once more."""
    for what, asked in (
        ("first page", (None, None, None, 1, 50)),
        ("page 150", (None, None, None, 150, 50)),
        ("filter", ("benchmark", "c1", "pipeline:98765", 1, 50)),
    ):
        opened.report_index._pages.clear()
        opened.report_index._matches.clear()
        took = []
        for _ in range(2):
            begun = time.perf_counter()
            opened.report_index.build_page(*asked)
            took.append((time.perf_counter() - begun) * 1e6)
        print(f"{what:<12} {took[0]:8.0f} µs after a change, {took[1]:6.1f} µs again")


def main(count: int) -> None:
    """Prints the figures."""
    top = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        few, many = Opened(top, FEW), Opened(top, count)
        print(f"{count:,} records of ten events: {many.start_s:.2f} s to open, {many.memory_mb:.0f} MB")
        size = len(to_json(record(0)))
        print(f"a record has {size:,} bytes")

        async def play() -> None:
            await compare(few, many, durable(top / "bare", b"x" * size))
            await few.store.close()
            await many.store.close()

        asyncio.run(play())
        reads(many)
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else MANY)
