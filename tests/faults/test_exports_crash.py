"""`kill -9` in the middle of an export and of a report: both are made all the same; and how much memory one takes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.app_server import Server
from tests.bench.exports import DAY_S, add_history, ask_jobs, measure_export, submit_one
from tests.bench.processes import list_family
from tests.faults.wrapped import make_server
from tests.mail_server import MailServer
from tests.waiting import eventually

pytestmark = pytest.mark.long
ROWS, MANY_ROWS = 500, 20_000
HOUR_S = 3600
# All rows together have 120 MB, since their work folder is a long one: who keeps them needs 170 MB more, else it is 95.
LONG_FOLDER, MORE_MB = "/n" * 3000, 130
CONFIG = """\
poll: {{min_s: 1, max_s: 1}}
smtp: {{host: 127.0.0.1, port: {port}, tls: none, from: sluice@example.com}}
"""
# While the file `hold` is there, accounting tells of the first window of time, and of no other.
HELD = """\
case "$*" in *"-E now-"*)
    while [ -e {folder}/seen ] && [ -e {folder}/hold ]; do sleep 0.1; done
    [ ! -e {folder}/hold ] || : > {folder}/seen;;
esac
exec {program} "$@\""""


def is_alive(pid: int) -> bool:
    """Whether the process goes on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_killed_in_the_middle(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with MailServer() as mail:
        server = make_server(tmp_path, "embedded", {"sacct": HELD})
        (server.store / "config.yaml").write_text(CONFIG.format(port=mail.port))
        server.start()
        try:
            submit_one(server)
            since = int(time.time()) - 20 * DAY_S
            add_history(tmp_path / "behind" / "cluster" / "state.db", ROWS, since, since + HOUR_S)
            hold.touch()
            made = server.http.post("/v1/export", json=ask_jobs("jsonl", since)).json()
            name = made["export_id"]
            path = f"/v1/exports/{name}"
            eventually(lambda: server.http.get(path).json()["rows_written"] == ROWS, 60, server.log())
            folder = server.store / "exports" / name
            eventually(lambda: any(half.stat().st_size for half in folder.iterdir()), 60, "rows are in the file")
            assert server.process is not None
            workers = [pid for pid, line in list_family(server.process.pid).items() if "table_worker" in line]
            assert workers
            report = {"type": "job_summary", "format": "md", "delivery": {"method": "email", "email": "a@example.com"}}
            sent = server.http.post("/v1/reports", json=report).json()["report_id"]
            assert server.http.get(path).json()["status"] == "processing"
            server.end(signal.SIGKILL)
            hold.unlink()
            eventually(lambda: not any(map(is_alive, workers)), 30, "the child has ended too")
            server.start()
            eventually(lambda: server.http.get(path).json()["status"] == "completed", 120, server.log())
            done = server.http.get(path).json()
            data = server.http.get(f"{path}/download").content
            assert done["record_count"] == ROWS + 1 == data.count(b"\n") and len(data) == done["file_size"]
            assert list(folder.iterdir()) == [folder / "data"]
            eventually(lambda: mail.got, 120, server.log())
            eventually(lambda: server.http.get(f"/v1/reports/{sent}").json()["delivery"]["status"] == "delivered", 60)
            assert len(mail.got) == 1
        finally:
            hold.unlink(missing_ok=True)
            if server.process is None:
                server.start()
            server.close()


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_many_rows_stay_small(tmp_path: Path, form: str) -> None:
    server = Server(tmp_path / "store", "embedded")
    server.start()
    try:
        submit_one(server)
        since = int(time.time()) - 60 * DAY_S
        add_history(server.store / "cluster" / "state.db", MANY_ROWS, since, since + 59 * DAY_S, LONG_FOLDER)
        before_mb, peak_mb, rows = measure_export(server, form, since)
        print(f"{form}: {before_mb:.0f} MB before, {peak_mb:.0f} MB at most")
        assert rows == MANY_ROWS + 1 and peak_mb < before_mb + MORE_MB
    finally:
        server.close()
