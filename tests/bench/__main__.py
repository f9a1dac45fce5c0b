"""Speed as ratios, measured side by side in one run: Sluice with everything on against a bare Starlette app.

`just bench` prints what the import of the app takes; then, for small answers and for the list of jobs, answers per
second of both and their ratio, round by round in turn. The client is the same for both: 32 connections that are kept,
raw sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import ROOT
from tests.app_server import Server, free_port
from tests.bench import exports, merge, open_jobs, page, queue, readers, search, simulations, sockets, task_posts

CONNECTIONS = 32
BARE = """\
import os
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
SMALL, LIST = b"[]", open(os.environ["LIST"], "rb").read()
NODES = open(os.environ.get("NODES", os.devnull), "rb").read()
async def small(request): return Response(SMALL, media_type="application/json")
async def jobs(request): return Response(LIST, media_type="application/json")
async def nodes(request): return Response(NODES, media_type="application/json")
app = Starlette(routes=[Route("/small", small), Route("/jobs", jobs), Route("/nodes", nodes)])
"""


async def rate(port: int, path: str, seconds: float, etag: str = "") -> float:
    """Answers per second; with `etag` they are 304 where the server says so of it."""
    condition = f"If-None-Match: {etag}\r\n" if etag else ""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{condition}\r\n".encode()
    got, until = 0, time.monotonic() + seconds

    async def read_in_turn() -> None:
        nonlocal got
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")), head
            if b" 200 " in head[:16]:
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
            got += 1
        writer.close()

    await asyncio.gather(*(read_in_turn() for _ in range(CONNECTIONS)))
    return got / seconds


def measure_start(folder: Path, rounds: int) -> None:
    """Print what the import of the app takes: the median CPU of a process, and its memory afterwards."""
    code = (
        "import app, resource; used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    # Bytecode and the cached contract are there, as from the second start on, whatever the environment says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-c", code]
    runs = [
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        for _ in range(rounds + 1)
    ][1:]
    cpu_s, memory_kb = (statistics.median(map(float, column)) for column in zip(*runs, strict=True))
    print(f"import app: {cpu_s:.2f} s CPU, {memory_kb / 1024:.0f} MB")


def compare(
    what: str, ours: tuple[int, str], bare: tuple[int, str], rounds: int, seconds: float, etag: str = ""
) -> None:
    """Print the medians and the ratio of each round's pair; `etag` is what ours are asked with."""
    pairs = [(asyncio.run(rate(*ours, seconds, etag)), asyncio.run(rate(*bare, seconds))) for _ in range(rounds)]
    ratios = [ours / other for ours, other in pairs]
    mine, others = (statistics.median(column) for column in zip(*pairs, strict=True))
    middle = statistics.median(ratios)
    print(f"{what:<28} {mine:8.0f}/s {others:8.0f}/s   ratio {middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--open-jobs", type=int, nargs="+", default=[0, 500, 5000])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_start(Path(folder), given.rounds)
        measure(Path(folder), given.rounds, given.seconds, given.jobs)
        readers.main(Path(folder))
        sockets.main(Path(folder))
        exports.main(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        open_jobs.measure(Path(folder), given.open_jobs, 20.0, 20)
    queue.main(rounds=given.rounds, seconds=given.seconds)
    search.main()


def measure(folder: Path, rounds: int, seconds: float, jobs: int) -> None:
    server = Server(folder / "store", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\npoll: {min_s: 2, max_s: 2}\n")
    bare = None
    try:
        server.start()
        began = time.monotonic()
        for number in range(jobs):
            body = {"name": f"job{number}", "script_content": "#!/bin/bash\n#SBATCH --hold\ntrue\n"}
            assert server.http.post("/api/jobs", json=body).status_code == 201
        print(f"{jobs} jobs submitted over HTTP: {jobs / (time.monotonic() - began):.0f}/s")
        answer = server.http.get("/api/jobs").content
        (folder / "list.json").write_bytes(answer)
        (folder / "bare.py").write_text(BARE)
        port = free_port()
        bare = subprocess.Popen(
            [
                sys.executable,
                *("-m", "granian", "--interface", "asgi", "--port", str(port), "--log-level", "error", "bare:app"),
            ],
            cwd=folder,
            env={**os.environ, "LIST": str(folder / "list.json")},
        )
        while True:
            try:
                asyncio.run(rate(port, "/small", 0.1))
                break
            except ConnectionError:
                time.sleep(0.1)
        print(f"{'':28} {'Sluice':>10} {'Starlette':>10}   ({rounds} rounds of {seconds} s, {CONNECTIONS} connections)")
        compare("small answer", (server.port, "/api/store/problems"), (port, "/small"), rounds, seconds)
        compare(
            f"list of {jobs} jobs, {len(answer) // 1000} kB",
            (server.port, "/api/jobs"),
            (port, "/jobs"),
            rounds,
            seconds,
        )
        etag = server.http.get("/api/jobs").headers["ETag"]
        compare("the same, not modified (304)", (server.port, "/api/jobs"), (port, "/small"), rounds, seconds, etag)
        job_id = server.http.get("/api/jobs").json()[0]["job_id"]
        compare("one job", (server.port, f"/api/jobs/{job_id}"), (port, "/small"), rounds, seconds)
        simulation = {"sim_type": "dummy", "ntasks": 10, "input_type": "files", "input_files": {"dummy.json": "{}"}}
        submitted = server.http.post("/jobs/direct", json=simulation).json()["job_id"]
        state = f"/jobs/direct?job_id={submitted}"
        compare("state of a simulation", (server.port, state), (port, "/small"), rounds, seconds)
        compare("/health", (server.port, "/health"), (port, "/small"), rounds, seconds)
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        # Nothing of these jobs runs, so none needs to be ended.
        if server.process is not None:
            server.end()
        server.http.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["page"]:
        page.main(sys.argv[2:])
        sys.exit()
    if sys.argv[1:2] == ["merge"]:
        merge.main(sys.argv[2:])
        sys.exit()
    if sys.argv[1:2] == ["simulations"]:
        simulations.main(sys.argv[2:])
        task_posts.main()
        sys.exit()
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} processors, {ROOT.name}")
    main()
