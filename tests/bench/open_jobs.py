"""What open jobs at rest cost: CPU per idle second and per submit, with more and more held jobs open in one server.

`python -m tests.bench.open_jobs [--counts 0 500 5000]` prints the server's own CPU (without the embedded cluster's
programs) and its ratio to the first count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.app_server import Server

TICKS = os.sysconf("SC_CLK_TCK")
BODY = {"name": "held", "script_content": "#!/bin/bash\n#SBATCH --hold\ntrue\n"}
# The cost at rest of 5,000 open jobs may be so many times that of none.
BOUND = 1.5
AT_ONCE = 4  # while they become as many as are wanted


def read_cpu_s(server: Server) -> float:
    """Seconds of CPU that the server's own process has used."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def submit_jobs(server: Server, count: int, at_once: int) -> None:
    """Submit held jobs, so many at once."""
    with ThreadPoolExecutor(at_once) as threads:
        for answer in threads.map(lambda _: server.http.post("/api/jobs", json=BODY), range(count)):
            assert answer.status_code == 201, answer.text


def measure_idle_ms(server: Server, seconds: float) -> float:
    """Measure the CPU per second while nobody calls: the middle of three windows, after one that is not counted."""
    used = []
    for _ in range(4):
        began = read_cpu_s(server)
        time.sleep(seconds)
        used.append(1000 * (read_cpu_s(server) - began) / seconds)
    return statistics.median(used[1:])


def measure(folder: Path, counts: list[int], seconds: float, submits: int) -> None:
    """Print the figures for each count of open jobs, which grows in one server."""
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\npoll: {min_s: 2, max_s: 2}\n")
    first: tuple[float, float] | None = None
    try:
        server.start()
        open_now = 0
        for count in counts:
            submit_jobs(server, count - open_now, AT_ONCE)
            idle_ms = measure_idle_ms(server, seconds)
            began = read_cpu_s(server)
            submit_jobs(server, submits, 1)
            submit_ms = 1000 * (read_cpu_s(server) - began) / submits
            first = first or (idle_ms, submit_ms)
            ratios = idle_ms / max(first[0], 0.1), submit_ms / max(first[1], 0.1)
            print(
                f"{count:5} open jobs: {idle_ms:6.1f} ms CPU per idle second (ratio {ratios[0]:.2f}), "
                f"{submit_ms:6.1f} ms per submit (ratio {ratios[1]:.2f}); at most {BOUND}",
                flush=True,
            )
            open_now = max(count, open_now) + submits
    finally:
        # Nothing of these jobs runs, so none needs to be ended.
        if server.process is not None:
            server.end()
        server.http.close()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 500, 5000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--submits", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.counts, given.seconds, given.submits)


if __name__ == "__main__":
    main()
