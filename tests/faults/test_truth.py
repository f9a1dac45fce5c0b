"""What a real SLURM forgets, tells late or gives again: nothing is submitted twice, ended wrongly or taken for ours.

The queue forgets an ended job after 5 seconds here. SLURM's programs are wrapped, so that a test can hold back what
they say, or cut off their answer.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_shim.submissions import SAME_S
from tests.app_server import Server
from tests.cluster.real import PATH, Cluster, missing
from tests.waiting import eventually

pytestmark = pytest.mark.slurm

TEXT = """
name: two
jobs:
  - {{name: a, command: 'touch {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done; echo x >> {folder}/ran'}}
  - {{name: b, command: 'true', depends_on: [a]}}
"""
CONFIG = "poll: {{min_s: 1, max_s: 1, absence_s: {absence_s}}}\n"
# squeue and sacct say nothing while the file `empty` is there, accounting alone while `late` is; sbatch hands over and
# does not tell while `mute` is; while `broken` is it tells, and ends badly.
WRAPPERS = {
    "squeue": '[ -e {folder}/empty ] && exit 0\nexec {program} "$@"',
    "sacct": '[ -e {folder}/empty ] || [ -e {folder}/late ] && exit 0\nexec {program} "$@"',
    "sbatch": """\
if [ -e {folder}/mute ]; then
    {program} "$@" >/dev/null; touch {folder}/handed
    while [ -e {folder}/mute ]; do sleep 0.1; done
elif [ -e {folder}/broken ]; then
    {program} "$@"; echo "lua: bad plugin" >&2; exit 1
