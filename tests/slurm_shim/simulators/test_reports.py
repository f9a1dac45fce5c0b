"""What a task says of itself: seldom while it runs, at once when it begins and ends."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.simulators.reports import Messenger, TaskReport
from store.rules.simulations.states import parse_report, parse_update
from tests.slurm_shim.simulators.work_folders import make_work, read_report, read_simulator, run_program

TASK = {"task_id": 3, "primaries": 100, "seed": 3}
NOON = datetime(2026, 11, 21, 12, 0, 0, 250000, tzinfo=UTC)


class Sent(Messenger):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__(None, None, "/tasks")
        self.bodies: list[dict[str, Any]] = []

    def send(self, body: dict[str, Any]) -> None:
        """Keep the message."""
        self.bodies.append(body)


def test_a_report_is_written_at_most_every_two_seconds(tmp_path: Path) -> None:
    moment, sent = [0.0], Sent()
    report = TaskReport(tmp_path / "0003.json", TASK, sent, "S", lambda: moment[0], lambda: NOON)
    steps: list[tuple[str, float, dict[str, Any], int]] = [
        ("the beginning, at once", 0.0, {"task_state": "RUNNING"}, 1),
        ("too early", 1.0, {"simulated_primaries": 10}, 1),
        ("nothing new, but that of before", 2.0, {}, 2),
        ("nothing new", 9.0, {"simulated_primaries": 10}, 2),
        ("later", 9.5, {"simulated_primaries": 20, "estimated_s": 7}, 3),
    ]
    for why, at, changes, count in steps:
        moment[0] = at
        report.update(**changes)
        assert len(sent.bodies) == count, why
    said = json.loads((tmp_path / "0003.json").read_text())
    assert (said["task_id"], said["simulated_primaries"], said["estimated_s"]) == (3, 20, 7)
    report.end("COMPLETED", exit_code=0)
    assert len(sent.bodies) == 4
    said = json.loads((tmp_path / "0003.json").read_text())
    assert said == {
        "task_id": 3, "task_state": "COMPLETED", "requested_primaries": 100, "simulated_primaries": 100,
        "estimated_s": None, "start_time": "2026-11-21T12:00:00.250000Z", "end_time": "2026-11-21T12:00:00.250000Z",
        "exit_code": 0, "reason": None,
    }  # fmt: skip
    assert sent.bodies[2]["update_dict"]["estimated_time"] == 7
    assert sent.bodies[3] == {
        "simulation_id": "S",
        "task_id": 3,
        "update_dict": {
            "task_state": "COMPLETED", "requested_primaries": 100, "simulated_primaries": 100,
            "start_time": "2026-11-21 12:00:00.250000", "end_time": "2026-11-21 12:00:00.250000", "exit_code": 0,
        },
    }  # fmt: skip


@pytest.mark.parametrize("end", [("COMPLETED", None, 0), ("FAILED", "shieldhit ended with exit code 3", 3)])
def test_the_server_reads_both_forms_alike(tmp_path: Path, end: tuple[str, str | None, int]) -> None:
    sent = Sent()
    report = TaskReport(tmp_path / "0003.json", TASK, sent, "S", lambda: 0.0, lambda: NOON)
    report.update(task_state="RUNNING")
    report.end(*end)
    assert parse_report(json.loads((tmp_path / "0003.json").read_text())) == parse_update(sent.bodies[1]["update_dict"])


def test_a_full_disk_ends_no_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moment = [0.0]
    folder = tmp_path / "tasks"
    report = TaskReport(folder / "0003.json", TASK, Sent(), "S", lambda: moment[0], lambda: NOON)
    report.update(task_state="RUNNING")
    assert "0003.json" in capsys.readouterr().err
    folder.mkdir()
    moment[0] = 2.0
    report.update()
    assert json.loads((folder / "0003.json").read_text())["task_state"] == "RUNNING"


class Receiver(HTTPServer):
    """Keeps what was sent to it; answers with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.calls: list[tuple[str, dict[str, Any]]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One call of a worker."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep the call."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("why", "status"), [("taken", 202), ("refused", 400), ("a failure", 500)])
def test_tasks_and_merge_send_messages(tmp_path: Path, why: str, status: int) -> None:
    receiver = Receiver(status)
    try:
        url = f"http://127.0.0.1:{receiver.server_port}/"
        work = make_work(tmp_path / "w", read_simulator(), primaries=[50], report_url=url)
        (work / "update_key").write_text("key\n")
        for words in (("run_task.py", str(work), "1"), ("merge.py", str(work))):
            ended = run_program(work, *words)
            assert (ended.returncode, ended.stderr) == (0, ""), why
            assert "key" not in ended.stdout
    finally:
        receiver.shutdown()
        receiver.server_close()
    path, last = receiver.calls[-2]
    assert path == "/tasks" and set(last) == {"simulation_id", "task_id", "update_key", "update_dict"}
    assert (last["update_key"], last["update_dict"]["task_state"]) == ("key", "COMPLETED")
    assert receiver.calls[-1] == ("/jobs", {"sim_id": "S", "update_key": "key", "job_state": "MERGING_RUNNING"})


def test_a_server_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    work = make_work(tmp_path / "w", read_simulator(), primaries=[50], report_url="http://127.0.0.1:9/")
    (work / "update_key").write_text("key")
    assert run_program(work, "run_task.py", str(work), "1").returncode == 0
    assert read_report(work, 1)["task_state"] == "COMPLETED"


def test_without_a_key_nothing_is_sent(tmp_path: Path) -> None:
    messenger = Messenger("http://127.0.0.1:9", None, "/tasks")
    messenger.send({})
    messenger.close()
    assert messenger.thread is None
