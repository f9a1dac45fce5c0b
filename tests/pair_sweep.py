"""A sweep of cells with two jobs each, every one of which writes down that it ran."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.app_server import Server

CONFIG = """\
cluster: {nodes: 1, cpus: 32, memory_mb: 64000}
poll: {min_s: 1, max_s: 1}
sweeps: {per_second: 100, in_flight: 8}
"""


# Each job writes down that it ran; the first one also when a cell begins, the second one when it ends.
PAIR = """\
name: pair
args: {n: 0, place: /nowhere}
jobs:
  - {name: first, command: "echo begin {{ n }} >> {{ place }}/ran"}
  - {name: second, depends_on: [first], command: "echo end {{ n }} >> {{ place }}/ran"}
"""


def make_server(store: Path, cluster: str, config: str = CONFIG, **environment: str) -> Server:
    """Make a server, not started yet, with the workflow and these settings."""
    (store / "workflows").mkdir(parents=True)
    (store / "workflows" / "pair.yaml").write_text(PAIR)
    (store / "config.yaml").write_text(config)
    return Server(store, cluster, **environment)


def start_sweep(server: Server, count: int, place: Path, key: str = "k", **sweep: Any) -> httpx.Response:
    body = {"args_override": {"place": str(place)}, "sweep": {"matrix": {"n": {"range": [0, count]}}, **sweep}}
    return server.http.post("/api/workflows/pair/run", json=body, headers={"Idempotency-Key": key})


def get_sweep(server: Server, number: int) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(f"/api/sweep_runs/{number}").json()
    return found


def most_at_once(place: Path) -> int:
    """Return how many cells ran at the same moment, as their jobs say."""
    now = most = 0
    for line in (place / "ran").read_text().splitlines():
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    return most


def check_sweep(server: Server, number: int, count: int, place: Path, seed: object) -> None:
    """Check that every cell completed and every job ran once, as the counters say."""
    ran = Counter((place / "ran").read_text().splitlines())
    assert ran == Counter(f"{word} {n}" for word in ("begin", "end") for n in range(count)), seed
    sweep = get_sweep(server, number)
    counters = {key: value for key, value in sweep.items() if key.startswith("cells_") and value}
    assert (sweep["status"], counters) == ("completed", {"cells_completed": count}), (seed, sweep)
    cells = server.http.get(f"/api/sweep_runs/{number}/cells").json()
    assert Counter(cell["status"] for cell in cells) == {"completed": count}, seed
    jobs = set()
    for cell in cells:
        run = server.http.get(f"/api/workflows/runs/{cell['id']}").json()
        assert [len(job["attempts"]) for job in run["jobs"]] == [1, 1], (seed, run)
        jobs |= set(run["job_ids"].values())
    assert len(jobs) == 2 * count, seed
