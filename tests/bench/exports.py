"""What a large export costs: the memory of the server and of all that it starts for it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from store.times import to_rfc3339
from tests.app_server import Server
from tests.bench.figures import Bench, Figure
from tests.bench.processes import measure_mb
from tests.waiting import eventually

ROWS, MOST_MB = 100_000, 200
DAY_S = 86_400


def submit_one(server: Server) -> None:
    """Run the job that the others are copies of."""
    job = server.http.post("/api/jobs", json={"name": "one", "script_content": "#!/bin/bash\ntrue\n"}).json()
    eventually(lambda: server.http.get(f"/api/jobs/{job['job_id']}").json()["status"] == "COMPLETED", 40)


def add_history(database: Path, rows: int, first: int, last: int, folder: str = "/") -> None:
    """Copy the embedded cluster's one ended job into so many, which ended between these times."""
    with sqlite3.connect(database, timeout=60) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        template = dict(zip(names, db.execute("SELECT * FROM jobs WHERE end_time IS NOT NULL").fetchone(), strict=True))

        def make_row(number: int) -> list[object]:
            end = first + (last - first) * number // rows
            own = {
                "raw_id": 1_000_000 + number,
                "work_dir": folder,
                "submit_time": end - 120,
                "eligible_time": end - 120,
            }
            return list((template | own | {"start_time": end - 60, "end_time": end}).values())

        marks = ",".join("?" * len(names))
        db.executemany(f"INSERT INTO jobs VALUES ({marks})", map(make_row, range(rows)))
    db.close()


def ask_jobs(form: str, since: int) -> dict[str, object]:
    """The body that asks for all jobs since then."""
    return {"type": "jobs", "format": form, "filter": {"start_time": to_rfc3339(since)}}


def measure_export(server: Server, form: str, since: int) -> tuple[float, float, int]:
    """The memory in MB before an export of all jobs since then, and at most while it is made; its rows."""
    assert server.process is not None
    peak_mb = before_mb = measure_mb(server.process.pid)
    path = f"/v1/exports/{server.http.post('/v1/export', json=ask_jobs(form, since)).json()['export_id']}"
    while (row := server.http.get(path).json())["status"] == "processing":
        peak_mb = max(peak_mb, measure_mb(server.process.pid))
        time.sleep(0.25)  # looking at every process takes the processor from the export
    assert row["status"] == "completed", row
    return before_mb, peak_mb, row["record_count"]


def measure_exports(folder: Path) -> Iterator[Figure]:
    """Measure the memory and the time of a large export, by format."""
    server = Server(folder / "exports", "embedded")
    try:
        server.start()
        submit_one(server)
        since = int(time.time()) - 60 * DAY_S
        add_history(server.store / "cluster" / "state.db", ROWS, since, since + 59 * DAY_S)
        for form in ("csv", "xlsx"):
            began = time.monotonic()
            before_mb, peak_mb, rows = measure_export(server, form, since)
            note = f"{before_mb:.0f} before, {time.monotonic() - began:.0f} s"
            yield Figure(f"export of {rows:,} jobs as {form}", "MB", peak_mb, target=MOST_MB, is_most=True, note=note)
    finally:
        server.close()


BENCHES = (Bench("exports", "memory of all processes while a large export is made", measure_exports),)
