"""What a report costs among many of ten events each: an update, pages of the list, the start and memory."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from store.documents import JobRecord, to_json
from store.indexes.reports import ReportIndex
from store.rules import reports
from store.store import Store
from store.times import to_rfc3339
from tests.bench.figures import Bench, Figure
from tests.bench.processes import memory_bytes

FEW, MANY, ROUNDS, UPDATES = 10, 10_000, 7, 100
START = 1_774_828_800  # 2026-03-30T00:00:00Z
METADATA = {
    "version": "2.0", "orchestrator": True, "generated_at": "2026-03-30 12:00:00",
    "model": {"path": "/models/llama-3-70b", "container": "/containers/sglang.sqsh", "precision": "fp8"},
    "resources": {"gpu_type": "h100", "gpus_per_node": 8, "prefill_nodes": 2, "decode_nodes": 4, "prefill_workers": 2},
    "backend_type": "sglang", "frontend_type": "dynamo", "benchmark": {"type": "sa-bench", "isl": 1024, "osl": 1024},
    "tags": ["pipeline:98765", "suite:kv-router-comparison"],
}  # fmt: skip
PAGES = (
    ("first page", (None, None, None, 1, 50)),
    ("page 150", (None, None, None, 150, 50)),
    ("page of a filter", ("benchmark", "c1", "pipeline:98765", 1, 50)),
)
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
    """Write so many records into the folder, not durably."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{100_000 + number}.json").write_bytes(to_json(record(number)))


class Opened:
    """A store of so many records, with its index."""

    def __init__(self, top: Path, count: int) -> None:
        self.count = count
        root = top / str(count)
        fill(root / "jobs", count)
        before, begun = memory_bytes(os.getpid()), time.perf_counter()
        self.store = Store(root)
        self.report_index = ReportIndex(self.store.jobs)
        self.store.open()
        self.start_s, self.memory_mb = time.perf_counter() - begun, (memory_bytes(os.getpid()) - before) / 1e6

    async def update(self, number: int) -> None:
        """Tell something new of a job, as the server writes it down."""
        job_id = str(100_000 + number * 7 % self.count)
        with self.report_index.reserve_number() as event:
            body = {"status": "benchmark", "stage": "benchmark", "message": f"step {event}"}
            after = reports.apply_update(self.store.jobs.get(job_id), job_id, body, event, time.time(), "me")
            await self.store.jobs.put(job_id, after)


async def time_updates(opened: Opened) -> float:
    """Microseconds of one of many updates, one after the other."""
    begun = time.perf_counter()
    for number in range(UPDATES):
        await opened.update(number)
    return (time.perf_counter() - begun) / UPDATES * 1e6


def time_page(opened: Opened, *asked: object) -> float:
    """Microseconds of a page just after a change."""
    opened.report_index._pages.clear()
    opened.report_index._matches.clear()
    begun = time.perf_counter()
    opened.report_index.build_page(*asked)  # type: ignore[arg-type]
    return (time.perf_counter() - begun) * 1e6


def measure_reports(folder: Path) -> Iterator[Figure]:
    """Compare updates among many records with those among few; measure pages, the start and memory."""
    few, many = Opened(folder, FEW), Opened(folder, MANY)
    yield Figure(f"{MANY:,} records of ten events opened", "s", many.start_s, note=f"{many.memory_mb:.0f} MB")

    async def compare() -> list[tuple[float, float]]:
        rounds = [(await time_updates(many), await time_updates(few)) for _ in range(ROUNDS)]
        await few.store.close()
        await many.store.close()
        return rounds

    ours, others = (statistics.median(column) for column in zip(*asyncio.run(compare()), strict=True))
    yield Figure(f"an update among these, beside one among {FEW}", "µs", ours, others, 1.5, is_most=True)
    for what, asked in PAGES:
        yield Figure(f"{what} of them after a change", "µs", time_page(many, *asked))


BENCHES = (Bench("reports", "updates among many reports beside few, and pages of them", measure_reports),)
