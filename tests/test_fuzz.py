"""The whole contract, fuzzed: valid and invalid data for every operation, and walks along the links between them.

The cluster settles jobs without running them, so that no generated script is ever executed, and notifications are
written down and never sent.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from store.access import token_file
from tests.app_server import Server
from tests.waiting import eventually

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]

HERE = Path(__file__).parent
CONFIG = """\
cluster: {execute: false, nodes: 4, cpus: 64, gpus: 16}
poll: {min_s: 1, max_s: 2}
webhooks: {deliver: false}
yaptide: {registration: true, max_tasks: 20}
"""
# So that the example of the contract is found.
SYNC = "0f4c5a52-90a1-4a3b-8a53-4d4b8f0f2a11"
TIMES = '"asked_at": "2026-03-30T12:00:00Z", "ended_at": "2026-03-30T12:00:09Z"'
SYNCED = f'{{"id": "{SYNC}", "profile": "here", "mount": "ml-project", "state": "synced", {TIMES}}}'
# A simulation that has ended, as the examples of the contract name it, and the user who owns another one.
SIMULATION = "20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT"
ENDED = {
    "id": SIMULATION, "run_id": "0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6f", "owner": "ann", "title": "Water",
    "platform": "DIRECT", "cluster": "embedded", "sim_type": "dummy", "input_type": "FILES", "state": "COMPLETED",
    "requested_primaries": 10, "results": "there", "is_begun": True, "created_at": "2026-11-21T16:39:17Z",
    "ended_at": "2026-11-21T16:39:27Z", "settled_at": "2026-11-21T16:39:28Z",
    "tasks": [{"task_id": 1, "seed": 1, "state": "COMPLETED", "requested_primaries": 10, "simulated_primaries": 10}],
    "estimators": [{"name": "dose", "file": "dose.json", "pages": [{"page_number": 0, "page_name": "Dose"}]}],
}  # fmt: skip
ESTIMATOR = """\
{"name": "dose", "metadata": {}, "pages": [
{"dimensions": 0,
"metadata": {"page_number": "0"},
"data": {"name": "Dose", "unit": "MeV/g", "values": [
0.25
]}}
]}
"""
USER = {"username": "ann", "password": "a long and secret sentence"}
# Mounts to look into, one of which may be deleted. The profile names no host, so that nothing is ever sent anywhere,
# and the environment selects it, whichever the fuzzer activates.
PROFILES = """\
profiles:
  here:
    mounts:
      - {{name: ml-project, local: {project}, remote: /far/away}}
      - {{name: data, local: {project}/data, remote: /far/data}}
"""
# Whatever profiles the fuzzer makes and connects, no packet leaves this machine.
SSH = "Host *\n  ProxyCommand false\n"
# CI repeats one seed, so that more examples would find the same each time; new seeds are for `just fuzz`.
EXAMPLES = os.environ.get("SLUICE_FUZZ_EXAMPLES", "25" if os.environ.get("CI") == "true" else "60")


def write_simulation(store: Path) -> None:
    """Write the simulation with its input, results and logs."""
    files = {"input/dummy.json": '{"primaries": 10}', "results/dose.json": ESTIMATOR, "logs/task_0001.log": "done\n"}
    for name, text in files.items():
        path = store / "simulations" / SIMULATION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (store / "simulations" / f"{SIMULATION}.json").write_text(json.dumps(ENDED))


def log_in(server: Server) -> dict[str, str]:
    """Register a user; return the cookies of his login as the fuzzer finds them."""
    own = {"authorization": ""}
    assert server.http.put("/auth/register", json=USER, headers=own).status_code == 201
    answer = server.http.post("/auth/login", json=USER, headers=own)
    assert answer.status_code == 202
    server.http.cookies.clear()
    return {f"SLUICE_FUZZ_{use.upper()}": answer.cookies[f"{use}_token"] for use in ("access", "refresh")}


def test_every_operation_keeps_its_promises(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--hypothesis-seed") or random.randrange(2**32)
    store = tmp_path / "store"
    # Mounts below ~ get a srunx.json now and then.
    given = {"HOME": str(tmp_path), "SRUNX_SSH_PROFILE": "here", "SLUICE_SSH_CONFIG": str(tmp_path / "ssh_config")}
    # Also the server's own user is asked for a token.
    server = Server(store, "embedded", SLUICE_ALWAYS_ASK="yes", **given)
    (tmp_path / "ssh_config").write_text(SSH)
    (store / "config.yaml").write_text(CONFIG)
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "scripts").mkdir()
    (project / "scripts" / "train.sh").write_text("#!/bin/bash\n")
    (project / "away").symlink_to("/etc")
    (store / "syncs").mkdir(exist_ok=True)
    (store / "syncs" / f"{SYNC}.json").write_text(SYNCED)
    (store / "profiles.yaml").write_text(PROFILES.format(project=project))
    token = token_file.create_entry(store, "token", "fuzz", ["admin"], tier="enterprise")
    token_file.create_entry(store, "client", "your_client_id", ["read"])
    server.http.headers["authorization"] = f"Bearer {token}"
    try:
        server.start()
        cookies = log_in(server)
        write_simulation(store)  # only now: nobody may register under a name that has some
        eventually(lambda: server.http.get("/jobs", params={"job_id": SIMULATION}).status_code == 200)
        # A cancelled job is over, not gone: its DELETE is not followed by 404. How fast data is made is not judged.
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "fuzz.toml"), "run",
            f"{server.url}/openapi.json", "--checks", "all", "--exclude-checks", "use_after_free",
            "--max-examples", EXAMPLES, "--seed", str(seed), "--request-timeout", "60", "--no-color",
            "--suppress-health-check", "too_slow",
        ]  # fmt: skip
        given = {**os.environ, **cookies, "SLUICE_FUZZ_TOKEN": token}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=given, timeout=3300)
        # A request of 100 kB in one line would leave no place for what is wrong with it.
        said = "\n".join(line[:500] for line in done.stdout.splitlines())
        assert done.returncode == 0, f"seed {seed}\n{said[-20_000:]}{done.stderr[-2000:]}"
        jobs = server.http.get("/api/jobs").json()
        assert jobs, "the fuzzer submitted nothing"
        assert not [job for job in jobs if job["status"] == "RUNNING"]
        # Only a profile whose last mount was deleted may lead nowhere. What is doubtful in a workflow is only told.
        problems = server.http.get("/api/store/problems").json()
        assert not [row for row in problems if row["severity"] == "error" and "leads nowhere" not in row["reason"]]
        assert "Traceback" not in server.log(), server.log()[-5000:]
    finally:
        server.close()
