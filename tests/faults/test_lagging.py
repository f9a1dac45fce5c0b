"""squeue and sacct that tell late: what a job is stays as it was told last, and its end is the true one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.faults.wrapped import make_server
from tests.waiting import eventually

TEXT = """
name: two
jobs:
  - {{name: a, command: 'touch {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done; echo a >> {folder}/ran'}}
  - {{name: b, command: 'echo b >> {folder}/ran', depends_on: [a]}}
"""
# While the file `late` is there, the same question has the same answer as before, or as of a queue without jobs; each
# such answer is a line in `told`.
LATE = """\
known={folder}/known-$(printf %s "$*" | cksum | cut -d' ' -f1)
if [ -e {folder}/late ]; then
    echo {name} >> {folder}/told
    [ -e $known ] && cat $known
    exit 0
fi
{{program}} "$@" > $known.new || exit
mv $known.new $known
cat $known"""


@pytest.fixture
def server(cluster: str, tmp_path: Path) -> Iterator[Server]:
    wrappers = {name: LATE.format(folder=tmp_path, name=name) for name in ("squeue", "sacct")}
    made = make_server(tmp_path, cluster, wrappers)
    (made.store / "workflows" / "two.yaml").write_text(TEXT.format(folder=tmp_path))
    (made.store / "config.yaml").write_text("poll: {min_s: 1, max_s: 1, absence_s: 60}\n")
    yield made.start()
    made.close()


def get_run(server: Server, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = server.http.get(f"/api/workflows/runs/{run_id}").json()
    return run


def wait_for_answers(folder: Path, count: int = 3) -> None:
    """Wait until squeue has given so many late answers."""
    (folder / "told").write_text("")
    eventually(lambda: (folder / "told").read_text().count("squeue") >= count, 60)


def test_what_squeue_does_not_tell_yet_is_not_lost(server: Server, tmp_path: Path) -> None:
    server.http.get("/api/jobs").raise_for_status()
    (tmp_path / "late").touch()
    run_id = server.http.post("/api/workflows/two/run", json={}).json()["id"]
    eventually((tmp_path / "begun").exists, 60)
    wait_for_answers(tmp_path)
    during = get_run(server, run_id)
    assert during["completed_at"] is None and during["status"] in ("pending", "running"), during
    assert all(job["status"] in ("PENDING", "RUNNING", "UNKNOWN") for job in during["jobs"]), during
    (tmp_path / "late").unlink()
    (tmp_path / "gate").touch()
    eventually(lambda: get_run(server, run_id)["status"] == "completed", 100, server.log()[-2000:])
    assert (tmp_path / "ran").read_text().split() == ["a", "b"], "each once"


def test_an_end_that_is_told_late_is_the_true_one(server: Server, tmp_path: Path) -> None:
    run_id = server.http.post("/api/workflows/two/run", json={}).json()["id"]
    eventually((tmp_path / "begun").exists, 60)
    eventually(lambda: get_run(server, run_id)["jobs"][0]["status"] == "RUNNING")
    (tmp_path / "late").touch()
    (tmp_path / "gate").touch()
    eventually(lambda: (tmp_path / "ran").exists() and (tmp_path / "ran").read_text().split() == ["a", "b"], 60)
    wait_for_answers(tmp_path)
    during = get_run(server, run_id)
    assert during["status"] == "running" and during["jobs"][0]["status"] == "RUNNING", "as it was told last"
    (tmp_path / "late").unlink()
    eventually(lambda: get_run(server, run_id)["status"] == "completed", 100, server.log()[-2000:])
    assert [job["status"] for job in get_run(server, run_id)["jobs"]] == ["COMPLETED", "COMPLETED"]
    assert (tmp_path / "ran").read_text().split() == ["a", "b"], "each once"
