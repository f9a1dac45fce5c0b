"""`kill -9` in the middle of an export and of a report: both are made all the same; and how much memory one takes."""

from __future__ import annotations

import signal
import sqlite3
import time
from pathlib import Path

import pytest

from store.times import to_rfc3339
from tests.app_server import Server
from tests.mail_server import MailServer
from tests.waiting import eventually

pytestmark = pytest.mark.long
ROWS, MANY_ROWS = 20_000, 100_000
# Of the server and everything that it starts for the export.
MOST_MB = 200
CONFIG = """\
cluster: {{nodes: 2, cpus: 8, memory_mb: 16000, gpus: 0}}
poll: {{min_s: 1, max_s: 1}}
smtp: {{host: 127.0.0.1, port: {port}, tls: none, from: sluice@example.com}}
"""


def add_history(store: Path, rows: int, days: int) -> None:
    """Copy the embedded cluster's one ended job into so many, which ended over so many days."""
    with sqlite3.connect(store / "cluster" / "state.db", timeout=60) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        template = dict(zip(names, db.execute("SELECT * FROM jobs WHERE end_time IS NOT NULL").fetchone(), strict=True))
        now, step_s = int(time.time()) - 600, days * 86_400 / rows

        def make_row(number: int) -> list[object]:
            end = int(now - number * step_s)
            own = {"raw_id": 1_000_000 + number, "submit_time": end - 120, "eligible_time": end - 120}
            return list((template | own | {"start_time": end - 60, "end_time": end}).values())

        marks = ",".join("?" * len(names))
        db.executemany(f"INSERT INTO jobs VALUES ({marks})", map(make_row, range(rows)))
    db.close()


def list_family(pid: int) -> dict[int, str]:
    """The processes that this one, or one of its own, has started: number and command line."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status, line = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
            lines[int(entry.name)] = line.replace(b"\0", b" ").decode()
    found, added = {pid}, True
    while added:
        added = bool(more := {child for child, parent in parents.items() if parent in found} - found)
        found |= more
    return {child: lines[child] for child in found - {pid}}


def is_alive(pid: int) -> bool:
    """Whether the process goes on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def measure_mb(pid: int) -> float:
    """The memory of the process and of all that it has started, in MB; what they share counts once."""
    total_kb = 0
    for number in (pid, *list_family(pid)):
        try:
            text = Path(f"/proc/{number}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended meanwhile
        total_kb += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total_kb / 1000


def test_killed_in_the_middle(tmp_path: Path) -> None:
    with MailServer() as mail:
        server = Server(tmp_path / "store", "embedded")
        (server.store / "config.yaml").write_text(CONFIG.format(port=mail.port))
        server.start()
        try:
            job = server.http.post("/api/jobs", json={"name": "one", "script_content": "#!/bin/bash\ntrue\n"}).json()
            eventually(lambda: server.http.get(f"/api/jobs/{job['job_id']}").json()["status"] == "COMPLETED", 40)
            add_history(server.store, ROWS, 20)
            since = {"start_time": to_rfc3339(int(time.time()) - 21 * 86_400)}
            made = server.http.post("/v1/export", json={"type": "jobs", "format": "jsonl", "filter": since}).json()
            name = made["export_id"]
            path = f"/v1/exports/{name}"
            eventually(lambda: 0 < server.http.get(path).json()["rows_written"] < ROWS, 60, server.log())
            assert server.process is not None
            workers = [pid for pid, line in list_family(server.process.pid).items() if "table_worker" in line]
            assert workers and list((server.store / "exports" / name).iterdir())
            report = {
                "type": "job_summary",
                "format": "html",
                "delivery": {"method": "email", "email": "a@example.com"},
            }
            sent = server.http.post("/v1/reports", json=report).json()["report_id"]
            server.end(signal.SIGKILL)
            eventually(lambda: not any(map(is_alive, workers)), 30, "the child has ended too")
            server.start()
            eventually(lambda: server.http.get(path).json()["status"] == "completed", 120, server.log())
            done = server.http.get(path).json()
            data = server.http.get(f"{path}/download").content
            assert done["record_count"] == ROWS + 1 == data.count(b"\n") and len(data) == done["file_size"]
            assert [entry.name for entry in (server.store / "exports" / name).iterdir()] == ["data"]
            eventually(lambda: mail.got, 120, server.log())
            eventually(lambda: server.http.get(f"/v1/reports/{sent}").json()["delivery"]["status"] == "delivered", 60)
            assert len(mail.got) == 1
        finally:
            if server.process is None:
                server.start()
            server.close()


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_hundred_thousand_rows_stay_small(tmp_path: Path, form: str) -> None:
    server = Server(tmp_path / "store", "embedded")
    server.start()
    try:
        job = server.http.post("/api/jobs", json={"name": "one", "script_content": "#!/bin/bash\ntrue\n"}).json()
        eventually(lambda: server.http.get(f"/api/jobs/{job['job_id']}").json()["status"] == "COMPLETED", 40)
        add_history(server.store, MANY_ROWS, 60)
        body = {"type": "jobs", "format": form, "filter": {"start_time": to_rfc3339(int(time.time()) - 61 * 86_400)}}
        path = f"/v1/exports/{server.http.post('/v1/export', json=body).json()['export_id']}"
        assert server.process is not None
        peak_mb = before_mb = measure_mb(server.process.pid)
        began = time.monotonic()
        while (row := server.http.get(path).json())["status"] == "processing":
            peak_mb = max(peak_mb, measure_mb(server.process.pid))
            time.sleep(0.25)  # looking at every process takes the processor from the export
        print(f"{form}: {before_mb:.0f} MB before, {peak_mb:.0f} MB at most, {row['file_size']} bytes, ", end="")
        print(f"{time.monotonic() - began:.0f} s")
        assert (row["status"], row["record_count"]) == ("completed", MANY_ROWS + 1), row
        assert peak_mb < MOST_MB
    finally:
        server.close()
