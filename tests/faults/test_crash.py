"""`kill -9` of the server at random points of a run: nothing that was answered is lost, and no job runs twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.app_server import Server
from tests.waiting import eventually

pytestmark = pytest.mark.long

CI = os.environ.get("CI") == "true"
LAYERS, WIDTH = 4, 5
KILLS = {"embedded": 12 if CI else 5, "slurm": 6}
# How long a server may live before it is killed: from its start, so that opening and adopting are hit as well.
LONGEST_LIFE_S = 1.6


def workflow() -> str:
    """20 jobs in layers; each writes down that it ran, the last one fails the first time."""
    lines = ["name: layers", "jobs:"]
    for layer in range(LAYERS):
        for place in range(WIDTH):
            name = f"j{layer}{place}"
            before = [f"j{layer - 1}{place}", f"j{layer - 1}{(place + 1) % WIDTH}"] if layer else []
            last = layer == LAYERS - 1 and place == WIDTH - 1
            command = f"echo {name} >> ran" + (" && test $(grep -c j34 ran) -gt 1" if last else "")
            retry = ", retry: 2, retry_delay: 0" if last else ""
            lines.append(f"  - {{name: {name}, command: '{command}', depends_on: [{', '.join(before)}]{retry}}}")
    return "\n".join(lines) + "\n"


def ask(server: Server, key: str) -> httpx.Response:
    return server.http.post("/api/workflows/layers/run", headers={"Idempotency-Key": key})


def test_kill_at_random_points(cluster: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SLUICE_CRASH_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    server = Server(tmp_path / "store", cluster)
    (server.store / "workflows" / "layers.yaml").write_text(workflow())
    runs: list[str] = []
    kills = 0
    try:
        while kills < KILLS[cluster]:
            key = f"run-{len(runs)}"
            while kills < KILLS[cluster]:
                server.start(ready=False)
                assert server.process is not None
                killer = threading.Timer(
                    chance.uniform(0.1, LONGEST_LIFE_S), server.process.send_signal, [signal.SIGKILL]
                )
                killer.start()
                ended = False
                with contextlib.suppress(httpx.TransportError):
                    ended = live(server, key)
                killer.join()
                server.process.wait()
                kills += 1
                if ended:
                    break
            server.start()
            answer = ask(server, key)
            assert answer.status_code == 202, (seed, answer.text)
            runs.append(answer.json()["id"])
            run = eventually(lambda: over(server, runs[-1]), 120, f"seed {seed}: {server.log()[-3000:]}")
            judge(server, run, seed)
            server.end(signal.SIGKILL)
    finally:
        if server.process is None:
            server.start()
        server.close()
    assert len(set(runs)) == len(runs)


def live(server: Server, key: str) -> bool:
    """Whether the run came to its end before the server was killed; raises TransportError when it is killed."""
    process = server.process
    assert process is not None
    while process.poll() is None:
        try:
            answer = ask(server, key)
        except httpx.ConnectError:
            continue  # not listening yet
        if answer.status_code == 202:
            run_id = answer.json()["id"]
            while process.poll() is None:
                if server.http.get(f"/api/workflows/runs/{run_id}").json()["status"] in ("completed", "failed"):
                    return True
    return False


def over(server: Server, run_id: str) -> dict | None:
    run = server.http.get(f"/api/workflows/runs/{run_id}").json()
    return run if run["status"] in ("completed", "failed", "cancelled") else None


def judge(server: Server, run: dict, seed: int) -> None:
    ran = Counter((Path(run["work_dir"]) / "ran").read_text().split())
    wanted = {f"j{layer}{place}": 1 for layer in range(LAYERS) for place in range(WIDTH)} | {"j34": 2}
    assert ran == wanted, (seed, run, server.log()[-3000:])
    assert run["status"] == "completed", (seed, run)
    assert [len(job["attempts"]) for job in run["jobs"]] == [1] * 19 + [2], (seed, run)
