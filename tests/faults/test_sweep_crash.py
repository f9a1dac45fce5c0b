"""Sweeps whatever is killed when: nothing that was answered is lost, no job runs twice, and SLURM is spared."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app_client import Client
from tests.pair_sweep import CONFIG, PAIR, check_sweep, get_sweep, make_server, most_at_once, start_sweep
from tests.waiting import eventually
from tests.watched_cluster import Watched

CI = os.environ.get("CI") == "true"
KILLS = 12 if CI else 5
CELLS = {"embedded": 100 if CI else 30, "slurm": 100 if CI else 20}


@pytest.mark.long
def test_kill_at_random_points_of_a_sweep(cluster: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SLUICE_CRASH_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    count = CELLS[cluster]
    server = make_server(tmp_path / "store", cluster)
    kills = 0
    try:
        while kills < KILLS:
            server.start(ready=False)
            assert server.process is not None
            killer = threading.Timer(chance.uniform(0.3, 1.8), server.process.send_signal, [signal.SIGKILL])
            killer.start()
            while server.process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    answer = start_sweep(server, count, tmp_path, max_parallel=16)
                    assert answer.status_code in (202, 503), answer.text
                    if answer.status_code == 202:
                        sweep = get_sweep(server, answer.json()["sweep_run_id"])
                        assert sum(value for key, value in sweep.items() if key.startswith("cells_")) == count, seed
                        break
            killer.join()
            server.process.wait()
            kills += 1
        server.start()
        number = start_sweep(server, count, tmp_path, max_parallel=16).json()["sweep_run_id"]
        assert len(server.http.get("/api/sweep_runs").json()) == 1, "one request, one sweep"
        context = f"seed {seed}: {server.log()[-3000:]}"
        eventually(lambda: get_sweep(server, number)["completed_at"], 150, context)
        check_sweep(server, number, count, tmp_path, seed)
        assert most_at_once(tmp_path) <= 16, seed
    finally:
        if server.process is None or server.process.poll() is not None:
            server.start()
        server.close()


@pytest.mark.long
def test_the_bound_holds_across_restarts(tmp_path: Path) -> None:
    server = make_server(tmp_path / "store", "embedded")
    try:
        for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, None):
            server.start()
            number = start_sweep(server, 6, tmp_path, max_parallel=2).json()["sweep_run_id"]
            before = get_sweep(server, number)["cells_completed"]
            wanted = 6 if kill is None else before + 1
            eventually(lambda wanted=wanted, number=number: get_sweep(server, number)["cells_completed"] >= wanted, 60)
            if kill is not None:
                server.end(kill)
        eventually(lambda: get_sweep(server, number)["completed_at"])
        check_sweep(server, number, 6, tmp_path, "no seed")
        assert most_at_once(tmp_path) == 2
    finally:
        server.close()


# --- creation --------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_large_sweep_is_there_after_its_answer(tmp_path: Path, count: int) -> None:
    server = make_server(tmp_path / "store", "embedded")
    try:
        server.start()
        answer = start_sweep(server, count, tmp_path, max_parallel=1)
        server.end(signal.SIGKILL)
        assert answer.status_code == 202, answer.text
        number = answer.json()["sweep_run_id"]
        server.start()
        sweep = get_sweep(server, number)
        assert sweep["cell_count"] == sum(value for key, value in sweep.items() if key.startswith("cells_")) == count
        assert start_sweep(server, count, tmp_path, max_parallel=1).json()["sweep_run_id"] == number
        cancelled = server.http.post(f"/api/sweep_runs/{number}/cancel").json()
        assert cancelled["cells_pending"] == 0 and cancelled["cells_cancelled"] >= count - 1
        cells = server.http.get(f"/api/sweep_runs/{number}/cells").json()
        assert len({cell["id"] for cell in cells}) == len(cells) == count
        assert sorted(cell["args"]["n"] for cell in cells) == list(range(count))
    finally:
        server.close()


class Counting:
    """What the store does to the disk, counted."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real):
            return real

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return real(*arguments, **named)

        return counted