else exec {program} "$@"; fi""",
}


class Truth:
    """A SLURM of a test's own, a server on it, and the folder of the files that change what SLURM says."""

    def __init__(self, folder: Path, real: Cluster, server: Server) -> None:
        self.folder, self.real, self.server = folder, real, server

    def start_run(self) -> str:
        run = self.server.http.post("/api/workflows/two/run").json()
        return f"/api/workflows/runs/{run['id']}"

    def get(self, path: str) -> Any:
        return self.server.http.get(path).json()

    def is_forgotten(self, job_id: str) -> bool:
        rows = self.real.run("squeue", "-h", "-t", "all", "-o", "%i").stdout.split()
        return job_id not in rows

    def lose_state(self) -> None:
        """Have slurmctld begin anew, with its first job id."""
        self.real.stop("slurmctld")
        shutil.rmtree(self.real.dir / "state")
        (self.real.dir / "state").mkdir()
        self.real.start("slurmctld")

    def count_accounted(self) -> int:
        return len(self.real.run("sacct", "-X", "-n", "-a", "-o", "JobID").stdout.split())


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Truth]:
    if missing() and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")
    folder = Path(tempfile.mkdtemp(prefix="truth"))
    real = Cluster(folder, nodes=2).up()
    real.conf.write_text(real.conf.read_text().replace("MinJobAge=300", "MinJobAge=5"))
    real.run("scontrol", "reconfigure")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in WRAPPERS.items():
        lines = text.format(folder=tmp_path, program=shutil.which(name, path=PATH))
        (programs / name).write_text(f"#!/bin/sh\n{lines}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("SLURM_CONF", str(real.conf))
    monkeypatch.setenv("PATH", f"{programs}:{PATH}")
    server = Server(tmp_path / "store", "slurm")
    (server.store / "workflows" / "two.yaml").write_text(TEXT.format(folder=tmp_path))
    (server.store / "config.yaml").write_text(CONFIG.format(absence_s=60))
    try:
        yield Truth(tmp_path, real, server.start())
    finally:
        try:
            if server.process is not None:
                server.end()
            server.http.close()
        finally:
            real.down()  # with all jobs, also those that the server may not end
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("is_run", [True, False])
def test_a_job_that_the_queue_has_forgotten_is_never_submitted_again(truth: Truth, is_run: bool) -> None:
    (truth.folder / "gate").touch()
    (truth.folder / "mute").touch()
    script = f"#!/bin/sh\necho x >> {truth.folder}/ran\n"
    path = "/api/workflows/two/run" if is_run else "/api/jobs"
    body = {} if is_run else {"name": "a", "script_content": script}
    asking = ["curl", "-s", "-XPOST", f"{truth.server.url}{path}", "-H", "Content-Type: application/json"]
    asking += ["-H", "Idempotency-Key: one", "-d", str(body).replace("'", '"').replace("\n", "\\n")]
    caller = subprocess.Popen(asking, stdout=subprocess.DEVNULL)
    eventually((truth.folder / "handed").exists, 30)
    truth.server.end(signal.SIGKILL)
    caller.wait()
    (truth.folder / "mute").unlink()
    eventually((truth.folder / "ran").exists, 30)
    eventually(lambda: truth.is_forgotten("1"), 60)
    truth.server.start()
    answer = eventually(
        lambda: (
            (said := truth.server.http.post(path, json=body, headers={"Idempotency-Key": "one"})).is_success and said
        )
    ).json()
    if is_run:
        eventually(lambda: truth.get(f"/api/workflows/runs/{answer['id']}")["status"] == "completed", 60)
    else:
        assert answer["job_id"] == 1
    eventually(lambda: truth.count_accounted() == (2 if is_run else 1), 60)
    assert (truth.folder / "ran").read_text() == "x\n"


def test_what_is_nowhere_for_a_moment_is_not_lost(truth: Truth) -> None:
    path = truth.start_run()
    eventually((truth.folder / "begun").exists, 30)
    (truth.folder / "empty").touch()
    eventually(lambda: truth.get("/api/jobs") == [] or truth.get("/api/jobs")[0]["source"], 10)
    before = truth.get(path)
    assert before["status"] == "running"
    (truth.folder / "gate").touch()
    eventually(lambda: truth.is_forgotten("1"), 60)  # nobody saw its end, and accounting does not tell it yet
    (truth.folder / "late").touch()
    (truth.folder / "empty").unlink()
    assert truth.get(path)["status"] == "running", "absence is not confirmed yet"
    (truth.folder / "late").unlink()
    eventually(lambda: truth.get(path)["status"] == "completed", 60)


def test_a_job_that_turns_up_after_all_has_its_true_end(truth: Truth) -> None:
    (truth.server.store / "config.yaml").write_text(CONFIG.format(absence_s=1))
    path = truth.start_run()
    eventually((truth.folder / "begun").exists, 30)
    (truth.folder / "empty").touch()
    lost = eventually(lambda: (now := truth.get(path))["status"] == "failed" and now, 60)
    assert "SLURM no longer knows this job" in lost["error"]
    (truth.folder / "gate").touch()
    eventually(lambda: truth.is_forgotten("1"), 60)
    (truth.folder / "empty").unlink()
    ended = eventually(lambda: (now := truth.get(path))["status"] == "completed" and now, 90)
    assert ended["job_statuses"] == {"a": "COMPLETED", "b": "COMPLETED"}, "what had waited for it has run, too"
    assert (truth.folder / "ran").read_text() == "x\n"


def test_a_printed_id_is_a_job_however_sbatch_ends(truth: Truth) -> None:
    (truth.folder / "gate").touch()
    (truth.folder / "broken").touch()
    body = {"name": "a", "script_content": "#!/bin/sh\ntrue\n"}
    answers = [truth.server.http.post("/api/jobs", json=body, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert [answer.json().get("job_id") for answer in answers] == [1, 1, 1]
    assert "lua: bad plugin" in truth.server.log()


def test_a_cluster_that_has_lost_its_state_has_failed_what_ran(truth: Truth) -> None:
    path = truth.start_run()
    # What has not begun yet, as far as accounting knows, is cancelled there.
    eventually(lambda: truth.real.run("sacct", "-X", "-n", "-P", "-o", "State").stdout == "RUNNING\n", 60)
    truth.lose_state()
    ended = eventually(lambda: (now := truth.get(path))["completed_at"] and now, 60)
    assert (ended["status"], ended["job_statuses"]["a"]) == ("failed", "FAILED"), "nobody has cancelled it"


def test_an_id_that_is_given_again_is_another_job(truth: Truth) -> None:
    (truth.server.store / "config.yaml").write_text(CONFIG.format(absence_s=1))
    path = truth.start_run()
    begun = truth.folder / "begun"
    eventually(begun.exists, 30)
    # SLURM's times are whole seconds, and so soon no cluster gives an id again.
    eventually(lambda: time.time() > begun.stat().st_mtime + SAME_S + 1, 30)
    assert truth.server.process is not None
    truth.server.process.send_signal(signal.SIGSTOP)  # it does not see the queue without any job 1
    truth.lose_state()
    # On another node: on its own one slurmctld ends the old job 1 by its id, and the new one with it.
    wrapped = ("-J", "stranger", "-p", "gpu", "-o", "/dev/null", "--wrap", "sleep 600")
    assert truth.real.run("sbatch", "--parsable", *wrapped).stdout == "1\n"
    truth.server.process.send_signal(signal.SIGCONT)
    lost = eventually(lambda: (now := truth.get(path))["status"] == "failed" and now, 60)
    assert "lost by the cluster" in lost["error"]
    over = truth.server.http.post(f"{path}/cancel")
    refused = truth.server.http.delete("/api/jobs/1")
    row = truth.get("/api/jobs/1")
    eventually(lambda: truth.real.run("squeue", "-h", "-j", "1", "-o", "%j %T").stdout == "stranger RUNNING\n", 60)
    assert "run_id" not in row
    assert over.is_client_error, "the run has ended"
    assert refused.is_client_error and "another job" in refused.text
