"""Lists and one job beside slurmrestd, in front of the same real SLURM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.bench.exchanges import exchange
from tests.bench.figures import Bench, Figure
from tests.bench.on_slurm.submission import find_absent, start_before_slurm, submit_over_http
from tests.bench.processes import read_cpu_s
from tests.cluster import real

JOBS, ROUNDS, ASKED, AT_ONCE = 1000, 5, 40, 4
VERSIONS = ("v0.0.41", "v0.0.40", "v0.0.39", "v0.0.38")  # of its API; a slurmrestd knows some of them

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, int]:
    """Get a path; return the status and how many bytes came."""
    more = "Host: localhost\r\nAccept: application/json\r\nConnection: keep-alive"
    head, body = await exchange(reader, writer, f"GET {path} HTTP/1.1\r\n{more}\r\n\r\n".encode())
    return int(head.split()[1]), len(body)


async def get_often(connect: Connect, path: str) -> int:
    """Get a path as often as it is measured; return how long one answer is."""
    left, lengths = iter(range(ASKED)), set()

    async def get_in_turn() -> None:
        reader, writer = await connect()
        for _ in left:
            status, length = await get(reader, writer, path)
            assert status == 200, status
            lengths.add(length)
        writer.close()

    await asyncio.gather(*(get_in_turn() for _ in range(AT_ONCE)))
    return max(lengths)


def compare(title: str, sides: tuple[tuple[Connect, str], tuple[Connect, str]], controller: int) -> Iterator[Figure]:
    """Ask both in turn: answers a second, and what one costs slurmctld."""
    rates: tuple[list[float], list[float]] = ([], [])
    costs: tuple[list[float], list[float]] = ([], [])
    lengths = [0, 0]
    for _ in range(ROUNDS):
        for side, (connect, path) in enumerate(sides):
            began, cpu_s = time.monotonic(), read_cpu_s(controller)
            lengths[side] = asyncio.run(get_often(connect, path))
            rates[side].append(ASKED / (time.monotonic() - began))
            costs[side].append(1000 * (read_cpu_s(controller) - cpu_s) / ASKED)
    note = " : ".join(f"{length / 1000:,.1f} kB" for length in lengths)
    yield Figure(f"{title}, c={AT_ONCE}", "/s", *map(statistics.median, rates), note=note)
    yield Figure("the same, CPU of slurmctld", "ms", *map(statistics.mean, costs))


@contextlib.contextmanager
def start_slurmrestd(cluster: real.Cluster, socket: Path) -> Iterator[None]:
    """Start slurmrestd on a socket that tells it who asks."""
    environment = {"PATH": real.PATH, **cluster.env, "SLURMRESTD_SECURITY": "disable_user_check"}
    words = ["slurmrestd", "-a", "rest_auth/local", f"unix:{socket}"]
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert process.poll() is None, "slurmrestd has ended"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


async def find_version(connect: Connect) -> str:
    """Find the newest version of its API that this slurmrestd has."""
    for version in VERSIONS:
        reader, writer = await connect()  # it hangs up after an error
        try:
            if (await get(reader, writer, f"/slurm/{version}/ping"))[0] == 200:
                return version
        finally:
            writer.close()
    raise AssertionError(f"slurmrestd knows none of {', '.join(VERSIONS)}")


def measure_peers(folder: Path) -> Iterator[Figure]:
    """Compare with slurmrestd, on a real SLURM that is started for it."""
    if absent := find_absent() or (["slurmrestd"] if shutil.which("slurmrestd", path=real.PATH) is None else []):
        print(f"slurmrestd is not measured: no {', '.join(absent)} here")
        return
    with start_before_slurm(folder / "store") as (server, cluster):
        port, socket = server.port, cluster.dir / "slurmrestd"
        submit_over_http(server, JOBS, AT_ONCE)

        async def connect_ours() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port)

        async def connect_peer() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_unix_connection(socket, limit=1 << 20)

        job = server.http.get("/api/jobs").json()[0]["job_id"]
        controller = json.loads((cluster.dir / "pids" / "slurmctld").read_text())["pid"]
        with start_slurmrestd(cluster, socket):
            at = f"/slurm/{asyncio.run(find_version(connect_peer))}"
            for title, ours, theirs in (
                (f"list of {JOBS:,} jobs : slurmrestd", "/api/jobs", f"{at}/jobs"),
                ("one job : slurmrestd", f"/api/jobs/{job}", f"{at}/job/{job}"),
                ("nodes : slurmrestd", "/api/v1/nodes", f"{at}/nodes"),
            ):
                yield from compare(title, ((connect_ours, ours), (connect_peer, theirs)), controller)


BENCHES = (Bench("peers", "lists and one job beside slurmrestd, in front of the same real SLURM", measure_peers),)