def test_creating_takes_as_many_writes_for_any_number_of_cells(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_sweep_id: str) -> None:
        """Write nothing, where the loop would write the runs of the first cells."""

    monkeypatch.setattr("engine.sweeps.advance_sweep", nothing)
    client.workflow("pair", PAIR)
    found = []
    for count in (10, 1_000, 10_000):
        counting = Counting()
        monkeypatch.setattr(client.server.store.files, "ops", counting)
        answer = client.post("/api/workflows/pair/run", {"sweep": {"matrix": {"n": {"range": [0, count]}}}})
        assert answer.json()["cell_count"] == count
        found.append({name: counting.calls[name] for name in ("fsync", "fdatasync", "rename", "link", "open")})
        client.post(f"/api/sweep_runs/{answer.json()['sweep_run_id']}/cancel")
    assert found[0] == found[1] == found[2] and sum(found[0].values()) > 0


# --- SLURM is spared -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_slurm_hears_of_jobs_not_of_viewers(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    config = CONFIG.replace("in_flight: 8", "in_flight: 2")
    server = make_server(tmp_path / "store", "slurm", config, **watched.environment)
    count, answers, over = 12, Counter[int](), threading.Event()
    try:
        server.start()
        began = time.monotonic()
        number = start_sweep(server, count, tmp_path, max_parallel=count).json()["sweep_run_id"]

        def view() -> None:
            with httpx.Client(base_url=server.url, timeout=180) as http:
                while not over.is_set():
                    cells = http.get(f"/api/sweep_runs/{number}/cells").json()
                    for cell in cells[:4]:
                        answers[http.get(f"/api/workflows/runs/{cell['id']}").status_code] += 1
                    over.wait(0.05)

        viewers = [threading.Thread(target=view) for _ in range(6)]
        for viewer in viewers:
            viewer.start()
        try:
            eventually(lambda: get_sweep(server, number)["completed_at"], 90, server.log()[-2000:])
        finally:
            over.set()
            for viewer in viewers:
                viewer.join()
        calls, lasted_s = watched.calls(), time.monotonic() - began
        check_sweep(server, number, count, tmp_path, calls)
        assert calls["sbatch"] == 2 * count and calls["scancel"] == 0
        assert watched.most_at_once("sbatch") == 2, "no more than may, and no fewer than can"
        # The interval between two looks at the queue is a second; each submission may ask for one more.
        assert calls["squeue"] <= lasted_s + 2 * count + 2, calls
        assert sum(calls.values()) < 3 * (lasted_s + 2 * count), calls
        assert set(answers) == {200}
    finally:
        server.close()


# Of the first job the number gets lost on the way; then nobody is there; and both once more.
LOST = """\
n=0; while ! mkdir {folder}/try-$n 2>/dev/null; do n=$((n + 1)); done
failed="sbatch: error: Batch job submission failed:"
case $n in
0|3) {real} "$@" >/dev/null; echo "$failed Socket timed out on send/recv operation" >&2; exit 1 ;;
1|4) echo "$failed Unable to contact slurm controller (connect failure)" >&2; exit 1 ;;
esac
"""


@pytest.mark.long
def test_submissions_without_an_answer_are_repeated_and_never_doubled(tmp_path: Path) -> None:
    watched = Watched(tmp_path, LOST)
    server = make_server(tmp_path / "store", "slurm", CONFIG, **watched.environment)
    try:
        server.start()
        number = start_sweep(server, 4, tmp_path, max_parallel=4).json()["sweep_run_id"]
        eventually(lambda: get_sweep(server, number)["completed_at"], 90, server.log()[-2000:])
        check_sweep(server, number, 4, tmp_path, watched.calls())
        assert watched.calls()["sbatch"] == 8 + 2, "those that were lost are found, not repeated"
    finally:
        server.close()
